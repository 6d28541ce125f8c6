//! CONNECT of all three versions. MQTT 5.0 section 3.1

use super::properties::Properties;
use super::publish::{self, message_property};
use super::{DecodeLimits, end, input};
use crate::mqtt::{
    Connect, ConnectProperties, DecodeError, PacketType, ProtocolVersion, QoS, Text, TopicName,
    Will, property,
};
use bytes::Bytes;

const WILL: u8 = 0b0000_0100;
const WILL_QOS_AND_RETAIN: u8 = 0b0011_1000;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USERNAME: u8 = 0b1000_0000;
/// Set in the level by Mosquitto's bridges over MQTT 3.
const BRIDGE: u8 = 0x80;

pub(super) fn connect(mut input: Bytes, limits: &DecodeLimits) -> Result<Connect, DecodeError> {
    let (protocol_version, bridge) = protocol(&mut input)?;
    let flags = input::byte(&mut input, "connect flags")?;
    // The reserved flag is 0. [MQTT-3.1.2-3]
    if flags & 1 != 0 {
        return Err(DecodeError::ReservedConnectFlag);
    }
    // Without a will, its QoS and retain are 0. [MQTT-3.1.2-11] [MQTT-3.1.2-13]
    if flags & WILL == 0 && flags & WILL_QOS_AND_RETAIN != 0 {
        return Err(DecodeError::WillFlagsWithoutWill);
    }
    // Before version 5 there is no password without a user name. [MQTT3-3.1.2-22]
    if !protocol_version.is_v5() && flags & PASSWORD != 0 && flags & USERNAME == 0 {
        return Err(DecodeError::PasswordWithoutUsername);
    }
    let clean_start = flags & 0b10 != 0;
    let keep_alive = input::two_byte_integer(&mut input, "keep alive")?;
    let properties = if protocol_version.is_v5() {
        connect_properties(&mut input, limits)?
    } else {
        ConnectProperties::default()
    };
    let client_identifier = client_identifier(&mut input, protocol_version, clean_start, limits)?;
    let will = if flags & WILL == 0 {
        None
    } else {
        Some(will(&mut input, flags, protocol_version, limits)?)
    };
    // MQTT 3.1: "the Remaining Length takes precedence over the User Name flag", so there a flagged field may be missing.
    let missing = |input: &Bytes| protocol_version == ProtocolVersion::V3_1 && input.is_empty();
    let username = (flags & USERNAME != 0 && !missing(&input))
        .then(|| input::text(&mut input, "user name"))
        .transpose()?;
    let password = (flags & PASSWORD != 0 && !missing(&input))
        .then(|| input::binary_data(&mut input, "password"))
        .transpose()?;
    end(input, PacketType::Connect)?;
    Ok(Connect {
        protocol_version,
        bridge,
        clean_start,
        keep_alive,
        client_identifier,
        will,
        username,
        password,
        properties,
    })
}

/// In which version a CONNECT is answered whose body cannot be read, found without reading more than its first bytes; `None`: this is not MQTT, and nothing is said.
pub fn answering_version(frame: &Bytes) -> Option<ProtocolVersion> {
    let header = crate::mqtt::frame::FixedHeader::read(frame).ok()??;
    let mut input = frame
        .get(header.length..)
        .map(|body| frame.slice_ref(body))?;
    if header.packet_type != PacketType::Connect {
        return None;
    }
    let name = input::binary_data(&mut input, "protocol name").ok()?;
    let level = input::byte(&mut input, "protocol level").ok()?;
    match (name.as_ref(), level & !BRIDGE) {
        (b"MQIsdp", _) => Some(ProtocolVersion::V3_1),
        (b"MQTT", 0..=4) => Some(ProtocolVersion::V3_1_1),
        // Who speaks a version to come reads version 5's refusal.
        (b"MQTT", _) => Some(ProtocolVersion::V5_0),
        _ => None,
    }
}

/// The protocol name and level. [MQTT-3.1.2-1] [MQTT-3.1.2-2]
fn protocol(input: &mut Bytes) -> Result<(ProtocolVersion, bool), DecodeError> {
    let name = input::binary_data(input, "protocol name")?;
    let level = input::byte(input, "protocol level")?;
    let bridge = level & BRIDGE != 0;
    match (name.as_ref(), level) {
        (b"MQTT", 5) => Ok((ProtocolVersion::V5_0, false)),
        (b"MQTT", 4 | 0x84) => Ok((ProtocolVersion::V3_1_1, bridge)),
        (b"MQIsdp", 3 | 0x83) => Ok((ProtocolVersion::V3_1, bridge)),
        _ => Err(DecodeError::ProtocolVersion { level }),
    }
}

fn client_identifier(
    input: &mut Bytes,
    version: ProtocolVersion,
    clean_start: bool,
    limits: &DecodeLimits,
) -> Result<Text, DecodeError> {
    let identifier = input::text(input, "client identifier")?;
    let may_be_empty = match version {
        ProtocolVersion::V5_0 => true,
        // A session that is to be found again needs a name. [MQTT3-3.1.3-7] [MQTT3-3.1.3-8]
        ProtocolVersion::V3_1_1 => clean_start,
        // MQTT 3.1 asks for 1 to 23 characters; longer ones are common and taken.
        ProtocolVersion::V3_1 => false,
    };
    if identifier.is_empty() && !may_be_empty {
        return Err(DecodeError::EmptyClientIdentifier);
    }
    if identifier.len() > limits.client_identifier_length {
        return Err(DecodeError::ClientIdentifierTooLong {
            length: identifier.len(),
            maximum: limits.client_identifier_length,
        });
    }
    Ok(identifier)
}

/// MQTT 5.0 section 3.1.2.11
fn connect_properties(
    input: &mut Bytes,
    limits: &DecodeLimits,
) -> Result<ConnectProperties, DecodeError> {
    let mut found = ConnectProperties::default();
    let mut section = Properties::of(PacketType::Connect, input, limits)?;
    while let Some(identifier) = section.next()? {
        match identifier {
            property::SESSION_EXPIRY_INTERVAL => {
                section.four_byte_integer(&mut found.session_expiry_interval)?;
            }
            property::RECEIVE_MAXIMUM => {
                let zero = section.invalid();
                section.positive_two_byte_integer(&mut found.receive_maximum, zero)?;
            }
            property::MAXIMUM_PACKET_SIZE => {
                section.positive_four_byte_integer(&mut found.maximum_packet_size)?;
            }
            property::TOPIC_ALIAS_MAXIMUM => {
                section.two_byte_integer(&mut found.topic_alias_maximum)?;
            }
            property::REQUEST_RESPONSE_INFORMATION => {
                section.flag(&mut found.request_response_information)?;
            }
            property::REQUEST_PROBLEM_INFORMATION => {
                section.flag(&mut found.request_problem_information)?;
            }
            property::AUTHENTICATION_METHOD => section.text(&mut found.authentication_method)?,
            property::AUTHENTICATION_DATA => {
                section.binary_data(&mut found.authentication_data)?;
            }
            property::USER_PROPERTY => section.user_property(&mut found.user_properties)?,
            _ => return Err(section.misplaced()),
        }
    }
    if found.authentication_data.is_some() && found.authentication_method.is_none() {
        return Err(DecodeError::DataWithoutMethod);
    }
    Ok(found)
}

/// MQTT 5.0 sections 3.1.3.2 to 3.1.3.4
fn will(
    input: &mut Bytes,
    flags: u8,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Will, DecodeError> {
    let qos = QoS::from_bits((flags >> 3) & 0b11).ok_or(DecodeError::WillQoS3)?;
    let mut will_delay_interval = None;
    let mut properties = None;
    if version.is_v5() {
        let mut section = Properties::of(PacketType::Connect, input, limits)?;
        while let Some(identifier) = section.next()? {
            if identifier == property::WILL_DELAY_INTERVAL {
                section.four_byte_integer(&mut will_delay_interval)?;
            } else {
                let found = properties.get_or_insert_with(Box::default);
                message_property(identifier, &mut section, found)?;
            }
        }
    }
    let topic = input::text(input, "will topic")?;
    let topic = TopicName::new(topic, limits.topic).map_err(DecodeError::TopicName)?;
    let payload = input::binary_data(input, "will payload")?;
    publish::check_payload_format(properties.as_deref(), &payload)?;
    Ok(Will {
        qos,
        retain: flags & WILL_RETAIN != 0,
        topic,
        payload,
        will_delay_interval,
        properties,
    })
}
