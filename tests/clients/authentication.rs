//! Logins that a library's users write themselves: AUTH packets between CONNECT and CONNACK, and again later.

use super::Way;
use super::client::{Client, Kind};
use super::support::Setup;
use super::support::broker::wardgate;
use serde_json::json;
use std::io::Write;
use std::process::Stdio;

const MQTT_JS: Way = Way {
    kind: Kind::MqttJs,
    version: 5,
    listener: "tcp",
};

#[test]
fn mqttjs_proves_its_password_by_scram_and_again() {
    let setup = Setup::new(
        "\nlisteners: { tcp: { bind: '127.0.0.1:0', transport: tcp, authenticate: [scram] } }\n",
    )
    .with("authentication: { password: { file: users.yaml } }\n");
    let mut child = wardgate()
        .args(["user", "add", "--password-stdin", "--file"])
        .arg(setup.path().join("users.yaml"))
        .arg("a=b,c")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"p\xc3\xa4ss w\xc3\xb6rd\n")
        .unwrap();
    assert!(child.wait().unwrap().success());
    let broker = setup.start();
    let scram = json!({ "scram": { "username": "a=3Db=2Cc", "password": "päss wörd" } });
    let mut client = Client::start(&broker, MQTT_JS, "c", &scram);
    client.subscribe("t", 1);
    for round in ["one", "two"] {
        client.command(&json!({ "do": "authenticate" }));
        assert_eq!(client.event("authenticated")["server_proved"], true);
        client.publish(&json!({ "topic": "t", "text": round, "qos": 1 }));
        assert_eq!(client.message()["text"], round);
    }
}
