//! CONNECT and CONNACK. MQTT 5.0 sections 3.1, 3.2

use super::output::{self, Section, binary_data};
use super::publish::message_properties;
use crate::mqtt::{
    ConnAck, ConnAckProperties, Connect, ConnectProperties, PacketType, ProtocolVersion, Text,
    Will, property,
};
use bytes::{BufMut, BytesMut};

pub(super) fn connect(connect: &Connect, out: &mut BytesMut) {
    let version = connect.protocol_version;
    output::packet(PacketType::Connect, out, |out| {
        let (name, level): (&[u8], u8) = match version {
            ProtocolVersion::V3_1 => (b"MQIsdp", 3),
            ProtocolVersion::V3_1_1 => (b"MQTT", 4),
            ProtocolVersion::V5_0 => (b"MQTT", 5),
        };
        binary_data(name, out);
        let bridge = connect.bridge && !version.is_v5();
        out.put_u8(level | u8::from(bridge) << 7);
        out.put_u8(flags(connect));
        out.put_u16(connect.keep_alive);
        if version.is_v5() {
            output::with_length(out, |out| connect_properties(&connect.properties, out));
        }
        binary_data(connect.client_identifier.as_bytes(), out);
        if let Some(will) = &connect.will {
            self::will(will, version, out);
        }
        if let Some(username) = &connect.username {
            binary_data(username.as_bytes(), out);
        }
        if let Some(password) = &connect.password {
            binary_data(password, out);
        }
    });
}

pub(super) fn connack(connack: &ConnAck, version: ProtocolVersion, out: &mut BytesMut) {
    output::packet(PacketType::ConnAck, out, |out| {
        // MQTT 3.1 has no such flag: its byte is unused.
        let session_present = connack.session_present && version != ProtocolVersion::V3_1;
        out.put_u8(u8::from(session_present));
        if version.is_v5() {
            out.put_u8(connack.reason_code.byte());
            output::with_length(out, |out| connack_properties(&connack.properties, out));
        } else {
            out.put_u8(connack.reason_code.connack_return_code());
        }
    });
}

/// MQTT 5.0 section 3.1.2.3
fn flags(connect: &Connect) -> u8 {
    let will = connect.will.as_ref().map_or(0, |will| {
        1 << 2 | will.qos.bits() << 3 | u8::from(will.retain) << 5
    });
    u8::from(connect.clean_start) << 1
        | will
        | u8::from(connect.password.is_some()) << 6
        | u8::from(connect.username.is_some()) << 7
}

fn will(will: &Will, version: ProtocolVersion, out: &mut BytesMut) {
    if version.is_v5() {
        output::with_length(out, |out| {
            let mut section = Section(out);
            section.four_byte_integer(property::WILL_DELAY_INTERVAL, will.will_delay_interval);
            if let Some(properties) = &will.properties {
                section.four_byte_integer(
                    property::MESSAGE_EXPIRY_INTERVAL,
                    properties.message_expiry_interval,
                );
                message_properties(properties, &mut section);
            }
        });
    }
    binary_data(will.topic.as_str().as_bytes(), out);
    binary_data(&will.payload, out);
}

fn connect_properties(properties: &ConnectProperties, out: &mut BytesMut) {
    let p = properties;
    let mut section = Section(out);
    section.four_byte_integer(property::SESSION_EXPIRY_INTERVAL, p.session_expiry_interval);
    section.two_byte_integer(
        property::RECEIVE_MAXIMUM,
        p.receive_maximum.map(|value| value.get()),
    );
    section.four_byte_integer(
        property::MAXIMUM_PACKET_SIZE,
        p.maximum_packet_size.map(|value| value.get()),
    );
    section.two_byte_integer(property::TOPIC_ALIAS_MAXIMUM, p.topic_alias_maximum);
    section.flag(
        property::REQUEST_RESPONSE_INFORMATION,
        p.request_response_information,
    );
    section.flag(
        property::REQUEST_PROBLEM_INFORMATION,
        p.request_problem_information,
    );
    section.bytes(
        property::AUTHENTICATION_METHOD,
        text(&p.authentication_method),
    );
    section.bytes(
        property::AUTHENTICATION_DATA,
        p.authentication_data.as_deref(),
    );
    section.user_properties(&p.user_properties);
}

fn connack_properties(properties: &ConnAckProperties, out: &mut BytesMut) {
    let p = properties;
    let mut section = Section(out);
    section.four_byte_integer(property::SESSION_EXPIRY_INTERVAL, p.session_expiry_interval);
    section.two_byte_integer(
        property::RECEIVE_MAXIMUM,
        p.receive_maximum.map(|value| value.get()),
    );
    section.byte(property::MAXIMUM_QOS, p.maximum_qos.map(|qos| qos.bits()));
    section.flag(property::RETAIN_AVAILABLE, p.retain_available);
    section.four_byte_integer(
        property::MAXIMUM_PACKET_SIZE,
        p.maximum_packet_size.map(|value| value.get()),
    );
    section.bytes(
        property::ASSIGNED_CLIENT_IDENTIFIER,
        text(&p.assigned_client_identifier),
    );
    section.two_byte_integer(property::TOPIC_ALIAS_MAXIMUM, p.topic_alias_maximum);
    section.bytes(property::REASON_STRING, text(&p.reason_string));
    section.user_properties(&p.user_properties);
    section.flag(
        property::WILDCARD_SUBSCRIPTION_AVAILABLE,
        p.wildcard_subscription_available,
    );
    section.flag(
        property::SUBSCRIPTION_IDENTIFIERS_AVAILABLE,
        p.subscription_identifiers_available,
    );
    section.flag(
        property::SHARED_SUBSCRIPTION_AVAILABLE,
        p.shared_subscription_available,
    );
    section.two_byte_integer(property::SERVER_KEEP_ALIVE, p.server_keep_alive);
    section.bytes(
        property::RESPONSE_INFORMATION,
        text(&p.response_information),
    );
    section.bytes(property::SERVER_REFERENCE, text(&p.server_reference));
    section.bytes(
        property::AUTHENTICATION_METHOD,
        text(&p.authentication_method),
    );
    section.bytes(
        property::AUTHENTICATION_DATA,
        p.authentication_data.as_deref(),
    );
}

fn text(value: &Option<Text>) -> Option<&[u8]> {
    value.as_ref().map(|text| text.as_bytes())
}
