//! What a token says of its bearer's rights, on the wire: it narrows or grants, and no deny gives way.

use super::connect;
use super::identity::{SECRET, auth, demand, token, token_by};
use super::login;
use super::reload::rewrite;
use super::support::broker::wardgate;
use super::support::{Broker, Certificates, Setup, Wire};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

const POLICY: &str = "
version: 1
policies:
  - id: site
    who: { auth: jwt }
    allow:
      - publish: 'site/#'
      - subscribe: ['site/#', '$app/#']
    deny:
      - publish: 'site/never'
  - id: others
    who: { auth: anonymous }
    allow: [{ publish: '#' }]
";

fn setup(mode: &str) -> Setup {
    Setup::new("
listeners:
  lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [jwt] }
  open: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous] }
authentication: { jwt: { keys: [{ alg: HS256, secret_file: jwt.key }], acl_claim: acl, acl_mode: MODE } }
")
    .replacing("MODE", mode)
    .file("jwt.key", SECRET)
    .policy(POLICY)
}

fn with_list(acl: &Value) -> String {
    token("alice", 3600, &json!({ "acl": acl }))
}

/// A client of version 5 that may be given a new token.
fn bearer(broker: &Broker, acl: &Value) -> Wire {
    let mut wire = broker.dial("lab");
    demand(&mut wire, "JWT", &with_list(acl));
    wire.expect_connack(0);
    wire
}

fn publish(wire: &mut Wire, topic: &str, code: &str) {
    wire.name = topic.to_owned();
    wire.send(&format!("32 .. s'{topic}' 0001 <> 'x'"));
    wire.expect(&format!("40 .. 0001 {code} *"));
}

fn subscribe(wire: &mut Wire, filter: &str, code: &str) {
    wire.name = filter.to_owned();
    wire.send(&format!("82 .. 0002 <> s'{filter}' 00"));
    wire.expect(&format!("90 .. 0002 <> {code}"));
}

/// Says what somebody else's message brings, up to the marker that everybody may have.
fn arrives(wire: &mut Wire, other: &mut Wire, topics: &[&str], marker: &str) -> Vec<String> {
    for topic in topics.iter().chain([&marker]) {
        other.send(&format!("30 .. s'{topic}' <> 'x'"));
    }
    let mut arrived = Vec::new();
    loop {
        let packet = wire.expect("30 .. *");
        let length = usize::from(packet[3]);
        let topic = String::from_utf8(packet[4..4 + length].to_vec()).unwrap();
        if topic == marker {
            return arrived;
        }
        arrived.push(topic);
    }
}

fn other(broker: &Broker) -> Wire {
    let mut wire = broker.dial("open");
    connect(&mut wire, "other");
    wire
}

#[test]
fn a_list_that_narrows_holds_on_every_way_in_and_out() {
    let broker = setup("narrow").start();
    let mut other = other(&broker);
    for topic in ["site/b/kept", "site/a/kept"] {
        other.send(&format!("33 .. s'{topic}' 0001 <> 'x'"));
        other.expect("40 .. 0001 10 *");
    }
    let list = json!({
        "allow": [
            { "publish": ["site/a/#", "elsewhere"] },
            { "publish": "site/never" },
            { "subscribe": ["site/#", "$app/open", "$SYS/#"] },
        ],
        "deny": [{ "subscribe": "site/b/#" }],
    });
    let mut wire = bearer(&broker, &list);
    publish(&mut wire, "site/a/x", "10");
    publish(&mut wire, "site/c", "87");
    publish(&mut wire, "elsewhere", "87");
    publish(&mut wire, "site/never", "87");
    subscribe(&mut wire, "elsewhere", "87");
    subscribe(&mut wire, "site/b/x", "87");
    // The policy's, and in the list: more than that is neither's.
    subscribe(&mut wire, "$app/open", "00");
    subscribe(&mut wire, "$app/closed", "87");
    subscribe(&mut wire, "$SYS/broker/uptime", "87");
    // Granted, and cut at delivery, retained messages too.
    subscribe(&mut wire, "site/#", "00");
    wire.expect("31 .. s'site/a/kept' *");
    let sent = ["site/b/x", "site/a/x", "site/b", "site/c"];
    assert_eq!(
        arrives(&mut wire, &mut other, &sent, "site/end"),
        ["site/a/x", "site/c"]
    );
    for (topic, rule, reason) in [
        (
            "site/c",
            "token acl",
            "the list of token acl allows no such publish",
        ),
        (
            "site/b/x",
            "token acl.deny[0]",
            "subscribe denied by token acl.deny[0]",
        ),
    ] {
        let line = broker.await_audit(topic, |line| {
            line["topic"] == topic && line["outcome"] == "refused"
        });
        assert_eq!(
            (&line["rule"], &line["reason"]),
            (&json!(rule), &json!(reason))
        );
    }
    // A will that the list does not allow refuses the connection (POL-8).
    let narrow = with_list(&json!([{ "publish": "site/a/#" }]));
    for (will, code) in [("site/c", "87"), ("site/a/w", "00")] {
        let mut wire = broker.dial("lab");
        wire.send(&format!(
            "10 .. s'MQTT' 05 c6 0000 <> s'will' <> s'{will}' s'x' s'alice' s'{narrow}'"
        ));
        wire.expect(&format!("20 .. 00 {code} <*>"));
    }
}

#[test]
fn a_list_that_grants_adds_what_no_deny_forbids() {
    let broker = setup("grant").start();
    let mut other = other(&broker);
    let list = json!([
        { "publish": ["granted/#", "site/never", "$SYS/x", "#"], "qos": [1] },
        { "subscribe": ["granted/#", "$SYS/#", "$other/#", "+/+"] },
    ]);
    let mut wire = bearer(&broker, &list);
    publish(&mut wire, "granted/x", "10");
    publish(&mut wire, "anything/else", "10");
    publish(&mut wire, "site/x", "10");
    publish(&mut wire, "site/never", "87");
    publish(&mut wire, "$SYS/x", "87");
    publish(&mut wire, "$other/x", "87");
    for filter in [
        "$SYS/#",
        "$SYS/broker/uptime",
        "$other/x",
        "$share/g/$SYS/#",
        "$share/g/$other/x",
    ] {
        subscribe(&mut wire, filter, "87");
    }
    subscribe(&mut wire, "+/broker", "00");
    subscribe(&mut wire, "granted/#", "00");
    subscribe(&mut wire, "site/end", "00");
    let sent = ["granted/x", "else/where"];
    assert_eq!(
        arrives(&mut wire, &mut other, &sent, "site/end"),
        ["granted/x"]
    );
    let line = broker.await_audit("the grant", |line| {
        line["event"] == "subscribe" && line["topic"] == "granted/#"
    });
    assert_eq!(line["rule"], "token acl[1]");
    // New policies bite, and the list stays in force beside them.
    rewrite(&broker, "policies/open.yaml", |text| {
        text.replace(
            "site/never'",
            "site/never'\n      - subscribe: 'granted/secret'",
        )
        .replace("- publish: 'site/#'", "- publish: 'moved/#'")
    });
    broker.signal("HUP");
    broker.await_audit("the reload", |line| {
        line["event"] == "reload" && line["outcome"] == "permitted"
    });
    let sent = ["granted/secret", "granted/x"];
    assert_eq!(
        arrives(&mut wire, &mut other, &sent, "site/end"),
        ["granted/x"]
    );
    subscribe(&mut wire, "granted/secret", "87");
    publish(&mut wire, "anything/again", "10");
}

#[test]
fn a_list_that_is_not_understood_refuses_the_login_and_tells_the_operator_why() {
    let broker = setup("narrow").start();
    let rows = [
        (json!("publish #"), "claim acl: is no list of statements"),
        (
            json!([{ "publish": "a", "who": { "any": true } }]),
            "claim acl[0]: unknown field `who`",
        ),
        (
            json!([{ "publish": "a" }, { "publish": "a/#/b" }]),
            "claim acl[1]: a wildcard shares its level",
        ),
        (
            json!([{ "subscribe": "$share/g/a" }]),
            "claim acl[0]: write the filter without $share",
        ),
        (
            json!(vec![json!({ "publish": "a" }); 65]),
            "claim acl: has too many statements",
        ),
        (Value::Null, "claim acl: is no list of statements"),
    ];
    let missing = (token("alice", 3600, &json!({})), "claim acl: is missing");
    let rows = rows.map(|(list, reason)| (with_list(&list), reason));
    for (token, reason) in rows.into_iter().chain([missing]) {
        let mut wire = broker.dial("lab");
        wire.name = reason.to_owned();
        login(&mut wire, "c", true, "alice", &token);
        wire.expect_then_closed("20 .. 00 86 *");
        broker.await_audit(reason, |line| {
            let told = line["reason"].as_str().unwrap_or_default();
            line["event"] == "authenticate" && told.starts_with(&format!("token: {reason}"))
        });
    }
    // Nor does it renew a session.
    let mut wire = bearer(&broker, &json!([{ "publish": "site/#" }]));
    auth(
        &mut wire,
        0x19,
        "JWT",
        &with_list(&json!([{ "publish": "a+" }])),
    );
    wire.expect_then_closed("e0 .. 87 *");
}

#[test]
fn idn_11_a_new_token_brings_its_own_list() {
    let broker = setup("grant").start();
    let mut other = other(&broker);
    let mut wire = bearer(&broker, &json!([{ "subscribe": ["granted/#", "more/#"] }]));
    subscribe(&mut wire, "granted/#", "00");
    subscribe(&mut wire, "more/#", "00");
    subscribe(&mut wire, "site/#", "00");
    publish(&mut wire, "granted/x", "87");
    auth(
        &mut wire,
        0x19,
        "JWT",
        &with_list(&json!([{ "subscribe": "more/#" }, { "publish": "granted/x" }])),
    );
    wire.expect("f0 .. 00 <15 s'JWT'>");
    let sent = ["granted/x", "more/x"];
    assert_eq!(
        arrives(&mut wire, &mut other, &sent, "site/end"),
        ["more/x"]
    );
    wire.send("a2 .. 0003 00 s'granted/#'");
    wire.expect("b0 .. 0003 00 11");
    wire.send("32 .. s'granted/x' 0001 <> 'x'");
    wire.expect("40 .. 0001 10 *");
}

#[test]
fn idn_11_what_waits_for_a_session_is_judged_by_the_list_that_fetches_it() {
    let mut broker = setup("grant")
        .replacing("kind: memory", "kind: embedded")
        .start();
    let wide = with_list(&json!([{ "subscribe": ["granted/#", "more/#"] }]));
    let mut wire = broker.dial("lab");
    login(&mut wire, "desk", true, "alice", &wide);
    wire.expect_connack(0);
    for filter in ["granted/#", "more/#"] {
        wire.send(&format!("82 .. 0002 <> s'{filter}' 01"));
        wire.expect("90 .. 0002 <> 01");
    }
    wire.send("e0 .. 00 00");
    wire.expect_closed();
    // The list is as durable as the session: what comes after a restart waits as before.
    for restart in [false, true] {
        if restart {
            broker.restart_after_kill();
        }
        let mut other = other(&broker);
        for topic in ["granted/x", "more/x"] {
            other.send(&format!("32 .. s'{topic}' 0001 <> 'x'"));
            other.expect("40 02 0001");
        }
    }
    let mut wire = broker.dial("lab");
    login(
        &mut wire,
        "desk",
        false,
        "alice",
        &with_list(&json!([{ "subscribe": "more/#" }])),
    );
    wire.expect("20 .. 01 00 <*>");
    for _ in 0..2 {
        let packet = wire.expect("32 .. s'more/x' ?? ?? 00 'x'");
        wire.send(&format!("40 .. {:02x}{:02x}", packet[10], packet[11]));
    }
    wire.expect_quiet();
    wire.send("a2 .. 0003 00 s'granted/#' s'more/#'");
    wire.expect("b0 .. 0003 00 11 00");
}

#[test]
fn explain_knows_the_list_of_a_token_that_is_described() {
    let broker = setup("grant").start();
    let explain = |claims: &Value, topic: &str| {
        let file = broker.path().join("claims.json");
        std::fs::write(&file, claims.to_string()).unwrap();
        let output = wardgate()
            .args(["policy", "explain", "--config"])
            .arg(broker.path().join("wardgate.yaml"))
            .arg("--claims")
            .arg(file)
            .args(["publish", topic])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let acl =
        json!([{ "publish": "a" }, { "publish": "b" }, { "publish": ["granted/#", "site/never"] }]);
    let claims = json!({ "sub": "alice", "acl": acl });
    let rows = [
        (
            "granted/x",
            0,
            "ALLOW publish granted/x qos 0\n  allowed by token acl[2]",
        ),
        ("site/x", 0, "  allowed by "),
        ("site/never", 1, "  denied by "),
        ("other", 1, "  no statement allows it"),
        ("other", 1, "  with token acl, grant, 3 in the list"),
    ];
    for (topic, code, part) in rows {
        let (status, text) = explain(&claims, topic);
        assert_eq!(status, Some(code), "{text}");
        assert!(text.contains(part), "{part} in {text}");
    }
    let (status, text) = explain(
        &json!({ "sub": "alice", "acl": [{ "publish": "#/a" }] }),
        "x",
    );
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("this token is refused: claim acl[0]: "),
        "{text}"
    );
}

const OTHER_SECRET: &str = "another secret that has its 32 bytes and more";

#[test]
fn idn_11_a_key_that_is_taken_away_ends_the_sessions_that_it_let_in() {
    let keys = "keys: [{ alg: HS256, kid: old, secret_file: jwt.key }, { alg: HS256, kid: new, secret_file: new.key }]";
    let broker = setup("grant")
        .file("new.key", OTHER_SECRET)
        .replacing("keys: [{ alg: HS256, secret_file: jwt.key }]", keys)
        .start();
    let mut other = other(&broker);
    let by = |kid: &str, secret: &str, id: &str| {
        let mut wire = broker.dial("lab");
        wire.name = format!("{id} by {kid}");
        let token = token_by(kid, secret, "alice", 3600, &json!({}));
        login(&mut wire, id, true, "alice", &token);
        wire.expect_connack(0);
        wire
    };
    let mut new = by("new", OTHER_SECRET, "new");
    // Taken out of the configuration.
    let mut old = by("old", SECRET, "old");
    rewrite(&broker, "wardgate.yaml", |text| {
        text.replace("{ alg: HS256, kid: old, secret_file: jwt.key }, ", "")
    });
    broker.signal("HUP");
    old.expect_then_closed("e0 .. 87 *");
    broker.await_audit("the end", |line| {
        line["event"] == "disconnect"
            && line["client_id"] == "old"
            && line["reason"] == "the key that verified the token is gone"
    });
    let mut refused = broker.dial("lab");
    let token = token_by("old", SECRET, "alice", 3600, &json!({}));
    login(&mut refused, "old", true, "alice", &token);
    refused.expect_then_closed("20 .. 00 86 *");
    new.expect_quiet();
    // The file's content is another: no reload is needed.
    rewrite(&broker, "new.key", |_| SECRET.to_owned());
    new.expect_then_closed("e0 .. 87 *");
    let mut again = by("new", SECRET, "again");
    // Called otherwise it is the same key, and a key more takes nobody's away.
    rewrite(&broker, "wardgate.yaml", |text| {
        text.replace("kid: new,", "kid: renamed,")
    });
    broker.signal("HUP");
    await_reloads(&broker, 2);
    again.expect_quiet();
    // What the token's list means is another by now: nobody goes on under the mode of before.
    let mut listed = by("renamed", SECRET, "listed");
    rewrite(&broker, "wardgate.yaml", |text| {
        text.replace("acl_mode: grant", "acl_mode: narrow")
    });
    broker.signal("HUP");
    listed.expect_then_closed("e0 .. 87 *");
    again.expect_then_closed("e0 .. 87 *");
    other.expect_quiet();
}

fn await_reloads(broker: &Broker, count: usize) {
    let is_reload = |line: &Value| line["event"] == "reload" && line["outcome"] == "permitted";
    broker.await_audit("the last reload", |_| {
        broker.audit().iter().filter(|line| is_reload(line)).count() >= count
    });
}

/// An issuer of keys on loopback; what it answers may change.
fn issuer(certificates: &Certificates, set: &Arc<Mutex<String>>) -> u16 {
    let server = certificates.server();
    let chain = CertificateDer::pem_slice_iter(server.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (tls, set) = (Arc::new(tls), Arc::clone(set));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let connection = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, socket);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let set = set.lock().unwrap().clone();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", set.len());
            let _ = stream.write_all(format!("{head}{set}").as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}

fn set_of(key: &Ed25519KeyPair) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] }).to_string()
}

fn signed_by(key: &Ed25519KeyPair) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({ "alg": "EdDSA", "kid": "k" }));
    let claims = part(&json!({ "sub": "alice", "exp": now.as_secs() + 3600 }));
    let signature = key.sign(format!("{header}.{claims}").as_bytes());
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn idn_11_a_key_that_its_issuer_withdraws_is_missed_without_a_login() {
    let [first, second] = [(); 2].map(|()| Ed25519KeyPair::generate().unwrap());
    let set = Arc::new(Mutex::new(set_of(&first)));
    let setup = Setup::new(
        "
listeners: { lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [jwt] } }
authentication: { jwt: { jwks: { url: 'https://localhost:PORT/keys', ca: issuer.pem, refresh: 1s, allow_addresses: [127.0.0.0/8, '::1'] } } }
",
    );
    let port = issuer(&setup.certificates, &set);
    let authority = setup.certificates.pem();
    let broker = setup
        .replacing("PORT", &port.to_string())
        .file("issuer.pem", &authority)
        .start();
    let come_in = |key: &Ed25519KeyPair| {
        let mut wire = broker.dial("lab");
        login(&mut wire, "c", true, "alice", &signed_by(key));
        wire.expect_connack(0);
        wire
    };
    let mut wire = come_in(&first);
    // A reload forgets no key.
    broker.signal("HUP");
    await_reloads(&broker, 1);
    wire.expect_quiet();
    *set.lock().unwrap() = set_of(&second);
    wire.expect_then_closed("e0 .. 87 *");
    broker.await_audit("the end", |line| {
        line["event"] == "disconnect" && line["reason"] == "the key that verified the token is gone"
    });
    come_in(&second).expect_quiet();
}
