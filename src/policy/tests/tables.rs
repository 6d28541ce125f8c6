//! What policies decide, as tables.

use crate::identity::{CertificateNames, Identity, Method, Subject};
use crate::mqtt::QoS;
use crate::policy::*;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) fn policies(text: &str) -> Arc<Policies> {
    let text = format!("version: 1\npolicies:\n{text}");
    match Policies::parse(&[(PathBuf::from("p.yaml"), text)]) {
        Ok(policies) => Arc::new(policies),
        Err(problems) => panic!("{problems:?}"),
    }
}

pub(super) fn somebody(username: &str) -> Subject {
    Subject {
        identity: Identity {
            groups: vec!["red".into(), "blue".into()],
            certificate: Some(Arc::new(CertificateNames {
                common_name: vec![username.to_owned()],
                organizational_unit: vec!["sensors".to_owned()],
                ..CertificateNames::default()
            })),
            ..Identity::new(Method::CERTIFICATE, "certificate".into(), username.into())
        },
        client_id: "c-1".into(),
        ip: "192.0.2.7".parse().unwrap(),
        listener: "mqtts".into(),
        protocol: "mqtt",
    }
}

pub(super) fn may(compiled: &Compiled, attempt: &str) -> String {
    let mut words = attempt.split(' ');
    let (action, topic) = (words.next().unwrap(), words.next().unwrap());
    let mut qos = QoS::AtMostOnce;
    let mut retain = false;
    for word in words {
        match word {
            "retain" => retain = true,
            level => qos = QoS::from_bits(level.parse().unwrap()).unwrap(),
        }
    }
    match action {
        "publish" => match compiled.permit_publish(Attempt::topic(topic).unwrap(), qos, retain) {
            Ok(_) => "allow".to_owned(),
            Err(_) => "deny".to_owned(),
        },
        "deliver" => {
            let subscription = Attempt::subscription(topic).unwrap();
            let topic = Attempt::topic(subscription.filter.as_str()).unwrap();
            let share = subscription.share.as_ref().map(|share| share.as_str());
            match compiled.permits_delivery(&topic, qos, retain, share) {
                true => "allow".to_owned(),
                false => "deny".to_owned(),
            }
        }
        _ => match compiled.permit_subscribe(&Attempt::subscription(topic).unwrap(), qos) {
            Ok(permit) => {
                let delivery = match permit.delivery() {
                    Delivery::Unconditional => "",
                    Delivery::Checked => " checked",
                };
                format!("allow {}{delivery}", permit.maximum_qos().bits())
            }
            Err(_) => "deny".to_owned(),
        },
    }
}

fn table(text: &str, rows: &[(&str, &str)]) {
    let compiled = policies(text).compile(&Arc::new(somebody("pump-7")));
    for (attempt, expected) in rows {
        assert_eq!(may(&compiled, attempt), *expected, "{attempt}");
    }
}

#[test]
fn deny_is_what_is_left_over() {
    let text = r#"
  - id: own
    who: { auth: certificate, cert.organizational_unit: sensors }
    allow:
      - publish: "telemetry/${cert.common_name}/#"
        qos: [0, 1]
        retain: false
      - subscribe: "commands/${client_id}/+"
  - id: never-secret
    who: { any: true }
    deny:
      - publish: ["telemetry/+/secret", "secret/#"]
      - subscribe: "commands/+/secret"
"#;
    table(
        text,
        &[
            ("publish telemetry/pump-7/a/b 1", "allow"),
            ("publish telemetry/pump-7", "allow"),
            ("publish telemetry/pump-7/a 2", "deny"),
            ("publish telemetry/pump-7/a retain", "deny"),
            ("publish telemetry/pump-8/a", "deny"),
            ("publish telemetry/pump-7/secret", "deny"),
            ("publish secret", "deny"),
            ("publish other", "deny"),
            ("subscribe commands/c-1/+ 2", "allow 2 checked"),
            ("subscribe commands/c-1/go 1", "allow 1"),
            ("subscribe commands/c-1/secret 1", "deny"),
            ("subscribe commands/c-1/#", "deny"),
            ("subscribe commands/+/go", "deny"),
            ("subscribe commands/c-2/go", "deny"),
            ("subscribe #", "deny"),
            ("deliver commands/c-1/go", "allow"),
            ("deliver commands/c-1/secret", "deny"),
            ("deliver commands/c-2/go", "deny"),
        ],
    );
}

#[test]
fn qos_and_share_of_a_subscribe() {
    let text = r#"
  - id: a
    who: { any: true }
    allow:
      - { subscribe: "low/#", qos: [0, 1] }
      - { subscribe: "exact/#", qos: [1] }
      - { subscribe: "work/#", share: ["crew-*"] }
      - { subscribe: "live/#", retain: false }
      - { subscribe: "mixed/#" }
    deny:
      - { subscribe: "mixed/#", qos: [2] }
      - { subscribe: "mixed/zero", qos: [0] }
      - { subscribe: "mixed/kept", retain: true }
"#;
    table(
        text,
        &[
            ("subscribe low/x 2", "allow 1"),
            ("subscribe low/x 0", "allow 0"),
            ("subscribe exact/x 2", "allow 1"),
            ("subscribe exact/x 0", "deny"),
            ("deliver exact/x 0", "allow"),
            ("deliver exact/x 2", "deny"),
            ("subscribe work/x", "deny"),
            ("subscribe $share/crew-1/work/x", "allow 0"),
            ("subscribe $share/guests/work/x", "deny"),
            ("deliver $share/crew-1/work/x", "allow"),
            ("deliver work/x", "deny"),
            ("subscribe live/#", "allow 0 checked"),
            ("deliver live/x", "allow"),
            ("deliver live/x retain", "deny"),
            ("subscribe mixed/a 2", "allow 1"),
            ("subscribe mixed/# 2", "allow 1 checked"),
            ("deliver mixed/a 2", "deny"),
            ("subscribe mixed/zero 0", "deny"),
            ("subscribe mixed/zero 1", "allow 1 checked"),
            ("deliver mixed/zero 0", "deny"),
            ("deliver mixed/zero 1", "allow"),
            ("subscribe mixed/kept 1", "allow 1 checked"),
            ("deliver mixed/kept retain", "deny"),
            ("deliver mixed/kept", "allow"),
        ],
    );
}

#[test]
fn pol_11_reserved_topics_must_be_spelled_out() {
    let text = r##"
  - id: a
    who: { any: true }
    allow:
      - publish: ["#", "+/#", "${username}/#", "$iot/${client_id}/#"]
      - subscribe: ["#", "$SYS/broker/#"]
"##;
    let compiled = policies(text).compile(&Arc::new(somebody("$SYS")));
    for (attempt, expected) in [
        ("publish a/b", "allow"),
        ("publish $SYS/x", "deny"),
        ("publish $SYS", "deny"),
        ("publish $iot/c-1/x", "allow"),
        ("publish $iot/c-2/x", "deny"),
        ("subscribe #", "allow 0"),
        ("subscribe +/#", "allow 0"),
        ("subscribe $share/g/#", "allow 0"),
        ("subscribe $SYS/#", "deny"),
        ("subscribe $SYS/broker/#", "allow 0"),
        ("subscribe $SYS/broker/load/+", "allow 0"),
        ("subscribe $x/y", "deny"),
        ("deliver $x/y", "deny"),
    ] {
        assert_eq!(may(&compiled, attempt), expected, "{attempt}");
    }
}

#[test]
fn pol_13_what_is_wrong_is_told_with_its_place() {
    let head =
        "version: 1\npolicies:\n  - id: a\n    who: {any: true}\n    allow:\n      - publish: x\n";
    let rows = [
        ("", "1:1", "the file is empty"),
        ("# nothing\n", "1:1", "the file is empty"),
        ("version: 1\n", "1:1", "neither"),
        ("version: 2\npolicies: []\n", "1:10", "version 2"),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {}\n    allow: [{publish: x}]\n",
            "4:10",
            "any: true",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {any: true}\n",
            "3:5",
            "neither",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {user: x}\n    allow: [{publish: x}]\n",
            "4:11",
            "unknown key",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {group: []}\n    allow: [{publish: x}]\n",
            "4:11",
            "empty",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {ip: 10.0.0.1/8}\n    allow: [{publish: x}]\n",
            "4:15",
            "prefix",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {any: true}\n    allow: [{publish: x, subscribe: y}]\n",
            "5:13",
            "exactly one",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {any: true}\n    allow: [{publish: a#}]\n",
            "5:23",
            "wildcard",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {any: true}\n    allow: [{publish: \"${name}\"}]\n",
            "5:23",
            "placeholder",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {any: true}\n    allow: [{publish: x, qos: [3]}]\n",
            "5:32",
            "qos is",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {any: true}\n    allow: [{publish: x, qos: 1}]\n",
            "5:31",
            "",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {any: true}\n    alow: [{publish: x}]\n",
            "5:5",
            "alow",
        ),
        (
            "version: 1\npolicies:\n  - id: a\n    who: {username: 7}\n    allow: [{publish: x}]\n",
            "4:21",
            "quotes",
        ),
    ];
    let mut failing = Vec::new();
    for (text, place, message) in rows {
        let problems = Policies::parse(&[(PathBuf::from("p.yaml"), text.to_owned())]).unwrap_err();
        let first = problems.first().unwrap().to_string();
        if !first.starts_with(&format!("p.yaml:{place}: ")) || !first.contains(message) {
            failing.push(format!("{text:?}: {first}"));
        }
    }
    assert!(failing.is_empty(), "{failing:#?}");
    assert!(Policies::parse(&[(PathBuf::from("p.yaml"), head.to_owned())]).is_ok());
    let twice = [
        (PathBuf::from("p.yaml"), head.to_owned()),
        (PathBuf::from("q.yaml"), head.to_owned()),
    ];
    assert!(
        Policies::parse(&twice).unwrap_err()[0]
            .to_string()
            .starts_with("q.yaml:3:9: duplicate id a")
    );
}

#[test]
fn a_failing_assertion_is_a_problem() {
    let text = "version: 1\npolicies:\n  - id: a\n    who: {auth: certificate}\n    allow: [{publish: \"t/${cert.common_name}/#\"}]\ntests:\n  - given: {username: p, cert: {common_name: p}}\n    allow: [{publish: t/p/x}]\n    deny:\n      - publish: t/q/x\n      - publish: t/p/y\n";
    let problems = Policies::parse(&[(PathBuf::from("p.yaml"), text.to_owned())]).unwrap_err();
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["p.yaml:11:9: test: publish t/p/y qos 0 should be denied, but is allowed by p.yaml:5 a"]
    );
}

#[test]
fn the_sample_policies_pass_their_tests_alone_and_together() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let name = PathBuf::from(path.file_name().unwrap());
        let alone = Policies::parse(&[(name.clone(), text.clone())]).unwrap();
        assert_eq!(alone.warnings(), []);
        files.push((name, text));
    }
    assert!(files.len() >= 5);
    Policies::parse(&files).unwrap();
}
