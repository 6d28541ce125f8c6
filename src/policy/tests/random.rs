//! Random policies, subjects and topics from a seed, over alphabets so small that they meet.

use crate::identity::{CertificateNames, Identity, Method, Subject};
use crate::policy::Policies;
use std::path::PathBuf;
use std::sync::Arc;

/// SplitMix64: the seed in a failure's message makes it happen again.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A policy in YAML flow style: `{id: …, who: …, allow: […]}`.
pub(super) fn policy(random: &mut Random, id: usize) -> String {
    let mut statements = [Vec::new(), Vec::new()];
    for _ in 0..=random.below(3) {
        let effect = usize::from(random.chance(35));
        statements[effect].push(statement(random));
    }
    let [allow, deny] = statements.map(|list| list.join(", "));
    let mode = if random.chance(8) {
        ", mode: audit"
    } else {
        ""
    };
    format!(
        "{{id: p{id}, who: {}, allow: [{allow}], deny: [{deny}]{mode}}}",
        who(random)
    )
}

pub(super) fn statement(random: &mut Random) -> String {
    let action = random.one(&["publish", "subscribe"]);
    let mut filters = vec![format!("{:?}", filter(random))];
    while random.chance(20) {
        filters.push(format!("{:?}", filter(random)));
    }
    let qos = match random.below(4) {
        0 => random.one(&[
            ", qos: [0]",
            ", qos: [1]",
            ", qos: [0, 1]",
            ", qos: [1, 2]",
            ", qos: [2]",
        ]),
        _ => "",
    };
    let retain = match random.below(5) {
        0 => random.one(&[", retain: true", ", retain: false"]),
        _ => "",
    };
    let share = match random.below(8) {
        0 if action == "subscribe" => random.one(&[", share: [g]", ", share: [\"g*\", h]"]),
        _ => "",
    };
    format!("{{{action}: [{}]{qos}{retain}{share}}}", filters.join(", "))
}

pub(super) fn who(random: &mut Random) -> String {
    let mut conditions = Vec::new();
    if random.chance(30) {
        return "{any: true}".to_owned();
    }
    let mut keys = vec![
        "username",
        "group",
        "auth",
        "client_id",
        "cert.organizational_unit",
        "claim.t",
        "ip",
        "not",
    ];
    for _ in 0..=random.below(2) {
        let key = keys.remove(random.below(keys.len()));
        conditions.push(condition(random, key));
    }
    format!("{{{}}}", conditions.join(", "))
}

fn condition(random: &mut Random, key: &str) -> String {
    let value = match key {
        "username" | "client_id" => random.one(&["a", "b", "a*", "*", "[a, c]"]),
        "group" => random.one(&["a", "b", "[b, c]"]),
        "auth" => random.one(&["password", "certificate"]),
        "ip" => random.one(&["192.0.2.0/24", "10.0.0.0/8"]),
        "not" => {
            let key = random.one(&[
                "username",
                "group",
                "cert.organizational_unit",
                "claim.t",
                "auth",
            ]);
            let inner = condition(random, key);
            return format!("not: {{{inner}}}");
        }
        _ => random.one(&["a", "b", "\"*\""]),
    };
    format!(
        "{key}: {}",
        if value.contains(['*', '/']) && !value.starts_with(['"', '[']) {
            format!("{value:?}")
        } else {
            value.to_owned()
        }
    )
}

/// A filter of a statement.
pub(super) fn filter(random: &mut Random) -> String {
    let mut levels = Vec::new();
    for depth in 0..=random.below(3) {
        levels.push(match random.below(10) {
            0..=4 => random.one(&["a", "b", "c", ""]),
            5 | 6 => "+",
            7 if depth == 0 => random.one(&["$SYS", "$a", "${username}"]),
            _ => random.one(&[
                "${username}",
                "${client_id}",
                "${group}",
                "x${group}",
                "${claim.t}",
                "${cert.common_name}",
            ]),
        });
    }
    if random.chance(30) {
        levels.push("#");
    }
    match levels.join("/") {
        text if text.is_empty() => "a".to_owned(),
        text => text,
    }
}

/// A topic name, or a topic filter, as a client writes it.
pub(super) fn topic(random: &mut Random, wildcards: bool) -> String {
    let mut levels = Vec::new();
    for depth in 0..=random.below(3) {
        levels.push(match random.below(12) {
            0 if depth == 0 => random.one(&["$SYS", "$a"]),
            1 | 2 if wildcards => "+",
            3 => random.one(&["", "xa", "xb"]),
            _ => random.one(&["a", "b", "c"]),
        });
    }
    if wildcards && random.chance(30) {
        levels.push("#");
    }
    match levels.join("/") {
        text if text.is_empty() => "a".to_owned(),
        text => text,
    }
}

pub(super) fn subject(random: &mut Random) -> Subject {
    let names = ["a", "b", "c", "", "+", "#", "a/b", "$SYS", "$a", "ab"];
    let certificate = random.chance(50);
    let method = if certificate {
        Method::CERTIFICATE
    } else {
        Method::PASSWORD
    };
    let mut groups = Vec::new();
    while random.chance(50) {
        groups.push(random.one(&["a", "b", "c", "a/b", "+"]).into());
    }
    let mut claims = std::collections::BTreeMap::new();
    if random.chance(50) {
        let several = (0..random.below(3)).map(|_| random.one(&names).to_owned());
        claims.insert("t".to_owned(), several.collect());
    }
    Subject {
        identity: Identity {
            groups,
            certificate: certificate.then(|| {
                Arc::new(CertificateNames {
                    common_name: vec![random.one(&names).to_owned()],
                    organizational_unit: match random.below(3) {
                        0 => Vec::new(),
                        1 => vec!["a".to_owned()],
                        _ => vec!["b".to_owned(), "c".to_owned()],
                    },
                    ..CertificateNames::default()
                })
            }),
            claims,
            ..Identity::new(method, method.0.into(), random.one(&names).into())
        },
        client_id: random.one(&names).into(),
        ip: if random.chance(50) {
            [192, 0, 2, 7].into()
        } else {
            [10, 0, 0, 1].into()
        },
        listener: "mqtts".into(),
        protocol: "mqtt",
    }
}

pub(super) fn parse(policies: &[String]) -> Arc<Policies> {
    let files: Vec<_> = policies
        .iter()
        .enumerate()
        .map(|(index, policy)| {
            let text = format!("version: 1\npolicies:\n  - {policy}\n");
            (PathBuf::from(format!("{index}.yaml")), text)
        })
        .collect();
    match Policies::parse(&files) {
        Ok(policies) => Arc::new(policies),
        Err(problems) => panic!("{policies:#?}: {problems:#?}"),
    }
}
