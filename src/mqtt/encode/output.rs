//! The data types of MQTT, written at the end of a buffer. MQTT 5.0 section 1.5

use crate::mqtt::{PacketType, UserProperties, property, variable_byte_integer};
use bytes::{BufMut, BytesMut};

/// A Two Byte Integer length, then the bytes: UTF-8 Encoded String and Binary Data look alike. What no length can say is cut off; a [`Text`](crate::mqtt::Text) is never
/// that long. MQTT 5.0 sections 1.5.4, 1.5.6
pub(in crate::mqtt) fn binary_data(value: &[u8], out: &mut BytesMut) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.extend(value.iter().take(usize::from(length)));
}

/// A fixed header and what `body` writes behind it.
pub(super) fn packet(
    packet_type: PacketType,
    out: &mut BytesMut,
    body: impl FnOnce(&mut BytesMut),
) {
    out.put_u8(packet_type.first_byte());
    with_length(out, body);
}

/// What `body` writes, behind its length as a Variable Byte Integer: a packet after its first byte, or a property section.
pub(super) fn with_length(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let mut inner = BytesMut::new();
    body(&mut inner);
    let length = u32::try_from(inner.len()).unwrap_or(u32::MAX);
    variable_byte_integer::write(length, out);
    out.extend_from_slice(&inner);
}

/// Writes properties into a section, an absent one not at all. Identifiers are all below 0x80: one byte each. MQTT 5.0 section 2.2.2
pub(in crate::mqtt) struct Section<'a>(pub(in crate::mqtt) &'a mut BytesMut);

impl Section<'_> {
    fn identifier(&mut self, identifier: u32) {
        variable_byte_integer::write(identifier, self.0);
    }

    pub(in crate::mqtt) fn byte(&mut self, identifier: u32, value: Option<u8>) {
        if let Some(value) = value {
            self.identifier(identifier);
            self.0.put_u8(value);
        }
    }

    pub(in crate::mqtt) fn flag(&mut self, identifier: u32, value: Option<bool>) {
        self.byte(identifier, value.map(u8::from));
    }

    pub(in crate::mqtt) fn two_byte_integer(&mut self, identifier: u32, value: Option<u16>) {
        if let Some(value) = value {
            self.identifier(identifier);
            self.0.put_u16(value);
        }
    }

    pub(in crate::mqtt) fn four_byte_integer(&mut self, identifier: u32, value: Option<u32>) {
        if let Some(value) = value {
            self.identifier(identifier);
            self.0.put_u32(value);
        }
    }

    pub(in crate::mqtt) fn variable_byte_integer(&mut self, identifier: u32, value: u32) {
        self.identifier(identifier);
        variable_byte_integer::write(value, self.0);
    }

    /// A text or binary data.
    pub(in crate::mqtt) fn bytes(&mut self, identifier: u32, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.identifier(identifier);
            binary_data(value, self.0);
        }
    }

    /// In the order they came. [MQTT-3.3.2-18]
    pub(in crate::mqtt) fn user_properties(&mut self, properties: &UserProperties) {
        for (name, value) in properties {
            self.identifier(property::USER_PROPERTY);
            binary_data(name.as_bytes(), self.0);
            binary_data(value.as_bytes(), self.0);
        }
    }
}
