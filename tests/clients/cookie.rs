//! Browsers: a login over HTTPS by curl, and the WebSocket that its cookie opens, by MQTT.js.

use super::Way;
use super::client::{Client, Kind};
use super::support::broker::wardgate;
use super::support::websocket::{BINARY, frame, read_head, request};
use super::support::{Broker, Setup};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PAGE: &str = "https://app.example.com";

const BY_COOKIE: &str = "
listeners:
  wss:
    bind: '127.0.0.1:0'
    transport: websocket
    websocket: { allowed_origins: ['https://app.example.com'] }
    tls: { certificate: server.pem, private_key: server.key }
    authenticate: [cookie, password]
authentication: { password: { file: users.yaml } }
admin: { bind: '127.0.0.1:0', tls: { certificate: server.pem, private_key: server.key } }
";

/// Alice's own policy says who may come by cookie, and under which name space.
const POLICY: &str = "
version: 1
policies:
  - id: own
    who: { auth: cookie, namespace: password, username: alice, group: staff }
    allow: [{ publish: 't/#' }, { subscribe: 't/#' }]
";

const WSS: Way = Way {
    kind: Kind::MqttJs,
    version: 5,
    listener: "wss",
};

struct Login {
    /// `__Host-wardgate=…`
    cookie: String,
    csrf_token: String,
}

fn setup() -> Setup {
    let setup = Setup::new(BY_COOKIE).policy(POLICY);
    let mut child = wardgate()
        .args([
            "user",
            "add",
            "--password-stdin",
            "--group",
            "staff",
            "--role",
            "viewer",
        ])
        .arg("--file")
        .arg(setup.path().join("users.yaml"))
        .arg("alice")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"right\n").unwrap();
    assert!(child.wait().unwrap().success());
    setup
}

/// The head and the body of an answer.
fn curl(broker: &Broker, path: &str, arguments: &[&str]) -> (String, String) {
    let output = Command::new("curl")
        .args(["-sS", "-i", "--max-time", "20", "--cacert"])
        .arg(broker.path().join("device-ca.pem"))
        .args(arguments)
        .arg(format!("https://localhost:{}{path}", broker.port("admin")))
        .output()
        .expect("curl is missing: run tests/run, which installs it");
    assert!(output.status.success(), "{path}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn log_in(broker: &Broker) -> Login {
    let json = r#"{"username":"alice","password":"right"}"#;
    let (head, body) = curl(broker, "/login", &["--json", json]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let set = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Strict");
    let body: Value = serde_json::from_str(&body).unwrap();
    Login {
        cookie: cookie.to_owned(),
        csrf_token: body["csrf_token"].as_str().unwrap().to_owned(),
    }
}

/// The answer to an upgrade with these fields, and CONNACK's reason code when there is one.
fn upgrade(broker: &Broker, fields: &str) -> (String, Option<u8>) {
    let tcp = std::net::TcpStream::connect(broker.address("wss")).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let config = broker.certificates().client(None);
    let name = "localhost".try_into().unwrap();
    let connection = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, tcp);
    let host = format!("localhost:{}", broker.port("wss"));
    stream
        .write_all(request("/mqtt", &host, fields).as_bytes())
        .unwrap();
    let head = read_head(&mut stream).unwrap();
    if !head.starts_with("HTTP/1.1 101") {
        return (head, None);
    }
    let connect = super::support::bytes("10 .. s'MQTT' 05 02 0000 <> s'c'");
    stream.write_all(&frame(BINARY, true, &connect)).unwrap();
    // The frame's head of two bytes, the packet's of two, the flags.
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[2], 0x20, "{answer:x?}");
    (head, Some(answer[5]))
}

fn browser(broker: &Broker, id: &str, login: &Login) -> Client {
    let headers = json!({ "Cookie": login.cookie, "Origin": PAGE });
    let mut client = Client::start(broker, WSS, id, &json!({ "headers": headers }));
    // At QoS 0 the library has nothing left to answer when it is told to go.
    client.subscribe("t/#", 0);
    client.publish(&json!({ "topic": format!("t/{id}"), "text": id, "qos": 0 }));
    assert_eq!(client.message()["text"], id);
    client
}

fn fields(origin: Option<&str>, cookie: &str) -> String {
    let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
    format!("{origin}Cookie: theme=dark; {cookie}\r\n")
}

#[test]
fn idn_14_a_cookie_opens_a_websocket_from_an_allowed_page_alone() {
    let broker = setup().start();
    let login = log_in(&broker);
    let own = format!("https://localhost:{}", broker.port("wss"));
    let admin = format!("https://localhost:{}", broker.port("admin"));
    // Our own pages and the one that is listed.
    for origin in [PAGE, &own, &admin] {
        let (head, code) = upgrade(&broker, &fields(Some(origin), &login.cookie));
        assert_eq!(code, Some(0x00), "{origin}: {head}");
    }
    let foreign = [
        "null",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://APP.example.com.evil.example",
        "https://sub.app.example.com",
        "https://evil.example",
    ];
    for origin in foreign {
        let (head, code) = upgrade(&broker, &fields(Some(origin), &login.cookie));
        assert!(
            head.starts_with("HTTP/1.1 403") && code.is_none(),
            "{origin}: {head}"
        );
    }
    // A missing Origin, and cookies that are not ours.
    let touched = format!("{}A", login.cookie);
    let twice = format!("{}; {}", login.cookie, login.cookie);
    let rows = [
        (None, login.cookie.as_str()),
        (Some(PAGE), touched.as_str()),
        (Some(PAGE), twice.as_str()),
        (Some(PAGE), "__Host-wardgate="),
        (Some(PAGE), "wardgate=abc"),
    ];
    for (origin, cookie) in rows {
        let (_, code) = upgrade(&broker, &fields(origin, cookie));
        assert_eq!(code, Some(0x87), "{origin:?} {cookie}");
    }
    let line = broker.await_audit("a forged cookie", |line| {
        line["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("stands for no login"))
    });
    assert_eq!(line["method"], "cookie");
}

#[test]
fn idn_11_a_logout_ends_the_live_connections_of_its_login_for_good() {
    let mut broker = setup().start();
    let (here, there) = (log_in(&broker), log_in(&broker));
    let mut desk = browser(&broker, "desk", &here);
    let mut phone = browser(&broker, "phone", &there);
    // A restart ends no login; its clients come back.
    for client in [&mut desk, &mut phone] {
        client.command(&json!({ "do": "disconnect" }));
        client.event("disconnected");
    }
    await_written(&broker);
    broker.restart_after_kill();
    let mut desk = browser(&broker, "desk", &here);
    let mut phone = browser(&broker, "phone", &there);
    let cookie = format!("Cookie: {}", here.cookie);
    let csrf_token = format!("X-CSRF-Token: {}", here.csrf_token);
    let (head, _) = curl(&broker, "/logout", &["-X", "POST", "-H", &cookie]);
    assert!(
        head.starts_with("HTTP/1.1 403"),
        "without its token: {head}"
    );
    let logout = ["-X", "POST", "-H", &cookie, "-H", &csrf_token];
    let (head, _) = curl(&broker, "/logout", &logout);
    assert!(head.starts_with("HTTP/1.1 204"), "{head}");
    let asked = Instant::now();
    desk.event("disconnected");
    assert!(
        asked.elapsed() < Duration::from_secs(30),
        "{:?}",
        asked.elapsed()
    );
    broker.await_audit("the end", |line| line["reason"] == "the login has ended");
    // The other login goes on, and is seen and ended by an operator.
    phone.publish(&json!({ "topic": "t/phone", "text": "still here", "qos": 0 }));
    assert_eq!(phone.message()["text"], "still here");
    let name = only_login(&broker);
    ctl(&broker, &["logout", &name]);
    phone.event("disconnected");
    broker.restart_after_kill();
    for login in [&here, &there] {
        let (_, code) = upgrade(&broker, &fields(Some(PAGE), &login.cookie));
        assert_eq!(code, Some(0x87), "after the end and a restart");
    }
}

#[test]
fn idn_11_a_user_who_is_disabled_loses_what_his_cookie_opened() {
    let broker = setup().start();
    let login = log_in(&broker);
    let mut desk = browser(&broker, "desk", &login);
    let disabled = wardgate()
        .args(["user", "disable", "alice", "--file"])
        .arg(broker.path().join("users.yaml"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(disabled.success());
    desk.event("disconnected");
    let (_, code) = upgrade(&broker, &fields(Some(PAGE), &login.cookie));
    assert_eq!(code, Some(0x86));
}

/// New logins are on disk within half a second.
fn await_written(broker: &Broker) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = std::fs::read_to_string(broker.path().join("data/logins.json"));
        let written = text.is_ok_and(|text| text.matches("\"username\"").count() == 2);
        if written {
            return;
        }
        assert!(Instant::now() < deadline, "the logins are not written down");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The name of alice's only login, as `ctl logins` shows it.
fn only_login(broker: &Broker) -> String {
    let text = ctl(broker, &["logins", "--username", "alice", "--json"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    let logins = value["logins"].as_array().unwrap();
    assert_eq!(logins.len(), 1, "{text}");
    assert_eq!(logins[0]["namespace"], "password");
    logins[0]["name"].as_str().unwrap().to_owned()
}

fn ctl(broker: &Broker, arguments: &[&str]) -> String {
    let token = broker.path().join("token");
    if !Path::new(&token).exists() {
        let made = wardgate()
            .args(["ctl", "token", "new", "--scope", "operator", "--config"])
            .arg(broker.path().join("wardgate.yaml"))
            .output()
            .unwrap();
        let made = String::from_utf8(made.stdout).unwrap();
        let secret = made.split_whitespace().last().unwrap();
        super::support::broker::write_private(&token, secret);
    }
    let output = wardgate()
        .arg("ctl")
        .args(arguments)
        .args([
            "--url",
            &format!("https://localhost:{}", broker.port("admin")),
        ])
        .arg("--token-file")
        .arg(&token)
        .arg("--ca")
        .arg(broker.path().join("device-ca.pem"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
