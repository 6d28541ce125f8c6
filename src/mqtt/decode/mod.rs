//! Bytes to packets, strictly: whatever the specification calls malformed or a protocol error is refused with its reason code. MQTT 5.0 sections 3, 4.13

mod acknowledgement;
mod again;
mod connack;
mod connect;
mod disconnect;
mod input;
mod properties;
mod publish;
mod short;
mod subscribe;

pub use self::again::decode_again;
pub use self::connect::answering_version;
pub use self::short::decode_short;

use super::frame::FixedHeader;
use super::{DecodeError, Packet, PacketType, ProtocolVersion, TopicLimits};
use bytes::{Buf, Bytes};

/// How much of what a packet may repeat or stretch is taken, counted while it is parsed (LIM-1, LIM-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    pub topic: TopicLimits,
    /// In one property section.
    pub user_properties: usize,
    /// In one SUBSCRIBE or UNSUBSCRIBE.
    pub filters: usize,
    /// In bytes of UTF-8.
    pub client_identifier_length: usize,
    /// In one PUBLISH: only a server sends them, so a server takes none. [MQTT-3.3.4-6]
    pub subscription_identifiers: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            topic: TopicLimits::default(),
            user_properties: 64,
            filters: 64,
            client_identifier_length: 256,
            subscription_identifiers: 0,
        }
    }
}

impl DecodeLimits {
    /// What a client takes from its server, which it chose itself.
    pub fn of_client() -> Self {
        Self {
            topic: TopicLimits {
                levels: usize::from(u16::MAX) + 1,
                length: usize::from(u16::MAX),
            },
            user_properties: 1024,
            subscription_identifiers: 1024,
            client_identifier_length: usize::from(u16::MAX),
            ..Self::default()
        }
    }
}

/// Reads one whole packet, as cut out by [`frame_length`](super::frame_length); texts and payloads share its memory. `version` is what the CONNECT chose: `None` before
/// it, when nothing but a CONNECT is taken.
pub fn decode(
    mut frame: Bytes,
    version: Option<ProtocolVersion>,
    limits: &DecodeLimits,
) -> Result<Packet, DecodeError> {
    let header = FixedHeader::read(&frame)?.ok_or(DecodeError::Truncated("fixed header"))?;
    let packet_type = header.packet_type;
    frame.advance(header.length);
    if frame.len() < header.remaining_length {
        return Err(DecodeError::Truncated(packet_type.name()));
    }
    if frame.len() > header.remaining_length {
        return Err(DecodeError::Trailing(packet_type));
    }
    match version {
        Some(version) => body(packet_type, header.flags, frame, version, limits),
        // The first packet must be a CONNECT. [MQTT-3.1.0-1]
        None if packet_type != PacketType::Connect => Err(DecodeError::NotConnect(packet_type)),
        None => connect::connect(frame, limits).map(|connect| Packet::Connect(Box::new(connect))),
    }
}

fn body(
    packet_type: PacketType,
    flags: u8,
    input: Bytes,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Packet, DecodeError> {
    if !packet_type.exists_in(version) {
        return Err(DecodeError::AuthInMqtt3);
    }
    if packet_type.is_again(flags) && version != ProtocolVersion::V3_1 {
        return Err(DecodeError::Flags(packet_type));
    }
    let ack = |input| acknowledgement::ack(packet_type, input, version, limits);
    match packet_type {
        PacketType::Publish => publish::publish(flags, input, version, limits).map(Packet::Publish),
        PacketType::PubAck => ack(input).map(Packet::PubAck),
        PacketType::PubRec => ack(input).map(Packet::PubRec),
        PacketType::PubRel => ack(input).map(Packet::PubRel),
        PacketType::PubComp => ack(input).map(Packet::PubComp),
        // A client sends CONNECT once. [MQTT-3.1.0-2]
        PacketType::Connect => Err(DecodeError::SecondConnect),
        PacketType::ConnAck => connack::connack(input, version, limits)
            .map(|connack| Packet::ConnAck(Box::new(connack))),
        PacketType::Subscribe => {
            subscribe::subscribe(input, version, limits).map(Packet::Subscribe)
        }
        PacketType::SubAck => acknowledgement::suback(input, version, limits).map(Packet::SubAck),
        PacketType::Unsubscribe => {
            subscribe::unsubscribe(input, version, limits).map(Packet::Unsubscribe)
        }
        PacketType::UnsubAck => {
            acknowledgement::unsuback(input, version, limits).map(Packet::UnsubAck)
        }
        PacketType::PingReq => end(input, packet_type).map(|()| Packet::PingReq),
        PacketType::PingResp => end(input, packet_type).map(|()| Packet::PingResp),
        PacketType::Disconnect => {
            disconnect::disconnect(input, version, limits).map(Packet::Disconnect)
        }
        PacketType::Auth => disconnect::auth(input, limits).map(Packet::Auth),
    }
}

/// The inner fields fill the outer length exactly (TRN-2).
fn end(input: Bytes, packet_type: PacketType) -> Result<(), DecodeError> {
    if input.is_empty() {
        return Ok(());
    }
    Err(DecodeError::Trailing(packet_type))
}
