//! Distinguished names of certificates as validated attributes and as RFC 4514 text.

use bytes::Bytes;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::certificate::CertificateError;
use crate::mqtt::Text;

/// The short names of RFC 4514 section 3 and the two that certificates carry beside them; every other type is written as its number.
const SHORT_NAMES: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The whole name, most specific part first, as RFC 4514 section 2 writes it.
pub(super) fn to_text(name: &X509Name<'_>) -> Result<String, CertificateError> {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for (index, part) in parts.iter().rev().enumerate() {
        if index > 0 {
            text.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push('+');
            }
            push_attribute(attribute, &mut text)?;
        }
    }
    Ok(text)
}

/// The values of one attribute type, in the order in which the certificate has them.
pub(super) fn values<'a>(
    attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
    field: &'static str,
) -> Result<Vec<String>, CertificateError> {
    attributes
        .map(|attribute| {
            string(attribute.attr_value(), field)?.ok_or(CertificateError::NotAString(field))
        })
        .collect()
}

fn push_attribute(
    attribute: &AttributeTypeAndValue<'_>,
    text: &mut String,
) -> Result<(), CertificateError> {
    let number = attribute.attr_type().to_id_string();
    let known = SHORT_NAMES.iter().find(|(oid, _)| *oid == number);
    text.push_str(known.map_or(number.as_str(), |(_, name)| name));
    text.push('=');
    match string(attribute.attr_value(), "distinguished name")? {
        Some(value) => escape(&value, text),
        None => {
            text.push('#');
            text.push_str(&super::hexadecimal(attribute.as_slice()));
        }
    }
    Ok(())
}

/// A string of one of the types of RFC 5280 section 4.1.2.4, through the one validation of text (TRN-3); `None` for a value that is no string.
///
/// TeletexString is taken where it is ASCII, for its other characters were never agreed upon; UniversalString is refused with the rest of the unreadable.
fn string(value: &Any<'_>, field: &'static str) -> Result<Option<String>, CertificateError> {
    let bytes = match value.tag() {
        Tag::Utf8String => Bytes::copy_from_slice(value.data),
        Tag::PrintableString | Tag::NumericString | Tag::Ia5String | Tag::T61String => {
            if !value.data.is_ascii() {
                return Err(CertificateError::NotAString(field));
            }
            Bytes::copy_from_slice(value.data)
        }
        Tag::BmpString => {
            Bytes::from(utf_16(value.data).ok_or(CertificateError::NotAString(field))?)
        }
        Tag::UniversalString => return Err(CertificateError::NotAString(field)),
        _ => return Ok(None),
    };
    validated(bytes, field).map(Some)
}

/// The one door through which certificate values become text.
pub(super) fn validated(bytes: Bytes, field: &'static str) -> Result<String, CertificateError> {
    match Text::new(bytes) {
        Ok(text) => Ok(text.as_str().to_owned()),
        Err(source) => Err(CertificateError::Text { field, source }),
    }
}

fn utf_16(bytes: &[u8]) -> Option<String> {
    let pairs = bytes.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    let units = pairs.map(|pair| {
        pair.iter()
            .fold(0u16, |unit, byte| unit << 8 | u16::from(*byte))
    });
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

/// RFC 4514 section 2.4. Control characters never come here.
fn escape(value: &str, text: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let at_an_end = character == ' ' && (index == 0 || index == last);
        let leads = character == '#' && index == 0;
        if at_an_end || leads || matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped_as_rfc_4514_says() {
        let rows = [
            ("pump-7", "pump-7"),
            ("a,b+c", "a\\,b\\+c"),
            (" a b ", "\\ a b\\ "),
            ("#a#", "\\#a#"),
            ("\"<>;\\", "\\\"\\<\\>\\;\\\\"),
            (" ", "\\ "),
            ("", ""),
            ("a=b", "a=b"),
        ];
        for (value, expected) in rows {
            let mut text = String::new();
            escape(value, &mut text);
            assert_eq!(text, expected, "{value:?}");
        }
    }

    #[test]
    fn utf_16_is_strict() {
        let rows: [(&[u8], Option<&str>); 4] = [
            (b"\0a\0b", Some("ab")),
            (b"\xd8\x3d\xde\x00", Some("\u{1f600}")),
            (b"\xd8\x3d", None),
            (b"\0a\0", None),
        ];
        for (bytes, expected) in rows {
            assert_eq!(utf_16(bytes).as_deref(), expected, "{bytes:?}");
        }
    }
}
