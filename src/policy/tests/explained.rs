//! What `explain` says, word for word.

use super::tables::{policies, somebody};
use crate::mqtt::QoS;
use crate::policy::{Action, Attempt};
use std::sync::Arc;

const TEXT: &str = r##"
  - id: own
    who: { auth: certificate, cert.organizational_unit: sensors }
    allow:
      - publish: "telemetry/${cert.common_name}/#"
        qos: [0, 1]
        retain: false
      - subscribe: "commands/${client_id}/#"
  - id: ops
    who: { group: ops, ip: 10.0.0.0/8 }
    allow: [{ publish: "#" }, { subscribe: "#", qos: [0] }]
  - id: secret
    who: { not: { claim.clearance: high } }
    deny: [{ publish: "telemetry/+/secret" }, { subscribe: "commands/+/secret" }]
"##;

fn explain(action: Action, topic: &str, qos: QoS, retain: bool) -> String {
    let compiled = policies(TEXT).compile(&Arc::new(somebody("pump-7")));
    let attempt = Attempt::new(action, topic, qos, retain).unwrap();
    let text = compiled.explain(&attempt).to_string();
    // Who it was is the same in all rows.
    let lines = text.lines().filter(|line| !line.starts_with("  as "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_condition_that_failed_is_named() {
    let rows = [
        (
            Action::Publish,
            "telemetry/pump-7/x",
            QoS::ExactlyOnce,
            "DENY publish telemetry/pump-7/x qos 2\n  no statement allows it\n  rules that came near:\n    p.yaml:7 own allow \"telemetry/${cert.common_name}/#\" does not match, filled: telemetry/pump-7/#\n        qos: 2 is not in [0, 1]\n    p.yaml:13 ops allow \"#\" does not match\n        who: group is \"red\", \"blue\", wanted ops\n        who: ip is 192.0.2.7, wanted 10.0.0.0/8\n    p.yaml:16 secret deny \"telemetry/+/secret\" does not match\n        topic: level 3 is \"x\", wanted \"secret\"",
        ),
        (
            Action::Publish,
            "telemetry/pump-8/x",
            QoS::AtMostOnce,
            "DENY publish telemetry/pump-8/x qos 0\n  no statement allows it\n  rules that came near:\n    p.yaml:7 own allow \"telemetry/${cert.common_name}/#\" does not match, filled: telemetry/pump-7/#\n        topic: level 2 is \"pump-8\", wanted \"pump-7\" (${cert.common_name})\n    p.yaml:13 ops allow \"#\" does not match\n        who: group is \"red\", \"blue\", wanted ops\n        who: ip is 192.0.2.7, wanted 10.0.0.0/8\n    p.yaml:16 secret deny \"telemetry/+/secret\" does not match\n        topic: level 3 is \"x\", wanted \"secret\"",
        ),
        (
            Action::Publish,
            "telemetry/pump-7/secret",
            QoS::AtMostOnce,
            "DENY publish telemetry/pump-7/secret qos 0\n  denied by p.yaml:16 secret\n  rules that came near:\n    p.yaml:16 secret deny \"telemetry/+/secret\" matches\n    p.yaml:7 own allow \"telemetry/${cert.common_name}/#\" matches, filled: telemetry/pump-7/#\n    p.yaml:13 ops allow \"#\" does not match\n        who: group is \"red\", \"blue\", wanted ops\n        who: ip is 192.0.2.7, wanted 10.0.0.0/8",
        ),
        (
            Action::Subscribe,
            "commands/c-1/#",
            QoS::AtLeastOnce,
            "ALLOW subscribe commands/c-1/# qos 1\n  allowed by p.yaml:10 own; each message is judged again when it is delivered\n  rules that came near:\n    p.yaml:10 own allow \"commands/${client_id}/#\" matches, filled: commands/c-1/#\n    p.yaml:16 secret deny \"commands/+/secret\" concerns some of it\n        topic: level 3 is #, wanted \"secret\"",
        ),
    ];
    for (action, topic, qos, expected) in rows {
        let found = explain(action, topic, qos, false);
        assert_eq!(found, expected, "\n{found}");
    }
}

#[test]
fn the_same_as_json() {
    let compiled = policies(TEXT).compile(&Arc::new(somebody("pump-7")));
    let attempt = Attempt::new(
        Action::Publish,
        "telemetry/pump-7/x",
        QoS::AtLeastOnce,
        false,
    )
    .unwrap();
    let json = serde_json::json!(compiled.explain(&attempt));
    assert_eq!(json["allowed"], true);
    assert_eq!(json["rule"], "p.yaml:7 own");
    assert_eq!(json["subject"]["auth"], "certificate");
    assert_eq!(json["near"][0]["filled"], "telemetry/pump-7/#");
}
