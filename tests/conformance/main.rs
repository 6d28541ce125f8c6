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

use std::net::ToSocketAddrs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::broker::LAB;
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

/// With `JUDGE=host:port` the same tables judge another broker, which must be open to anybody.
fn converse(case: &Case) {
    if let Ok(other) = std::env::var("JUDGE") {
        let address = other.to_socket_addrs().unwrap().next().unwrap();
        if case.config.is_empty() {
            script::run(&case.script, || Wire::dial(address, &Transport::Tcp));
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
