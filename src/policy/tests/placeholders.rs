//! Hostile names in every place where a name can stand (POL-4).

use super::tables::{policies, somebody};
use crate::identity::{CertificateNames, Subject};
use crate::mqtt::QoS;
use crate::policy::Attempt;
use std::sync::Arc;

const NAMES: [&str; 24] = [
    "pump-7",
    "+",
    "#",
    "/",
    "$SYS",
    "$",
    "*",
    ".",
    "..",
    "-",
    "\\",
    "${x}",
    "${username}",
    "",
    " ",
    "a/b",
    "a+",
    "#a",
    "\u{7f}",
    "\n",
    "\u{202e}x",
    "ÅÅ",
    "Å",
    "a*",
];
const PLACES: [&str; 5] = [
    "username",
    "client_id",
    "group",
    "cert.common_name",
    "claim.site",
];

fn named(place: &str, names: &[&str]) -> Subject {
    let mut subject = somebody("ordinary");
    let first = names.first().copied().unwrap_or_default();
    match place {
        "username" => subject.identity.username = first.into(),
        "client_id" => subject.client_id = first.into(),
        "group" => subject.identity.groups = names.iter().map(|name| (*name).into()).collect(),
        "cert.common_name" => {
            subject.identity.certificate = Some(Arc::new(CertificateNames {
                common_name: names.iter().map(|name| (*name).to_owned()).collect(),
                ..CertificateNames::default()
            }));
        }
        _ => {
            let values = names.iter().map(|name| (*name).to_owned()).collect();
            subject.identity.claims.insert("site".to_owned(), values);
        }
    }
    subject
}

/// Whether a value can stand for a level, said once more and otherwise.
fn is_level(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '+', '#', '\u{7f}', '\n'])
}

#[test]
fn pol_04_a_value_is_one_level_compared_byte_by_byte() {
    let long = "x".repeat(65_000);
    for place in PLACES {
        let set = policies(&format!(
            "  - id: a\n    who: {{any: true}}\n    allow:\n      - publish: [\"p/${{{place}}}\", \"q/${{{place}}}/#\", \"r/dev-${{{place}}}.x/+\", \"${{{place}}}/first\"]\n      - subscribe: [\"s/${{{place}}}/#\"]\n"
        ));
        for name in NAMES.into_iter().chain([long.as_str()]) {
            let compiled = set.compile(&Arc::new(named(place, &[name])));
            for level in NAMES {
                let fits = level == name && is_level(name);
                let rows = [
                    (format!("p/{level}"), fits),
                    (format!("p/{level}/x"), false),
                    (format!("q/{level}"), fits),
                    (format!("q/{level}/x/y"), fits),
                    (format!("r/dev-{level}.x/y"), fits),
                    (format!("r/dev-{level}/y"), false),
                    (format!("{level}/first"), fits && !level.starts_with('$')),
                ];
                for (topic, expected) in rows {
                    let Ok(topic) = Attempt::topic(&topic) else {
                        continue;
                    };
                    let permit = compiled.permit_publish(topic.clone(), QoS::AtMostOnce, false);
                    assert_eq!(permit.is_ok(), expected, "{place} {name:?}: {topic:?}");
                }
                for (filter, expected) in [
                    (format!("s/{level}"), fits),
                    (format!("s/{level}/+"), fits),
                    (format!("s/{level}/#"), fits),
                ] {
                    let Ok(subscription) = Attempt::subscription(&filter) else {
                        continue;
                    };
                    let permit = compiled.permit_subscribe(&subscription, QoS::AtMostOnce);
                    assert_eq!(permit.is_ok(), expected, "{place} {name:?}: {filter:?}");
                }
            }
        }
    }
}

/// What cannot be filled in reads as `+` in a deny.
#[test]
fn pol_04_a_strange_name_escapes_no_deny() {
    for place in PLACES {
        let set = policies(&format!(
            "  - id: a\n    who: {{any: true}}\n    allow: [{{publish: \"#\"}}, {{subscribe: \"#\"}}]\n    deny: [{{publish: \"x/${{{place}}}/y\"}}, {{subscribe: \"x/${{{place}}}/y\"}}]\n"
        ));
        for name in NAMES {
            let compiled = set.compile(&Arc::new(named(place, &[name])));
            for level in ["pump-7", "other", "$SYS", "${x}"] {
                let topic = Attempt::topic(&format!("x/{level}/y")).unwrap();
                let denied = level == name || !is_level(name);
                let permit = compiled.permit_publish(topic.clone(), QoS::AtMostOnce, false);
                assert_eq!(permit.is_err(), denied, "{place} {name:?}: {topic}");
                let delivered = compiled.permits_delivery(&topic, QoS::AtMostOnce, false, None);
                assert_eq!(!delivered, denied, "{place} {name:?}: {topic}");
            }
        }
    }
}

#[test]
fn each_of_several_values_stands_in_turn() {
    let set = policies(
        "  - id: a\n    who: {any: true}\n    allow:\n      - publish: [\"g/${group}\", \"both/${group}/${group}\", \"h/${group}/${cert.common_name}\"]\n    deny:\n      - publish: [\"deny/${group}\"]\n",
    );
    let mut subject = named("cert.common_name", &["one", "t/wo", "three"]);
    subject.identity.groups = vec!["red".into(), "blue".into(), "a/b".into()];
    let compiled = set.compile(&Arc::new(subject));
    for (topic, expected) in [
        ("g/red", true),
        ("g/blue", true),
        ("g/a/b", false),
        ("g/green", false),
        ("both/red/red", true),
        ("both/blue/blue", true),
        ("both/red/blue", false),
        ("h/red/one", true),
        ("h/blue/three", true),
        ("h/blue/t/wo", false),
    ] {
        let permit =
            compiled.permit_publish(Attempt::topic(topic).unwrap(), QoS::AtMostOnce, false);
        assert_eq!(permit.is_ok(), expected, "{topic}");
    }
    let told: Vec<_> = compiled
        .unusable_placeholders()
        .into_iter()
        .map(|(rule, attribute)| format!("{rule} {attribute}"))
        .collect();
    assert_eq!(told, ["p.yaml:8 a group"]);
}
