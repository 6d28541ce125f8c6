//! What is unknown is decided against the client (POL-5).

use super::tables::{policies, somebody};
use crate::identity::{CertificateNames, Subject};
use crate::mqtt::QoS;
use crate::policy::Attempt;
use std::sync::Arc;

const KEYS: [&str; 8] = [
    "username",
    "client_id",
    "group",
    "cert.common_name",
    "cert.organizational_unit",
    "cert.serial",
    "cert.san_uri",
    "claim.site",
];

fn with(key: &str, value: Option<&str>) -> Subject {
    let mut subject = somebody("ordinary");
    let text = value.unwrap_or_default();
    let texts: Vec<_> = value.iter().map(|value| (*value).to_owned()).collect();
    let mut names = CertificateNames::default();
    match key {
        "username" => subject.identity.username = text.into(),
        "client_id" => subject.client_id = text.into(),
        "group" => {
            subject.identity.groups = texts.iter().map(|text| text.as_str().into()).collect()
        }
        "cert.common_name" => names.common_name = texts,
        "cert.organizational_unit" => names.organizational_unit = texts,
        "cert.serial" => names.serial = text.to_owned(),
        "cert.san_uri" => names.san_uri = texts,
        _ => {
            subject.identity.claims.insert("site".to_owned(), texts);
        }
    }
    subject.identity.certificate = Some(Arc::new(names));
    subject
}

/// The truth table: what a condition gives for a value that matches, one that does not, and none at all.
#[test]
fn pol_05_the_truth_table() {
    // (who, allowed by an allow, refused by a deny), each for: matching, other, missing.
    let rows = [
        ("{KEY: a}", [true, false, false], [true, false, false]),
        ("{KEY: \"*\"}", [true, true, false], [true, true, false]),
        ("{not: {KEY: a}}", [false, true, false], [false, true, true]),
        (
            "{not: {KEY: \"*\"}}",
            [false, false, false],
            [false, false, true],
        ),
        (
            "{not: {not: {KEY: a}}}",
            [true, false, false],
            [true, false, true],
        ),
        // The other condition fails in any case: it is still unknown what the whole is.
        (
            "{not: {KEY: a, listener: none}}",
            [true, true, false],
            [true, true, true],
        ),
        (
            "{listener: none, not: {KEY: a}}",
            [false, false, false],
            [false, false, false],
        ),
        (
            "{listener: mqtts, not: {KEY: a}}",
            [false, true, false],
            [false, true, true],
        ),
    ];
    for key in KEYS {
        for (who, allowed, refused) in rows {
            let who = who.replace("KEY", key);
            let allow = policies(&format!(
                "  - {{id: a, who: {who}, allow: [{{publish: x}}]}}\n"
            ));
            let deny = policies(&format!(
                "  - {{id: a, who: {{any: true}}, allow: [{{publish: x}}]}}\n  - {{id: b, who: {who}, deny: [{{publish: x}}]}}\n"
            ));
            for (index, value) in [Some("a"), Some("b"), None].into_iter().enumerate() {
                let subject = Arc::new(with(key, value));
                let topic = Attempt::topic("x").unwrap();
                let permit =
                    allow
                        .compile(&subject)
                        .permit_publish(topic.clone(), QoS::AtMostOnce, false);
                assert_eq!(permit.is_ok(), allowed[index], "allow {who} {value:?}");
                let permit = deny
                    .compile(&subject)
                    .permit_publish(topic, QoS::AtMostOnce, false);
                assert_eq!(permit.is_err(), refused[index], "deny {who} {value:?}");
            }
        }
    }
}

/// Somebody without the attribute may never do what somebody with any value of it may not.
#[test]
fn pol_05_an_absent_value_gives_no_more_than_every_present_one() {
    for key in KEYS {
        for who in [
            "{KEY: a}",
            "{not: {KEY: a}}",
            "{not: {KEY: \"a*\"}}",
            "{not: {not: {KEY: a}}}",
        ] {
            let who = who.replace("KEY", key);
            for policy in [
                format!("  - {{id: a, who: {who}, allow: [{{publish: x}}]}}\n"),
                format!(
                    "  - {{id: a, who: {{any: true}}, allow: [{{publish: \"x/${{{key}}}\"}}]}}\n"
                ),
                format!(
                    "  - {{id: a, who: {{any: true}}, allow: [{{publish: \"#\"}}], deny: [{{publish: \"x/${{{key}}}\"}}]}}\n"
                ),
            ] {
                let set = policies(&policy);
                for topic in ["x", "x/a", "x/b", "x/"] {
                    let may = |value| {
                        let compiled = set.compile(&Arc::new(with(key, value)));
                        let topic = Attempt::topic(topic).unwrap();
                        compiled
                            .permit_publish(topic, QoS::AtMostOnce, false)
                            .is_ok()
                    };
                    let every = ["a", "b", "ab", "+"]
                        .into_iter()
                        .all(|value| may(Some(value)));
                    assert!(
                        !may(None) || every || may(Some("none-of-these")),
                        "{policy} {topic}"
                    );
                }
            }
        }
    }
}
