//! What a conversation in text cannot show: other transports, credentials, files, many packets, the broker's own topics.

use crate::support::broker::{EVERY_TRANSPORT, LAB, wardgate};
use crate::support::packet::{Publish, auth_data, connack_properties, find};
use crate::support::scram::Scram;
use crate::support::websocket::{self, BINARY, TEXT};
use crate::support::{Broker, Setup, Transport, Wire, bytes};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

const V5: u8 = 5;
const V3: u8 = 4;

fn connect(wire: &mut Wire, version: u8, id: &str) {
    let properties = if version == V5 { "<>" } else { "" };
    wire.send(&format!(
        "10 .. s'MQTT' {version:02x} 02 0000 {properties} s'{id}'"
    ));
    wire.expect_connack(0);
}

fn login(wire: &mut Wire, version: u8, user: &str, password: &str) {
    let properties = if version == V5 { "<>" } else { "" };
    wire.send(&format!(
        "10 .. s'MQTT' {version:02x} c2 0000 {properties} s'{user}' s'{user}' s'{password}'"
    ));
}

/// Listeners `lab` with this method and a user `alice` whose password is `right`.
fn with_users(listeners: &str) -> Setup {
    let setup = Setup::new(listeners).with("authentication: { password: { file: users.yaml } }\n");
    add_user(&setup, "alice");
    add_user(&setup, "bob");
    setup
}

fn add_user(setup: &Setup, name: &str) {
    let mut child = wardgate()
        .args(["user", "add", "--password-stdin", "--file"])
        .arg(setup.path().join("users.yaml"))
        .arg(name)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"right\n").unwrap();
    assert!(child.wait().unwrap().success());
}

const WITH_PASSWORD: &str = "
listeners:
  lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password] }
";

/// [MQTT-3.2.2-16] [MQTT-3.1.3-6] [MQTT3-3.1.3-6]
#[test]
fn assigned_client_identifiers_differ() {
    let broker = Broker::lab();
    let mut names = BTreeSet::new();
    let mut wires = Vec::new();
    for _ in 0..20 {
        let mut wire = broker.dial("lab");
        wire.send("10 .. s'MQTT' 05 02 0000 <> s''");
        let connack = wire.expect_connack(0);
        names.insert(find(&connack_properties(&connack), 0x12).unwrap().to_vec());
        wires.push(wire);
    }
    assert_eq!(names.len(), 20);
    for mut wire in wires {
        wire.expect_quiet();
    }
}

/// [MQTT-3.1.4-2] [MQTT-3.2.2-7] [MQTT3-3.2.2-5]
#[test]
fn a_wrong_password_is_refused() {
    let broker = with_users(WITH_PASSWORD).start();
    let rows = [
        (V5, "alice", "right", 0x00),
        (V5, "alice", "wrong", 0x86),
        (V5, "nobody", "right", 0x86),
        (V3, "alice", "right", 0),
        (V3, "alice", "wrong", 4),
        (V3, "nobody", "right", 4),
    ];
    for (version, user, password, code) in rows {
        let mut wire = broker.dial("lab");
        wire.name = format!("{user} {password} v{version}");
        login(&mut wire, version, user, password);
        wire.expect_connack(code);
        if code == 0 {
            wire.expect_quiet();
        } else {
            wire.expect_closed();
        }
    }
}

/// [MQTT-3.1.2-17] [MQTT-3.1.2-19] [MQTT3-3.1.2-19] [MQTT3-3.1.2-21]
#[test]
fn no_credentials_are_no_login() {
    let broker = with_users(WITH_PASSWORD).start();
    for (connect, code) in [
        ("10 .. s'MQTT' 05 02 0000 <> s'a'", 0x87),
        ("10 .. s'MQTT' 05 82 0000 <> s'a' s'alice'", 0x86),
        ("10 .. s'MQTT' 05 c2 0000 <> s'a' s'alice' s''", 0x86),
    ] {
        let mut wire = broker.dial("lab");
        wire.send(connect);
        let connack = wire.expect("20 .. 00 ?? *");
        assert!(
            connack[3] == code || matches!(connack[3], 0x86 | 0x87),
            "{connect}: {connack:02x?}"
        );
        wire.expect_closed();
    }
}

/// [MQTT-4.2.0-1] [MQTT3-7.1.1-1] [MQTT3-7.0.0-2]
#[test]
fn the_same_on_every_transport() {
    let broker = Setup::new(EVERY_TRANSPORT).start();
    let mut listener = broker.dial_as_named("tcp");
    connect(&mut listener, V5, "listener");
    listener.send("82 .. 0001 <> s'from/+' 01");
    listener.expect("90 .. 0001 <*> 01");
    for transport in ["tcp", "tls", "ws", "wss"] {
        for version in [V3, V5] {
            let properties = if version == V5 { "<>" } else { "" };
            let mut wire = broker.dial_as_named(transport);
            wire.name = format!("{transport} v{version}");
            connect(&mut wire, version, transport);
            wire.send(&format!("82 .. 0001 {properties} s'from/{transport}' 02"));
            wire.expect("90 .. 0001 *");
            wire.send(&format!(
                "34 .. s'from/{transport}' 0007 {properties} 'x'*70000"
            ));
            wire.expect("50 .. 0007");
            wire.send("62 02 0007");
            let (mut completed, mut delivered) = (false, false);
            while !(completed && delivered) {
                let packet = wire.receive().expect("two packets");
                completed |= packet[0] == 0x70;
                if packet[0] >> 4 == 3 {
                    let publish = Publish::parse(&packet, version);
                    assert_eq!((publish.qos, publish.payload.len()), (2, 70000));
                    delivered = true;
                }
            }
            let seen = Publish::parse(&listener.receive().unwrap(), V5);
            assert_eq!(
                (seen.topic.as_str(), seen.qos, seen.payload.len()),
                (&*format!("from/{transport}"), 1, 70000)
            );
            let id = seen.packet_identifier.unwrap();
            listener.send(&format!("40 02 {id:04x}"));
        }
    }
}

fn upgraded(broker: &Broker) -> TcpStream {
    let mut socket = TcpStream::connect(broker.address("ws")).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let host = format!("localhost:{}", broker.port("ws"));
    socket
        .write_all(websocket::request("/mqtt", &host, "").as_bytes())
        .unwrap();
    let head = websocket::read_head(&mut socket).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // The one that was offered. [MQTT-6.0.0-4]
    assert!(
        head.to_ascii_lowercase()
            .contains("sec-websocket-protocol: mqtt\r\n"),
        "{head}"
    );
    socket
}

/// [MQTT-6.0.0-2] [MQTT-6.0.0-4] [MQTT3-6.0.0-2] [MQTT3-6.0.0-4]
#[test]
fn websocket_frames_may_cut_packets_anywhere() {
    let broker = Setup::new(EVERY_TRANSPORT).start();
    let packets = bytes("10 10 s'MQTT' 04 02 0000 s'abcd' c000 c000");
    for size in [1, 2, 3, packets.len()] {
        let mut socket = upgraded(&broker);
        for piece in packets.chunks(size) {
            socket
                .write_all(&websocket::frame(BINARY, true, piece))
                .unwrap();
        }
        let mut answer = Vec::new();
        while !answer.ends_with(&[0xd0, 0])
            || answer.iter().filter(|byte| **byte == 0xd0).count() < 2
        {
            let mut buffer = [0; 256];
            let read = socket.read(&mut buffer).unwrap();
            assert!(read > 0, "closed after {answer:02x?}");
            answer.extend_from_slice(&buffer[..read]);
        }
    }
}

/// [MQTT-6.0.0-1] [MQTT3-6.0.0-1]
#[test]
fn a_text_frame_closes() {
    let broker = Setup::new(EVERY_TRANSPORT).start();
    let mut socket = upgraded(&broker);
    let connect = bytes("10 0d s'MQTT' 04 02 0000 s'a'");
    socket
        .write_all(&websocket::frame(TEXT, true, &connect))
        .unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    assert!(
        !rest.contains(&0x20),
        "a CONNACK to a text frame: {rest:02x?}"
    );
}

/// [MQTT3-3.3.5-2]
#[test]
fn a_refused_publish_is_acknowledged_and_dropped_in_version_3_and_told_in_version_5() {
    let policy = "
version: 1
policies:
  - id: narrow
    who: { any: true }
    allow: [{ publish: 'free/#' }, { subscribe: '#' }]
    deny: [{ subscribe: 'secret/#' }]
";
    let broker = Setup::new(LAB).policy(policy).start();
    let mut watch = broker.dial("lab");
    connect(&mut watch, V5, "watch");
    watch.send("82 .. 0001 <> s'#' 00 s'secret/x' 00");
    watch.expect("90 .. 0001 <*> 00 87");

    let mut old = broker.dial("lab");
    connect(&mut old, V3, "old");
    old.send("32 .. s'closed' 0001 'x'");
    old.expect("40 02 0001");
    old.send("34 .. s'closed' 0002 'x'");
    old.expect("50 02 0002");
    old.send("62 02 0002");
    old.expect("70 02 0002");
    old.send("82 .. 0003 s'secret/x' 00");
    old.expect("90 03 0003 80");

    let mut new = broker.dial("lab");
    connect(&mut new, V5, "new");
    new.send("32 .. s'closed' 0001 <> 'x'");
    new.expect("40 .. 0001 87 *");
    new.send("34 .. s'closed' 0002 <> 'x'");
    new.expect("50 .. 0002 87 *");
    new.send("32 .. s'free/1' 0003 <> 'x'");
    new.expect("40 .. 0003");
    watch.expect("30 .. s'free/1' <> 'x'");
    watch.expect_quiet();
}

/// Contract section 5: a will that may not be published refuses the CONNECT.
#[test]
fn a_refused_will_refuses_the_connection() {
    let policy = "
version: 1
policies:
  - { id: narrow, who: { any: true }, allow: [{ publish: 'free/#' }] }
";
    let broker = Setup::new(LAB).policy(policy).start();
    for (connect, code) in [
        ("10 .. s'MQTT' 05 06 0000 <> s'a' <> s'closed' s'x'", 0x87),
        ("10 .. s'MQTT' 04 06 0000 s'a' s'closed' s'x'", 5),
        ("10 .. s'MQTT' 05 06 0000 <> s'a' <> s'free/1' s'x'", 0),
    ] {
        let mut wire = broker.dial("lab");
        wire.send(connect);
        wire.expect_connack(code);
    }
}

/// The names that Mosquitto's exporters read.
#[test]
fn the_broker_tells_about_itself() {
    let broker = Setup::lab().with("mqtt: { sys_interval: 1s }\n").start();
    let mut wire = broker.dial("lab");
    connect(&mut wire, V5, "exporter");
    wire.send("82 .. 0001 <> s'$SYS/#' 00 s'own' 00");
    wire.expect("90 .. 0001 <*> 00 00");
    wire.send("30 .. s'own' <> 'seventeen bytes !'");
    let wanted = [
        "$SYS/broker/version",
        "$SYS/broker/uptime",
        "$SYS/broker/clients/total",
        "$SYS/broker/clients/connected",
        "$SYS/broker/clients/disconnected",
        "$SYS/broker/messages/received",
        "$SYS/broker/messages/sent",
        "$SYS/broker/messages/stored",
        "$SYS/broker/publish/messages/received",
        "$SYS/broker/publish/messages/sent",
        "$SYS/broker/publish/messages/dropped",
        "$SYS/broker/publish/bytes/received",
        "$SYS/broker/publish/bytes/sent",
        "$SYS/broker/load/connections/1min",
        "$SYS/broker/bytes/received",
        "$SYS/broker/bytes/sent",
        "$SYS/broker/subscriptions/count",
        "$SYS/broker/retained messages/count",
    ];
    let mut missing: BTreeSet<&str> = wanted.into();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !missing.is_empty() && Instant::now() < deadline {
        if let Some(Some(packet)) = wire.receive_within(Duration::from_secs(2)) {
            let publish = Publish::parse(&packet, V5);
            let (topic, value) = (publish.topic.as_str(), publish.text());
            // Payloads alone, and those of $SYS itself beside this client's.
            let is_counted = match topic {
                "$SYS/broker/publish/bytes/received" => value == "17",
                "$SYS/broker/publish/bytes/sent" => value.parse::<u64>().unwrap() > 17,
                "$SYS/broker/load/connections/1min" => value != "0.00",
                _ => true,
            };
            if is_counted {
                missing.remove(topic);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// `mqtt.reveal_decision_id`: whatever a policy refuses names its decision in the v5 Reason String, which leads to the audit line. [MQTT-3.1.2-29] [MQTT-3.2.2-19] [MQTT-3.9.2-1]
#[test]
fn a_refusal_reveals_its_decision_where_the_settings_say_so() {
    const POLICY: &str = "version: 1\npolicies:\n  - id: some\n    who: { any: true }\n    allow: [{ publish: 'yes' }, { subscribe: 'yes' }]\n";
    let packets = [
        (
            "",
            "82 .. 0001 <> s'yes' 00 s'no' 00 s'nor' 00",
            "subscribe",
        ),
        ("", "32 .. s'no' 0001 <> 'x'", "publish"),
        ("w", "", "publish"),
    ];
    for reveals in [true, false] {
        let settings = format!("mqtt: {{ reveal_decision_id: {reveals} }}\n");
        let broker = Setup::lab().with(&settings).policy(POLICY).start();
        for (will, packet, action) in packets {
            // Asks for it, does not, and has no room for it.
            for (asks, properties) in [(true, ""), (false, "17 00"), (false, "27 00000014")] {
                let mut wire = broker.dial("lab");
                wire.name = format!("{reveals} {action} {properties}");
                let answer = if will.is_empty() {
                    wire.send(&format!("10 .. s'MQTT' 05 02 0000 <{properties}> s'c'"));
                    wire.expect_connack(0);
                    wire.send(packet);
                    wire.receive().unwrap()
                } else {
                    wire.send(&format!(
                        "10 .. s'MQTT' 05 06 0000 <{properties}> s'c' <> s'no' s'gone'"
                    ));
                    wire.receive().unwrap()
                };
                let text = String::from_utf8_lossy(&answer).into_owned();
                let names: Vec<&str> = text
                    .split("decision ")
                    .nth(1)
                    .map(|names| names.split(", ").collect())
                    .unwrap_or_default();
                // A CONNACK may explain itself whatever was asked for. MQTT 5.0 section 3.1.2.11.7
                let expected = match (reveals, asks || (!will.is_empty() && properties == "17 00"))
                {
                    (true, true) if packet.starts_with("82") => 2,
                    (true, true) => 1,
                    (_, _) => 0,
                };
                assert_eq!(names.len(), expected, "{}: {text:?}", wire.name);
                for name in names {
                    let name: String = name.chars().take_while(char::is_ascii_hexdigit).collect();
                    broker.await_audit(&name, |line| line["decision"] == name.as_str());
                }
            }
        }
    }
}

/// [MQTT-3.15.2-2] [MQTT-3.15.2-3] [MQTT-4.12.0-2] [MQTT-4.12.0-5] [MQTT-4.12.1-2]
#[test]
fn an_exchange_of_auth_packets_and_another_on_the_living_connection() {
    const SCRAM: &str = "SCRAM-SHA-256";
    let broker = with_users(
        "\nlisteners: { lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [scram] } }\n",
    )
    .start();
    // Method and data, and nothing that could make it too long for anybody.
    let challenge = |wire: &mut Wire, code: u8| {
        let packet = wire.expect(&format!("f0 .. {code:02x} <*>"));
        let (_, used) = crate::support::notation::variable_byte_integer(&packet[1..]).unwrap();
        let found = crate::support::packet::properties(&mut &packet[1 + used + 1..]);
        let identifiers: BTreeSet<u8> = found.iter().map(|(identifier, _)| *identifier).collect();
        assert_eq!(identifiers, [0x15, 0x16].into(), "{packet:02x?}");
        assert!(find(&found, 0x15).is_some_and(|method| method.ends_with(SCRAM.as_bytes())));
        String::from_utf8(auth_data(&packet)).unwrap()
    };
    for (again, ends) in [("right", false), ("wrong", true)] {
        let mut wire = broker.dial("lab");
        let scram = Scram::new("alice", "right");
        let first = scram.first();
        wire.send(&format!(
            "10 .. s'MQTT' 05 02 0000 <15 s'{SCRAM}' 16 s'{first}'> s'c'"
        ));
        let (last, _) = scram.answer(&challenge(&mut wire, 0x18));
        wire.send(&format!("f0 .. 18 <15 s'{SCRAM}' 16 s'{last}'>"));
        let connack = wire.expect_connack(0);
        let found = connack_properties(&connack);
        assert!(find(&found, 0x15).is_some_and(|method| method.ends_with(SCRAM.as_bytes())));
        let scram = Scram::new("alice", again);
        let first = scram.first();
        wire.send(&format!("f0 .. 19 <15 s'{SCRAM}' 16 s'{first}'>"));
        let (last, server) = scram.answer(&challenge(&mut wire, 0x18));
        wire.send(&format!("f0 .. 18 <15 s'{SCRAM}' 16 s'{last}'>"));
        if ends {
            wire.expect_then_closed("e0 .. 87 *");
        } else {
            assert_eq!(challenge(&mut wire, 0x00), server);
        }
    }
}

/// `mqtt.max_inflight`: what a version 3 client cannot ask for is bounded all the same.
#[test]
fn a_version_3_client_has_a_window_too() {
    let broker = Setup::lab().with("mqtt: { max_inflight: 3 }\n").start();
    let (mut reader, mut writer) = (broker.dial("lab"), broker.dial("lab"));
    connect(&mut reader, V3, "reader");
    connect(&mut writer, V3, "writer");
    reader.send("82 .. 0001 s't' 01");
    reader.expect("90 03 0001 01");
    for id in 1..=10 {
        writer.send(&format!("32 .. s't' {id:04x} 'x'"));
        writer.expect(&format!("40 02 {id:04x}"));
    }
    for id in 1..=3 {
        reader.expect(&format!("32 .. s't' {id:04x} 'x'"));
    }
    reader.expect_quiet();
    reader.send("40 02 0001");
    reader.expect("32 .. s't' ?? ?? 'x'");
    reader.expect_quiet();
}

/// `mqtt.queue`: a full queue drops the oldest, or the newest where it is told to.
#[test]
fn a_full_queue_drops_as_configured() {
    for (when_full, kept) in [
        ("drop_oldest", ["3", "4", "5"]),
        ("drop_newest", ["1", "2", "3"]),
    ] {
        let queue =
            format!("mqtt: {{ queue: {{ messages: 3, bytes: 1MiB, when_full: {when_full} }} }}\n");
        let broker = Setup::lab().with(&queue).start();
        let mut reader = broker.dial("lab");
        reader.send("10 .. s'MQTT' 04 00 0000 s'reader'");
        reader.expect_connack(0);
        reader.send("82 .. 0001 s't' 01");
        reader.expect("90 03 0001 01");
        reader.send("e0 00");
        reader.expect_closed();
        let mut writer = broker.dial("lab");
        connect(&mut writer, V3, "writer");
        for id in 1..=5 {
            writer.send(&format!("32 .. s't' {id:04x} '{id}'"));
            writer.expect(&format!("40 02 {id:04x}"));
        }
        let mut reader = broker.dial("lab");
        reader.send("10 .. s'MQTT' 04 00 0000 s'reader'");
        reader.expect("20 02 01 00");
        for text in kept {
            reader.expect(&format!("32 .. s't' ?? ?? '{text}'"));
        }
        reader.expect_quiet();
    }
}

/// Contract section 1: on SIGTERM an MQTT 5 client is told 0x8B, and the process ends well.
#[test]
fn a_graceful_stop_says_goodbye() {
    let mut broker = Broker::lab();
    let (mut new, mut old) = (broker.dial("lab"), broker.dial("lab"));
    connect(&mut new, V5, "new");
    connect(&mut old, V3, "old");
    broker.signal("TERM");
    new.expect_then_closed("e0 .. 8b *");
    old.expect_closed();
    assert_eq!(broker.await_end().code(), Some(0));
}

/// Every packet of a long burst arrives once and in order, at every QoS.
#[test]
fn a_burst_arrives_in_order() {
    let broker = Setup::lab()
        .with("mqtt: { receive_maximum: 2000 }\n")
        .start();
    for qos in 0..=2_u8 {
        let (mut reader, mut writer) = (broker.dial("lab"), broker.dial("lab"));
        connect(&mut reader, V5, "reader");
        connect(&mut writer, V5, "writer");
        reader.send(&format!("82 .. 0001 <> s'q{qos}' {qos:02x}"));
        reader.expect("90 .. 0001 <*> ??");
        let count = 1000_u16;
        let mut burst = Vec::new();
        for number in 1..=count {
            let id = if qos == 0 {
                String::new()
            } else {
                format!("{number:04x}")
            };
            burst.extend(bytes(&format!(
                "{:02x} .. s'q{qos}' {id} <> '{number}'",
                0x30 | (qos << 1)
            )));
            if qos == 2 {
                burst.extend(bytes(&format!("62 02 {number:04x}")));
            }
        }
        let mut sender = writer.socket().try_clone().unwrap();
        let sending = std::thread::spawn(move || sender.write_all(&burst).unwrap());
        let mut next = 1;
        while next <= count {
            let packet = reader.receive().expect("more messages");
            match packet[0] >> 4 {
                3 => {
                    let publish = Publish::parse(&packet, V5);
                    assert_eq!(
                        (publish.text(), publish.qos, publish.dup),
                        (next.to_string().as_str(), qos, false)
                    );
                    next += 1;
                    if let Some(id) = publish.packet_identifier {
                        reader.send(&format!(
                            "{} 02 {id:04x}",
                            if qos == 1 { "40" } else { "50" }
                        ));
                    }
                }
                6 => reader.send_bytes(&[0x70, 2, packet[2], packet[3]]),
                _ => panic!("{packet:02x?}"),
            }
        }
        sending.join().unwrap();
    }
}

/// One subscriber that does not read holds nobody up.
#[test]
fn a_slow_reader_holds_nobody_up() {
    let broker = Broker::lab();
    let (mut slow, mut quick, mut writer) =
        (broker.dial("lab"), broker.dial("lab"), broker.dial("lab"));
    for (wire, name) in [
        (&mut slow, "slow"),
        (&mut quick, "quick"),
        (&mut writer, "writer"),
    ] {
        connect(wire, V5, name);
    }
    for wire in [&mut slow, &mut quick] {
        wire.send("82 .. 0001 <> s't' 00");
        wire.expect("90 .. 0001 <*> 00");
    }
    for _ in 0..200 {
        writer.send("30 .. s't' <> 'p'*65536");
        quick.expect("30 .. s't' <> 'p'*65536");
    }
    writer.expect_quiet();
}

/// The plain transport is one among equals: a client may speak over one and listen over another.
#[test]
fn a_session_moves_between_transports() {
    let broker = Setup::new(EVERY_TRANSPORT).start();
    let mut wire = broker.dial_as_named("wss");
    wire.send("10 .. s'MQTT' 05 00 0000 <11 000000ff> s'mover'");
    wire.expect_connack(0);
    wire.send("82 .. 0001 <> s't' 01");
    wire.expect("90 .. 0001 <*> 01");
    let mut other = Wire::dial(broker.address("tcp"), &Transport::Tcp);
    other.send("10 .. s'MQTT' 05 00 0000 <11 000000ff> s'mover'");
    other.expect("20 .. 01 00 *");
    wire.expect_then_closed("e0 .. 8e *");
    other.send("32 .. s't' 0001 <> 'x'");
    let (first, second) = (other.receive().unwrap(), other.receive().unwrap());
    assert!([first[0], second[0]].contains(&0x40) && [first[0], second[0]].contains(&0x32));
}
