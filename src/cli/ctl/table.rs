//! JSON as people read it on a terminal.

use std::fmt::Write;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The objects of a list as a table with these columns; columns that nobody has are left out.
pub(super) fn rows(value: &Value, list: &str, columns: &[&str]) -> String {
    let rows: Vec<&Value> = value
        .get(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    if rows.is_empty() {
        return format!("no {list}");
    }
    let filled = |column: &&&str| {
        rows.iter()
            .any(|row| row.get(**column).is_some_and(|value| !value.is_null()))
    };
    let columns: Vec<&&str> = columns.iter().filter(filled).collect();
    let lines: Vec<Vec<String>> =
        std::iter::once(columns.iter().map(|column| column.to_uppercase()).collect())
            .chain(rows.iter().map(|row| {
                columns
                    .iter()
                    .map(|column| named_cell(column, row.get(**column)))
                    .collect()
            }))
            .collect();
    let width = |at: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(at))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
    out
}

/// The members of an object, one a line, those of inner objects below theirs.
pub(super) fn members(value: &Value) -> String {
    let mut out = String::new();
    push(&mut out, value, 0);
    out
}

fn push(out: &mut String, value: &Value, depth: usize) {
    let indent = depth * 2;
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => {
                let _ = writeln!(out, "{:indent$}{name}:", "");
                push(out, value, depth.saturating_add(1));
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                let _ = writeln!(out, "{:indent$}{name}:", "");
                for item in items {
                    let _ = writeln!(out, "{:indent$}  -", "");
                    push(out, item, depth.saturating_add(2));
                }
            }
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                let _ = writeln!(
                    out,
                    "{:indent$}{name}: {}",
                    "",
                    named_cell(name, Some(value))
                );
            }
        }
    }
}

/// Moments come as seconds since 1970, which nobody reads, and statements on several lines.
fn named_cell(name: &str, value: Option<&Value>) -> String {
    let moment = value
        .and_then(Value::as_i64)
        .filter(|_| MOMENTS.contains(&name))
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|moment| moment.format(&Rfc3339).ok());
    let statement = value
        .and_then(Value::as_str)
        .filter(|_| name == "suggestion")
        .and_then(|statement| statement.split_once("\n  - "))
        .map(|(effect, statement)| {
            let statement = statement.split("\n  - ").collect::<Vec<_>>().join(" }, { ");
            cell(Some(&format!("{effect} [{{ {statement} }}]").into()))
        });
    moment.or(statement).unwrap_or_else(|| cell(value))
}

/// Whatever clients chose is escaped: it must not steer the terminal.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.chars().flat_map(escaped).collect(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| cell(Some(item)))
            .collect::<Vec<_>>()
            .join(", "),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(name, value)| format!("{name} {}", cell(Some(value))))
            .collect::<Vec<_>>()
            .join(", "),
        Some(other) => other.to_string(),
    }
}

fn escaped(character: char) -> Vec<char> {
    // Right-to-left marks and the like rewrite a line without being control characters.
    let steers = character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if steers {
        character.escape_unicode().collect()
    } else {
        vec![character]
    }
}

const MOMENTS: [&str; 4] = ["time", "since", "until", "valid_until"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_the_columns_that_are_there_and_steers_no_terminal() {
        let value = json!({ "bans": [
            { "ip": "192.0.2.7", "reason": "rude\u{1b}[31m\n", "by": null },
            { "username": "a\u{202e}b", "reason": "" },
        ] });
        let expected = "IP         USERNAME    REASON\n192.0.2.7  -           rude\\u{1b}[31m\\u{a}\n-          a\\u{202e}b\n";
        assert_eq!(
            rows(
                &value,
                "bans",
                &["ip", "username", "client_id", "by", "reason"]
            ),
            expected
        );
        assert_eq!(rows(&json!({ "bans": [] }), "bans", &["ip"]), "no bans");
    }

    #[test]
    fn a_suggested_statement_stands_in_one_cell() {
        let value =
            json!({ "denials": [{ "topic": "a", "suggestion": "allow:\n  - publish: \"a\"" }] });
        let expected = "TOPIC  SUGGESTION\na      allow: [{ publish: \"a\" }]\n";
        assert_eq!(rows(&value, "denials", &["topic", "suggestion"]), expected);
    }

    #[test]
    fn moments_are_written_as_people_read_them() {
        let value = json!({ "bans": [{ "ip": "192.0.2.7", "until": 1_795_284_409, "reason": "1795284409" }] });
        let expected = "IP         UNTIL                 REASON\n192.0.2.7  2026-11-21T18:06:49Z  1795284409\n";
        assert_eq!(rows(&value, "bans", &["ip", "until", "reason"]), expected);
        assert_eq!(
            members(&json!({ "since": 0 })),
            "since: 1970-01-01T00:00:00Z\n"
        );
    }

    #[test]
    fn members_are_indented_below_theirs() {
        let value = json!({ "node": "gate-1", "listeners": { "mqtts": "[::]:8883" }, "filters": [{ "filter": "a/#", "qos": 1 }], "groups": ["a", "b"] });
        let expected = "node: gate-1\nlisteners:\n  mqtts: [::]:8883\nfilters:\n  -\n    filter: a/#\n    qos: 1\ngroups: a, b\n";
        assert_eq!(members(&value), expected);
    }
}
