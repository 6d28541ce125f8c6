//! Attacks that other brokers fell to, tried on the real process over sockets: rows.txt lists them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod bans;
mod directory;
mod flow;
mod identity;
mod listeners;
mod lockout;
mod logs;
mod overload;
mod passwords;
mod permits;
mod persons;
mod policy;
mod reload;
mod revocation;
mod routing;
mod session;
mod tokens;
mod transport;

use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs;
use std::path::Path;
use support::broker::wardgate;
use support::{Broker, Setup, Wire};

/// With `WARDGATE_THREATS=full` as many as the row states, otherwise what a second or two allow. Raises the limit of open files, for broker and test alike.
fn as_many(stated: usize, usual: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    if is_full() { stated } else { usual }
}

fn is_full() -> bool {
    std::env::var("WARDGATE_THREATS").is_ok_and(|size| size == "full")
}

/// Listeners by password, and two users whose password is `right`.
fn with_users(listeners: &str) -> Setup {
    let setup = Setup::new(listeners).with("authentication: { password: { file: users.yaml } }\n");
    for name in ["alice", "bob"] {
        add_user(setup.path(), name, "right");
    }
    setup
}

/// For [`ctl`].
const ADMIN: &str = "
admin: { bind: '127.0.0.1:0', tls: { certificate: server.pem, private_key: server.key } }
";

/// Asks the running node by the program itself.
fn ctl(broker: &Broker, arguments: &[&str]) -> String {
    let token = broker.path().join("token");
    if !token.exists() {
        let made = wardgate()
            .args(["ctl", "token", "new", "--scope", "admin", "--config"])
            .arg(broker.path().join("wardgate.yaml"))
            .output()
            .unwrap();
        let text = String::from_utf8(made.stdout).unwrap();
        fs::write(&token, text.split_whitespace().last().unwrap()).unwrap();
    }
    let output = wardgate()
        .arg("ctl")
        .args(arguments)
        .args([
            "--url",
            &format!("https://localhost:{}", broker.port("admin")),
        ])
        .arg("--token-file")
        .arg(token)
        .arg("--ca")
        .arg(broker.path().join("device-ca.pem"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ctl {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn add_user(folder: &Path, name: &str, password: &str) {
    use std::io::Write;
    let mut child = wardgate()
        .args(["user", "add", "--password-stdin", "--file"])
        .arg(folder.join("users.yaml"))
        .arg(name)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(format!("{password}\n").as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

fn connect(wire: &mut Wire, id: &str) {
    wire.send(&format!("10 .. s'MQTT' 05 02 0000 <> s'{id}'"));
    wire.expect_connack(0);
}

/// CONNECT of version 5 with credentials; Clean Start as asked, a session that lasts.
fn login(wire: &mut Wire, id: &str, clean: bool, user: &str, password: &str) {
    let flags = 0xc0 | (u8::from(clean) << 1);
    wire.send(&format!(
        "10 .. s'MQTT' 05 {flags:02x} 0000 <11 000000ff> s'{id}' s'{user}' s'{password}'"
    ));
}

/// Every row of a module that is built has a test that bears its id.
#[test]
fn every_row_has_a_test() {
    let mut names = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    collect(&root.join("src"), &mut names);
    collect(&root.join("tests"), &mut names);
    let mut missing = Vec::new();
    let mut rows = 0;
    for line in include_str!("rows.txt").lines() {
        let id = line.split(' ').next().unwrap();
        let Some((module, number)) = id.split_once('-') else {
            continue;
        };
        let Ok(number) = number.parse::<u32>() else {
            continue;
        };
        rows += 1;
        let prefix = format!("{}_{number:02}_", module.to_lowercase());
        if !names.iter().any(|name| name.starts_with(&prefix)) {
            missing.push(id);
        }
    }
    assert!(rows >= 28, "rows.txt was not understood");
    assert!(missing.is_empty(), "no test bears {missing:?}");
}

/// The names of all functions below this folder.
fn collect(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "node_modules" && name != ".venv" {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let functions = text
                .lines()
                .filter_map(|line| line.trim().split("fn ").nth(1));
            names.extend(
                functions
                    .filter_map(|rest| rest.split('(').next())
                    .map(str::to_owned),
            );
        }
    }
}
