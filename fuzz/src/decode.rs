//! The codec: the same packets whatever the pieces, and what is read can be written and read again as the same (TRN-2).

use bytes::{Bytes, BytesMut};
use wardgate::mqtt::{
    DecodeError, DecodeLimits, Packet, ProtocolVersion, answering_version, decode, encode,
    encode_within, first_frame_length, frame_length,
};

const MAXIMUM: usize = 1 << 20;

/// The first byte chooses version, role and size of the pieces; the others are what arrives.
pub fn check(bytes: &[u8]) {
    let Some((choice, stream)) = bytes.split_first() else {
        return;
    };
    let version = match choice & 0b11 {
        0 => None,
        1 => Some(ProtocolVersion::V3_1),
        2 => Some(ProtocolVersion::V3_1_1),
        _ => Some(ProtocolVersion::V5_0),
    };
    let limits = match choice & 0b100 {
        0 => DecodeLimits::default(),
        _ => DecodeLimits::of_client(),
    };
    let whole = read(stream, usize::MAX, version, &limits);
    let pieces = read(stream, usize::from(choice >> 3) + 1, version, &limits);
    assert_eq!(whole, pieces, "pieces make a difference");
    if let (Err(error), None) = (&whole.1, version) {
        // The answer to a CONNECT that cannot be read can itself be written.
        let frame = Bytes::copy_from_slice(stream);
        if let Some(version) = answering_version(&frame)
            && let Some(connack) = error.connack(version)
        {
            let connack = Packet::ConnAck(Box::new(connack));
            assert!(encode(&connack, version, &mut BytesMut::new()));
        }
    }
    let mut version = version;
    for packet in &whole.0 {
        if let Packet::Connect(connect) = packet {
            version = Some(connect.protocol_version);
        }
        if let Some(version) = version {
            write_and_read_again(packet, version, usize::from(*choice));
        }
    }
}

/// Everything up to the end of the stream or the first mistake.
fn read(
    stream: &[u8],
    piece: usize,
    mut version: Option<ProtocolVersion>,
    limits: &DecodeLimits,
) -> (Vec<Packet>, Result<(), DecodeError>) {
    let mut buffer = BytesMut::new();
    let mut packets = Vec::new();
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let length = match version {
                None => first_frame_length(&buffer, MAXIMUM),
                Some(_) => frame_length(&buffer, MAXIMUM),
            };
            match length {
                Err(error) => return (packets, Err(error)),
                Ok(Some(length)) if length <= buffer.len() => {
                    match decode(buffer.split_to(length).freeze(), version, limits) {
                        Err(error) => return (packets, Err(error)),
                        Ok(packet) => {
                            if let Packet::Connect(connect) = &packet {
                                version = Some(connect.protocol_version);
                            }
                            packets.push(packet);
                        }
                    }
                }
                Ok(_) => break,
            }
        }
    }
    (packets, Ok(()))
}

fn write_and_read_again(packet: &Packet, version: ProtocolVersion, maximum: usize) {
    // A filter that is none is answered, and never written.
    let unwritable = match packet {
        Packet::Subscribe(subscribe) => subscribe
            .filters
            .iter()
            .any(|filter| filter.subscription.is_err()),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.filters.iter().any(Result::is_err),
        _ => false,
    };
    if unwritable {
        return;
    }
    let mut out = BytesMut::new();
    assert!(encode(packet, version, &mut out), "{packet:?}");
    let length = frame_length(&out, usize::MAX);
    assert_eq!(length, Ok(Some(out.len())), "{packet:?}");
    let is_connect = matches!(packet, Packet::Connect(_));
    let again = decode(
        out.freeze(),
        (!is_connect).then_some(version),
        &DecodeLimits::of_client(),
    );
    assert_eq!(again.as_ref(), Ok(packet));

    let mut out = BytesMut::new();
    let fits = encode_within(packet, version, maximum, &mut out);
    assert!(out.len() <= maximum && fits != out.is_empty());
}
