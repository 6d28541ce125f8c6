//! A PUBLISH prepared once: for each message only identifier, number and stamp are filled in.

use crate::mqtt::{ProtocolVersion, QoS, frame_length};
use bytes::{BufMut, Bytes, BytesMut};

/// Publisher, sequence number and time stamp at the front of each payload.
pub(super) const STAMP: usize = 4 + 4 + 8;

/// What a payload of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) publisher: u32,
    pub(super) sequence: u32,
    pub(super) nanoseconds: u64,
}

#[derive(Debug)]
pub(super) struct Template {
    /// Fixed header and length of the topic.
    head: Bytes,
    qos: QoS,
    is_v5: bool,
    /// The payload after its stamp.
    filling: Bytes,
}

impl Template {
    /// For topics of exactly this length.
    pub(super) fn new(
        topic_length: u16,
        qos: QoS,
        version: ProtocolVersion,
        payload: usize,
    ) -> Self {
        let identifier = if qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties = usize::from(version.is_v5());
        let filling = payload.saturating_sub(STAMP);
        let remaining = 2 + usize::from(topic_length) + identifier + properties + STAMP + filling;
        let mut head = BytesMut::new();
        head.put_u8(0x30 | qos.bits() << 1);
        let mut rest = remaining;
        loop {
            let more = if rest > 127 { 0x80 } else { 0 };
            head.put_u8((rest & 127) as u8 | more);
            rest >>= 7;
            if rest == 0 {
                break;
            }
        }
        head.put_u16(topic_length);
        Self {
            head: head.freeze(),
            qos,
            is_v5: version.is_v5(),
            filling: vec![b'w'; filling].into(),
        }
    }

    pub(super) fn write(&self, topic: &[u8], identifier: u16, stamp: Stamp, out: &mut BytesMut) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(topic);
        if self.qos != QoS::AtMostOnce {
            out.put_u16(identifier);
        }
        if self.is_v5 {
            out.put_u8(0);
        }
        out.put_u32(stamp.publisher);
        out.put_u32(stamp.sequence);
        out.put_u64(stamp.nanoseconds);
        out.extend_from_slice(&self.filling);
    }
}

/// The little the generator wants to know of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Publish {
        qos: u8,
        identifier: [u8; 2],
        stamp: Stamp,
    },
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Ack {
        first: u8,
        identifier: [u8; 2],
        failed: bool,
    },
    Other(u8),
}

/// Splits the next whole packet off; `None`: it has not arrived, or is none of ours.
pub(super) fn split<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = frame_length(bytes, usize::MAX).ok()??;
    let (frame, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(frame)
}

/// Reads what [`Template::write`] wrote, as a broker passed it on.
pub(super) fn see(frame: &[u8], version: ProtocolVersion) -> Option<Seen> {
    let (first, rest) = frame.split_first()?;
    let header = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let mut body = rest.get(header..)?;
    match first >> 4 {
        3 => {
            let topic = u16::from_be_bytes(*take(&mut body)?);
            body = body.get(usize::from(topic)..)?;
            let qos = first >> 1 & 3;
            let identifier = if qos > 0 { *take(&mut body)? } else { [0, 0] };
            if version.is_v5() {
                let [length] = *take(&mut body)?;
                body = body.get(usize::from(length)..)?;
            }
            let stamp = Stamp {
                publisher: u32::from_be_bytes(*take(&mut body)?),
                sequence: u32::from_be_bytes(*take(&mut body)?),
                nanoseconds: u64::from_be_bytes(*take(&mut body)?),
            };
            Some(Seen::Publish {
                qos,
                identifier,
                stamp,
            })
        }
        4..=7 => {
            let identifier = *take(&mut body)?;
            let failed = body.first().is_some_and(|code| *code >= 0x80);
            Some(Seen::Ack {
                first: *first,
                identifier,
                failed,
            })
        }
        other => Some(Seen::Other(other)),
    }
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{DecodeLimits, Packet, decode};

    #[test]
    #[expect(clippy::unwrap_used, reason = "tests")]
    fn what_is_written_is_a_publish_and_is_seen_again() {
        let stamp = Stamp {
            publisher: 7,
            sequence: 8,
            nanoseconds: 9,
        };
        let versions = [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0];
        for (version, qos, payload) in versions.into_iter().flat_map(|version| {
            [
                (version, QoS::AtMostOnce, 16),
                (version, QoS::AtLeastOnce, 200),
                (version, QoS::ExactlyOnce, 20_000),
            ]
        }) {
            let mut out = BytesMut::new();
            Template::new(9, qos, version, payload).write(b"bench/0/1", 258, stamp, &mut out);
            let limits = DecodeLimits::of_client();
            let packet = decode(out.clone().freeze(), Some(version), &limits).unwrap();
            let Packet::Publish(publish) = packet else {
                unreachable!()
            };
            assert_eq!(publish.topic.unwrap().as_str(), "bench/0/1");
            assert_eq!((publish.qos, publish.payload.len()), (qos, payload));
            let mut bytes: &[u8] = &out;
            let frame = split(&mut bytes).unwrap();
            assert!(bytes.is_empty());
            let identifier = if qos == QoS::AtMostOnce {
                [0, 0]
            } else {
                [1, 2]
            };
            let expected = Seen::Publish {
                qos: qos.bits(),
                identifier,
                stamp,
            };
            assert_eq!(see(frame, version), Some(expected));
        }
    }
}
