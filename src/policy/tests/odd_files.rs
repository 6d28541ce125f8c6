//! Files that read differently than they look (POL-13): every odd value in every place.

use crate::policy::{Policies, differential};
use std::path::PathBuf;

/// Odd values, and whether they are a plain text where a text belongs.
const VALUES: [(&str, bool); 34] = [
    ("no", true),
    ("off", true),
    ("Yes", true),
    ("y", true),
    ("True", false),
    ("true", false),
    ("null", false),
    ("~", false),
    ("", false),
    ("007", false),
    ("0o7", false),
    ("0x1F", false),
    ("1_000", false),
    ("1e3", false),
    (".inf", false),
    ("-.INF", false),
    (".nan", false),
    ("+1", false),
    ("12:30:45", true),
    ("2001-01-01", true),
    ("&a x", false),
    ("*a", false),
    ("!!str x", false),
    ("!!int 1", false),
    ("!local x", false),
    ("!!binary eA==", false),
    ("{a: b}", false),
    ("[[a]]", false),
    ("? a", false),
    ("@a", false),
    ("`a`", false),
    ("\"a\\0b\"", false),
    ("\"\\ud800\"", false),
    ("|\n  a\n", false),
];

/// A file with a hole, and whether a text belongs there.
const PLACES: [(&str, bool); 9] = [
    (
        "version: 1\npolicies:\n  - {id: @@, who: {any: true}, allow: [{publish: x}]}\n",
        true,
    ),
    (
        "version: 1\npolicies:\n  - {id: a, who: {group: @@}, allow: [{publish: x}]}\n",
        true,
    ),
    (
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: @@}]}\n",
        true,
    ),
    (
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: x, qos: @@}]}\n",
        false,
    ),
    (
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: x, qos: [@@]}]}\n",
        false,
    ),
    (
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, mode: @@, allow: [{publish: x}]}\n",
        false,
    ),
    (
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, on_deny: @@, allow: [{publish: x}]}\n",
        false,
    ),
    (
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, limits: {messages: {rate: @@}}}\n",
        false,
    ),
    ("version: 1\npolicies: @@\n", false),
];

#[test]
fn pol_13_odd_values_are_plain_texts_or_refused() {
    let mut failing = Vec::new();
    for (value, is_text) in VALUES {
        for (place, takes_text) in PLACES {
            let text = place.replace("@@", value);
            let read = Policies::parse(&[(PathBuf::from("odd.yaml"), text.clone())]);
            if read.is_ok() != (is_text && takes_text) {
                failing.push(format!("{text}: {:?}", read.map(|set| set.len())));
            }
        }
    }
    assert!(
        failing.is_empty(),
        "{} of {}: {failing:#?}",
        failing.len(),
        VALUES.len() * PLACES.len()
    );
}

#[test]
fn pol_13_keys_must_be_known_single_and_plain() {
    let rows = [
        "version: 1\nversion: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: x}]}\n",
        "version: 1\npolicies:\n  - {id: a, id: b, who: {any: true}, allow: [{publish: x}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: true, any: true}, allow: [{publish: x}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {group: x, group: y}, allow: [{publish: x}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: x, publish: y}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: x, Retain: true}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: true, group: x}, allow: [{publish: x}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {not: {any: true}}, allow: [{publish: x}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: false}, allow: [{publish: x}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {not: {}}, allow: [{publish: x}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {username: \"${client_id}\"}, allow: [{publish: x}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {<<: {any: true}}, allow: [{publish: x}]}\n",
        "version: 1\npolicies: &p\n  - {id: a, who: {any: true}, allow: [{publish: x}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: x, share: [g]}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{subscribe: \"$share/g/x\"}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{subscribe: x, share: [\"g/h\"]}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: \"$${username}/x\"}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: \"x/${username}-${client_id}\"}]}\n",
        "version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: \"x/${username\"}]}\n",
        "version: 1\npolicies:\n  - {id: a b, who: {any: true}, allow: [{publish: x}]}\n",
        "version: 1\n---\nversion: 1\npolicies: []\n",
        "\u{FEFF}version: 1\npolicies:\n  - {id: a, who: {any: true}, allow: [{publish: x}]}\n",
        "version: 1\r\rpolicies: []\n",
        "version: 1\npolicies:\n\t- {id: a, who: {any: true}, allow: [{publish: x}]}\n",
    ];
    for text in rows {
        let read = Policies::parse(&[(PathBuf::from("odd.yaml"), text.to_owned())]);
        assert!(read.is_err(), "{text:?}");
    }
}

/// Shapes that cost a careless reader its memory or its stack.
#[test]
fn pol_13_bombs_are_refused_at_once() {
    let anchors: String = (0..64)
        .map(|level| format!("a{level}: &a{level} [*a{level}, *a{level}]\n"))
        .collect();
    let rows = [
        anchors,
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        format!("version: 1\npolicies: {}", "[".repeat(50_000)),
        format!("# {}\nversion: 1\n", "x".repeat(1 << 20)),
        "- ".repeat(300_000),
        "? ".repeat(300_000),
    ];
    for text in rows {
        let started = std::time::Instant::now();
        assert!(Policies::parse(&[(PathBuf::from("bomb.yaml"), text.clone())]).is_err());
        let head: String = text.chars().take(20).collect();
        assert!(
            started.elapsed().as_secs() < 60,
            "{head}: {:?}",
            started.elapsed()
        );
    }
}

/// What the fuzzer does, over the samples and cut pieces of them.
#[test]
fn the_fuzz_target_holds_for_the_samples() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let text = std::fs::read(path).unwrap();
            assert_eq!(differential(&text), Ok(()));
            for end in (0..text.len()).step_by(97) {
                assert_eq!(differential(&text[..end]), Ok(()));
            }
        }
    }
}

/// A key without a value is not a key left out: `qos:` alone must not permit every QoS.
#[test]
fn pol_13_a_key_needs_its_value() {
    let file = "version: 1\npolicies:\n  - id: a\n    who: {any: true}\n    mode: enforce\n    on_deny: refuse\n    description: d\n    limits: {messages: {rate: 1/s, burst: 1}}\n    deny: [{publish: y}]\n    allow:\n      - subscribe: x\n        qos: [0]\n        retain: false\n        share: [g]\ntests:\n  - given: {username: u}\n    deny: [{publish: x, qos: 1, retain: false}]\n";
    Policies::parse(&[(PathBuf::from("whole.yaml"), file.to_owned())]).unwrap();
    let values = [
        "1",
        "a",
        "{any: true}",
        "enforce",
        "refuse",
        "d",
        "{messages: {rate: 1/s, burst: 1}}",
        "[{publish: y}]",
        "[0]",
        "false",
        "[g]",
        "u",
        "1/s",
    ];
    for value in values {
        for empty in ["", "~", "null"] {
            let text = file.replacen(&format!(": {value}"), &format!(": {empty}"), 1);
            assert_ne!(text, file, "{value}");
            let read = Policies::parse(&[(PathBuf::from("odd.yaml"), text.clone())]);
            assert!(read.is_err(), "{text}");
        }
    }
}

/// Whatever is wrong in shape or meaning, wherever: one look shows all of it, each at its place. Of a policy with a wrong shape nothing else is said.
#[test]
fn every_problem_of_every_policy_is_told_at_once() {
    let text = "\
version: 1
surprise: 1
policies:
  - id: a
    who: { any: true }
    mode: watch
    allow: [{ publish: x, qos: one, retian: true }]
  - id: b
    who: { nobody: x }
    allow: [{ publish: \"x/#/y\" }]
  - who: { any: true }
    on_deny: close
    deny: x
  - id: 7
    who: {}
  - id: b
    who: { any: true }
    allow: [{ subscribe: x }, { publish: x, subscribe: x }]
tests:
  - given: { user: x }
    allow: [{ publish: 5 }]
  - given: { ip: here }
    deny: [{ subscribe: \"a#\" }]
";
    let expected = [
        "2:1 unknown key \"surprise\"",
        "6:11 unknown value \"watch\"",
        "7:32 expected ",
        "7:37 unknown key \"retian\", did you mean \"retain\"",
        "11:5 the key `id` is missing",
        "12:14 unknown value \"close\"",
        "13:11 expected a list",
        "14:9 expected a text: put quotes around it",
        "20:14 unknown key \"user\"",
        "21:24 expected a text: put quotes around it",
        "9:12 unknown key \"nobody\" in who",
        "10:24 ",
        "16:9 duplicate id b, first at policy.yaml:8 b",
        "18:31 a statement has exactly one of publish and subscribe",
        "23:25 ",
        "22:18 no address: \"here\"",
    ];
    let found = Policies::parse(&[(PathBuf::from("policy.yaml"), text.to_owned())]).unwrap_err();
    let found: Vec<_> = found
        .iter()
        .map(|one| format!("{}:{} {}", one.line, one.column, one.message))
        .collect();
    assert!(
        found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(found, expected)| found.starts_with(expected)),
        "{found:#?}"
    );
}
