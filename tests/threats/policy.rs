//! What policies leave in the audit trail, and how a refusal's decision leads to its explanation.

use super::support::broker::{LAB, wardgate};
use super::support::{Broker, Setup};
use super::{add_user, connect};
use std::collections::BTreeMap;
use std::fs;

const POLICY: &str = "
version: 1
policies:
  - id: open
    who: { any: true }
    allow:
      - publish: 'open/#'
      - publish: 'mine/${client_id}/x'
  - id: watched
    who: { any: true }
    mode: audit
    deny: [{ publish: 'open/secret' }]
    allow: [{ publish: 'closed/soon' }]
";

fn broker() -> Broker {
    Setup::new(LAB).policy(POLICY).start()
}

#[test]
fn audit_mode_is_told_and_not_enforced() {
    let broker = broker();
    let mut wire = broker.dial("lab");
    connect(&mut wire, "c");
    let rows = [
        ("open/secret", "10", "permitted"),
        ("closed/soon", "87", "refused"),
    ];
    for (topic, code, outcome) in rows {
        wire.send(&format!("32 .. s'{topic}' 0001 <> 'x'"));
        wire.expect(&format!("40 .. 0001 {code} *"));
        let line = broker.await_audit(topic, |line| line["topic"] == topic);
        assert_eq!(line["outcome"], outcome, "{line}");
        assert!(
            line["audited"].as_str().unwrap().ends_with(" watched"),
            "{line}"
        );
        assert_eq!(line["protocol"], "mqtt", "{line}");
    }
    // Told once, not for each message.
    for _ in 0..3 {
        wire.send("32 .. s'open/secret' 0001 <> 'x'");
        wire.expect("40 .. 0001 10 *");
    }
    wire.send("32 .. s'closed/last' 0001 <> 'x'");
    wire.expect("40 .. 0001 87 *");
    broker.await_audit("the last", |line| line["topic"] == "closed/last");
    let told = broker
        .audit()
        .iter()
        .filter(|line| line["topic"] == "open/secret")
        .count();
    assert_eq!(told, 1);
}

#[test]
fn pol_04_a_placeholder_that_cannot_be_filled_is_told() {
    let broker = broker();
    connect(&mut broker.dial("lab"), "a+b");
    let line = broker.await_audit("the placeholder", |line| line["event"] == "admit");
    assert_eq!(line["outcome"], "failed", "{line}");
    assert!(
        line["reason"]
            .as_str()
            .unwrap()
            .starts_with("${client_id} "),
        "{line}"
    );
    assert!(line["rule"].as_str().unwrap().ends_with(" open"), "{line}");
}

#[test]
fn a_decision_leads_to_its_explanation_without_the_node() {
    let broker = broker();
    let mut wire = broker.dial("lab");
    connect(&mut wire, "c");
    wire.send("32 .. s'closed/x' 0001 <> 'x'");
    wire.expect("40 .. 0001 87 *");
    let line = broker.await_audit("the refusal", |line| line["topic"] == "closed/x");
    let decision = line["decision"].as_str().unwrap();
    let explain = |arguments: &[&str]| {
        wardgate()
            .args(["policy", "explain", "--decision", decision, "--config"])
            .arg(broker.path().join("wardgate.yaml"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let output = explain(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "DENY publish closed/x qos 1",
        "client identifier \"c\"",
        "listener \"lab\"",
        "limits.connections.per_ip",
        "limits.messages.per_client",
        "decided then: refused",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    let output = explain(&["--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["allowed"], false, "{answer}");
    assert_eq!(answer["decided"]["topic"], "closed/x", "{answer}");
    assert!(answer["limits"].as_array().unwrap().len() > 5, "{answer}");
}

#[test]
fn pol_03_what_was_on_its_way_is_judged_again_when_it_is_sent_again() {
    const FREE: &str = "version: 1\npolicies:\n  - { id: all, who: { any: true }, allow: [{ publish: '#' }, { subscribe: '#' }] }\n";
    const DENY: &str =
        "  - { id: no, who: { client_id: reader }, deny: [{ subscribe: 'secret/#' }] }\n";
    let broker = Setup::new(LAB).policy(FREE).start();
    let session = "10 .. s'MQTT' 05 00 0000 <11 000000ff> s'reader'";
    let mut reader = broker.dial("lab");
    reader.send(session);
    reader.expect_connack(0);
    reader.send("82 .. 0001 <> s'+/x' 02");
    reader.expect("90 .. 0001 <*> 02");
    let mut writer = broker.dial("lab");
    connect(&mut writer, "writer");
    // Sequences 1 to 5 are the reader's packet identifiers.
    let topics = [
        ("32", "secret/x"),
        ("34", "secret/x"),
        ("34", "secret/x"),
        ("34", "open/x"),
        ("32", "open/x"),
    ];
    for (first, topic) in topics {
        writer.send(&format!("{first} .. s'{topic}' 0001 <> 'x'"));
        writer.send("c0 00");
        while writer.receive().unwrap()[0] != 0xd0 {}
        writer.send("62 02 0001 c0 00");
        while writer.receive().unwrap()[0] != 0xd0 {}
        reader.expect(&format!("{first} .. s'{topic}' *"));
    }
    // This one is the reader's already.
    reader.send("50 02 0003");
    reader.expect("62 .. 0003");
    reader.drop_connection();
    let policies = broker.path().join("policies/open.yaml");
    fs::write(policies, format!("{FREE}{DENY}")).unwrap();
    broker.signal("HUP");
    broker.await_audit("the reload", |line| line["reason"] == "reloaded");
    let mut reader = broker.dial("lab");
    reader.send(session);
    reader.expect("20 .. 01 00 *");
    let mut again = BTreeMap::new();
    while again.len() < 4 {
        let packet = reader.receive().unwrap();
        let topic = usize::from(packet[3]) + 4;
        let place = if packet[0] == 0x62 { 2 } else { topic };
        again.insert(packet[place + 1], packet[0]);
    }
    // A QoS 2 message that the reader may hold is only released.
    assert_eq!(
        again,
        BTreeMap::from([(2, 0x62), (3, 0x62), (4, 0x3c), (5, 0x3a)])
    );
    reader.expect_quiet();
}

const STAFF: &str = "
listeners:
  lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password] }
authentication: { password: { file: users.yaml, namespace: staff } }
";

#[test]
fn explain_takes_somebody_as_a_login_here_would() {
    let setup = Setup::new(STAFF).policy(
        "version: 1\npolicies:\n  - { id: ops, who: { group: ops, namespace: staff }, allow: [{ publish: 'x' }] }\n",
    );
    add_user(setup.path(), "alice", "right");
    add_user(setup.path(), "bob", "right");
    let users = setup.path().join("users.yaml");
    let text = fs::read_to_string(&users).unwrap();
    let of_ops = text.replacen("\"alice\":\n", "\"alice\":\n    groups: [ops]\n", 1);
    assert_ne!(of_ops, text, "{text}");
    fs::write(&users, of_ops).unwrap();
    let broker = setup.start();
    let rows: [(&[&str], i32, &str); 5] = [
        (&["--username", "alice"], 0, ""),
        (&["--username", "alice", "--group", "other"], 1, ""),
        (&["--username", "alice", "--namespace", "other"], 1, ""),
        (&["--username", "bob"], 1, ""),
        (
            &["--username", "mallory"],
            1,
            "users.yaml: no user \"mallory\"",
        ),
    ];
    for (arguments, code, told) in rows {
        let output = wardgate()
            .args(["policy", "explain", "publish", "x", "--config"])
            .arg(broker.path().join("wardgate.yaml"))
            .args(arguments)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert_eq!(
            errors.is_empty(),
            told.is_empty(),
            "{arguments:?}: {errors}"
        );
        assert!(errors.contains(told), "{arguments:?}: {errors}");
    }
}

/// Nobody is there to be told of it by a reason code: the trail and the denials tell.
#[test]
fn what_is_withheld_on_its_way_out_is_told_with_its_decision() {
    let policy = "
version: 1
policies:
  - id: open
    who: { any: true }
    allow: [{ publish: '#' }, { subscribe: '#' }]
  - id: closed
    who: { client_id: reader }
    deny: [{ subscribe: 'secret/#' }]
";
    let broker = Setup::new(LAB).policy(policy).start();
    let mut reader = broker.dial("lab");
    connect(&mut reader, "reader");
    reader.send("82 .. 0001 <> s'#' 01");
    reader.expect("90 .. 0001 <*> 01");
    let mut writer = broker.dial("lab");
    connect(&mut writer, "writer");
    writer.send("32 .. s'secret/x' 0001 <> 'x'");
    writer.expect("40 .. 0001 *");
    let line = broker.await_audit("the delivery", |line| line["event"] == "deliver");
    assert_eq!(line["outcome"], "refused", "{line}");
    assert_eq!(line["client_id"], "reader", "{line}");
    assert_eq!(line["topic"], "secret/x", "{line}");
    assert!(
        line["rule"].as_str().unwrap().ends_with(" closed"),
        "{line}"
    );
    assert!(line["decision"].is_string(), "{line}");
    reader.expect_quiet();
}
