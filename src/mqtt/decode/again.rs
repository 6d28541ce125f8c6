//! A PUBLISH to a topic that is known, read from where it lies: what its name is was checked when it came first, and only the payload is copied.

use crate::mqtt::{PacketIdentifier, ProtocolVersion, Publish, QoS, TopicName};
use bytes::Bytes;

/// A PUBLISH without properties whose topic name is `known`; `None`: any other packet, or not a good one; `decode` tells.
pub fn decode_again(
    frame: &[u8],
    version: ProtocolVersion,
    known: impl FnOnce(&[u8]) -> Option<TopicName>,
) -> Option<Publish> {
    let (first, rest) = frame.split_first()?;
    if first >> 4 != 3 {
        return None;
    }
    let qos = QoS::from_bits((first >> 1) & 0b11)?;
    let dup = first & 0b1000 != 0;
    if dup && qos == QoS::AtMostOnce {
        return None;
    }
    // Behind the remaining length, of which the frame is proof.
    let length = rest.iter().position(|byte| byte & 0x80 == 0)?;
    let rest = rest.get(length.checked_add(1)?..)?;
    let (topic_length, rest) = rest.split_first_chunk::<2>()?;
    let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*topic_length)))?;
    let (packet_identifier, rest) = match qos {
        QoS::AtMostOnce => (None, rest),
        QoS::AtLeastOnce | QoS::ExactlyOnce => {
            let (identifier, rest) = rest.split_first_chunk::<2>()?;
            let identifier = PacketIdentifier::new(u16::from_be_bytes(*identifier))?;
            (Some(identifier), rest)
        }
    };
    let payload = if version.is_v5() {
        rest.strip_prefix(&[0])?
    } else {
        rest
    };
    Some(Publish {
        dup,
        qos,
        retain: first & 1 != 0,
        topic: Some(known(topic)?),
        packet_identifier,
        properties: None,
        payload: Bytes::copy_from_slice(payload),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::mqtt::{DecodeLimits, Packet, Text, TopicLimits, decode};

    /// Every first byte with every tail, in every version: what is read here, `decode` reads alike.
    #[test]
    fn agrees_with_the_decoder_on_all_that_it_takes() {
        let known = TopicName::new(Text::try_from("a/b").unwrap(), TopicLimits::default()).unwrap();
        let tails: [&[u8]; 14] = [
            b"",
            b"\x00\x00",
            b"\x00\x03a/b",
            b"\x00\x03a/b\x00",
            b"\x00\x03a/bx",
            b"\x00\x03a/b\x00\x01",
            b"\x00\x03a/b\x00\x00",
            b"\x00\x03a/b\x00\x01\x00",
            b"\x00\x03a/b\x00\x01\x00payload",
            b"\x00\x03a/b\x00payload",
            b"\x00\x03a/b\x00\x01payload",
            b"\x00\x03a/b\x02\x01\x01payload",
            b"\x00\x03a/cpayload",
            b"\x00\x04a/b",
        ];
        let versions = [
            ProtocolVersion::V3_1,
            ProtocolVersion::V3_1_1,
            ProtocolVersion::V5_0,
        ];
        let mut taken = 0;
        for (first, tail) in (0..=u8::MAX).flat_map(|first| tails.map(|tail| (first, tail))) {
            for version in versions {
                let length = u8::try_from(tail.len()).unwrap();
                let frame = [&[first, length], tail].concat();
                let found =
                    |topic: &[u8]| (topic == known.as_str().as_bytes()).then(|| known.clone());
                let Some(publish) = decode_again(&frame, version, found) else {
                    continue;
                };
                taken += 1;
                let read = decode(Bytes::from(frame), Some(version), &DecodeLimits::default());
                assert_eq!(read.unwrap(), Packet::Publish(publish));
            }
        }
        assert!(taken > 100, "{taken}");
    }
}
