//! Who is there: proofs by exchange, and what becomes of a session whose proof is given anew.

use super::support::packet::auth_data;
use super::support::scram::Scram;
use super::support::{Broker, Wire};
use super::with_users;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BY_SCRAM: &str = "\nlisteners: { lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [scram, password] } }\n";

/// CONNECT that names a method and carries its first data.
pub(super) fn demand(wire: &mut Wire, method: &str, data: &str) {
    wire.send(&format!(
        "10 .. s'MQTT' 05 02 0000 <15 s'{method}' 16 s'{data}'> s'c'"
    ));
}

pub(super) fn auth(wire: &mut Wire, code: u8, method: &str, data: &str) {
    wire.send(&format!("f0 .. {code:02x} <15 s'{method}' 16 s'{data}'>"));
}

/// The data of an AUTH with this reason code.
fn challenge(wire: &mut Wire, code: u8) -> String {
    let packet = wire.expect(&format!("f0 .. {code:02x} <*>"));
    String::from_utf8(auth_data(&packet)).unwrap()
}

/// Logs in by an exchange, as far as CONNACK.
fn exchange(broker: &Broker, username: &str, password: &str) -> (Wire, String) {
    let scram = Scram::new(username, password);
    let mut wire = broker.dial("lab");
    demand(&mut wire, "SCRAM-SHA-256", &scram.first());
    let (last, server) = scram.answer(&challenge(&mut wire, 0x18));
    auth(&mut wire, 0x18, "SCRAM-SHA-256", &last);
    (wire, server)
}

#[test]
fn a_password_is_proved_by_scram_without_being_sent_and_the_server_proves_itself() {
    let broker = with_users(BY_SCRAM).start();
    let (mut wire, server) = exchange(&broker, "alice", "right");
    let connack = wire.expect_connack(0);
    // [MQTT-4.12.0-5]: the method, and the server's proof.
    for part in ["SCRAM-SHA-256", &server] {
        assert!(
            connack
                .windows(part.len())
                .any(|window| window == part.as_bytes()),
            "{part} in CONNACK"
        );
    }
    let line = broker.await_audit("the login", |line| line["method"] == "scram");
    assert_eq!(
        (&line["username"], &line["namespace"]),
        (&json!("alice"), &json!("password"))
    );
    // Once more on the living connection, and then with a wrong password.
    for (password, right) in [("right", true), ("wrong", false)] {
        let scram = Scram::new("alice", password);
        auth(&mut wire, 0x19, "SCRAM-SHA-256", &scram.first());
        let (last, server) = scram.answer(&challenge(&mut wire, 0x18));
        // Other packets go on meanwhile.
        wire.expect_quiet();
        auth(&mut wire, 0x18, "SCRAM-SHA-256", &last);
        if right {
            assert_eq!(challenge(&mut wire, 0x00), server);
        } else {
            wire.expect_then_closed("e0 .. 87 *");
        }
    }
}

#[test]
fn idn_12_scram_tells_no_names() {
    let broker = with_users(BY_SCRAM).start();
    // Wrong, unknown, disabled, and a hash of old without SCRAM: one challenge, one answer.
    let users = std::fs::read_to_string(broker.path().join("users.yaml")).unwrap();
    assert!(users.contains("scram_secret"), "{users}");
    let shape = |challenge: &str| {
        let fields: Vec<&str> = challenge.split(',').collect();
        (fields[0].len(), fields[1].len(), fields[2].to_owned())
    };
    let mut seen = Vec::new();
    for name in ["alice", "mallory", "mallory"] {
        let mut wire = broker.dial("lab");
        let scram = Scram::new(name, "wrong");
        demand(&mut wire, "SCRAM-SHA-256", &scram.first());
        let challenge = challenge(&mut wire, 0x18);
        auth(
            &mut wire,
            0x18,
            "SCRAM-SHA-256",
            &scram.answer(&challenge).0,
        );
        let connack = wire.expect_connack(0x86);
        wire.expect_closed();
        seen.push((shape(&challenge), connack, challenge));
    }
    assert_eq!((&seen[0].0, &seen[0].1), (&seen[1].0, &seen[1].1));
    let salt = |index: usize| seen[index].2.split(',').nth(1).unwrap().to_owned();
    assert_eq!(salt(1), salt(2), "asked twice, the same answer");
    for reason in ["no user \"mallory\"", "wrong password for \"alice\""] {
        broker.await_audit(reason, |line| line["reason"] == reason);
    }
}

#[test]
fn trn_04_an_exchange_takes_auth_packets_of_its_own_method_alone() {
    let broker = with_users(BY_SCRAM).start();
    let scram = Scram::new("alice", "right");
    // A challenge answered by anything else: CONNACK with what it was, or nothing for a peer that leaves.
    let rows = [
        ("c0 00", "20 .. 00 82 *"),
        ("82 .. 0001 00 s't' 00", "20 .. 00 82 *"),
        ("f0 .. 18 <15 s'PLAIN' 16 s'x'>", "20 .. 00 82 *"),
        ("f0 .. 19 <15 s'SCRAM-SHA-256' 16 s'x'>", "20 .. 00 82 *"),
        ("f0 .. 18 <15 s'SCRAM-SHA-256' 16 s'x'>", "20 .. 00 86 *"),
        ("f0 .. 18 <15 s'SCRAM-SHA-256'>", "20 .. 00 86 *"),
        ("f0 .. 18 00", "20 .. 00 82 *"),
        ("f1 .. 18 <15 s'SCRAM-SHA-256'>", "20 .. 00 81 *"),
    ];
    for (packet, expected) in rows {
        let mut wire = broker.dial("lab");
        wire.name = packet.to_owned();
        demand(&mut wire, "SCRAM-SHA-256", &scram.first());
        challenge(&mut wire, 0x18);
        wire.send(packet);
        wire.expect_then_closed(expected);
    }
    let mut wire = broker.dial("lab");
    demand(&mut wire, "SCRAM-SHA-256", &scram.first());
    challenge(&mut wire, 0x18);
    wire.send("e0 00");
    wire.expect_closed();
    // Not to be weakened: no exchange at all, channel binding that is not there, another's name, and a password beside it.
    for first in ["", "p=tls-exporter,,n=alice,r=abc", "n,a=bob,n=alice,r=abc"] {
        let mut wire = broker.dial("lab");
        demand(&mut wire, "SCRAM-SHA-256", first);
        wire.expect_then_closed("20 .. 00 86 *");
    }
    let mut wire = broker.dial("lab");
    wire.send("10 .. s'MQTT' 05 c2 0000 <15 s'SCRAM-SHA-256' 16 s''> s'c' s'alice' s'right'");
    wire.expect_then_closed("20 .. 00 86 *");
    let mut wire = broker.dial("lab");
    demand(&mut wire, "SCRAM-SHA-256-PLUS", &scram.first());
    wire.expect_then_closed("20 .. 00 8c *");
}

#[test]
fn authentication_again_keeps_to_the_method_and_to_one_at_a_time() {
    let broker = with_users(BY_SCRAM).start();
    let rows = [
        ("f0 .. 19 <15 s'JWT' 16 s'x'>", "e0 .. 82 *"),
        ("f0 .. 18 <15 s'SCRAM-SHA-256' 16 s'x'>", "e0 .. 82 *"),
        ("f0 .. 19 <15 s'SCRAM-SHA-256' 16 s'x'>", "e0 .. 87 *"),
        ("f0 .. 00 <15 s'SCRAM-SHA-256'>", "e0 .. 82 *"),
    ];
    for (packet, expected) in rows {
        let (mut wire, _) = exchange(&broker, "alice", "right");
        wire.expect_connack(0);
        wire.name = packet.to_owned();
        wire.send(packet);
        wire.expect_then_closed(expected);
    }
    // Bob's good password does not make Alice's session his (SES-1), nor do two exchanges run at once.
    let (mut wire, _) = exchange(&broker, "alice", "right");
    wire.expect_connack(0);
    let bob = Scram::new("bob", "right");
    auth(&mut wire, 0x19, "SCRAM-SHA-256", &bob.first());
    let (last, _) = bob.answer(&challenge(&mut wire, 0x18));
    auth(&mut wire, 0x18, "SCRAM-SHA-256", &last);
    wire.expect_then_closed("e0 .. 87 *");
    let (mut wire, _) = exchange(&broker, "alice", "right");
    wire.expect_connack(0);
    for _ in 0..2 {
        auth(&mut wire, 0x19, "SCRAM-SHA-256", &bob.first());
    }
    challenge(&mut wire, 0x18);
    wire.expect_then_closed("e0 .. 82 *");
}

pub(super) const SECRET: &str = "a secret of at least 32 bytes, as HS256 wants";

pub(super) fn token(username: &str, seconds: u64, more: &Value) -> String {
    sign(&json!({ "alg": "HS256" }), SECRET, username, seconds, more)
}

/// By a key with a name.
pub(super) fn token_by(
    kid: &str,
    secret: &str,
    username: &str,
    seconds: u64,
    more: &Value,
) -> String {
    let header = json!({ "alg": "HS256", "kid": kid });
    sign(&header, secret, username, seconds, more)
}

fn sign(header: &Value, secret: &str, username: &str, seconds: u64, more: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut claims = json!({ "sub": username, "exp": now.as_secs() + seconds });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(&claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn by_token() -> Broker {
    let yaml = "
listeners: { lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [jwt] } }
authentication: { jwt: { keys: [{ alg: HS256, secret_file: jwt.key }], leeway: 0s, groups_claim: groups } }
";
    let policy = "
version: 1
policies:
  - id: staff
    who: { group: staff }
    allow: [{ subscribe: 'staff/#' }]
";
    super::support::Setup::new(yaml)
        .file("jwt.key", SECRET)
        .policy(policy)
        .start()
}

#[test]
fn idn_11_a_new_token_takes_the_place_of_the_old_one() {
    let broker = by_token();
    let subscribe = "82 .. 0001 00 s'staff/news' 00";
    let mut wire = broker.dial("lab");
    // Time enough for a busy machine to renew it.
    let short = Duration::from_secs(15);
    demand(
        &mut wire,
        "JWT",
        &token("alice", short.as_secs(), &json!({})),
    );
    let until = SystemTime::now() + short;
    wire.expect("20 .. 00 00 <*>");
    wire.send(subscribe);
    wire.expect("90 .. 0001 00 87");
    // With more rights than before, and then with fewer: what was granted is taken back.
    auth(
        &mut wire,
        0x19,
        "JWT",
        &token("alice", 3600, &json!({ "groups": ["staff"] })),
    );
    wire.expect("f0 .. 00 <15 s'JWT'>");
    wire.send(subscribe);
    wire.expect("90 .. 0001 00 00");
    auth(
        &mut wire,
        0x19,
        "JWT",
        &token("alice", 3600, &json!({ "groups": ["guests"] })),
    );
    wire.expect("f0 .. 00 <15 s'JWT'>");
    wire.send("a2 .. 0002 00 s'staff/news'");
    wire.expect("b0 .. 0002 00 11");
    // Past the end of the first token.
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    std::thread::sleep(left + Duration::from_millis(1200));
    wire.expect_quiet();
}

#[test]
fn a_token_that_does_not_renew_ends_the_session() {
    let broker = by_token();
    let rows = [
        token("bob", 3600, &json!({})),
        token("alice", 0, &json!({})),
        token("alice", 3600, &json!({})) + "x",
        String::new(),
    ];
    for renewed in rows {
        let mut wire = broker.dial("lab");
        demand(&mut wire, "JWT", &token("alice", 3600, &json!({})));
        wire.expect_connack(0);
        auth(&mut wire, 0x19, "JWT", &renewed);
        wire.expect_then_closed("e0 .. 87 *");
    }
    // A client that came without a method has none to repeat. [MQTT-4.12.0-7]
    let mut wire = broker.dial("lab");
    let by_password = token("alice", 3600, &json!({}));
    wire.send(&format!(
        "10 .. s'MQTT' 05 c2 0000 <> s'c' s'alice' s'{by_password}'"
    ));
    wire.expect_connack(0);
    auth(&mut wire, 0x19, "JWT", &by_password);
    wire.expect_then_closed("e0 .. 82 *");
}
