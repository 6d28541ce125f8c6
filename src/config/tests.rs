//! The configuration read as a user writes it, and as he should not.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::ffi::OsString;
use std::path::Path;

mod checked;

use super::*;
use crate::problem::Problem;

const FILE: &str = "/etc/wardgate/wardgate.yaml";

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let owned = |(name, value): &(&str, &str)| (OsString::from(*name), OsString::from(*value));
    variables.iter().map(owned).collect()
}

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    Config::parse(Path::new(FILE), text, environment(variables))
}

fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    parse(text, variables).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

/// The example of the contract, less the back ends that have sections of their own.
const CONTRACT: &str = include_str!("tests/contract.yaml");

#[test]
fn the_example_of_the_contract_is_read() {
    let config = good(CONTRACT, &[]);
    assert_eq!(config.node, "gate-1");
    assert_eq!(config.listeners.len(), 3);
    assert_eq!(config.data_dir, Path::new("/etc/wardgate/data"));
    assert_eq!(config.store.path, Path::new("/etc/wardgate/data/store"));
    assert_eq!(config.audit_folder(), Path::new("/etc/wardgate/data/audit"));
    let mqtts = config.listeners.get("mqtts").unwrap();
    assert_eq!(mqtts.max_connections, 50_000);
    assert_eq!(mqtts.bind.port(), 8883);
}

const SMALL: &str = "listeners:\n  lab:\n    bind: 127.0.0.1:1883\n    authenticate: [anonymous]\npolicies: [policies/]\n";

#[test]
fn trn_09_file_and_environment_give_the_same_settings() {
    let rows: [(&str, &[(&str, &str)]); 9] = [
        ("node: gate-7\n", &[("WARDGATE_NODE", "gate-7")]),
        ("data_dir: /srv/w\n", &[("WARDGATE_DATA_DIR", "/srv/w")]),
        (
            "mqtt: { receive_maximum: 7 }\n",
            &[("WARDGATE_MQTT__RECEIVE_MAXIMUM", "7")],
        ),
        (
            "mqtt: { queue: { messages: 5, bytes: 1MiB } }\n",
            &[
                ("WARDGATE_MQTT__QUEUE__MESSAGES", "5"),
                ("WARDGATE_MQTT__QUEUE__BYTES", "1MiB"),
            ],
        ),
        (
            "mqtt: { versions: [\"5.0\"] }\n",
            &[("WARDGATE_MQTT__VERSIONS", "[\"5.0\"]")],
        ),
        (
            "mqtt: { retain_available: false }\n",
            &[("WARDGATE_MQTT__RETAIN_AVAILABLE", "false")],
        ),
        (
            "log: { level: debug, format: json }\n",
            &[
                ("WARDGATE_LOG__LEVEL", "debug"),
                ("WARDGATE_LOG__FORMAT", "json"),
            ],
        ),
        (
            "limits: { connections: { per_ip: { max: 7 } } }\n",
            &[("WARDGATE_LIMITS__CONNECTIONS__PER_IP__MAX", "7")],
        ),
        (
            "limits: { deny: [203.0.113.0/24] }\n",
            &[("WARDGATE_LIMITS__DENY", "[203.0.113.0/24]")],
        ),
    ];
    for (lines, variables) in rows {
        let from_file = good(&format!("{SMALL}{lines}"), &[]).effective_json();
        let from_environment = good(SMALL, variables).effective_json();
        assert_eq!(
            from_file.to_string(),
            from_environment.to_string(),
            "{lines}"
        );
        assert_ne!(from_file, good(SMALL, &[]).effective_json(), "{lines}");
    }
}

#[test]
fn the_environment_reaches_every_scalar() {
    let config = good(
        &CONTRACT.replace("  lab:", "  lab-2:"),
        &[
            ("WARDGATE_LISTENERS__MQTTS__BIND", "127.0.0.1:0"),
            ("WARDGATE_LISTENERS__LAB_2__BIND", "127.0.0.1:1"),
            ("WARDGATE_SERVICE_HOST", "10.0.0.1"),
        ],
    );
    assert_eq!(
        config.listeners.get("mqtts").unwrap().bind.to_string(),
        "127.0.0.1:0"
    );
    assert_eq!(
        config.listeners.get("lab-2").unwrap().bind.to_string(),
        "127.0.0.1:1"
    );
}

#[test]
fn secrets_come_from_environment_and_files() {
    let scratch = std::env::temp_dir().join(format!("wardgate-config-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    std::fs::write(scratch.join("name"), "from-file\n").unwrap();
    let file = scratch.join("wardgate.yaml");
    let rows = [
        ("${env:NAME}", Ok("gate-9")),
        ("a-${env:NAME}-b", Ok("a-gate-9-b")),
        ("${env:NUMBER}", Ok("12")),
        ("${file:name}", Ok("from-file")),
        (
            "${env:ABSENT}",
            Err("the environment variable ABSENT is not set"),
        ),
        ("${env:EMPTY}", Err("${env:EMPTY} is empty")),
        ("${env:NAME", Err("`${` without its `}`")),
        (
            "${NAME}",
            Err(
                "${NAME} is neither ${env:NAME} nor ${file:PATH}; write $${ for the characters themselves",
            ),
        ),
    ];
    for (value, expected) in rows {
        let text = format!("{SMALL}node: {value:?}\n");
        let variables = environment(&[("NAME", "gate-9"), ("EMPTY", ""), ("NUMBER", "12")]);
        let read = Config::parse(&file, &text, variables).map(|config| config.node);
        let read = read.map_err(|problems| problems.first().unwrap().message.clone());
        assert_eq!(
            read.as_deref(),
            expected.map_err(str::to_owned).as_ref().copied(),
            "{value}"
        );
    }
    std::fs::remove_dir_all(scratch).unwrap();
}

#[test]
fn every_problem_is_told_at_once() {
    let text = "nod: x\nlisteners:\n  lab:\n    bnid: 1\n    bind: here\n    authenticate: [anonymous, kerberos]\n    max_packet_size: 1 MiB\nmqtt:\n  max_qos: 3\npolicies: []\n";
    let problems = parse(text, &[]).unwrap_err();
    let places: Vec<_> = problems
        .iter()
        .map(|problem| (problem.line, problem.column))
        .collect();
    assert_eq!(
        places,
        [(1, 1), (4, 5), (5, 11), (6, 31), (7, 22), (9, 12)],
        "{problems:#?}"
    );
}

/// Each case of `odd.txt`: `=== LINE:COLUMN MESSAGE` and then the file.
#[test]
fn pol_13_odd_files_are_refused_at_their_place() {
    let mut cases = 0;
    for case in include_str!("tests/odd.txt").split("=== ").skip(1) {
        let (head, text) = case.split_once('\n').unwrap();
        let (place, message) = head.split_once(' ').unwrap();
        // What an editor would hide is written as an escape.
        let text = text
            .replace("\\t", "\t")
            .replace("\\0", "\0")
            .replace("\\ufeff", "\u{feff}")
            .replace("\\r", "\r");
        let problems = match parse(&text, &[]) {
            Ok(config) => panic!("{text}\nwas read as {config:?}"),
            Err(problems) => problems,
        };
        let found = problems.first().unwrap();
        let at = format!("{}:{}", found.line, found.column);
        assert!(
            at == place && found.message.contains(message),
            "{head}\n{text}\n{problems:#?}"
        );
        cases += 1;
    }
    assert!(cases >= 250, "{cases} cases");
}
