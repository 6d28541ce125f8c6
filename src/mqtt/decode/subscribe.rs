//! SUBSCRIBE and UNSUBSCRIBE: lists of topic filters. MQTT 5.0 sections 3.8, 3.10

use super::properties::Properties;
use super::{DecodeLimits, input};
use crate::mqtt::{
    DecodeError, InvalidTopic, PacketType, ProtocolVersion, QoS, RetainHandling, Subscribe,
    SubscribeFilter, Subscription, SubscriptionOptions, Unsubscribe, property,
};
use bytes::Bytes;

pub(super) fn subscribe(
    mut input: Bytes,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Subscribe, DecodeError> {
    let mut found = Subscribe {
        packet_identifier: input::packet_identifier(&mut input)?,
        subscription_identifier: None,
        user_properties: Vec::new(),
        filters: Vec::new(),
    };
    if version.is_v5() {
        subscribe_properties(&mut input, &mut found, limits)?;
    }
    // At least one filter. [MQTT-3.8.3-2]
    if input.is_empty() {
        return Err(DecodeError::NoFilter(PacketType::Subscribe));
    }
    while !input.is_empty() {
        room_for_one_more(found.filters.len(), limits)?;
        let subscription = subscription(&mut input, version, limits)?;
        let options = options(input::byte(&mut input, "subscription options")?, version)?;
        let shared = matches!(&subscription, Ok(Subscription { share: Some(_), .. }));
        // A group has no local client. [MQTT-3.8.3-4]
        if shared && options.no_local {
            return Err(DecodeError::NoLocalOnShared);
        }
        found.filters.push(SubscribeFilter {
            subscription,
            options,
        });
    }
    Ok(found)
}

pub(super) fn unsubscribe(
    mut input: Bytes,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Unsubscribe, DecodeError> {
    let packet = PacketType::Unsubscribe;
    let packet_identifier = input::packet_identifier(&mut input)?;
    let mut user_properties = Vec::new();
    if version.is_v5() {
        let mut section = Properties::of(packet, &mut input, limits)?;
        while let Some(identifier) = section.next()? {
            match identifier {
                property::USER_PROPERTY => section.user_property(&mut user_properties)?,
                _ => return Err(section.misplaced()),
            }
        }
    }
    // At least one filter. [MQTT-3.10.3-2]
    if input.is_empty() {
        return Err(DecodeError::NoFilter(packet));
    }
    let mut filters = Vec::new();
    while !input.is_empty() {
        room_for_one_more(filters.len(), limits)?;
        filters.push(subscription(&mut input, version, limits)?);
    }
    Ok(Unsubscribe {
        packet_identifier,
        user_properties,
        filters,
    })
}

fn room_for_one_more(count: usize, limits: &DecodeLimits) -> Result<(), DecodeError> {
    if count >= limits.filters {
        return Err(DecodeError::TooManyFilters(limits.filters));
    }
    Ok(())
}

/// A text that is no filter is a value, since a v5 SUBACK has a code for it; MQTT 3 has none, and closes. [MQTT3-4.8.0-1] A share name or shared filter that is missing
/// is a protocol error of the whole packet (POL-2). A filter beyond our limits is answered for in either.
fn subscription(
    input: &mut Bytes,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Result<Subscription, InvalidTopic>, DecodeError> {
    match Subscription::new(input::text(input, "topic filter")?, limits.topic) {
        Err(InvalidTopic::Share) => Err(DecodeError::ShareName),
        Err(InvalidTopic::Empty | InvalidTopic::MisplacedWildcard) if !version.is_v5() => {
            Err(DecodeError::TopicFilter)
        }
        subscription => Ok(subscription),
    }
}

/// MQTT 5.0 section 3.8.3.1
fn options(byte: u8, version: ProtocolVersion) -> Result<SubscriptionOptions, DecodeError> {
    let reserved = if version.is_v5() { 0xc0 } else { 0xfc };
    // [MQTT-3.8.3-5] [MQTT3-3.8.3-4]
    if byte & reserved != 0 {
        return Err(DecodeError::ReservedSubscriptionOptions);
    }
    Ok(SubscriptionOptions {
        maximum_qos: QoS::from_bits(byte & 0b11).ok_or(DecodeError::SubscriptionQoS3)?,
        no_local: byte & 0b100 != 0,
        retain_as_published: byte & 0b1000 != 0,
        retain_handling: match byte >> 4 {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::RetainHandling3),
        },
    })
}

fn subscribe_properties(
    input: &mut Bytes,
    found: &mut Subscribe,
    limits: &DecodeLimits,
) -> Result<(), DecodeError> {
    let mut section = Properties::of(PacketType::Subscribe, input, limits)?;
    while let Some(identifier) = section.next()? {
        match identifier {
            property::SUBSCRIPTION_IDENTIFIER => {
                let value = section.positive_variable_byte_integer()?;
                if found.subscription_identifier.replace(value).is_some() {
                    return Err(section.duplicate());
                }
            }
            property::USER_PROPERTY => section.user_property(&mut found.user_properties)?,
            _ => return Err(section.misplaced()),
        }
    }
    Ok(())
}
