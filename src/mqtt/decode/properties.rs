//! The property section of a version 5 packet: a length, then identifiers and values that fill it exactly. MQTT 5.0 section 2.2.2

use super::{DecodeLimits, input};
use crate::mqtt::{DecodeError, PacketType, Text, TopicName, UserProperties, property};
use bytes::Bytes;

/// Reads one section. A packet's decoder asks for the next identifier, and for the value in the type that this identifier has.
pub(super) struct Properties<'a> {
    section: Bytes,
    packet: PacketType,
    current: u32,
    limits: &'a DecodeLimits,
}

impl<'a> Properties<'a> {
    /// Splits the section off the packet. [MQTT-2.2.2-1]
    pub(super) fn of(
        packet: PacketType,
        input: &mut Bytes,
        limits: &'a DecodeLimits,
    ) -> Result<Self, DecodeError> {
        let length = input::variable_byte_integer(input, "property length")?;
        let length = usize::try_from(length).map_err(|_| DecodeError::LongInteger)?;
        if input.len() < length {
            return Err(DecodeError::Truncated("properties"));
        }
        Ok(Self {
            section: input.split_to(length),
            packet,
            current: 0,
            limits,
        })
    }

    /// The next property's identifier; `None` at the end of the section.
    pub(super) fn next(&mut self) -> Result<Option<u32>, DecodeError> {
        if self.section.is_empty() {
            return Ok(None);
        }
        self.current = input::variable_byte_integer(&mut self.section, "property identifier")?;
        Ok(Some(self.current))
    }

    /// The current property has no place in this packet.
    pub(super) fn misplaced(&self) -> DecodeError {
        DecodeError::Property {
            packet: self.packet,
            property: self.current,
        }
    }

    /// The current property has a value that it cannot have.
    pub(super) fn invalid(&self) -> DecodeError {
        DecodeError::PropertyValue {
            packet: self.packet,
            property: self.current,
        }
    }

    pub(super) fn byte(&mut self, slot: &mut Option<u8>) -> Result<(), DecodeError> {
        let value = input::byte(&mut self.section, "property")?;
        self.set(slot, value)
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self, slot: &mut Option<bool>) -> Result<(), DecodeError> {
        let value = match input::byte(&mut self.section, "property")? {
            0 => false,
            1 => true,
            _ => return Err(self.invalid()),
        };
        self.set(slot, value)
    }

    pub(super) fn two_byte_integer(&mut self, slot: &mut Option<u16>) -> Result<(), DecodeError> {
        let value = input::two_byte_integer(&mut self.section, "property")?;
        self.set(slot, value)
    }

    /// A Two Byte Integer that cannot be 0, or else `zero`.
    pub(super) fn positive_two_byte_integer(
        &mut self,
        slot: &mut Option<std::num::NonZeroU16>,
        zero: DecodeError,
    ) -> Result<(), DecodeError> {
        let value = input::two_byte_integer(&mut self.section, "property")?;
        self.set(slot, std::num::NonZeroU16::new(value).ok_or(zero)?)
    }

    pub(super) fn four_byte_integer(&mut self, slot: &mut Option<u32>) -> Result<(), DecodeError> {
        let value = input::four_byte_integer(&mut self.section, "property")?;
        self.set(slot, value)
    }

    pub(super) fn positive_four_byte_integer(
        &mut self,
        slot: &mut Option<std::num::NonZeroU32>,
    ) -> Result<(), DecodeError> {
        let value = input::four_byte_integer(&mut self.section, "property")?;
        let value = std::num::NonZeroU32::new(value).ok_or_else(|| self.invalid())?;
        self.set(slot, value)
    }

    /// A Variable Byte Integer that cannot be 0; the caller counts how often it may come.
    pub(super) fn positive_variable_byte_integer(
        &mut self,
    ) -> Result<std::num::NonZeroU32, DecodeError> {
        let value = input::variable_byte_integer(&mut self.section, "property")?;
        std::num::NonZeroU32::new(value).ok_or_else(|| self.invalid())
    }

    pub(super) fn binary_data(&mut self, slot: &mut Option<Bytes>) -> Result<(), DecodeError> {
        let value = input::binary_data(&mut self.section, "property")?;
        self.set(slot, value)
    }

    pub(super) fn text(&mut self, slot: &mut Option<Text>) -> Result<(), DecodeError> {
        let value = input::text(&mut self.section, field(self.current))?;
        self.set(slot, value)
    }

    /// A topic name that the receiver is to answer to. [MQTT-3.3.2-13] [MQTT-3.3.2-14]
    pub(super) fn response_topic(
        &mut self,
        slot: &mut Option<TopicName>,
    ) -> Result<(), DecodeError> {
        let text = input::text(&mut self.section, "response topic")?;
        let topic = TopicName::new(text, self.limits.topic).map_err(DecodeError::ResponseTopic)?;
        self.set(slot, topic)
    }

    /// May come more than once, in an order that is kept; how often is counted here (LIM-3).
    pub(super) fn user_property(
        &mut self,
        properties: &mut UserProperties,
    ) -> Result<(), DecodeError> {
        if properties.len() >= self.limits.user_properties {
            return Err(DecodeError::TooManyUserProperties(
                self.limits.user_properties,
            ));
        }
        let name = input::text(&mut self.section, "user property name")?;
        let value = input::text(&mut self.section, "user property value")?;
        properties.push((name, value));
        Ok(())
    }

    /// No property but User Property comes twice.
    fn set<T>(&self, slot: &mut Option<T>, value: T) -> Result<(), DecodeError> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.duplicate()),
        }
    }

    pub(super) fn duplicate(&self) -> DecodeError {
        DecodeError::DuplicateProperty {
            packet: self.packet,
            property: self.current,
        }
    }
}

fn field(identifier: u32) -> &'static str {
    match identifier {
        property::CONTENT_TYPE => "content type",
        property::ASSIGNED_CLIENT_IDENTIFIER => "assigned client identifier",
        property::AUTHENTICATION_METHOD => "authentication method",
        property::RESPONSE_INFORMATION => "response information",
        property::SERVER_REFERENCE => "server reference",
        property::REASON_STRING => "reason string",
        _ => "property",
    }
}
