//! Packets that are a reason code and little else: the acknowledgements, DISCONNECT and AUTH. MQTT 5.0 sections 3.4 to 3.7, 3.9, 3.11, 3.14, 3.15

use super::output::{self, Section};
use crate::mqtt::{
    Ack, Auth, Disconnect, PacketType, ProtocolVersion, ReasonCode, ReasonProperties, SubAck,
    UnsubAck, property,
};
use bytes::{BufMut, BytesMut};

pub(super) fn ack(
    packet_type: PacketType,
    ack: &Ack,
    version: ProtocolVersion,
    out: &mut BytesMut,
) {
    let [high, low] = ack.packet_identifier.get().to_be_bytes();
    let (first, code) = (packet_type.first_byte(), ack.reason_code.byte());
    let is_good = ack.reason_code == ReasonCode::Success;
    // The usual acknowledgement is four or five bytes and is written in one go.
    if !version.is_v5() || is_good && ack.properties.is_none() {
        out.put_slice(&[first, 2, high, low]);
    } else if ack.properties.is_none() {
        out.put_slice(&[first, 3, high, low, code]);
    } else {
        output::packet(packet_type, out, |out| {
            out.put_slice(&[high, low, code]);
            reason_properties(&ack.properties, out);
        });
    }
}

pub(super) fn suback(suback: &SubAck, version: ProtocolVersion, out: &mut BytesMut) {
    output::packet(PacketType::SubAck, out, |out| {
        out.put_u16(suback.packet_identifier.get());
        if version.is_v5() {
            reason_properties(&suback.properties, out);
        }
        for code in &suback.reason_codes {
            // [MQTT3-3.9.3-2]
            let failed = !version.is_v5() && code.is_error();
            out.put_u8(if failed { 0x80 } else { code.byte() });
        }
    });
}

pub(super) fn unsuback(unsuback: &UnsubAck, version: ProtocolVersion, out: &mut BytesMut) {
    output::packet(PacketType::UnsubAck, out, |out| {
        out.put_u16(unsuback.packet_identifier.get());
        if version.is_v5() {
            reason_properties(&unsuback.properties, out);
            out.extend(unsuback.reason_codes.iter().map(|code| code.byte()));
        }
    });
}

pub(super) fn disconnect(disconnect: &Disconnect, version: ProtocolVersion, out: &mut BytesMut) {
    output::packet(PacketType::Disconnect, out, |out| {
        if !version.is_v5() {
            return;
        }
        let bare = disconnect.session_expiry_interval.is_none()
            && disconnect.reason_string.is_none()
            && disconnect.user_properties.is_empty()
            && disconnect.server_reference.is_none();
        if bare && disconnect.reason_code == ReasonCode::Success {
            return;
        }
        out.put_u8(disconnect.reason_code.byte());
        if bare {
            return;
        }
        output::with_length(out, |out| {
            let mut section = Section(out);
            section.four_byte_integer(
                property::SESSION_EXPIRY_INTERVAL,
                disconnect.session_expiry_interval,
            );
            let reason = disconnect.reason_string.as_ref();
            section.bytes(property::REASON_STRING, reason.map(|text| text.as_bytes()));
            section.user_properties(&disconnect.user_properties);
            let server = disconnect.server_reference.as_ref();
            section.bytes(
                property::SERVER_REFERENCE,
                server.map(|text| text.as_bytes()),
            );
        });
    });
}

pub(super) fn auth(auth: &Auth, out: &mut BytesMut) {
    output::packet(PacketType::Auth, out, |out| {
        let bare = auth.authentication_method.is_none()
            && auth.authentication_data.is_none()
            && auth.reason_string.is_none()
            && auth.user_properties.is_empty();
        if bare && auth.reason_code == ReasonCode::Success {
            return;
        }
        out.put_u8(auth.reason_code.byte());
        output::with_length(out, |out| {
            let mut section = Section(out);
            let method = auth.authentication_method.as_ref();
            section.bytes(
                property::AUTHENTICATION_METHOD,
                method.map(|text| text.as_bytes()),
            );
            section.bytes(
                property::AUTHENTICATION_DATA,
                auth.authentication_data.as_deref(),
            );
            let reason = auth.reason_string.as_ref();
            section.bytes(property::REASON_STRING, reason.map(|text| text.as_bytes()));
            section.user_properties(&auth.user_properties);
        });
    });
}

fn reason_properties(properties: &ReasonProperties, out: &mut BytesMut) {
    output::with_length(out, |out| {
        if let Some(properties) = properties {
            let (reason_string, user_properties) = &**properties;
            let mut section = Section(out);
            let reason = reason_string.as_ref();
            section.bytes(property::REASON_STRING, reason.map(|text| text.as_bytes()));
            section.user_properties(user_properties);
        }
    });
}
