//! Packets written as text, for sending and for comparing.
//!
//! | written     | means |
//! |-------------|-------|
//! | `20 0a0b`   | bytes in hexadecimal |
//! | `'text'`    | the bytes of the text |
//! | `s'text'`   | a UTF-8 Encoded String: a length of two bytes, then the text |
//! | `..`        | the Remaining Length, worked out |
//! | `< … >`     | properties: a Variable Byte Integer with the length of what is inside, then that |
//! | `x*300`     | 300 times the byte `x` (a quoted character or two digits) |
//! | `??`        | any byte (patterns only) |
//! | `<*>`       | any properties (patterns only) |
//! | `*`         | any rest (patterns only) |

use std::iter::Peekable;
use std::str::Chars;

/// The bytes that `text` stands for.
pub fn bytes(text: &str) -> Vec<u8> {
    pattern(text)
        .into_iter()
        .map(|unit| match unit {
            Unit::Byte(byte) => byte,
            Unit::Any | Unit::Length | Unit::Properties | Unit::Rest => {
                panic!("a pattern cannot be sent: {text}")
            }
        })
        .collect()
}

/// Whether `packet` is what `text` describes.
pub fn matches(text: &str, packet: &[u8]) -> bool {
    matches_units(&pattern(text), packet)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Byte(u8),
    Any,
    /// A Remaining Length that agrees with what follows.
    Length,
    Properties,
    Rest,
}

fn matches_units(mut units: &[Unit], mut packet: &[u8]) -> bool {
    while let Some((unit, later)) = units.split_first() {
        units = later;
        let used = match unit {
            Unit::Rest => return true,
            Unit::Byte(byte) if packet.first() != Some(byte) => return false,
            Unit::Byte(_) | Unit::Any => 1,
            Unit::Length => match variable_byte_integer(packet) {
                Some((length, used)) if packet.len() == used + length => used,
                _ => return false,
            },
            Unit::Properties => match variable_byte_integer(packet) {
                Some((length, used)) => used + length,
                None => return false,
            },
        };
        match packet.get(used..) {
            Some(rest) => packet = rest,
            None => return false,
        }
    }
    packet.is_empty()
}

/// The value and how many bytes it took.
pub fn variable_byte_integer(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

pub fn encode_variable_byte_integer(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = u8::try_from(value % 128).unwrap();
        value /= 128;
        if value == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

fn pattern(text: &str) -> Vec<Unit> {
    let mut chars = text.chars().peekable();
    let units = sequence(&mut chars, text);
    assert!(chars.next().is_none(), "unbalanced '>' in {text}");
    units
}

fn sequence(chars: &mut Peekable<Chars>, whole: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut length_at = None;
    while let Some(&c) = chars.peek() {
        if c == '>' {
            break;
        }
        chars.next();
        match c {
            c if c.is_whitespace() => {}
            '\'' => {
                let text = quoted(chars, whole);
                units.extend(
                    repeated(text.into_bytes(), chars)
                        .into_iter()
                        .map(Unit::Byte),
                );
            }
            's' => {
                assert_eq!(chars.next(), Some('\''), "s'text' in {whole}");
                let text = quoted(chars, whole);
                let content = repeated(text.into_bytes(), chars);
                let length = u16::try_from(content.len()).expect("a string of up to 65,535 bytes");
                units.extend(
                    length
                        .to_be_bytes()
                        .into_iter()
                        .chain(content)
                        .map(Unit::Byte),
                );
            }
            '.' => {
                assert_eq!(chars.next(), Some('.'), ".. in {whole}");
                length_at = Some(units.len());
            }
            '<' => {
                let inside = sequence(chars, whole);
                assert_eq!(chars.next(), Some('>'), "unclosed '<' in {whole}");
                if inside == [Unit::Rest] {
                    units.push(Unit::Properties);
                } else {
                    units.extend(
                        encode_variable_byte_integer(inside.len())
                            .into_iter()
                            .map(Unit::Byte),
                    );
                    units.extend(inside);
                }
            }
            '*' => units.push(Unit::Rest),
            '?' => {
                assert_eq!(chars.next(), Some('?'), "?? in {whole}");
                units.push(Unit::Any);
            }
            digit => {
                let second = chars.next().and_then(|c| c.to_digit(16));
                let (Some(high), Some(low)) = (digit.to_digit(16), second) else {
                    panic!("what is {digit:?} in {whole}");
                };
                let byte = u8::try_from(high * 16 + low).unwrap();
                units.extend(repeated(vec![byte], chars).into_iter().map(Unit::Byte));
            }
        }
    }
    if let Some(at) = length_at {
        let open_ended = units[at..]
            .iter()
            .any(|unit| matches!(unit, Unit::Properties | Unit::Rest));
        if open_ended {
            units.insert(at, Unit::Length);
        } else {
            let length = encode_variable_byte_integer(units.len() - at);
            units.splice(at..at, length.into_iter().map(Unit::Byte));
        }
    }
    units
}

fn quoted(chars: &mut Peekable<Chars>, whole: &str) -> String {
    let mut text = String::new();
    loop {
        match chars.next() {
            Some('\'') => return text,
            Some(c) => text.push(c),
            None => panic!("unclosed quote in {whole}"),
        }
    }
}

/// `*300` behind a piece repeats it. A lone `*` has a blank before it.
fn repeated(piece: Vec<u8>, chars: &mut Peekable<Chars>) -> Vec<u8> {
    if chars.peek() != Some(&'*') {
        return piece;
    }
    chars.next();
    let mut count = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        count.push(digit);
    }
    piece.repeat(count.parse().expect("a count behind '*'"))
}

#[test]
fn text_stands_for_bytes() {
    let rows: [(&str, &[u8]); 6] = [
        ("c0 00", &[0xc0, 0]),
        ("c0 ..", &[0xc0, 0]),
        ("30 .. s'a' <> 'hi'", &[0x30, 6, 0, 1, b'a', 0, b'h', b'i']),
        (
            "30 .. s'a' <23 0001>",
            &[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 1],
        ),
        ("'x'*3 00*2", &[b'x', b'x', b'x', 0, 0]),
        ("s'x'*3", &[0, 3, b'x', b'x', b'x']),
    ];
    for (text, expected) in rows {
        assert_eq!(bytes(text), expected, "{text}");
    }
}

#[test]
fn a_pattern_leaves_room() {
    let rows = [
        ("20 .. 00 00 <*>", "20 .. 00 00 <11 00000001>", true),
        ("20 .. 00 00 <*>", "20 .. 00 87 <>", false),
        ("e0 .. 82 *", "e0 .. 82", true),
        ("e0 .. 82 *", "e0 .. 82 <1f s'why'>", true),
        ("62 .. ??05", "62 .. 0105", true),
    ];
    for (text, packet, expected) in rows {
        assert_eq!(
            matches(text, &bytes(packet)),
            expected,
            "{text} on {packet}"
        );
    }
}
