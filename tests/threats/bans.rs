//! Bans as the broker and its operators place them: whom they end, who lists them, what a restart finds. Contract section 6

use super::support::packet::auth_data;
use super::support::scram::Scram;
use super::support::{Broker, Setup, Wire};
use super::{ADMIN, ctl, with_users};
use serde_json::{Value, json};

fn bans(broker: &Broker) -> Vec<Value> {
    let told = ctl(broker, &["bans", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    told["bans"].as_array().unwrap().clone()
}

const FLAPPING: &str = "
listeners:
  lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password] }
limits: { flapping: { connections: 3, window: 10m, ban: 15m } }
";

/// A connection of this user's client, and the code of its CONNACK.
fn come(broker: &Broker, client_id: &str, username: &str) -> (Wire, u8) {
    let mut wire = broker.dial("lab");
    wire.send(&format!(
        "10 .. s'MQTT' 05 C2 0000 <> s'{client_id}' s'{username}' s'right'"
    ));
    let connack = wire.receive().expect("a CONNACK");
    (wire, connack[3])
}

const BANNED: u8 = 0x8a;

#[test]
fn a_client_that_comes_and_goes_too_often_is_banned_as_others_are() {
    let mut broker = with_users(&format!("{FLAPPING}{ADMIN}")).start();
    let code =
        |broker: &Broker, client_id: &str, username: &str| come(broker, client_id, username).1;
    assert_eq!([(); 2].map(|()| code(&broker, "restless", "alice")), [0, 0]);
    // The third stays, and goes with the ban that the next one leads to.
    let (mut stays, third) = come(&broker, "restless", "alice");
    assert_eq!((third, code(&broker, "restless", "alice")), (0, BANNED));
    stays.expect_then_closed("e0 .. 98 *");
    let line = broker.await_audit("the ban", |line| line["event"] == "ban");
    let reason = "more than 3 connections within 600s, banned for 900s";
    assert_eq!(
        (&line["client_id"], &line["username"], &line["reason"]),
        (&json!("restless"), &json!("alice"), &json!(reason))
    );
    broker.await_audit("the refusal", |line| {
        line["event"] == "limit" && line["client_id"] == "restless"
    });
    for again in ["at once", "after a restart"] {
        assert_eq!(code(&broker, "restless", "alice"), BANNED, "{again}");
        // Neither her other clients nor another's client of that name.
        assert_eq!(code(&broker, "steady", "alice"), 0, "{again}");
        assert_eq!(code(&broker, "restless", "bob"), 0, "{again}");
        let listed = bans(&broker);
        assert_eq!(listed.len(), 1, "{again}: {listed:?}");
        let ban = &listed[0];
        assert_eq!(ban["client_id"], "restless");
        assert_eq!(
            ban["owner"],
            json!({"namespace": "password", "username": "alice"})
        );
        assert_eq!(ban["reason"], reason);
        let (since, until) = (
            ban["since"].as_u64().unwrap(),
            ban["until"].as_u64().unwrap(),
        );
        assert!((890..=900).contains(&(until - since)), "{again}: {ban}");
        assert!(ctl(&broker, &["bans"]).contains("namespace password, username alice"));
        broker.signal("TERM");
        broker.await_end();
        broker.start_again();
    }
    ctl(&broker, &["unban", "client_id:restless"]);
    broker.await_audit("the end of the ban", |line| {
        line["reason"] == "unban client_id:restless"
    });
    assert!(bans(&broker).is_empty());
    broker.restart_after_kill();
    assert_eq!(code(&broker, "restless", "alice"), 0);
}

/// Whose addresses are what a proxy on this machine says.
const PROXIED: &str = "
listeners:
  lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [scram, password], allow_insecure: true, proxy_protocol: { trusted: [127.0.0.0/8] } }
";

#[test]
fn idn_11_an_address_that_is_banned_while_it_is_let_in_stays_out() {
    let setup: Setup = with_users(&format!("{PROXIED}{ADMIN}"));
    let broker = setup.start();
    for banned in [false, true] {
        let scram = Scram::new("alice", "right");
        let mut wire = broker.dial_as_named("lab");
        wire.send_bytes(b"PROXY TCP4 192.0.2.1 192.0.2.254 4000 1883\r\n");
        wire.send(&format!(
            "10 .. s'MQTT' 05 02 0000 <15 s'SCRAM-SHA-256' 16 s'{}'> s'c'",
            scram.first()
        ));
        // It has passed the door when it is asked for its proof.
        let challenge = wire.expect("f0 .. 18 <*>");
        let challenge = String::from_utf8(auth_data(&challenge)).unwrap();
        if banned {
            ctl(&broker, &["ban", "ip:192.0.2.0/24", "--reason", "abuse"]);
        }
        let (proof, _) = scram.answer(&challenge);
        wire.send(&format!("f0 .. 18 <15 s'SCRAM-SHA-256' 16 s'{proof}'>"));
        wire.expect_connack(if banned { BANNED } else { 0 });
        if banned {
            wire.expect_end();
        }
    }
    broker.await_audit("why", |line| line["reason"] == "banned: abuse");
}
