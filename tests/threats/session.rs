//! Rows SES: whose session it is, and what becomes of it.

use super::support::broker::LAB;
use super::support::packet::Publish;
use super::support::{Broker, Setup};
use super::{as_many, connect, login, with_users};
use std::collections::BTreeSet;
use std::time::Duration;

const BY_PASSWORD: &str = "
listeners:
  lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password] }
";

#[test]
fn ses_01_a_session_belongs_to_its_owner() {
    for (online, clean) in [(true, true), (true, false), (false, true), (false, false)] {
        let what = format!("online {online}, clean {clean}");
        let broker = with_users(BY_PASSWORD).start();
        let mut owner = broker.dial("lab");
        login(&mut owner, "device", true, "alice", "right");
        owner.expect_connack(0);
        owner.send("82 .. 0001 <> s't' 01");
        owner.expect("90 .. 0001 <*> 01");
        if !online {
            owner.send("e0 ..");
            owner.expect_closed();
        }
        let mut thief = broker.dial("lab");
        thief.name = what.clone();
        login(&mut thief, "device", clean, "bob", "right");
        thief.expect("20 .. 00 85 *");
        thief.expect_closed();
        // In version 3 the same is return code 2.
        let mut old = broker.dial("lab");
        old.send(&format!(
            "10 .. s'MQTT' 04 c{} 0000 s'device' s'bob' s'right'",
            if clean { 2 } else { 0 }
        ));
        old.expect("20 02 00 02");

        let mut writer = broker.dial("lab");
        login(&mut writer, "writer", true, "bob", "right");
        writer.expect_connack(0);
        writer.send("32 .. s't' 0001 <> 'kept'");
        writer.expect("40 .. 0001");
        if online {
            owner.expect("32 .. s't' ?? ?? <> 'kept'");
            owner.expect_quiet();
        } else {
            let mut owner = broker.dial("lab");
            owner.name = what;
            login(&mut owner, "device", false, "alice", "right");
            owner.expect("20 .. 01 00 *");
            owner.expect("32 .. s't' ?? ?? <> 'kept'");
        }
        broker.await_audit("the refused take-over", |line| {
            line["outcome"] == "refused"
                && line["username"] == "bob"
                && line["client_id"] == "device"
        });
    }
}

#[test]
fn ses_02_a_failed_login_touches_nothing() {
    let broker = with_users(BY_PASSWORD).start();
    let mut victim = broker.dial("lab");
    login(&mut victim, "device", true, "alice", "right");
    victim.expect_connack(0);
    victim.send("82 .. 0001 <> s'#' 01");
    victim.expect("90 .. 0001 <*> 01");
    for (user, password) in [("alice", "wrong"), ("nobody", "right"), ("alice", "")] {
        let mut attacker = broker.dial("lab");
        // Clean start, and a will that must never be published.
        attacker.send(&format!(
            "10 .. s'MQTT' 05 c6 0000 <> s'device' <> s'w' s'boo' s'{user}' s'{password}'"
        ));
        attacker.expect("20 .. 00 86 *");
        attacker.expect_closed();
    }
    victim.expect_quiet();
    victim.drop_connection();
    let mut victim = broker.dial("lab");
    login(&mut victim, "device", false, "alice", "right");
    victim.expect("20 .. 01 00 *");
    victim.expect_quiet();
}

#[test]
fn ses_03_a_client_identifier_can_be_bound_to_its_user() {
    let setup = with_users(BY_PASSWORD);
    let bound =
        "authentication: { password: { file: users.yaml }, client_id: { bind_to: username } }\n";
    let broker = setup
        .replacing(
            "authentication: { password: { file: users.yaml } }\n",
            bound,
        )
        .start();
    for (id, code) in [
        ("alice", 0),
        ("alice:phone", 0),
        ("bob", 0x85),
        ("alicephone", 0x85),
        ("alice.phone", 0x85),
        ("", 0x85),
    ] {
        let mut wire = broker.dial("lab");
        wire.name = format!("client identifier {id:?}");
        login(&mut wire, id, true, "alice", "right");
        let connack = wire.expect("20 .. 00 ?? *");
        // An empty one may also be given a good name by the server.
        assert!(
            connack[3] == code || (id.is_empty() && connack[3] == 0),
            "{id:?}: {connack:02x?}"
        );
    }
}

#[test]
fn ses_04_one_of_many_has_the_name() {
    let broker = Broker::lab();
    let address = broker.address("lab");
    let (clients, rounds) = (as_many(200, 16), as_many(100, 25));
    let fights: Vec<_> = (0..clients)
        .map(|_| {
            std::thread::spawn(move || {
                let mut last = None;
                for _ in 0..rounds {
                    let mut wire = super::Wire::dial(address, &super::support::Transport::Tcp);
                    wire.send("10 .. s'MQTT' 05 00 0000 <11 000000ff> s'contested'");
                    wire.send("82 .. 0001 <> s't' 01");
                    // Nothing: the next one was quicker than the answer.
                    if let Some(connack) = wire.receive() {
                        // More than wait for one name at a time are refused it.
                        let is_refused = connack[3] == 0x85 && clients > 16;
                        assert!(
                            connack[0] == 0x20 && (connack[3] == 0 || is_refused),
                            "{connack:02x?}"
                        );
                    }
                    last = Some(wire);
                }
                last.unwrap()
            })
        })
        .collect();
    let mut wires: Vec<_> = fights
        .into_iter()
        .map(|fight| fight.join().unwrap())
        .collect();
    let mut winner = broker.dial("lab");
    winner.send("10 .. s'MQTT' 05 00 0000 <11 000000ff> s'contested'");
    winner.expect("20 .. 01 00 *");
    for wire in &mut wires {
        wire.expect_end();
    }
    winner.expect_quiet();
    let mut writer = broker.dial("lab");
    connect(&mut writer, "writer");
    writer.send("32 .. s't' 0001 <> 'once'");
    writer.expect("40 .. 0001 *");
    winner.send("82 .. 0002 <> s'u' 00");
    let mut copies = 0;
    loop {
        let packet = winner.receive().unwrap();
        match packet[0] >> 4 {
            3 => copies += 1,
            9 => break,
            _ => panic!("{packet:02x?}"),
        }
    }
    assert!(copies <= 1, "{copies} copies");
}

#[test]
fn ses_05_timers_of_one_session_do_not_reach_the_next() {
    let broker = Broker::lab();
    let mut watch = broker.dial("lab");
    connect(&mut watch, "watch");
    watch.send("82 .. 0001 <> s'w' 00");
    watch.expect("90 .. 0001 <*> 00");
    // A session that would end, and a will that would be sent, ten seconds after the connection is lost: long enough for its owner on a busy machine.
    let mut first = broker.dial("lab");
    first.send("10 .. s'MQTT' 05 06 0000 <11 0000000a> s'device' <18 0000000a> s'w' s'first'");
    first.expect_connack(0);
    first.drop_connection();
    std::thread::sleep(Duration::from_millis(300));
    // Its owner comes back in time, with another expiry and another will.
    let mut second = broker.dial("lab");
    second.send("10 .. s'MQTT' 05 04 0000 <11 000000ff> s'device' <18 000000ff> s'w' s'second'");
    second.expect("20 .. 01 00 *");
    second.drop_connection();
    std::thread::sleep(Duration::from_millis(10_500));
    watch.expect_quiet();
    let mut third = broker.dial("lab");
    third.send("10 .. s'MQTT' 05 00 0000 <11 000000ff> s'device'");
    third.expect("20 .. 01 00 *");
    watch.expect_quiet();
}

#[test]
fn ses_06_identifiers_in_flight_are_not_given_again() {
    let broker = Broker::lab();
    let mut writer = broker.dial("lab");
    connect(&mut writer, "writer");
    let mut reader = broker.dial("lab");
    reader.send("10 .. s'MQTT' 05 00 0000 <11 000000ff> s'reader'");
    reader.expect_connack(0);
    reader.send("82 .. 0001 <> s't' 02");
    reader.expect("90 .. 0001 <*> 02");
    let mut publish = |from: u16, to: u16| {
        for id in from..=to {
            writer.send(&format!("34 .. s't' {id:04x} <> '{id}'"));
            writer.expect(&format!("50 .. {id:04x} *"));
            writer.send(&format!("62 02 {id:04x}"));
            writer.expect(&format!("70 .. {id:04x} *"));
        }
    };
    publish(1, 10);
    let mut first = Vec::new();
    for _ in 0..10 {
        first.push(Publish::parse(&reader.receive().unwrap(), 5));
    }
    // Half of them get as far as PUBREL.
    for message in first.iter().take(5) {
        let id = message.packet_identifier.unwrap();
        reader.send(&format!("50 02 {id:04x}"));
        reader.expect(&format!("62 .. {id:04x} *"));
    }
    reader.drop_connection();
    publish(11, 20);
    let mut reader = broker.dial("lab");
    reader.send("10 .. s'MQTT' 05 00 0000 <11 000000ff> s'reader'");
    reader.expect("20 .. 01 00 *");
    let (mut released, mut seen) = (BTreeSet::new(), Vec::new());
    while released.len() < 5 || seen.len() < 15 {
        let packet = reader.receive().unwrap();
        if packet[0] == 0x62 {
            released.insert(u16::from_be_bytes([packet[2], packet[3]]));
        } else {
            seen.push(Publish::parse(&packet, 5));
        }
    }
    let mut taken = released.clone();
    for message in &seen {
        let id = message.packet_identifier.unwrap();
        assert!(taken.insert(id), "{id} is in flight twice");
        let number: u16 = message.text().parse().unwrap();
        assert_eq!(message.dup, number <= 10, "{number}");
    }
    let texts: Vec<u16> = seen
        .iter()
        .map(|message| message.text().parse().unwrap())
        .collect();
    assert_eq!(texts, (6..=20).collect::<Vec<_>>());
}

#[test]
fn ses_07_client_text_is_no_path_and_never_runs_together() {
    let broker = Setup::new(LAB).start();
    let before = listing(broker.path());
    let names = [
        "../x",
        "../../etc/passwd",
        "/tmp/x",
        "a",
        "ab",
        "a/b",
        "A",
        "caf\u{e9}",
        "cafe\u{301}",
        "con",
        ".",
        "..",
        "a:b",
        "${x}",
        "%2e%2e",
    ];
    for (number, name) in names.iter().enumerate() {
        let mut wire = broker.dial("lab");
        wire.name = format!("client identifier {name:?}");
        wire.send(&format!("10 .. s'MQTT' 05 00 0000 <11 000000ff> s'{name}'"));
        wire.expect("20 .. 00 00 *");
        wire.send(&format!("82 .. 0001 <> s'own/{number}' 01"));
        wire.expect("90 .. 0001 <*> 01");
    }
    let mut writer = broker.dial("lab");
    connect(&mut writer, "writer");
    for number in 0..names.len() {
        writer.send(&format!("32 .. s'own/{number}' 0001 <> '{number}'"));
        writer.expect("40 .. 0001");
    }
    for (number, name) in names.iter().enumerate() {
        let mut wire = broker.dial("lab");
        wire.name = format!("client identifier {name:?}");
        wire.send(&format!("10 .. s'MQTT' 05 00 0000 <11 000000ff> s'{name}'"));
        wire.expect("20 .. 01 00 *");
        wire.expect(&format!("32 .. s'own/{number}' ?? ?? <> '{number}'"));
        wire.expect_quiet();
    }
    assert_eq!(before, listing(broker.path()), "client text became a file");
}

/// Names of files and folders beside the data folder.
fn listing(folder: &std::path::Path) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
