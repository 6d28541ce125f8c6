//! A token's own list beside the policies: tables, and what must hold for all of them.

use super::random::{self, Random};
use super::tables::{may, policies, somebody};
use crate::identity::Subject;
use crate::identity::jwt::{AclItem, AclMode, AclRules, AclStatement, TokenAcl};
use crate::mqtt::QoS;
use crate::policy::{Action, Attempt, Compiled, Delivery, Denial, Policies, read_token};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const SEEDS: u64 = if cfg!(debug_assertions) { 800 } else { 10_000 };

const TEXT: &str = r##"
  - id: site
    who: { any: true }
    allow:
      - publish: ["site/#", "$app/x"]
      - subscribe: ["site/#", "$SYS/#"]
        qos: [0, 1]
    deny:
      - publish: "site/secret"
      - subscribe: "site/secret/#"
      - publish: "granted/never"
"##;

fn list(mode: AclMode, acl: Value) -> TokenAcl {
    let rules = AclRules {
        claim: "acl".to_owned(),
        mode,
    };
    let claims = json!({ "acl": acl });
    rules.read(claims.as_object().unwrap()).unwrap().unwrap()
}

fn with(policies: &Arc<Policies>, acl: TokenAcl) -> Compiled {
    let mut subject = somebody("pump-7");
    subject.identity.acl = Some(Arc::new(acl));
    policies.compile(&Arc::new(subject))
}

fn table(mode: AclMode, acl: Value, rows: &[(&str, &str)]) {
    let acl = list(mode, acl);
    assert_eq!(read_token(&acl), Ok(()));
    let compiled = with(&policies(TEXT), acl);
    for (attempt, expected) in rows {
        assert_eq!(may(&compiled, attempt), *expected, "{attempt}");
    }
}

#[test]
fn a_list_that_narrows_takes_away_and_never_adds() {
    let acl = json!([
        { "publish": "site/${client_id}/#", "qos": [0, 1], "retain": false },
        { "publish": "elsewhere/#" },
        { "publish": "site/secret" },
        { "subscribe": ["site/a/#", "site/+"], "qos": [0] },
        { "subscribe": ["site/shared"], "share": ["g*"] },
        { "subscribe": "$SYS/broker/#" },
        { "publish": "#" , "qos": [2] },
    ]);
    table(
        AclMode::Narrow,
        acl,
        &[
            ("publish site/c-1/x 1", "allow"),
            ("publish site/c-1/x 1 retain", "deny"),
            ("publish site/c-2/x", "deny"),
            ("publish site/c-2/x 2", "allow"),
            ("publish elsewhere/x", "deny"),
            ("publish site/secret", "deny"),
            ("publish $app/x 2", "deny"),
            ("subscribe site/a/# 1", "allow 0"),
            ("subscribe site/a/b", "allow 0"),
            ("subscribe site/b/#", "deny"),
            ("subscribe site/#", "deny"),
            ("subscribe site/+", "allow 0 checked"),
            ("subscribe site/shared 1", "allow 0"),
            ("subscribe $share/gg/site/shared 1", "allow 1"),
            ("subscribe $share/x/site/shared 1", "allow 0"),
            ("subscribe $SYS/broker/# 1", "allow 1"),
            ("subscribe $SYS/#", "deny"),
            ("deliver site/a/b", "allow"),
            ("deliver site/a/b 1", "deny"),
            ("deliver site/b/b", "deny"),
            ("deliver site/secret", "deny"),
        ],
    );
    // Nothing is in the list, nothing is left.
    table(
        AclMode::Narrow,
        json!([]),
        &[
            ("publish site/x", "deny"),
            ("subscribe site/x", "deny"),
            ("deliver site/x", "deny"),
        ],
    );
}

#[test]
fn a_list_that_grants_adds_and_no_deny_gives_way() {
    let acl = json!({
        "allow": [
            { "publish": ["granted/#", "site/secret"] },
            { "subscribe": ["granted/#", "site/secret/#", "site/+"], "qos": [0, 1, 2] },
            { "publish": ["$SYS/x", "$app/#", "+/x", "#"], "qos": [2] },
            { "subscribe": ["$SYS/granted", "#", "+/+"], "qos": [2] },
        ],
        "deny": [{ "publish": ["granted/but/not", "site/own"] }, { "subscribe": "granted/but/#" }],
    });
    table(
        AclMode::Grant,
        acl,
        &[
            ("publish site/x", "allow"),
            ("publish granted/x 1 retain", "allow"),
            ("publish granted/never", "deny"),
            ("publish granted/but/not", "deny"),
            ("publish site/own", "deny"),
            ("publish site/secret", "deny"),
            ("publish other/x", "deny"),
            ("publish other/x 2", "allow"),
            // What a policy grants stays, and the token adds nothing beside it.
            ("publish $app/x 2", "allow"),
            ("publish $app/y 2", "deny"),
            ("publish $SYS/x 2", "deny"),
            ("subscribe granted/x 2", "allow 2"),
            ("subscribe granted/# 2", "allow 2 checked"),
            ("subscribe granted/but/not 2", "deny"),
            ("subscribe site/+ 2", "allow 2 checked"),
            ("subscribe site/secret/#", "deny"),
            ("subscribe $SYS/granted 2", "allow 1"),
            ("subscribe $share/g/$SYS/granted 2", "allow 1"),
            ("subscribe $other/granted 2", "deny"),
            ("subscribe $share/g/$other/granted 2", "deny"),
            ("subscribe # 2", "allow 2 checked"),
            ("deliver granted/x 2", "allow"),
            ("deliver granted/but/not 2", "deny"),
            ("deliver $SYS/granted 2", "deny"),
            ("deliver $other/granted 2", "deny"),
            ("deliver site/secret 2", "deny"),
        ],
    );
}

#[test]
fn a_placeholder_of_a_list_grants_no_reserved_topic() {
    let compiled = |client_id: &str| {
        let acl = list(
            AclMode::Grant,
            json!([{ "publish": ["${client_id}/x", "a/${client_id}"] }]),
        );
        let mut subject = somebody("pump-7");
        subject.client_id = client_id.into();
        subject.identity.acl = Some(Arc::new(acl));
        policies(TEXT).compile(&Arc::new(subject))
    };
    let rows = [
        ("c", "publish c/x", "allow"),
        ("c", "publish d/x", "deny"),
        ("$SYS", "publish $SYS/x", "deny"),
        ("$SYS", "publish a/$SYS", "allow"),
        ("+", "publish a/b", "deny"),
        ("", "publish /x", "deny"),
    ];
    for (client_id, attempt, expected) in rows {
        assert_eq!(
            may(&compiled(client_id), attempt),
            expected,
            "{client_id:?} {attempt}"
        );
    }
}

#[test]
fn what_the_policies_would_not_read_refuses_the_login() {
    let rows = [
        (
            json!({}),
            "a statement has exactly one of publish and subscribe",
        ),
        (
            json!({"publish": "a", "subscribe": "a"}),
            "a statement has exactly one of publish and subscribe",
        ),
        (
            json!({"publish": []}),
            "a list of filters must not be empty",
        ),
        (json!({"publish": ""}), "empty topic filter"),
        (json!({"publish": "a/#/b"}), "a wildcard shares its level"),
        (json!({"publish": "a+"}), "a wildcard shares its level"),
        (
            json!({"subscribe": "$share/g/a"}),
            "write the filter without $share/NAME/",
        ),
        (
            json!({"publish": "$${client_id}/x"}),
            "a first level that begins with $",
        ),
        (json!({"publish": "${nobody}"}), "unknown placeholder"),
        (json!({"publish": "${client_id"}), "${ without }"),
        (json!({"publish": "a/".repeat(200)}), "more than 128 levels"),
        (json!({"publish": "a", "qos": []}), "qos must not be empty"),
        (json!({"publish": "a", "qos": [3]}), "qos is 0, 1 or 2"),
        (
            json!({"publish": "a", "share": "g"}),
            "share narrows a subscribe",
        ),
        (
            json!({"subscribe": "a", "share": []}),
            "share must not be empty",
        ),
        (json!({"subscribe": "a", "share": "a/b"}), "a share name"),
    ];
    for (statement, expected) in rows {
        let acl = list(AclMode::Grant, json!([{ "publish": "fine" }, statement]));
        let reason = read_token(&acl).unwrap_err().to_string();
        let expected = format!("claim acl[1]: {expected}");
        assert!(reason.starts_with(&expected), "{statement}: {reason}");
        // Read back from somewhere else all the same, it permits nothing.
        let compiled = with(&policies(TEXT), acl);
        assert_eq!(may(&compiled, "publish fine"), "deny");
        assert_eq!(may(&compiled, "publish site/x"), "deny");
    }
}

#[test]
fn the_deciding_place_in_the_list_is_named() {
    let acl = json!({ "allow": [{ "publish": "a" }, { "publish": ["b", "granted/#"] }], "deny": [{ "publish": "site/own" }] });
    let decided = |mode, topic: &str| {
        let compiled = with(&policies(TEXT), list(mode, acl.clone()));
        let topic = Attempt::topic(topic).unwrap();
        let judged = compiled.permit_publish(topic.clone(), QoS::AtMostOnce, false);
        let attempt = Attempt::Publish {
            topic,
            qos: QoS::AtMostOnce,
            retain: false,
        };
        let explained = compiled.explain(&attempt);
        assert_eq!(explained.allowed, judged.is_ok());
        match judged {
            Ok(permit) => {
                assert_eq!(explained.rule.as_ref(), Some(permit.rule()));
                format!("allowed by {}", permit.rule())
            }
            Err(denial) => {
                assert_eq!(explained.rule.as_ref(), denial.rule());
                assert_eq!(denial.action(), Action::Publish);
                denial.to_string()
            }
        }
    };
    let rows = [
        (AclMode::Grant, "granted/x", "allowed by token acl.allow[1]"),
        (AclMode::Grant, "site/x", "allowed by p.yaml:7 site"),
        (
            AclMode::Grant,
            "site/own",
            "publish denied by token acl.deny[0]",
        ),
        (
            AclMode::Grant,
            "granted/never",
            "publish denied by p.yaml:13 site",
        ),
        (AclMode::Grant, "other", "no policy allows this publish"),
        (
            AclMode::Narrow,
            "site/x",
            "the list of token acl allows no such publish",
        ),
        (
            AclMode::Narrow,
            "site/own",
            "publish denied by token acl.deny[0]",
        ),
        (AclMode::Narrow, "a", "no policy allows this publish"),
    ];
    for (mode, topic, expected) in rows {
        assert_eq!(decided(mode, topic), expected, "{mode:?} {topic}");
    }
}

#[test]
fn explain_tells_of_the_list() {
    let acl = list(AclMode::Grant, json!([{ "publish": ["$SYS/#", "b/c"] }]));
    let compiled = with(&policies(TEXT), acl);
    let attempt = Attempt::new(Action::Publish, "$SYS/x", QoS::AtMostOnce, false).unwrap();
    let text = compiled.explain(&attempt).to_string();
    for part in [
        "DENY publish $SYS/x qos 0\n  no statement allows it\n",
        "  with token acl, grant, 1 in the list\n",
        "    token acl[0] allow \"$SYS/#\" does not match\n        topic: a token grants nothing that begins with $\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

/// Policies and a list at random, and the three sets that say what they come to together.
struct World {
    random: Random,
    described: String,
    /// The policies, and the list's denies.
    restricted: Compiled,
    /// The list alone, as a policy for everybody.
    alone: Compiled,
    /// Policies and list as one set.
    together: Compiled,
    narrowed: Compiled,
    granted: Compiled,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        // Some sets are large enough for the index.
        let count = if seed.is_multiple_of(8) {
            30
        } else {
            1 + random.below(4)
        };
        let policies: Vec<_> = (0..count)
            .map(|id| random::policy(&mut random, id))
            .collect();
        let subject = random::subject(&mut random);
        let mut statements = [Vec::new(), Vec::new()];
        for _ in 0..random.below(5) {
            let deny = usize::from(random.chance(30));
            statements[deny].push(random::statement(&mut random));
        }
        let [allow, deny] = statements.map(|list| list.join(", "));
        let set = |parts: &[String]| {
            let all: Vec<_> = policies.iter().chain(parts).cloned().collect();
            random::parse(&all)
        };
        let part = |allow: &str, deny: &str| {
            format!(
                "{{id: token, who: {{any: true}}, allow: [{allow}], deny: [{deny}], limits: {{messages: {{rate: 1/s}}}}}}"
            )
        };
        let acl = |mode| TokenAcl {
            claim: "acl".to_owned(),
            mode,
            items: [(&allow, false), (&deny, true)]
                .into_iter()
                .flat_map(|(text, deny)| items(text, deny))
                .collect(),
        };
        let own = set(&[]);
        let compiled = |mode| {
            let mut subject: Subject = subject.clone();
            subject.identity.acl = Some(Arc::new(acl(mode)));
            own.compile(&Arc::new(subject))
        };
        let bare = Arc::new(subject.clone());
        Self {
            restricted: set(&[part("", &deny)]).compile(&bare),
            alone: random::parse(&[part(&allow, &deny)]).compile(&bare),
            together: set(&[part(&allow, &deny)]).compile(&bare),
            narrowed: compiled(AclMode::Narrow),
            granted: compiled(AclMode::Grant),
            described: format!("seed {seed}: {policies:#?}\nallow {allow}\ndeny {deny}\n{bare:?}"),
            random,
        }
    }

    /// What the policies and the list come to in each mode, by sets that know no lists.
    fn expected(&self, reserved: bool, ask: impl Fn(&Compiled) -> [bool; 3]) -> [[bool; 3]; 2] {
        let (restricted, alone) = (ask(&self.restricted), ask(&self.alone));
        let narrowed = [0, 1, 2].map(|level| restricted[level] && alone[level]);
        let granted = match reserved {
            true => restricted,
            false => ask(&self.together),
        };
        [narrowed, granted]
    }

    fn compare(&mut self, ask: impl Fn(&Compiled) -> [bool; 3], what: &str, reserved: bool) {
        let [narrowed, granted] = self.expected(reserved, &ask);
        assert_eq!(
            ask(&self.narrowed),
            narrowed,
            "narrow {what}, {}",
            self.described
        );
        assert_eq!(
            ask(&self.granted),
            granted,
            "grant {what}, {}",
            self.described
        );
    }
}

fn items(statements: &str, deny: bool) -> Vec<AclItem> {
    let text = format!("[{statements}]");
    let all: Vec<AclStatement> = crate::yaml::read(Path::new("token"), &text).unwrap();
    let item = |(index, statement)| AclItem {
        place: format!("acl[{index}]"),
        deny,
        statement,
    };
    all.into_iter().enumerate().map(item).collect()
}

/// Each level alone: what is granted, and not what is granted instead.
fn subscribes(compiled: &Compiled, filter: &str) -> [bool; 3] {
    let subscription = Attempt::subscription(filter).unwrap();
    LEVELS.map(|qos| {
        let permit: Result<_, Denial> = compiled.permit_subscribe(&subscription, qos);
        permit.is_ok_and(|permit| permit.maximum_qos() == qos)
    })
}

#[test]
fn pol_01_narrow_is_the_smaller_set_and_grant_the_greater_less_every_deny() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..20 {
            let topic = random::topic(&mut world.random, false);
            let reserved = topic.starts_with('$');
            let name = Attempt::topic(&topic).unwrap();
            for retain in [false, true] {
                let publish = |compiled: &Compiled| {
                    LEVELS.map(|qos| compiled.permit_publish(name.clone(), qos, retain).is_ok())
                };
                world.compare(publish, &format!("publish {topic} {retain}"), reserved);
                for share in [None, Some("g"), Some("x")] {
                    let deliver = |compiled: &Compiled| {
                        LEVELS.map(|qos| compiled.permits_delivery(&name, qos, retain, share))
                    };
                    world.compare(
                        deliver,
                        &format!("deliver {topic} {retain} {share:?}"),
                        reserved,
                    );
                }
            }
            let filter = random::topic(&mut world.random, true);
            let reserved = filter.starts_with('$');
            let share = world.random.one(&["", "$share/g/", "$share/x/"]);
            let filter = format!("{share}{filter}");
            let subscribe = |compiled: &Compiled| subscribes(compiled, &filter);
            world.compare(subscribe, &format!("subscribe {filter}"), reserved);
        }
    }
}

#[test]
fn pol_03_an_unconditional_subscription_is_one_that_no_list_cuts_into() {
    let alphabet = ["a", "b", "c", "", "$SYS", "xa"];
    let topics = alphabet.iter().flat_map(|one| {
        let deeper = alphabet.iter().map(move |other| format!("{one}/{other}"));
        deeper.chain([(*one).to_owned()])
    });
    let topics: Vec<_> = topics
        .filter_map(|topic| Attempt::topic(&topic).ok())
        .collect();
    for seed in 0..SEEDS / 4 {
        let mut world = World::new(seed);
        for _ in 0..20 {
            let filter = random::topic(&mut world.random, true);
            let subscription = Attempt::subscription(&filter).unwrap();
            for compiled in [&world.narrowed, &world.granted] {
                let Ok(permit) = compiled.permit_subscribe(&subscription, QoS::ExactlyOnce) else {
                    continue;
                };
                let matching = topics
                    .iter()
                    .filter(|topic| subscription.filter.matches(topic));
                for topic in matching.filter(|_| permit.delivery() == Delivery::Unconditional) {
                    for qos in LEVELS
                        .into_iter()
                        .filter(|qos| *qos <= permit.maximum_qos())
                    {
                        for retain in [false, true] {
                            assert!(
                                compiled.permits_delivery(topic, qos, retain, None),
                                "{filter} {topic} {qos:?} {retain}, {}",
                                world.described
                            );
                        }
                    }
                }
            }
        }
    }
}
