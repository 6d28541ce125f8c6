//! PUBLISH, the packet that is read most: without properties it costs one shared slice and no allocation. MQTT 5.0 section 3.3

use super::properties::Properties;
use super::{DecodeLimits, input};
use crate::mqtt::{
    DecodeError, InvalidTopic, PacketType, ProtocolVersion, Publish, PublishProperties, QoS,
    TopicName, property,
};
use bytes::{Buf, Bytes};

pub(super) fn publish(
    flags: u8,
    mut input: Bytes,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Publish, DecodeError> {
    let qos = QoS::from_bits((flags >> 1) & 0b11).ok_or(DecodeError::QoS3)?;
    let topic = input::binary_data(&mut input, "topic name")?;
    // Only version 5 has aliases that stand for an empty topic name. [MQTT-4.7.3-1]
    let topic = if topic.is_empty() && version.is_v5() {
        None
    } else {
        Some(topic_name(topic, limits)?)
    };
    let packet_identifier = match qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => Some(input::packet_identifier(&mut input)?),
    };
    let properties = if version.is_v5() {
        publish_properties(&mut input, limits)?
    } else {
        None
    };
    let alias = properties
        .as_ref()
        .and_then(|properties| properties.topic_alias);
    if topic.is_none() && alias.is_none() {
        return Err(DecodeError::NoTopic);
    }
    check_payload_format(properties.as_deref(), &input)?;
    Ok(Publish {
        dup: flags & 0b1000 != 0,
        qos,
        retain: flags & 1 != 0,
        topic,
        packet_identifier,
        properties,
        payload: input,
    })
}

/// Text that is none is malformed, a text that is no topic name is an invalid one. [MQTT-1.5.4-1] [MQTT-3.3.2-2]
pub(super) fn topic_name(bytes: Bytes, limits: &DecodeLimits) -> Result<TopicName, DecodeError> {
    TopicName::from_bytes(bytes, limits.topic).map_err(|error| match error {
        InvalidTopic::Text(cause) => DecodeError::Text {
            field: "topic name",
            cause,
        },
        InvalidTopic::Empty
        | InvalidTopic::TooLong(_)
        | InvalidTopic::TooDeep(_)
        | InvalidTopic::Wildcard
        | InvalidTopic::MisplacedWildcard
        | InvalidTopic::Share => DecodeError::TopicName(error),
    })
}

/// A payload that says it is UTF-8 has to be. MQTT 5.0 section 3.3.2.3.2
pub(super) fn check_payload_format(
    properties: Option<&PublishProperties>,
    payload: &Bytes,
) -> Result<(), DecodeError> {
    let is_text =
        properties.is_some_and(|properties| properties.payload_format_indicator == Some(true));
    if is_text && std::str::from_utf8(payload).is_err() {
        return Err(DecodeError::PayloadFormat);
    }
    Ok(())
}

/// The properties that PUBLISH and a will have in common. MQTT 5.0 sections 3.3.2.3, 3.1.3.2
pub(super) fn message_property(
    identifier: u32,
    section: &mut Properties<'_>,
    found: &mut PublishProperties,
) -> Result<(), DecodeError> {
    match identifier {
        property::PAYLOAD_FORMAT_INDICATOR => section.flag(&mut found.payload_format_indicator),
        property::MESSAGE_EXPIRY_INTERVAL => {
            section.four_byte_integer(&mut found.message_expiry_interval)
        }
        property::CONTENT_TYPE => section.text(&mut found.content_type),
        property::RESPONSE_TOPIC => section.response_topic(&mut found.response_topic),
        property::CORRELATION_DATA => section.binary_data(&mut found.correlation_data),
        property::USER_PROPERTY => section.user_property(&mut found.user_properties),
        _ => Err(section.misplaced()),
    }
}

fn publish_properties(
    input: &mut Bytes,
    limits: &DecodeLimits,
) -> Result<Option<Box<PublishProperties>>, DecodeError> {
    if input.first() == Some(&0) {
        input.advance(1);
        return Ok(None);
    }
    let mut section = Properties::of(PacketType::Publish, input, limits)?;
    let mut properties: Option<Box<PublishProperties>> = None;
    while let Some(identifier) = section.next()? {
        let found = properties.get_or_insert_with(Box::default);
        match identifier {
            property::TOPIC_ALIAS => section
                .positive_two_byte_integer(&mut found.topic_alias, DecodeError::TopicAliasZero)?,
            property::SUBSCRIPTION_IDENTIFIER => {
                let subscription_identifier = section.positive_variable_byte_integer()?;
                // Only servers send these, one for each subscription that matched. [MQTT-3.3.4-6]
                if found.subscription_identifiers.len() >= limits.subscription_identifiers {
                    return Err(DecodeError::SubscriptionIdentifiers(
                        limits.subscription_identifiers,
                    ));
                }
                found.subscription_identifiers.push(subscription_identifier);
            }
            _ => message_property(identifier, &mut section, found)?,
        }
    }
    Ok(properties)
}
