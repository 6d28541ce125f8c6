//! CONNACK, as a client reads it. MQTT 5.0 section 3.2

use super::acknowledgement::reason_code;
use super::properties::Properties;
use super::{DecodeLimits, end, input};
use crate::mqtt::{
    ConnAck, ConnAckProperties, DecodeError, PacketType, ProtocolVersion, QoS, ReasonCode, property,
};
use bytes::Bytes;

pub(super) fn connack(
    mut input: Bytes,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<ConnAck, DecodeError> {
    let flags = input::byte(&mut input, "connect acknowledge flags")?;
    // Bits 7 to 1 are reserved. [MQTT-3.2.2-1] MQTT 3.1 leaves the whole byte unused.
    if flags > 1 {
        return Err(DecodeError::ReservedConnAckFlags);
    }
    let session_present = flags == 1 && version != ProtocolVersion::V3_1;
    let (reason_code, properties) = if version.is_v5() {
        let reason_code = reason_code(PacketType::ConnAck, &mut input)?;
        (reason_code, connack_properties(&mut input, limits)?)
    } else {
        (return_code(&mut input)?, ConnAckProperties::default())
    };
    end(input, PacketType::ConnAck)?;
    // A refusal keeps no session. [MQTT-3.2.2-6] [MQTT3-3.2.2-4]
    if session_present && reason_code.is_error() {
        return Err(DecodeError::SessionPresentInRefusal);
    }
    Ok(ConnAck {
        session_present,
        reason_code,
        properties,
    })
}

/// MQTT 3.1.1 section 3.2.2.3
fn return_code(input: &mut Bytes) -> Result<ReasonCode, DecodeError> {
    match input::byte(input, "return code")? {
        0 => Ok(ReasonCode::Success),
        1 => Ok(ReasonCode::UnsupportedProtocolVersion),
        2 => Ok(ReasonCode::ClientIdentifierNotValid),
        3 => Ok(ReasonCode::ServerUnavailable),
        4 => Ok(ReasonCode::BadUserNameOrPassword),
        5 => Ok(ReasonCode::NotAuthorized),
        code => Err(DecodeError::ReasonCode {
            packet: PacketType::ConnAck,
            code,
        }),
    }
}

/// MQTT 5.0 section 3.2.2.3
fn connack_properties(
    input: &mut Bytes,
    limits: &DecodeLimits,
) -> Result<ConnAckProperties, DecodeError> {
    let mut found = ConnAckProperties::default();
    let mut section = Properties::of(PacketType::ConnAck, input, limits)?;
    while let Some(identifier) = section.next()? {
        match identifier {
            property::SESSION_EXPIRY_INTERVAL => {
                section.four_byte_integer(&mut found.session_expiry_interval)?;
            }
            property::RECEIVE_MAXIMUM => {
                let zero = section.invalid();
                section.positive_two_byte_integer(&mut found.receive_maximum, zero)?;
            }
            property::MAXIMUM_QOS => maximum_qos(&mut section, &mut found)?,
            property::RETAIN_AVAILABLE => section.flag(&mut found.retain_available)?,
            property::MAXIMUM_PACKET_SIZE => {
                section.positive_four_byte_integer(&mut found.maximum_packet_size)?;
            }
            property::ASSIGNED_CLIENT_IDENTIFIER => {
                section.text(&mut found.assigned_client_identifier)?;
            }
            property::TOPIC_ALIAS_MAXIMUM => {
                section.two_byte_integer(&mut found.topic_alias_maximum)?;
            }
            property::REASON_STRING => section.text(&mut found.reason_string)?,
            property::USER_PROPERTY => section.user_property(&mut found.user_properties)?,
            property::WILDCARD_SUBSCRIPTION_AVAILABLE => {
                section.flag(&mut found.wildcard_subscription_available)?;
            }
            property::SUBSCRIPTION_IDENTIFIERS_AVAILABLE => {
                section.flag(&mut found.subscription_identifiers_available)?;
            }
            property::SHARED_SUBSCRIPTION_AVAILABLE => {
                section.flag(&mut found.shared_subscription_available)?;
            }
            property::SERVER_KEEP_ALIVE => {
                section.two_byte_integer(&mut found.server_keep_alive)?
            }
            property::RESPONSE_INFORMATION => section.text(&mut found.response_information)?,
            property::SERVER_REFERENCE => section.text(&mut found.server_reference)?,
            property::AUTHENTICATION_METHOD => section.text(&mut found.authentication_method)?,
            property::AUTHENTICATION_DATA => {
                section.binary_data(&mut found.authentication_data)?;
            }
            _ => return Err(section.misplaced()),
        }
    }
    Ok(found)
}

/// Says 0 or 1; a server that takes QoS 2 says nothing. MQTT 5.0 section 3.2.2.3.4
fn maximum_qos(
    section: &mut Properties<'_>,
    found: &mut ConnAckProperties,
) -> Result<(), DecodeError> {
    if found.maximum_qos.is_some() {
        return Err(section.duplicate());
    }
    let mut value = None;
    section.byte(&mut value)?;
    found.maximum_qos = match value {
        Some(0) => Some(QoS::AtMostOnce),
        Some(1) => Some(QoS::AtLeastOnce),
        _ => return Err(section.invalid()),
    };
    Ok(())
}
