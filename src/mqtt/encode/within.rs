//! A packet that has to fit into what its receiver takes: explanations give way first. [MQTT-3.1.2-24]

use super::encode;
use crate::mqtt::{Packet, ProtocolVersion, ReasonProperties};
use bytes::BytesMut;

/// Appends the packet if it is no longer than `maximum` bytes, if need be without its user properties and then without its reason string [MQTT-3.2.2-19] [MQTT-3.2.2-20]
/// [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.14.2-3] [MQTT-3.14.2-4]. `false`: it does not fit, and nothing was written. [MQTT-3.1.2-25]
pub fn encode_within(
    packet: &Packet,
    version: ProtocolVersion,
    maximum: usize,
    out: &mut BytesMut,
) -> bool {
    let start = out.len();
    let mut attempt = |packet: &Packet| {
        let written = encode(packet, version, out);
        let fits = written && out.len() - start <= maximum;
        if !fits {
            out.truncate(start);
        }
        fits
    };
    if attempt(packet) {
        return true;
    }
    let mut shorter = packet.clone();
    let Some(explanation) = Explanation::of(&mut shorter) else {
        return false;
    };
    explanation.drop_user_properties();
    if attempt(&shorter) {
        return true;
    }
    shorter.drop_explanation();
    attempt(&shorter)
}

impl Packet {
    /// Leaves out Reason String and User Property where they only explain: for a client that asked for no problem information. [MQTT-3.1.2-29]
    pub fn drop_explanation(&mut self) {
        if let Some(explanation) = Explanation::of(self) {
            explanation.drop_all();
        }
    }
}

/// The parts of a packet that nothing depends on.
enum Explanation<'a> {
    Boxed(&'a mut ReasonProperties),
    Inline {
        reason_string: &'a mut Option<crate::mqtt::Text>,
        user_properties: &'a mut crate::mqtt::UserProperties,
    },
}

impl<'a> Explanation<'a> {
    /// `None`: every part of such a packet is meant for the receiver's application.
    fn of(packet: &'a mut Packet) -> Option<Self> {
        match packet {
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => Some(Self::Boxed(&mut ack.properties)),
            Packet::SubAck(suback) => Some(Self::Boxed(&mut suback.properties)),
            Packet::UnsubAck(unsuback) => Some(Self::Boxed(&mut unsuback.properties)),
            Packet::ConnAck(connack) => Some(Self::Inline {
                reason_string: &mut connack.properties.reason_string,
                user_properties: &mut connack.properties.user_properties,
            }),
            Packet::Disconnect(disconnect) => Some(Self::Inline {
                reason_string: &mut disconnect.reason_string,
                user_properties: &mut disconnect.user_properties,
            }),
            Packet::Auth(auth) => Some(Self::Inline {
                reason_string: &mut auth.reason_string,
                user_properties: &mut auth.user_properties,
            }),
            Packet::Connect(_)
            | Packet::Publish(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::PingResp => None,
        }
    }

    fn drop_user_properties(self) {
        match self {
            Self::Boxed(properties) => {
                if let Some(properties) = properties {
                    properties.1.clear();
                }
            }
            Self::Inline {
                user_properties, ..
            } => user_properties.clear(),
        }
    }

    fn drop_all(self) {
        match self {
            Self::Boxed(properties) => *properties = None,
            Self::Inline {
                reason_string,
                user_properties,
            } => {
                *reason_string = None;
                user_properties.clear();
            }
        }
    }
}
