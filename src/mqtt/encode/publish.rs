//! PUBLISH: a head that is cheap to write for each receiver, and properties that are written once for all. MQTT 5.0 section 3.3

use super::output::{Section, binary_data};
use crate::mqtt::{
    PacketIdentifier, PacketType, ProtocolVersion, Publish, PublishProperties, QoS,
    SubscriptionIdentifier, property, variable_byte_integer,
};
use bytes::{BufMut, Bytes, BytesMut};
use std::num::NonZeroU16;

/// Everything of a PUBLISH before its payload; the payload itself is shared by all who get it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishHead<'a> {
    pub dup: bool,
    pub qos: QoS,
    pub retain: bool,
    /// Written when `qos` is above 0.
    pub packet_identifier: Option<PacketIdentifier>,
    /// Empty when `topic_alias` stands for it.
    pub topic: &'a str,
    pub topic_alias: Option<NonZeroU16>,
    pub subscription_identifiers: &'a [SubscriptionIdentifier],
    /// What is left of it. [MQTT-3.3.2-6]
    pub message_expiry_interval: Option<u32>,
    /// As [`encode_message_properties`] wrote them.
    pub message_properties: &'a [u8],
    pub payload_length: usize,
}

impl PublishHead<'_> {
    /// Of the whole packet, payload included: what a peer's maximum packet size is compared with. [MQTT-3.1.2-24]
    pub fn length(&self, version: ProtocolVersion) -> usize {
        let remaining = self.remaining_length(version);
        1 + length_of_length(remaining) + remaining
    }

    /// Appends all but the payload.
    pub fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        let remaining = self.remaining_length(version);
        out.reserve(1 + 4 + remaining - self.payload_length);
        out.put_u8(
            PacketType::Publish.first_byte()
                | u8::from(self.dup) << 3
                | self.qos.bits() << 1
                | u8::from(self.retain),
        );
        variable_byte_integer::write(u32::try_from(remaining).unwrap_or(u32::MAX), out);
        put_text(self.topic, out);
        if let Some(identifier) = self.identifier() {
            out.put_u16(identifier.get());
        }
        if version.is_v5() {
            self.encode_properties(out);
        }
    }

    fn encode_properties(&self, out: &mut BytesMut) {
        let length = u32::try_from(self.properties_length()).unwrap_or(u32::MAX);
        variable_byte_integer::write(length, out);
        let mut section = Section(out);
        section.two_byte_integer(property::TOPIC_ALIAS, self.topic_alias.map(NonZeroU16::get));
        section.four_byte_integer(
            property::MESSAGE_EXPIRY_INTERVAL,
            self.message_expiry_interval,
        );
        for identifier in self.subscription_identifiers {
            let value = identifier.get();
            section.variable_byte_integer(property::SUBSCRIPTION_IDENTIFIER, value);
        }
        out.put_slice(self.message_properties);
    }

    /// A QoS 0 PUBLISH has none. [MQTT-2.2.1-2]
    fn identifier(&self) -> Option<PacketIdentifier> {
        self.packet_identifier
            .filter(|_| self.qos != QoS::AtMostOnce)
    }

    fn remaining_length(&self, version: ProtocolVersion) -> usize {
        let mut length = 2 + self.topic.len() + self.payload_length;
        if self.identifier().is_some() {
            length += 2;
        }
        if version.is_v5() {
            let properties = self.properties_length();
            length += length_of_length(properties) + properties;
        }
        length
    }

    fn properties_length(&self) -> usize {
        let alias = self.topic_alias.map_or(0, |_| 3);
        let expiry = self.message_expiry_interval.map_or(0, |_| 5);
        let identifiers: usize = self
            .subscription_identifiers
            .iter()
            .map(|identifier| 1 + variable_byte_integer::length(identifier.get()))
            .sum();
        alias + expiry + identifiers + self.message_properties.len()
    }
}

/// The properties that a message keeps on its way, once for all its receivers: payload format, content type, response topic, correlation data and user properties in their
/// order. Topic alias, expiry and subscription identifiers belong to each delivery. [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]
pub fn encode_message_properties(properties: &PublishProperties) -> Bytes {
    let mut out = BytesMut::new();
    message_properties(properties, &mut Section(&mut out));
    out.freeze()
}

pub(super) fn message_properties(properties: &PublishProperties, section: &mut Section<'_>) {
    section.flag(
        property::PAYLOAD_FORMAT_INDICATOR,
        properties.payload_format_indicator,
    );
    let content_type = properties.content_type.as_ref();
    section.bytes(
        property::CONTENT_TYPE,
        content_type.map(|text| text.as_bytes()),
    );
    let response_topic = properties.response_topic.as_ref();
    section.bytes(
        property::RESPONSE_TOPIC,
        response_topic.map(|topic| topic.as_str().as_bytes()),
    );
    section.bytes(
        property::CORRELATION_DATA,
        properties.correlation_data.as_deref(),
    );
    section.user_properties(&properties.user_properties);
}

/// A whole PUBLISH, as a client sends it; `false` when it is longer than a packet can be.
pub(super) fn publish(publish: &Publish, version: ProtocolVersion, out: &mut BytesMut) -> bool {
    let properties = publish.properties.as_deref();
    let message_properties = properties.map(encode_message_properties);
    let head = PublishHead {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        packet_identifier: publish.packet_identifier,
        topic: publish.topic.as_ref().map_or("", |topic| topic.as_str()),
        topic_alias: properties.and_then(|properties| properties.topic_alias),
        subscription_identifiers: properties
            .map_or(&[], |properties| &properties.subscription_identifiers),
        message_expiry_interval: properties
            .and_then(|properties| properties.message_expiry_interval),
        message_properties: message_properties.as_deref().unwrap_or_default(),
        payload_length: publish.payload.len(),
    };
    if head.length(version) > variable_byte_integer::LONGEST_PACKET {
        return false;
    }
    head.encode(version, out);
    out.extend_from_slice(&publish.payload);
    true
}

fn length_of_length(length: usize) -> usize {
    variable_byte_integer::length(u32::try_from(length).unwrap_or(u32::MAX))
}

fn put_text(text: &str, out: &mut BytesMut) {
    match u16::try_from(text.len()) {
        Ok(length) => {
            out.put_u16(length);
            out.put_slice(text.as_bytes());
        }
        Err(_) => binary_data(text.as_bytes(), out),
    }
}
