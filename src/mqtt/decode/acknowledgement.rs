//! PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK: a packet identifier answered by reason codes. MQTT 5.0 sections 3.4 to 3.7, 3.9, 3.11

use super::properties::Properties;
use super::{DecodeLimits, end, input};
use crate::mqtt::{
    Ack, DecodeError, PacketType, ProtocolVersion, ReasonCode, ReasonProperties, SubAck, UnsubAck,
    property,
};
use bytes::Bytes;

pub(super) fn ack(
    packet: PacketType,
    mut input: Bytes,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Ack, DecodeError> {
    let packet_identifier = input::packet_identifier(&mut input)?;
    let mut reason_code = ReasonCode::Success;
    let mut properties = None;
    // Reason code and property length may be left out, the one for Success and the other when there are none. MQTT 5.0 section 3.4.2.1
    if version.is_v5() && !input.is_empty() {
        reason_code = self::reason_code(packet, &mut input)?;
        if !input.is_empty() {
            properties = reason_properties(packet, &mut input, limits)?;
        }
    }
    end(input, packet)?;
    Ok(Ack {
        packet_identifier,
        reason_code,
        properties,
    })
}

pub(super) fn suback(
    mut input: Bytes,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<SubAck, DecodeError> {
    let packet = PacketType::SubAck;
    let packet_identifier = input::packet_identifier(&mut input)?;
    let properties = if version.is_v5() {
        reason_properties(packet, &mut input, limits)?
    } else {
        None
    };
    let reason_codes = reason_codes(packet, input, |code| {
        // MQTT 3.1.1 has one word for every failure. [MQTT3-3.9.3-2]
        version.is_v5() || matches!(code.byte(), 0..=2 | 0x80)
    })?;
    Ok(SubAck {
        packet_identifier,
        reason_codes,
        properties,
    })
}

pub(super) fn unsuback(
    mut input: Bytes,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<UnsubAck, DecodeError> {
    let packet = PacketType::UnsubAck;
    let packet_identifier = input::packet_identifier(&mut input)?;
    let mut properties = None;
    let mut reason_codes = Vec::new();
    if version.is_v5() {
        properties = reason_properties(packet, &mut input, limits)?;
        reason_codes = self::reason_codes(packet, input, |_| true)?;
    } else {
        end(input, packet)?;
    }
    Ok(UnsubAck {
        packet_identifier,
        reason_codes,
        properties,
    })
}

/// A reason code that this type of packet may carry. MQTT 5.0 section 2.4
pub(super) fn reason_code(
    packet: PacketType,
    input: &mut Bytes,
) -> Result<ReasonCode, DecodeError> {
    let code = input::byte(input, "reason code")?;
    ReasonCode::from_byte(code)
        .filter(|code| code.may_stand_in(packet))
        .ok_or(DecodeError::ReasonCode { packet, code })
}

fn reason_codes(
    packet: PacketType,
    mut input: Bytes,
    permitted: impl Fn(ReasonCode) -> bool,
) -> Result<Vec<ReasonCode>, DecodeError> {
    if input.is_empty() {
        return Err(DecodeError::NoReasonCode(packet));
    }
    let mut codes = Vec::new();
    while !input.is_empty() {
        let code = reason_code(packet, &mut input)?;
        if !permitted(code) {
            let code = code.byte();
            return Err(DecodeError::ReasonCode { packet, code });
        }
        codes.push(code);
    }
    Ok(codes)
}

fn reason_properties(
    packet: PacketType,
    input: &mut Bytes,
    limits: &DecodeLimits,
) -> Result<ReasonProperties, DecodeError> {
    let mut section = Properties::of(packet, input, limits)?;
    let mut properties: ReasonProperties = None;
    while let Some(identifier) = section.next()? {
        let found = properties.get_or_insert_with(Box::default);
        match identifier {
            property::REASON_STRING => section.text(&mut found.0)?,
            property::USER_PROPERTY => section.user_property(&mut found.1)?,
            _ => return Err(section.misplaced()),
        }
    }
    Ok(properties)
}
