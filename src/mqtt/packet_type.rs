//! The first byte of a packet: its type and what its flags must be. MQTT 5.0 sections 2.1.2, 2.1.3

use super::{DecodeError, ProtocolVersion};
use std::fmt;

/// MQTT 5.0 section 2.1.2
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::ConnAck,
        Self::Publish,
        Self::PubAck,
        Self::PubRec,
        Self::PubRel,
        Self::PubComp,
        Self::Subscribe,
        Self::SubAck,
        Self::Unsubscribe,
        Self::UnsubAck,
        Self::PingReq,
        Self::PingResp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// The type that a first byte names, once its flags are found to be what the type asks for.
    pub fn of(first: u8) -> Result<Self, DecodeError> {
        let packet_type = usize::from(first >> 4)
            .checked_sub(1)
            .and_then(|index| Self::ALL.get(index).copied())
            .ok_or(DecodeError::ReservedPacketType)?;
        let flags = first & 0x0f;
        if packet_type == Self::Publish {
            publish_flags(flags)?;
        } else if flags != packet_type.flags() && !packet_type.is_again(flags) {
            return Err(DecodeError::Flags(packet_type));
        }
        Ok(packet_type)
    }

    /// The flags of a packet that MQTT 3.1 sends again with DUP: a mistake in every later version, told once the version is at hand. MQTT 3.1 section 2.1
    pub fn is_again(self, flags: u8) -> bool {
        const DUP: u8 = 0b1000;
        matches!(self, Self::PubRel | Self::Subscribe | Self::Unsubscribe)
            && flags == self.flags() | DUP
    }

    /// The flags of every packet of this type; PUBLISH adds its own. [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1]
    pub fn flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            Self::Connect
            | Self::ConnAck
            | Self::Publish
            | Self::PubAck
            | Self::PubRec
            | Self::PubComp
            | Self::SubAck
            | Self::UnsubAck
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect
            | Self::Auth => 0,
        }
    }

    /// The whole first byte.
    pub fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.flags()
    }

    /// AUTH came with MQTT 5.0; before, its number was reserved. MQTT 3.1.1 section 2.2.1
    pub(super) fn exists_in(self, version: ProtocolVersion) -> bool {
        self != Self::Auth || version.is_v5()
    }

    /// As the specification writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn publish_flags(flags: u8) -> Result<(), DecodeError> {
    match (flags >> 1) & 0b11 {
        // Both QoS bits at once mean nothing. [MQTT-3.3.1-4]
        3 => Err(DecodeError::QoS3),
        // A QoS 0 PUBLISH cannot be a re-delivery. [MQTT-3.3.1-2]
        0 if flags & 0b1000 != 0 => Err(DecodeError::DupAtQoS0),
        _ => Ok(()),
    }
}
