//! Tests of the codec as a whole: properties, limits, comparisons with other implementations.

mod differential;
mod filters;
mod limits;

mod properties;
mod strategies;

use super::{DecodeError, DecodeLimits, Packet, ProtocolVersion, decode};
use bytes::Bytes;

const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V3_1,
    ProtocolVersion::V3_1_1,
    ProtocolVersion::V5_0,
];

/// Decodes as whoever receives such a packet does: a CONNECT comes first, everything else later.
fn read(bytes: &[u8], version: ProtocolVersion) -> Result<Packet, DecodeError> {
    let is_connect = bytes.first().is_some_and(|first| first >> 4 == 1);
    decode(
        Bytes::copy_from_slice(bytes),
        (!is_connect).then_some(version),
        &DecodeLimits::of_client(),
    )
}
