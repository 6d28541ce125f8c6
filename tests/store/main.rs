//! `wardgate store` as an operator uses it: on a running node, and on a folder that nobody uses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod backup;
mod bans;
mod command;
mod replay;

use std::fs;
use std::path::Path;
use std::process::Command;
use support::Wire;
use support::broker::{Broker, LAB, Setup, wardgate};

const EMBEDDED: &str = "store: { kind: embedded, path: ./data/store, durability: sync }";

const ADMIN: &str = "
admin: { bind: '127.0.0.1:0', tls: { certificate: server.pem, private_key: server.key } }
";

fn setup(more: &str) -> Setup {
    Setup::new(&format!("{LAB}{more}")).replacing("store: { kind: memory }", EMBEDDED)
}

/// A session that lasts, and its messages wait.
fn away(mut wire: Wire, name: &str) {
    wire.send(&format!("10 .. s'MQTT' 05 00 0000 <11 00000fff> s'{name}'"));
    wire.expect_connack(0);
    wire.send("82 .. 0001 <> s'q/#' 02");
    wire.expect("90 .. 0001 <> 02");
    wire.drop_connection();
}

fn publisher(mut wire: Wire) -> Wire {
    wire.send("10 .. s'MQTT' 05 02 0000 <> s'publisher'");
    wire.expect_connack(0);
    wire
}

/// QoS 1, acknowledged when this returns.
fn publish(wire: &mut Wire, number: u32) {
    let identifier = number % 60_000 + 1;
    wire.send(&format!(
        "32 .. s'q/{}' {identifier:04x} <> 'message {number}'",
        number % 3
    ));
    wire.expect(&format!("40 .. {identifier:04x} *"));
}

fn retain(wire: &mut Wire, topic: &str, text: &str) {
    wire.send(&format!("33 .. s'{topic}' ffff <> '{text}'"));
    wire.expect("40 .. ffff *");
}

/// What waits for the session that [`away`] made, from the first on.
fn waiting(mut wire: Wire, name: &str, up_to: u32) {
    wire.send(&format!("10 .. s'MQTT' 05 00 0000 <11 00000fff> s'{name}'"));
    wire.expect("20 .. 01 00 *");
    for number in 0..up_to {
        let packet = wire.receive().expect("a queued message");
        let publish = support::packet::Publish::parse(&packet, 5);
        assert_eq!(publish.text(), format!("message {number}"));
        wire.send(&format!("40 02 {:04x}", publish.packet_identifier.unwrap()));
    }
    wire.drop_connection();
}

/// A command to the running node, with a token of this scope.
fn as_admin(broker: &Broker, scope: &str, arguments: &[&str]) -> Command {
    let token = broker.path().join(format!("token-{scope}"));
    if !token.exists() {
        let made = run(wardgate()
            .args(["ctl", "token", "new", "--scope", scope, "--config"])
            .arg(broker.path().join("wardgate.yaml")));
        fs::write(&token, made.unwrap()).unwrap();
    }
    let mut command = wardgate();
    command
        .args(arguments)
        .arg("--url")
        .arg(format!("https://localhost:{}", broker.port("admin")))
        .arg("--token-file")
        .arg(token)
        .arg("--ca")
        .arg(broker.path().join("device-ca.pem"));
    command
}

/// Standard output, or what it says when it fails.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    match output.status.code() {
        Some(0) => Ok(String::from_utf8(output.stdout).unwrap()),
        Some(1) => Err(String::from_utf8(output.stderr).unwrap()),
        other => panic!("{command:?} ended with {other:?}: {output:?}"),
    }
}

fn store(path: &Path, arguments: &[&str]) -> Result<String, String> {
    run(wardgate()
        .arg("store")
        .args(arguments)
        .arg("--path")
        .arg(path))
}
