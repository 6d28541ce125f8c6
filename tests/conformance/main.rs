//! Every normative statement of MQTT 3.1.1 and 5.0 that binds a server, as conversations in text: see README.md beside this file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod features;
mod statements;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::broker::LAB;
use support::wire::PATIENCE;
use support::{Setup, Transport, Wire, script};

/// One conversation of a table.
struct Case {
    title: String,
    /// The statements it shows.
    clauses: Vec<String>,
    /// Configuration besides the usual.
    config: String,
    script: String,
}

macro_rules! tables {
    ($($name:ident = $file:literal,)*) => {
        $(#[test] fn $name() { judge($file, &read($file)); })*

        /// Every table, for the check against the list of statements.
        pub(crate) const TABLES: &[&str] = &[$($file,)*];
    };
}

tables! {
    v3_connect = "v3_connect.txt",
    v3_publish = "v3_publish.txt",
    v3_subscribe = "v3_subscribe.txt",
    v31 = "v31.txt",
    v5_connect = "v5_connect.txt",
    v5_flow = "v5_flow.txt",
    v5_malformed = "v5_malformed.txt",
    v5_publish = "v5_publish.txt",
    v5_qos = "v5_qos.txt",
    v5_retained = "v5_retained.txt",
    v5_session = "v5_session.txt",
    v5_shared = "v5_shared.txt",
    v5_subscribe = "v5_subscribe.txt",
    v5_will = "v5_will.txt",
}

/// Read when the test runs, so that a new case needs no compiler.
fn read(file: &str) -> String {
    std::fs::read_to_string(format!(
        "{}/tests/conformance/{file}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

/// Each case with a broker of its own; all failures are told at the end.
fn judge(file: &str, text: &str) {
    let wanted = std::env::var("CASE").unwrap_or_default();
    let mut failures = Vec::new();
    for case in cases(file, text) {
        if !case.title.contains(&wanted) {
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| converse(&case)));
        if let Err(panic) = outcome {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("?");
            failures.push(format!("{} {:?}\n    {message}", case.title, case.clauses));
        }
    }
    assert!(
        failures.is_empty(),
        "{file}: {} failed\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// With `JUDGE=mosquitto` the same tables judge that broker: what they ask can be compared with what others do.
fn converse(case: &Case) {
    if let Ok(program) = std::env::var("JUDGE") {
        if case.config.is_empty() {
            let other = Mosquitto::start(&program);
            script::run(&case.script, || Wire::dial(other.address, &Transport::Tcp));
        }
        return;
    }
    let listeners = if case.config.starts_with("listeners:") {
        ""
    } else {
        LAB
    };
    let broker = Setup::new(&format!("{listeners}{}", case.config)).start();
    script::run(&case.script, || broker.dial("lab"));
}

/// A case begins with `== title [MQTT-…] [MQTT-…]`, then `config …` lines, then the steps.
fn cases(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("== ") {
            let (title, clauses) = head.split_once('[').unwrap_or((head, ""));
            cases.push(Case {
                title: title.trim().to_owned(),
                clauses: clauses
                    .split(['[', ']', ' '])
                    .filter(|word| word.starts_with("MQTT"))
                    .map(str::to_owned)
                    .collect(),
                config: String::new(),
                script: String::new(),
            });
        } else if let Some(case) = cases.last_mut() {
            let (into, line) = match line.strip_prefix("config ") {
                Some(config) => (&mut case.config, config),
                None => (&mut case.script, line),
            };
            into.push_str(line);
            into.push('\n');
        } else {
            assert!(
                line.is_empty() || line.starts_with('#'),
                "{file}: {line} before the first case"
            );
        }
    }
    assert!(!cases.is_empty(), "{file} has no case");
    cases
}

struct Mosquitto {
    process: std::process::Child,
    address: SocketAddr,
}

impl Mosquitto {
    fn start(program: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = std::env::temp_dir().join(format!("wardgate-judge-{}.conf", address.port()));
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_topic_alias 32\n",
            address.port()
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = TcpStream::connect(address) {
            assert!(
                Instant::now() < deadline,
                "{program} does not listen on {address} after {PATIENCE:?}: {error}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = std::fs::remove_file(config);
        Self { process, address }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
