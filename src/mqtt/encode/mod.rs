//! Packets to bytes, in the words that a protocol version has for them.

mod acknowledgement;
mod connect;
pub(super) mod output;
mod publish;
mod subscribe;
mod within;

pub use self::publish::{PublishHead, encode_message_properties};
pub use self::within::encode_within;

use super::{Packet, PacketType, ProtocolVersion, variable_byte_integer};
use bytes::BytesMut;

/// Appends the packet. `false`: this version has no such packet (AUTH in MQTT 3), or it is longer than any packet can be, and nothing was written.
///
/// MQTT 3 leaves out properties and reason codes: a CONNACK carries the nearest return code, a SUBACK 0x80 for every failure [MQTT3-3.9.3-2], and a server of MQTT 3 must
/// not send the DISCONNECT that a client may [MQTT3-3.14.4-1].
pub fn encode(packet: &Packet, version: ProtocolVersion, out: &mut BytesMut) -> bool {
    let start = out.len();
    match packet {
        Packet::Publish(publish) => return publish::publish(publish, version, out),
        Packet::PubAck(ack) => acknowledgement::ack(PacketType::PubAck, ack, version, out),
        Packet::PubRec(ack) => acknowledgement::ack(PacketType::PubRec, ack, version, out),
        Packet::PubRel(ack) => acknowledgement::ack(PacketType::PubRel, ack, version, out),
        Packet::PubComp(ack) => acknowledgement::ack(PacketType::PubComp, ack, version, out),
        Packet::Connect(connect) => connect::connect(connect, out),
        Packet::ConnAck(connack) => connect::connack(connack, version, out),
        Packet::Subscribe(subscribe) => subscribe::subscribe(subscribe, version, out),
        Packet::SubAck(suback) => acknowledgement::suback(suback, version, out),
        Packet::Unsubscribe(unsubscribe) => subscribe::unsubscribe(unsubscribe, version, out),
        Packet::UnsubAck(unsuback) => acknowledgement::unsuback(unsuback, version, out),
        Packet::PingReq => output::packet(PacketType::PingReq, out, |_| {}),
        Packet::PingResp => output::packet(PacketType::PingResp, out, |_| {}),
        Packet::Disconnect(disconnect) => acknowledgement::disconnect(disconnect, version, out),
        Packet::Auth(_) if !version.is_v5() => return false,
        Packet::Auth(auth) => acknowledgement::auth(auth, out),
    }
    if out.len() - start > variable_byte_integer::LONGEST_PACKET {
        out.truncate(start);
        return false;
    }
    true
}
