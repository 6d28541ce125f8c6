//! Text from strangers made harmless to terminals, log readers and eyes (LOG-2).

use std::fmt::{self, Write};

/// Shows a text on one line, its control and direction characters escaped as `\u{…}`, cut to 1 KiB.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = FIELD_MAX;
        for character in self.0.chars() {
            let harmful = is_harmful(character) || character == '\\';
            let size = if harmful { 10 } else { character.len_utf8() };
            if size > room {
                return f.write_str(CUT);
            }
            room = room.saturating_sub(size);
            if harmful {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Appends a JSON string of at most 1 KiB, quotes aside. RFC 8259 section 7
pub(super) fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut room = FIELD_MAX;
    for character in text.chars() {
        let size = match character {
            '"' | '\\' => 2,
            _ if is_harmful(character) => 6 * character.len_utf16(),
            _ => character.len_utf8(),
        };
        if size > room {
            out.push_str(CUT);
            break;
        }
        room = room.saturating_sub(size);
        push_json_character(out, character);
    }
    out.push('"');
}

fn push_json_character(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        _ if is_harmful(character) => {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
        _ => out.push(character),
    }
}

/// Replaces what could forge a line or turn text around by JSON escapes; for lines that a formatter has already made.
pub(super) fn harmless_line(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 16);
    for character in line.chars() {
        if is_harmful(character) {
            push_json_character(&mut out, character);
        } else {
            out.push(character);
        }
    }
    out
}

/// Control characters, line separators, and all that changes direction, joins or hides.
pub(super) fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// No field of a log line is longer than this (LOG-2).
const FIELD_MAX: usize = 1024 - CUT.len();
const CUT: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_02_strange_text_stays_one_harmless_line() {
        let rows = [
            ("pump-7", r#""pump-7""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\nb\r\0", r#""a\u000ab\u000d\u0000""#),
            ("\u{1b}[31mred", r#""\u001b[31mred""#),
            ("\u{202e}live", r#""\u202elive""#),
            ("\u{2066}x\u{2069}", r#""\u2066x\u2069""#),
            ("a\u{2028}b\u{85}", r#""a\u2028b\u0085""#),
            ("\u{e0041}", r#""\udb40\udc41""#),
            ("żółć 🦀", r#""żółć 🦀""#),
        ];
        for (text, expected) in rows {
            let mut out = String::new();
            push_json_string(&mut out, text);
            assert_eq!(out, expected, "{text:?}");
            let back = serde_json::from_str::<String>(&out).ok();
            assert_eq!(back.as_deref(), Some(text), "{text:?}");
        }
        assert_eq!(Escaped("a\n\u{202e}b\\").to_string(), r"a\n\u{202e}b\\");
    }

    #[test]
    fn log_02_a_field_is_at_most_one_kib() {
        for text in ["x".repeat(5000), "\n".repeat(5000), "ż".repeat(5000)] {
            let mut out = String::new();
            push_json_string(&mut out, &text);
            assert!(out.len() <= 1024 + 2, "{}", out.len());
            assert!(out.ends_with("…\""));
            assert!(Escaped(&text).to_string().len() <= 1024);
        }
    }
}
