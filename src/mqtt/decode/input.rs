//! The data types of MQTT, read from the front of a packet and never past its end. MQTT 5.0 section 1.5

use crate::mqtt::{DecodeError, PacketIdentifier, Text, variable_byte_integer};
use bytes::{Buf, Bytes};

/// What the field is called goes into the error, for the operator.
type Field = &'static str;

pub(super) fn byte(input: &mut Bytes, field: Field) -> Result<u8, DecodeError> {
    input
        .try_get_u8()
        .map_err(|_| DecodeError::Truncated(field))
}

/// MQTT 5.0 section 1.5.2
pub(super) fn two_byte_integer(input: &mut Bytes, field: Field) -> Result<u16, DecodeError> {
    input
        .try_get_u16()
        .map_err(|_| DecodeError::Truncated(field))
}

/// MQTT 5.0 section 1.5.3
pub(super) fn four_byte_integer(input: &mut Bytes, field: Field) -> Result<u32, DecodeError> {
    input
        .try_get_u32()
        .map_err(|_| DecodeError::Truncated(field))
}

/// MQTT 5.0 section 1.5.5
pub(super) fn variable_byte_integer(input: &mut Bytes, field: Field) -> Result<u32, DecodeError> {
    let (value, length) =
        variable_byte_integer::read(input)?.ok_or(DecodeError::Truncated(field))?;
    input.advance(length);
    Ok(value)
}

/// A Two Byte Integer length, then that many bytes, shared with the packet. MQTT 5.0 section 1.5.6
pub(super) fn binary_data(input: &mut Bytes, field: Field) -> Result<Bytes, DecodeError> {
    let length = usize::from(two_byte_integer(input, field)?);
    if input.len() < length {
        return Err(DecodeError::Truncated(field));
    }
    Ok(input.split_to(length))
}

/// MQTT 5.0 section 1.5.4
pub(super) fn text(input: &mut Bytes, field: Field) -> Result<Text, DecodeError> {
    Text::new(binary_data(input, field)?).map_err(|cause| DecodeError::Text { field, cause })
}

/// MQTT 5.0 section 2.2.1
pub(super) fn packet_identifier(input: &mut Bytes) -> Result<PacketIdentifier, DecodeError> {
    PacketIdentifier::new(two_byte_integer(input, "packet identifier")?)
        .ok_or(DecodeError::PacketIdentifierZero)
}
