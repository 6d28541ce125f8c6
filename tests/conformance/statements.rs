//! README.md beside this file lists every statement with the cases that show it, and it tells the truth.
//!
//! `BLESS=1 cargo test --test conformance statements` writes the list anew; reasons (`no test: …`) are kept.

use super::{TABLES, cases, read};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The sections of appendix B of MQTT 5.0 and the numbers of their statements.
const V5: &[(&str, u32, u32)] = &[
    ("1.5.4", 1, 3),
    ("1.5.5", 1, 1),
    ("1.5.7", 1, 1),
    ("2.1.3", 1, 1),
    ("2.2.1", 2, 6),
    ("2.2.2", 1, 1),
    ("3.1.0", 1, 2),
    ("3.1.2", 1, 30),
    ("3.1.3", 1, 12),
    ("3.1.4", 1, 6),
    ("3.2.0", 1, 2),
    ("3.2.2", 1, 22),
    ("3.3.1", 1, 13),
    ("3.3.2", 1, 20),
    ("3.3.4", 1, 10),
    ("3.4.2", 1, 3),
    ("3.5.2", 1, 3),
    ("3.6.1", 1, 1),
    ("3.6.2", 1, 3),
    ("3.7.2", 1, 3),
    ("3.8.1", 1, 1),
    ("3.8.3", 1, 5),
    ("3.8.4", 1, 8),
    ("3.9.2", 1, 2),
    ("3.9.3", 1, 2),
    ("3.10.1", 1, 1),
    ("3.10.3", 1, 2),
    ("3.10.4", 1, 6),
    ("3.11.2", 1, 2),
    ("3.11.3", 1, 2),
    ("3.12.4", 1, 1),
    ("3.14.0", 1, 1),
    ("3.14.1", 1, 1),
    ("3.14.2", 1, 4),
    ("3.14.4", 1, 3),
    ("3.15.1", 1, 1),
    ("3.15.2", 1, 3),
    ("4.1.0", 1, 2),
    ("4.2.0", 1, 1),
    ("4.3.1", 1, 1),
    ("4.3.2", 1, 5),
    ("4.3.3", 1, 13),
    ("4.4.0", 1, 2),
    ("4.5.0", 1, 2),
    ("4.6.0", 1, 6),
    ("4.7.0", 1, 1),
    ("4.7.1", 1, 2),
    ("4.7.2", 1, 1),
    ("4.7.3", 1, 4),
    ("4.8.2", 1, 6),
    ("4.9.0", 1, 3),
    ("4.12.0", 1, 7),
    ("4.12.1", 1, 2),
    ("4.13.1", 1, 1),
    ("4.13.2", 1, 1),
    ("6.0.0", 1, 4),
];

/// The same of MQTT 3.1.1.
const V3: &[(&str, u32, u32)] = &[
    ("1.5.3", 1, 3),
    ("2.2.2", 1, 2),
    ("2.3.1", 1, 7),
    ("3.1.0", 1, 2),
    ("3.1.2", 1, 24),
    ("3.1.3", 1, 11),
    ("3.1.4", 1, 5),
    ("3.2.0", 1, 1),
    ("3.2.2", 1, 6),
    ("3.3.1", 1, 12),
    ("3.3.2", 1, 3),
    ("3.3.4", 1, 1),
    ("3.3.5", 1, 2),
    ("3.6.1", 1, 1),
    ("3.8.1", 1, 1),
    ("3.8.3", 1, 4),
    ("3.8.4", 1, 6),
    ("3.9.3", 1, 2),
    ("3.10.1", 1, 1),
    ("3.10.3", 1, 2),
    ("3.10.4", 1, 6),
    ("3.12.4", 1, 1),
    ("3.14.1", 1, 1),
    ("3.14.4", 1, 3),
    ("4.1.0", 1, 2),
    ("4.3.1", 1, 1),
    ("4.3.2", 1, 2),
    ("4.3.3", 1, 2),
    ("4.4.0", 1, 1),
    ("4.5.0", 1, 2),
    ("4.6.0", 1, 6),
    ("4.7.1", 1, 3),
    ("4.7.2", 1, 1),
    ("4.7.3", 1, 4),
    ("4.8.0", 1, 2),
    ("6.0.0", 1, 4),
    ("7.0.0", 1, 2),
    ("7.1.1", 1, 1),
    ("7.1.2", 1, 1),
];

const NO_TEST: &str = "no test: ";

#[test]
fn statements() {
    let shown = citations();
    let readme = std::fs::read_to_string(path()).unwrap();
    let reasons: BTreeMap<&str, &str> = rows(&readme)
        .filter(|(_, text)| text.starts_with(NO_TEST))
        .collect();
    let all: Vec<String> = identifiers("MQTT3", V3)
        .chain(identifiers("MQTT", V5))
        .collect();

    for cited in shown.keys() {
        assert!(
            all.contains(cited),
            "{cited} is cited, but there is no such statement"
        );
    }
    let mut table = BTreeMap::new();
    for id in &all {
        let text = match (shown.get(id), reasons.get(id.as_str())) {
            (Some(tests), _) => tests.join("; "),
            (None, Some(reason)) => (*reason).to_owned(),
            (None, None) => panic!("{id} has neither a test nor a reason in README.md"),
        };
        table.insert(id.as_str(), text);
    }
    if std::env::var_os("BLESS").is_some() {
        let list = |prefix: &str| -> String {
            all.iter()
                .filter(|id| id.starts_with(prefix))
                .map(|id| format!("| {id} | {} |\n", table[id.as_str()]))
                .collect()
        };
        let head = readme.split("\n## ").next().unwrap();
        let heading = "| statement | shown by |\n|---|---|\n";
        let text = format!(
            "{head}\n## MQTT 5.0\n\n{heading}{}\n## MQTT 3.1.1\n\n{heading}{}",
            list("MQTT-"),
            list("MQTT3-")
        );
        std::fs::write(path(), text).unwrap();
        return;
    }
    let listed: BTreeMap<&str, &str> = rows(&readme).collect();
    for (id, text) in &table {
        assert_eq!(
            listed.get(id),
            Some(&text.as_str()),
            "{id}: BLESS=1 writes README.md anew"
        );
    }
    assert_eq!(
        listed.len(),
        table.len(),
        "README.md lists a statement that does not exist"
    );
}

/// Statement → the cases that cite it, of the tables and of Rust tests (`/// [MQTT-…]` above the function).
fn citations() -> BTreeMap<String, Vec<String>> {
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in TABLES {
        let table = file.trim_end_matches(".txt");
        for case in cases(file, &read(file)) {
            for clause in case.clauses {
                shown
                    .entry(clause)
                    .or_default()
                    .push(format!("{table}: {}", case.title));
            }
        }
    }
    let mut pending = Vec::new();
    for line in read("features.rs").lines() {
        if let Some(comment) = line.trim().strip_prefix("/// ") {
            let words = comment
                .split(['[', ']'])
                .filter(|word| word.starts_with("MQTT"));
            pending.extend(words.map(str::to_owned));
        } else if let Some(name) = line.strip_prefix("fn ") {
            let name = name.split('(').next().unwrap();
            for clause in pending.drain(..) {
                shown
                    .entry(clause)
                    .or_default()
                    .push(format!("features: {name}"));
            }
        }
    }
    shown
}

fn identifiers(prefix: &str, sections: &[(&str, u32, u32)]) -> impl Iterator<Item = String> {
    sections.iter().flat_map(move |(section, first, last)| {
        (*first..=*last).map(move |number| format!("{prefix}-{section}-{number}"))
    })
}

fn rows(readme: &str) -> impl Iterator<Item = (&str, &str)> {
    readme
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| ")?
                .strip_suffix(" |")?
                .split_once(" | ")
        })
        .filter(|(id, _)| id.starts_with("MQTT"))
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/README.md")
}
