//! Rows TRN: framing, states, transports, slow peers.

use super::support::broker::{EVERY_TRANSPORT, LAB};
use super::support::websocket;
use super::support::{Broker, Setup, Wire, bytes};
use super::{as_many, connect, is_full, login, with_users};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SHORT_HANDSHAKE: &str = "
limits:
  connections:
    global: { rate: 100000/s, burst: 100000, max: 100000 }
    per_ip: { rate: 100000/s, burst: 100000, max: 100000 }
    per_user: { max: 10000 }
    handshakes: { concurrent: 256, timeout: 1s }
  state: { sessions_per_user: 10000 }
";

fn raw(broker: &Broker, listener: &str) -> TcpStream {
    let socket = TcpStream::connect(broker.address(listener)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
}

/// Whether the other side has ended the connection, waiting for it.
fn ends(socket: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            }
        }
    }
}

#[test]
fn trn_01_an_announced_length_reserves_nothing() {
    let broker = Setup::new(&format!("{LAB}{SHORT_HANDSHAKE}")).start();
    let (many, drips) = (as_many(1000, 100), as_many(1000, 300));
    let admitted = (0..many).map(|number| {
        let mut wire = broker.dial("lab");
        connect(&mut wire, &format!("c{number}"));
        wire
    });
    let mut admitted: Vec<Wire> = admitted.collect();
    let before = broker.memory();
    // Before CONNACK more than 16 KiB is refused at once, by the length alone.
    for _ in 0..many {
        let mut socket = raw(&broker, "lab");
        socket.write_all(&[0x10, 0xff, 0xff, 0xff, 0x7f]).unwrap();
        assert!(ends(&mut socket));
    }
    // A CONNECT that drips is closed at the deadline.
    let mut drips: Vec<TcpStream> = (0..drips).map(|_| raw(&broker, "lab")).collect();
    for socket in &mut drips {
        // One that had to give way to those behind it is closed already.
        let _ = socket.write_all(&bytes("10 ff7f 0004 'MQ'"));
    }
    // Afterwards 1 MiB may be announced, but is not set aside.
    for wire in &mut admitted {
        wire.send_bytes(&[0x30, 0x80, 0x80, 0x3c, 0]);
    }
    let growth = broker.memory().saturating_sub(before);
    let connections = u64::try_from(many + drips.len()).unwrap();
    assert!(
        growth < connections * 64,
        "{growth} KiB for {connections} connections"
    );
    let start = Instant::now();
    assert!(drips.iter_mut().all(ends));
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn trn_02_every_transport_reads_packets_cut_anywhere() {
    let broker = Setup::new(EVERY_TRANSPORT).start();
    let stream =
        bytes("10 10 s'MQTT' 04 02 0000 s'cuts' 82 08 0001 s'a/b' 00 30 07 s'a/b' 'hi' c0 00");
    let answer = bytes("20 02 00 00 90 03 0001 00");
    for listener in ["tcp", "tls", "ws", "wss"] {
        for at in 1..stream.len() {
            let mut wire = broker.dial_as_named(listener);
            wire.name = format!("{listener} cut at {at}");
            wire.send_bytes(&stream[..at]);
            wire.send_bytes(&stream[at..]);
            let mut seen = Vec::new();
            for _ in 0..4 {
                seen.push(
                    wire.receive()
                        .unwrap_or_else(|| panic!("{}: closed", wire.name)),
                );
            }
            assert!(
                seen.concat().starts_with(&answer),
                "{}: {seen:02x?}",
                wire.name
            );
            assert!(seen.contains(&bytes("30 07 s'a/b' 'hi'")) && seen.contains(&bytes("d0 00")));
        }
    }
}

#[test]
fn trn_03_hostile_names_are_refused_and_told_to_the_operator() {
    let broker = Broker::lab();
    let rows: [(&str, &str); 6] = [
        ("a NUL", "0003 'a' 00 'b'"),
        ("a surrogate", "0003 eda080"),
        ("an overlong slash", "0002 c0af"),
        ("a byte order mark cut short", "0002 efbb"),
        ("a code point too high", "0004 f4908080"),
        ("a stray continuation", "0001 80"),
    ];
    for (what, text) in rows {
        let mut wire = broker.dial("lab");
        wire.name = what.into();
        wire.send(&format!("10 .. s'MQTT' 05 02 0000 <> {text}"));
        wire.expect_end();
    }
    let line = broker.await_audit("ill-formed names", |line| {
        line["event"] == "screen" || line["event"] == "protocol"
    });
    assert!(
        !line["reason"].as_str().unwrap_or_default().is_empty(),
        "{line}"
    );
}

#[test]
fn trn_04_a_packet_in_the_wrong_state_closes() {
    let broker = Broker::lab();
    for first in 0..=0xff_u8 {
        if first == 0x10 {
            continue;
        }
        let mut wire = broker.dial("lab");
        wire.name = format!("{first:02x} first");
        wire.send_bytes(&[first, 2, 0, 1]);
        wire.expect_closed();
    }
    // What only servers send, or a second CONNECT, on an admitted connection.
    for packet in [
        "20 .. 00 00 <>",
        "90 .. 0001 <> 00",
        "b0 .. 0001 <> 00",
        "d0 00",
        "f0 00",
        "00 00",
        "10 .. s'MQTT' 05 02 0000 <> s'x'",
    ] {
        let mut wire = broker.dial("lab");
        wire.name = packet.into();
        connect(&mut wire, "wrong");
        wire.send(packet);
        wire.expect("e0 .. ?? *");
        wire.expect_closed();
    }
}

#[test]
fn trn_04_an_upgrade_that_nobody_configured_is_refused() {
    let broker = Setup::new(EVERY_TRANSPORT).start();
    let host = format!("localhost:{}", broker.port("ws"));
    let good = websocket::request("/mqtt", &host, "");
    let rows = [
        ("another path", good.replace("/mqtt HTTP", "/other HTTP")),
        (
            "another subprotocol",
            good.replace("Protocol: mqtt", "Protocol: stomp"),
        ),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0")),
        ("no upgrade", good.replace("Upgrade: websocket\r\n", "")),
        ("a POST", good.replace("GET", "POST")),
        ("an old version", good.replace("Version: 13", "Version: 8")),
    ];
    for (what, request) in rows {
        let mut socket = raw(&broker, "ws");
        socket.write_all(request.as_bytes()).unwrap();
        let head = websocket::read_head(&mut socket).unwrap();
        assert!(!head.starts_with("HTTP/1.1 101"), "{what}: {head}");
    }
    // MQTT on a WebSocket port, and HTTP on an MQTT port.
    let mut socket = raw(&broker, "ws");
    socket
        .write_all(&bytes("10 .. s'MQTT' 04 02 0000 s'a'"))
        .unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(&[0x20]), "{answer:02x?}");
    let mut socket = raw(&broker, "tcp");
    socket.write_all(good.as_bytes()).unwrap();
    assert!(ends(&mut socket));
}

/// Every transport with the same users, rights and limits.
fn matrix() -> Setup {
    let listeners = EVERY_TRANSPORT.replace("[anonymous]", "[password]");
    with_users(&listeners).policy(
        "
version: 1
policies:
  - id: own
    who: { any: true }
    allow: [{ publish: 'own/${username}' }, { subscribe: 'own/${username}' }]
",
    )
}

#[test]
fn trn_08_admission_is_the_same_on_every_transport() {
    let broker = matrix().start();
    for listener in ["tcp", "tls", "ws", "wss"] {
        let refused = [
            ("alice", "wrong", 0x86),
            ("nobody", "right", 0x86),
            ("", "", 0x86),
        ];
        for (user, password, code) in refused {
            let mut wire = broker.dial_as_named(listener);
            wire.name = format!("{listener} {user} {password}");
            login(&mut wire, "x", true, user, password);
            wire.expect_connack(code);
            wire.expect_closed();
        }
        let mut wire = broker.dial_as_named(listener);
        wire.name = listener.into();
        login(&mut wire, listener, true, "alice", "right");
        wire.expect_connack(0);
        wire.send("82 .. 0001 <> s'own/alice' 00 s'own/bob' 00 s'#' 00");
        wire.expect("90 .. 0001 <*> 00 87 87");
        wire.send("32 .. s'own/bob' 0002 <> 'x'");
        wire.expect("40 .. 0002 87 *");
        wire.send("30 .. s'own/alice' <> 'x'");
        wire.expect("30 .. s'own/alice' <> 'x'");
        wire.send("10 .. s'MQTT' 05 02 0000 <> s'again'");
        wire.expect_then_closed("e0 .. 82 *");
    }
}

#[test]
fn trn_08_one_user_has_one_budget_over_all_transports() {
    let setup = matrix().with(
        "
limits:
  connections:
    global: { rate: 100000/s, burst: 100000, max: 100000 }
    per_ip: { rate: 100000/s, burst: 100000, max: 100000 }
    per_user: { max: 3 }
",
    );
    let broker = setup.start();
    let mut held = Vec::new();
    for listener in ["tcp", "tls", "ws"] {
        let mut wire = broker.dial_as_named(listener);
        login(&mut wire, listener, true, "alice", "right");
        wire.expect_connack(0);
        held.push(wire);
    }
    let mut fourth = broker.dial_as_named("wss");
    login(&mut fourth, "fourth", true, "alice", "right");
    fourth.expect_connack(0x97);
    fourth.expect_closed();
    let mut other = broker.dial_as_named("wss");
    login(&mut other, "other", true, "bob", "right");
    other.expect_connack(0);
}

/// For handshakes under way in TRN-10.
const PLACES: usize = 64;

#[test]
fn trn_10_stalled_peers_do_not_hold_the_doors() {
    let listeners = EVERY_TRANSPORT.replace("authenticate", "max_connections: 5000, authenticate");
    let limits = SHORT_HANDSHAKE.replace(
        "concurrent: 256, timeout: 1s",
        &format!("concurrent: {PLACES}, timeout: 20s"),
    );
    let proxy = "  proxy: { bind: '127.0.0.1:0', transport: tcp, proxy_protocol: { trusted: [127.0.0.0/8] }, max_connections: 5000, authenticate: [anonymous] }\n";
    let broker = Setup::new(&format!("{listeners}{proxy}{limits}")).start();
    let mut steady = broker.dial("tcp");
    connect(&mut steady, "steady");
    let half_upgrade = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    let stages: [(&str, &str, Vec<u8>); 6] = [
        ("nothing", "tcp", Vec::new()),
        ("half a CONNECT", "tcp", bytes("10 20 0004 'MQ'")),
        ("half a PROXY header", "proxy", b"PROXY TCP4 192.0".to_vec()),
        ("half a ClientHello", "tls", vec![0x16, 3, 1, 2, 0, 1, 0]),
        ("half an upgrade", "ws", half_upgrade),
        ("half a ClientHello of a WebSocket", "wss", vec![0x16, 3, 1]),
    ];
    let (peers, attempts) = (as_many(2000, 300), as_many(100, 5));
    for (stage, listener, start) in stages {
        let mut stalled: Vec<TcpStream> = (0..peers)
            .map(|_| {
                let mut socket = raw(&broker, listener);
                let _ = socket.write_all(&start);
                socket
            })
            .collect();
        // All but those with a place had to give way: from here on nobody new pushes.
        for socket in stalled.iter_mut().take(peers - PLACES) {
            assert!(ends(socket), "{stage}: still there");
        }
        let mut slowest = Vec::new();
        for attempt in 0..attempts {
            let begin = Instant::now();
            let mut good = broker.dial("tcp");
            good.name = format!("{stage}, attempt {attempt}");
            connect(&mut good, "good");
            good.send("32 .. s't' 0001 <> 'x'");
            good.expect("40 .. 0001 *");
            slowest.push(begin.elapsed());
        }
        slowest.sort();
        let (rank, most) = if is_full() {
            (attempts - 2, Duration::from_millis(500))
        } else {
            (attempts - 1, Duration::from_secs(30))
        };
        assert!(slowest[rank] < most, "{stage}: {slowest:?}");
        steady.expect_quiet();
        drop(stalled);
    }
}

#[test]
fn trn_13_localhost_has_no_rights_of_its_own() {
    let broker = Setup::new(LAB)
        .policy("version: 1\npolicies:\n  - { id: nobody, who: { username: someone }, allow: [{ publish: '#' }, { subscribe: '#' }] }\n")
        .start();
    let mut wire = broker.dial("lab");
    connect(&mut wire, "local");
    wire.send("82 .. 0001 <> s't' 00 s'$SYS/#' 00");
    wire.expect("90 .. 0001 <*> 87 87");
    wire.send("32 .. s't' 0002 <> 'x'");
    wire.expect("40 .. 0002 87 *");
}

#[test]
fn trn_14_a_peer_that_does_not_read_is_not_hoarded_for() {
    let broker = Setup::lab()
        .policy("version: 1\npolicies:\n  - { id: some, who: { any: true }, allow: [{ publish: t }] }\n")
        .start();
    let mut neighbour = broker.dial("lab");
    connect(&mut neighbour, "neighbour");
    let mut deaf = broker.dial("lab");
    connect(&mut deaf, "deaf");
    let before = broker.memory();
    deaf.socket()
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let pings = [0xc0, 0].repeat(32768);
    let (taken, refused) = ("32 .. s't' 0001 <> 'x'", "32 .. s'refused' 0002 <> 'x'");
    let publishes = [bytes(taken), bytes(refused)].concat().repeat(4096);
    let seconds = if is_full() { 60 } else { 3 };
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut socket = deaf.socket();
    // Until the broker stops reading: then the kernel's buffers are full and writing times out.
    while Instant::now() < end
        && socket.write_all(&pings).is_ok()
        && socket.write_all(&publishes).is_ok()
    {
        neighbour.expect_quiet();
    }
    let growth = broker.memory().saturating_sub(before);
    assert!(
        growth < 20 * 1024,
        "{growth} KiB for one peer that does not read"
    );
    let begin = Instant::now();
    neighbour.expect_quiet();
    assert!(begin.elapsed() < Duration::from_secs(30));
    if is_full() {
        // Its deadline for taking what waits is half a minute.
        std::thread::sleep(Duration::from_secs(30));
        broker.await_audit("the end of the deaf one", |line| {
            line["client_id"] == "deaf"
                && line["reason"]
                    .as_str()
                    .is_some_and(|reason| reason.contains("did not read"))
        });
        neighbour.expect_quiet();
    }
}

#[test]
fn trn_14_a_client_that_is_paused_costs_nothing_and_is_not_called_silent() {
    const SLOW: &str = "
limits: { messages: { per_client: { rate: 10/s, burst: 10, when_exceeded: pause } } }
";
    let broker = Setup::new(&format!("{LAB}{SLOW}")).start();
    let mut wire = broker.dial("lab");
    wire.send("10 .. s'MQTT' 05 02 0001 <> s'paused'");
    wire.expect_connack(0);
    wire.send_bytes(&bytes("30 .. s't' <> 'x'").repeat(4096));
    let (begin, before) = (Instant::now(), broker.processor_time());
    // Far past one and a half times its keep alive, and far from the end of the pause.
    std::thread::sleep(Duration::from_secs(6));
    let used = broker.processor_time().saturating_sub(before);
    assert!(used * 4 < begin.elapsed(), "{used:?} for one that waits");
    assert!(
        wire.receive_within(Duration::from_millis(1)).is_none(),
        "closed"
    );
}

#[test]
fn trn_14_a_slow_reader_that_pings_is_not_called_silent() {
    const MESSAGES: usize = 32;
    let broker = Setup::lab().start();
    let mut slow = broker.dial("lab");
    slow.send("10 .. s'MQTT' 05 02 0004 <> s'slow'");
    slow.expect_connack(0);
    slow.send("82 .. 0001 <> s't' 00");
    slow.expect("90 .. 0001 <*> 00");
    let mut publisher = broker.dial("lab");
    connect(&mut publisher, "publisher");
    // More than the kernel takes for a peer: the broker must stop reading this one.
    for _ in 0..MESSAGES {
        publisher.send("30 .. s't' <> 'x'*1000000");
    }
    publisher.expect_quiet();
    let end = Instant::now() + Duration::from_secs(8);
    let mut pings = 0;
    while Instant::now() < end {
        slow.send("c0 00");
        pings += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    let (mut messages, mut answers) = (0, 0);
    while messages < MESSAGES || answers < pings {
        let packet = slow
            .receive()
            .unwrap_or_else(|| panic!("closed after {messages} messages, {answers} answers"));
        match packet[0] {
            0x30 => messages += 1,
            0xd0 => answers += 1,
            other => panic!(
                "{other:02x} after {messages} messages: {:02x?}",
                packet.get(2)
            ),
        }
        if messages < MESSAGES {
            slow.send("c0 00");
            pings += 1;
        }
    }
}

#[test]
fn trn_15_noise_ends_its_connection_and_nothing_else() {
    let mut broker = Setup::new(EVERY_TRANSPORT).start();
    let mut neighbour = broker.dial("tcp");
    connect(&mut neighbour, "neighbour");
    // A small generator of our own: the same noise each time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    for round in 0..300 {
        let listener = ["tcp", "tls", "ws", "wss"][round % 4];
        let mut socket = raw(&broker, listener);
        let length = usize::from(noise()[0]) % 24 + 1;
        for _ in 0..length {
            let _ = socket.write_all(&noise());
        }
        // And behind a good CONNECT.
        let mut wire = broker.dial("tcp");
        connect(&mut wire, "noisy");
        for _ in 0..length {
            wire.send_bytes(&noise());
        }
    }
    neighbour.expect_quiet();
    assert!(broker.is_running());
    assert!(!broker.stderr().contains("panicked"), "{}", broker.stderr());
}
