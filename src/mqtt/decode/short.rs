//! The shortest packets, read from where they lie: half of all packets at QoS 1 are four bytes that need no memory of their own.

use crate::mqtt::{Ack, Packet, PacketIdentifier, PacketType, ReasonCode};

/// A PUBACK, PUBREC, PUBREL or PUBCOMP that is an identifier and nothing else, or a PINGREQ. `None`: not one of these, or not a good one; `decode` tells.
pub fn decode_short(frame: &[u8]) -> Option<Packet> {
    let (first, identifier) = match *frame {
        [0xc0, 0] => return Some(Packet::PingReq),
        [first, 2, high, low] => (
            first,
            PacketIdentifier::new(u16::from_be_bytes([high, low]))?,
        ),
        _ => return None,
    };
    let ack = Ack {
        packet_identifier: identifier,
        reason_code: ReasonCode::Success,
        properties: None,
    };
    if first == PacketType::PubAck.first_byte() {
        Some(Packet::PubAck(ack))
    } else if first == PacketType::PubRec.first_byte() {
        Some(Packet::PubRec(ack))
    } else if first == PacketType::PubRel.first_byte() {
        Some(Packet::PubRel(ack))
    } else if first == PacketType::PubComp.first_byte() {
        Some(Packet::PubComp(ack))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::mqtt::{DecodeLimits, ProtocolVersion, decode};
    use bytes::Bytes;

    #[test]
    fn agrees_with_the_decoder_on_all_that_it_takes() {
        let mut taken = 0;
        for first in 0..=u8::MAX {
            for tail in [
                &[][..],
                &[0],
                &[2, 0, 0],
                &[2, 0, 1],
                &[2, 0xff, 0xff],
                &[2, 1],
                &[3, 0, 1, 0],
            ] {
                let frame = [&[first], tail].concat();
                let Some(packet) = decode_short(&frame) else {
                    continue;
                };
                taken += 1;
                for version in [
                    ProtocolVersion::V3_1,
                    ProtocolVersion::V3_1_1,
                    ProtocolVersion::V5_0,
                ] {
                    let decoded = decode(
                        Bytes::from(frame.clone()),
                        Some(version),
                        &DecodeLimits::default(),
                    );
                    assert_eq!(decoded.unwrap(), packet, "{frame:02x?}");
                }
            }
        }
        assert_eq!(taken, 9);
    }
}
