//! What holds for every packet: it survives the wire, in whatever pieces, and no bytes make the codec panic.

use super::strategies::{packet, packet_of_any_version, version};
use super::{VERSIONS, read};
use crate::mqtt::{
    DecodeError, DecodeLimits, Packet, ProtocolVersion, PublishHead, PublishProperties, decode,
    encode, encode_message_properties, encode_within, first_frame_length, frame_length,
};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

fn written(packet: &Packet, version: ProtocolVersion) -> BytesMut {
    let mut out = BytesMut::new();
    assert!(encode(packet, version, &mut out), "{packet:?}");
    out
}

/// Takes packets off the front as a connection does, adding `chunk` bytes at a time.
fn in_chunks(
    bytes: &[u8],
    chunk: usize,
    version: ProtocolVersion,
) -> Vec<Result<Packet, DecodeError>> {
    let mut buffer = BytesMut::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(chunk) {
        buffer.extend_from_slice(piece);
        loop {
            match frame_length(&buffer, 1 << 20) {
                Err(error) => {
                    found.push(Err(error));
                    return found;
                }
                Ok(Some(length)) if length <= buffer.len() => {
                    found.push(read(&buffer.split_to(length), version));
                    if found.last().unwrap().is_err() {
                        return found;
                    }
                }
                Ok(_) => break,
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back((version, packet) in packet_of_any_version()) {
        let bytes = written(&packet, version);
        prop_assert_eq!(frame_length(&bytes, usize::MAX), Ok(Some(bytes.len())));
        prop_assert_eq!(read(&bytes, version), Ok(packet));
    }

    #[test]
    fn trn_02_pieces_of_any_size_give_the_same(
        packets in version().prop_flat_map(|version| (Just(version), vec(packet(version), 1..4))),
        chunk in 1..40usize,
        cut in 0..400usize,
    ) {
        let (version, packets) = packets;
        let mut bytes: Vec<u8> = packets.iter().flat_map(|packet| written(packet, version)).collect();
        // Also for a stream that ends inside a packet, or goes on after what cannot be read.
        if let Some(byte) = bytes.get_mut(cut) {
            *byte ^= 1 << (cut % 8);
        }
        let whole = in_chunks(&bytes, usize::MAX, version);
        prop_assert_eq!(in_chunks(&bytes, chunk, version), whole.clone());
        prop_assert_eq!(in_chunks(&bytes, 1, version), whole);
    }

    #[test]
    fn trn_15_no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..80)) {
        for version in VERSIONS {
            let _ = read(&bytes, version);
        }
        let _ = decode(Bytes::copy_from_slice(&bytes), None, &DecodeLimits::default());
        let _ = first_frame_length(&bytes, 100);
        let _ = crate::mqtt::answering_version(&Bytes::copy_from_slice(&bytes));
    }

    /// Damage that leaves the frame whole reaches the inner fields; what is still accepted is written and read back as the same.
    #[test]
    fn trn_02_decode_encode_decode_is_stable(
        (version, packet) in packet_of_any_version(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = written(&packet, version);
        let header = if bytes.len() < 130 { 2 } else { 3 };
        if bytes.len() > header {
            let place = header + place.index(bytes.len() - header);
            *bytes.get_mut(place).unwrap() = byte;
        }
        let Ok(damaged) = read(&bytes, version) else { return Ok(()) };
        // A version that the CONNECT itself names, and filters that are none, do not go out again.
        let version = match &damaged { Packet::Connect(connect) => connect.protocol_version, _ => version };
        let invalid = match &damaged {
            Packet::Subscribe(subscribe) => subscribe.filters.iter().any(|filter| filter.subscription.is_err()),
            Packet::Unsubscribe(unsubscribe) => unsubscribe.filters.iter().any(Result::is_err),
            _ => false,
        };
        if !invalid {
            prop_assert_eq!(read(&written(&damaged, version), version), Ok(damaged));
        }
    }

    #[test]
    fn a_cut_packet_is_never_a_packet((version, packet) in packet_of_any_version(), cut in any::<prop::sample::Index>()) {
        let bytes = written(&packet, version);
        let part = bytes.get(..cut.index(bytes.len())).unwrap();
        prop_assert!(!matches!(frame_length(part, usize::MAX), Ok(Some(length)) if length <= part.len()));
        prop_assert!(read(part, version).is_err());
    }

    #[test]
    fn a_publish_head_is_a_publish_without_its_payload((version, packet) in packet_of_any_version()) {
        let Packet::Publish(publish) = packet else { return Ok(()) };
        let none = PublishProperties::default();
        let properties = publish.properties.as_deref().unwrap_or(&none);
        let message_properties = encode_message_properties(properties);
        let head = PublishHead {
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            packet_identifier: publish.packet_identifier,
            topic: publish.topic.as_ref().map_or("", |topic| topic.as_str()),
            topic_alias: properties.topic_alias,
            subscription_identifiers: &properties.subscription_identifiers,
            message_expiry_interval: properties.message_expiry_interval,
            message_properties: &message_properties,
            payload_length: publish.payload.len(),
        };
        let mut out = BytesMut::new();
        head.encode(version, &mut out);
        out.extend_from_slice(&publish.payload);
        prop_assert_eq!(head.length(version), out.len());
        prop_assert_eq!(read(&out, version), Ok(Packet::Publish(publish)));
    }

    #[test]
    fn what_is_written_within_a_maximum_fits((version, packet) in packet_of_any_version(), maximum in 0..80usize) {
        let mut out = BytesMut::from("before");
        let fits = encode_within(&packet, version, maximum, &mut out);
        let bytes = out.split_off("before".len());
        prop_assert_eq!(&out, "before");
        if fits {
            prop_assert!(bytes.len() <= maximum);
            prop_assert!(read(&bytes, version).is_ok());
        } else {
            prop_assert!(bytes.is_empty());
            let mut bare = packet;
            bare.drop_explanation();
            prop_assert!(written(&bare, version).len() > maximum);
        }
    }
}
