//! UTF-8 Encoded String: client text exists only as a type whose one constructor validates it. MQTT 5.0 section 1.5.4

use bytes::Bytes;
use bytestring::ByteString;
use std::fmt;

/// Well-formed UTF-8 without control characters or Unicode non-characters, shared by reference count.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(ByteString);

/// Why bytes are no [`Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    #[error("ill-formed UTF-8")]
    IllFormed,
    #[error("control character or non-character U+{0:04X}")]
    Disallowed(u32),
    #[error("more than 65,535 bytes")]
    TooLong,
}

impl Text {
    /// Checks the bytes. Ill-formed UTF-8 and U+0000 must be refused [MQTT-1.5.4-1] [MQTT-1.5.4-2]; other control characters and non-characters may be, and no later
    /// code has to carry them. U+FEFF is kept. [MQTT-1.5.4-3]
    pub fn new(bytes: Bytes) -> Result<Self, InvalidText> {
        // Its length is a Two Byte Integer on the wire. MQTT 5.0 section 1.5.4
        if bytes.len() > usize::from(u16::MAX) {
            return Err(InvalidText::TooLong);
        }
        if is_printable_ascii(&bytes) {
            return Self::printable_ascii(bytes);
        }
        let text = ByteString::try_from(bytes).map_err(|_| InvalidText::IllFormed)?;
        match text.chars().find(|character| is_disallowed(*character)) {
            Some(character) => Err(InvalidText::Disallowed(u32::from(character))),
            None => Ok(Self(text)),
        }
    }

    /// For bytes that are known to be printable ASCII and no more than a text can have.
    pub(super) fn printable_ascii(bytes: Bytes) -> Result<Self, InvalidText> {
        ByteString::try_from(bytes)
            .map(Self)
            .map_err(|_| InvalidText::IllFormed)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same in memory of its own.
    pub fn detached(&self) -> Self {
        Self(ByteString::from(self.as_str()))
    }

    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<&str> for Text {
    type Error = InvalidText;

    fn try_from(text: &str) -> Result<Self, InvalidText> {
        Self::new(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Nearly all text of machines. Without a branch for each byte, so that it is checked many bytes at a time.
fn is_printable_ascii(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(true, |all, byte| all & (0x20..0x7f).contains(byte))
}

fn is_disallowed(character: char) -> bool {
    let code_point = u32::from(character);
    character.is_control()
        || (0xFDD0..=0xFDEF).contains(&code_point)
        || code_point & 0xFFFE == 0xFFFE
}
