//! Rows LOG: what may be in a log, and that it is there.

use super::support::broker::LAB;
use super::support::broker::wardgate;
use super::support::{Broker, Setup};
use super::{add_user, connect, login};
use std::fs;
use std::path::Path;
use std::time::Duration;

const BY_PASSWORD: &str = "
listeners:
  lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password] }
authentication: { password: { file: users.yaml } }
";

/// Secrets that must be in no file and in no line.
const CANARIES: [&str; 4] = [
    "canary-password-73",
    "canary-wrong-73",
    "canary-payload-73",
    "canary-will-73",
];

#[test]
fn log_01_no_secret_is_in_a_log() {
    let setup = Setup::new(BY_PASSWORD).with("log: { level: trace, format: json }\n");
    add_user(setup.path(), "alice", CANARIES[0]);
    let broker = setup.start();
    let mut wrong = broker.dial("lab");
    login(&mut wrong, "a", true, "alice", CANARIES[1]);
    wrong.expect_connack(0x86);
    let mut wire = broker.dial("lab");
    wire.send(&format!(
        "10 .. s'MQTT' 05 c6 0000 <> s'a' <> s'w' s'{}' s'alice' s'{}'",
        CANARIES[3], CANARIES[0]
    ));
    wire.expect_connack(0);
    wire.send("82 .. 0001 <> s'#' 01");
    wire.expect("90 .. 0001 <*> 01");
    wire.send(&format!(
        "32 .. s't' 0001 <09 s'{}'> '{}'",
        CANARIES[2], CANARIES[2]
    ));
    let _ = (wire.receive(), wire.receive());
    // An error with the secret in its bytes.
    wire.send(&format!(
        "10 .. s'MQTT' 05 c2 0000 <> s'a' s'alice' s'{}'",
        CANARIES[0]
    ));
    wire.expect_end();
    broker.await_audit("the login", |line| {
        line["username"] == "alice" && line["outcome"] == "permitted"
    });
    broker.await_audit("the refusal", |line| {
        line["username"] == "alice" && line["outcome"] == "refused"
    });
    // Every sink: the log, all that is in the data folder, what the broker publishes about itself, what the commands say.
    let mut text = broker.stderr();
    read_all(&broker.path().join("data"), &mut text);
    let mut reader = broker.dial("lab");
    login(&mut reader, "reader", true, "alice", CANARIES[0]);
    reader.expect_connack(0);
    reader.send("82 .. 0001 <> s'$SYS/#' 00");
    reader.expect("90 .. 0001 <*> 00");
    while let Some(Some(packet)) = reader.receive_within(Duration::from_millis(300)) {
        text.push_str(&String::from_utf8_lossy(&packet));
    }
    for command in [
        &["check", "--config", "wardgate.yaml"][..],
        &["audit", "query", "--folder", "data/audit"],
    ] {
        let said = wardgate()
            .args(command)
            .current_dir(broker.path())
            .output()
            .unwrap();
        text.push_str(&String::from_utf8_lossy(&said.stdout));
        text.push_str(&String::from_utf8_lossy(&said.stderr));
    }
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} in the logs:\n{text}");
    }
}

/// The text of every file below a folder.
fn read_all(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            read_all(&entry.path(), text);
        } else {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn log_02_client_text_stays_one_line() {
    let broker = Setup::new(LAB)
        .policy("version: 1\npolicies:\n  - { id: none, who: { any: true }, allow: [{ subscribe: 'x' }] }\n")
        .start();
    let hostile = "a{\"b\":1}\u{202e}\\n\u{1b}[31m";
    let mut wire = broker.dial("lab");
    wire.send(&format!("10 .. s'MQTT' 05 02 0000 <> s'{hostile}'"));
    // A control character in a client identifier may be refused outright: either way it is one line.
    let _ = wire.receive();
    let mut wire = broker.dial("lab");
    connect(&mut wire, "b");
    wire.send("32 .. s'forged\u{202e}{\"event\":\"admin\"}' 0001 <> 'x'");
    wire.expect("40 .. 0001 87 *");
    let line = broker.await_audit("the refused publish", |line| {
        line["event"] == "publish" && line["outcome"] == "refused"
    });
    assert!(line["topic"].as_str().unwrap().contains("forged"), "{line}");
    for file in fs::read_dir(broker.path().join("data/audit"))
        .unwrap()
        .flatten()
    {
        let text = fs::read_to_string(file.path()).unwrap();
        for line in text.lines() {
            assert!(
                serde_json::from_str::<serde_json::Value>(line).is_ok(),
                "{line}"
            );
            assert!(
                !line.contains('\u{202e}') && !line.contains('\u{1b}'),
                "{line}"
            );
        }
    }
    assert!(!broker.stderr().contains('\u{202e}'));
}

#[test]
fn log_02_every_refusal_has_its_true_reason() {
    let setup = Setup::new(BY_PASSWORD);
    add_user(setup.path(), "alice", "right");
    let broker = setup.start();
    for (user, password) in [("alice", "wrong"), ("nobody", "right")] {
        let mut wire = broker.dial("lab");
        login(&mut wire, "c", true, user, password);
        wire.expect_connack(0x86);
        let line = broker.await_audit(user, |line| {
            line["username"] == user && line["outcome"] == "refused"
        });
        for field in ["time", "event", "ip", "listener", "reason"] {
            assert!(line[field].is_string(), "{field} in {line}");
        }
    }
    let reasons: Vec<_> = broker
        .audit()
        .iter()
        .map(|line| line["reason"].clone())
        .collect();
    assert!(
        reasons.len() >= 2 && reasons[0] != reasons[1],
        "{reasons:?}"
    );
}

/// The trail's folder becomes a file; returns when nobody is let in any more.
fn stop_the_trail(broker: &Broker) {
    let folder = broker.path().join("data/audit");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let mut wire = broker.dial("lab");
        wire.send("10 .. s'MQTT' 05 02 0000 <> s'later'");
        match wire.receive() {
            Some(connack) if connack[3] == 0 => {}
            _ => break,
        }
        assert!(
            std::time::Instant::now() < deadline,
            "logins go on without an audit trail"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn ses_02_a_login_that_cannot_be_recorded_takes_nothing_from_the_session() {
    // With clean start the session would end, and its will come at once; without it the will would not come at all.
    for (clean, delay) in [(true, 3600), (false, 2)] {
        let broker = Broker::lab();
        let mut reader = broker.dial("lab");
        connect(&mut reader, "reader");
        reader.send("82 .. 0001 <> s'will' 00");
        reader.expect("90 .. 0001 <*> 00");
        let mut device = broker.dial("lab");
        let delay = format!("{delay:08x}");
        device.send(&format!(
            "10 .. s'MQTT' 05 06 0000 <11 00000e10> s'device' <18 {delay}> s'will' s'gone'"
        ));
        device.expect_connack(0);
        broker.await_audit("the first login", |line| line["client_id"] == "device");
        stop_the_trail(&broker);
        device.drop_connection();
        let mut again = broker.dial("lab");
        let flags = if clean { "02" } else { "00" };
        again.send(&format!("10 .. s'MQTT' 05 {flags} 0000 <> s'device'"));
        again.expect("20 .. 00 88 *");
        if clean {
            reader.expect_quiet();
        } else {
            reader.expect("30 .. s'will' <> 'gone'");
        }
    }
}

#[test]
fn log_03_nobody_enters_unrecorded() {
    let broker = Broker::lab();
    let mut inside = broker.dial("lab");
    connect(&mut inside, "inside");
    broker.await_audit("the first login", |line| line["client_id"] == "inside");
    stop_the_trail(&broker);
    // Live traffic goes on.
    inside.send("32 .. s't' 0001 <> 'x'");
    inside.expect("40 .. 0001 *");
    assert!(
        broker.stderr().to_lowercase().contains("audit"),
        "silent:\n{}",
        broker.stderr()
    );
}
