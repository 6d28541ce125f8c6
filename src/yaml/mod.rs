//! The one reader of YAML files: whatever could read differently than it looks is a problem with line and column (POL-13).
//!
//! What people write most is read in two steps, so that one look shows every problem: [`tree`] checks the form, [`reader`] makes typed values of it.
//! [`read`] does for small files, where the first problem is enough.

pub(crate) mod reader;
mod spanned;
mod spelling;
pub(crate) mod tree;

pub use self::spanned::{Location, Spanned};

use crate::problem::Problem;
use serde::de::DeserializeOwned;
use serde_saphyr::{DefaultMessageFormatter, MergeKeyPolicy, MessageFormatter};
use std::path::Path;

/// No file that a person writes is longer, but for lists of users.
pub const MAX_BYTES: usize = 1 << 20;

/// Reads one document. Duplicate and merge keys, anchors, aliases, foreign tags, and unquoted numbers or booleans where a text belongs are refused.
pub fn read<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, Problem> {
    if text.len() > MAX_BYTES {
        return Err(Problem::whole(
            file,
            format!("longer than {MAX_BYTES} bytes"),
        ));
    }
    // A byte order mark or a control character is invisible in an editor, so that the file reads differently than it looks.
    if let Some(problem) = invisible(file, text) {
        return Err(problem);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_aliases: 0, max_anchors: 0, max_documents: 1, max_depth: 32 },
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        no_schema: true,
        reject_unsupported_tags: true,
        // A text is what stands there.
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| problem(file, &error))
}

pub(crate) fn invisible(file: &Path, text: &str) -> Option<Problem> {
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut indented = true;
        for (column, character) in (1..).zip(line.chars()) {
            indented &= character.is_whitespace();
            let tab = character == '\t' && !indented;
            if character == '\u{FEFF}' || character.is_control() && !tab {
                let message = format!("invisible character U+{:04X}", u32::from(character));
                return Some(Problem::new(file, number, column, message));
            }
        }
    }
    None
}

fn problem(file: &Path, error: &serde_saphyr::Error) -> Problem {
    let (line, column) = error
        .location()
        .map_or((1, 1), |location| (location.line(), location.column()));
    Problem::new(
        file,
        line,
        column,
        DefaultMessageFormatter.format_message(error),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        text: Option<String>,
        #[serde(default)]
        flag: Option<bool>,
        #[serde(default)]
        number: Option<u32>,
        #[serde(default)]
        list: Vec<serde_saphyr::Spanned<String>>,
    }

    #[test]
    fn pol_13_what_reads_differently_than_it_looks_is_refused() {
        let rows = [
            ("text: a\ntext: b\n", 2),
            ("text: a\nother: b\n", 2),
            ("text: &x a\n", 1),
            ("list: [&x a, *x]\n", 1),
            ("<<: {text: a}\n", 1),
            ("text: 007\n", 1),
            ("text: 1e3\n", 1),
            ("text: true\n", 1),
            ("text: !foreign a\n", 1),
            ("text: [a]\n", 1),
            ("flag: yes\n", 1),
            ("flag: 1\n", 1),
            ("number: 1.5\n", 1),
            ("number: -1\n", 1),
            ("number: 08\n", 1),
            ("list: a\n", 1),
            ("\ttext: a\n", 1),
            ("\u{FEFF}text: a\n", 1),
            ("flag: true\ntext: \"a\0\"\n", 2),
            ("text: a\n---\ntext: b\n", 2),
            ("- a\n", 1),
            ("text: \"a\n", 1),
        ];
        for (text, line) in rows {
            match read::<Sample>(Path::new("x.yaml"), text) {
                Ok(sample) => panic_row(text, &format!("was read as {sample:?}")),
                Err(problem) if problem.line < line => panic_row(text, &problem.to_string()),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn plain_documents_are_read() {
        // As in YAML 1.2 these are words.
        for word in ["no", "off", "y", "on", "NO"] {
            let sample: Sample = read(Path::new("x.yaml"), &format!("text: {word}\n")).unwrap();
            assert_eq!(sample.text.as_deref(), Some(word));
            assert!(read::<Sample>(Path::new("x.yaml"), &format!("flag: {word}\n")).is_err());
        }
        let text = "# comment\ntext: \"007\"\nflag: true\nnumber: 7\nlist: [a, \"no\"]\n";
        let sample: Sample = read(Path::new("x.yaml"), text).unwrap();
        assert_eq!(sample.text.as_deref(), Some("007"));
        assert_eq!((sample.flag, sample.number), (Some(true), Some(7)));
        let places: Vec<_> = sample
            .list
            .iter()
            .map(|item| {
                (
                    item.value.as_str(),
                    item.referenced.line(),
                    item.referenced.column(),
                )
            })
            .collect();
        assert_eq!(places, [("a", 5, 8), ("no", 5, 11)]);
    }

    #[test]
    fn pol_13_a_file_over_a_mebibyte_is_refused() {
        let text = format!("text: a # {}\n", "x".repeat(MAX_BYTES));
        assert!(read::<Sample>(Path::new("x.yaml"), &text).is_err());
    }

    #[expect(clippy::panic, reason = "tests")]
    fn panic_row(text: &str, what: &str) {
        panic!("{text:?}: {what}");
    }
}
