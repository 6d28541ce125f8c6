//! Our codec against an independent one, the crate mqtt-proto: what either writes the other reads as the same packet.
//!
//! Known divergences, where ours is the stricter or the specification leaves room: it takes control characters and non-characters in text, non-minimal remaining lengths,
//! DUP at QoS 0, packets that end before their remaining length does in some types; ours takes a bridge's protocol level and an AUTH without properties.

use super::read;
use super::strategies::packet_of_any_version;
use crate::mqtt::{Packet, ProtocolVersion, ReasonCode, encode};
use bytes::BytesMut;
use proptest::prelude::*;

/// Through the other codec: bytes to its packet to bytes.
fn through_the_other(bytes: &[u8], version: ProtocolVersion) -> Result<Vec<u8>, String> {
    if version.is_v5() {
        let packet = mqtt_proto::v5::Packet::decode(bytes).map_err(|error| format!("{error:?}"))?;
        let bytes = packet.ok_or("incomplete")?.encode();
        Ok(bytes
            .map_err(|error| format!("{error:?}"))?
            .as_ref()
            .to_vec())
    } else {
        let packet = mqtt_proto::v3::Packet::decode(bytes).map_err(|error| format!("{error:?}"))?;
        let bytes = packet.ok_or("incomplete")?.encode();
        Ok(bytes
            .map_err(|error| format!("{error:?}"))?
            .as_ref()
            .to_vec())
    }
}

fn written(packet: &Packet, version: ProtocolVersion) -> BytesMut {
    let mut out = BytesMut::new();
    assert!(encode(packet, version, &mut out));
    out
}

fn diverges(packet: &Packet, version: ProtocolVersion) -> bool {
    match packet {
        Packet::Connect(connect) => connect.bridge,
        Packet::Publish(publish) => publish
            .properties
            .as_ref()
            .is_some_and(|properties| properties.subscription_identifiers.len() > 1),
        Packet::SubAck(suback) => {
            !version.is_v5() && suback.reason_codes.contains(&ReasonCode::UnspecifiedError)
        }
        // Table 2-6 lists it for DISCONNECT, section 3.14.2.1 does not.
        Packet::Disconnect(disconnect) => {
            disconnect.reason_code == ReasonCode::BadAuthenticationMethod
        }
        Packet::Subscribe(subscribe) => subscribe
            .filters
            .iter()
            .any(|filter| filter.subscription.is_err()),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.filters.iter().any(Result::is_err),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_codecs_read_and_write_the_same_packets((version, packet) in packet_of_any_version()) {
        if diverges(&packet, version) { return Ok(()) }
        let ours = written(&packet, version);
        match through_the_other(&ours, version) {
            Ok(theirs) => prop_assert_eq!(read(&theirs, version), Ok(packet)),
            Err(error) => prop_assert!(false, "{:?} refuses {:?} = {:02x?}", error, packet, &ours[..]),
        }
    }

    /// Damaged packets: what ours still accepts, the other accepts too.
    #[test]
    fn ours_is_not_the_more_lenient(
        (version, packet) in packet_of_any_version(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = written(&packet, version);
        let place = place.index(bytes.len());
        *bytes.get_mut(place).unwrap() = byte;
        let Ok(damaged) = read(&bytes, version) else { return Ok(()) };
        let version = match &damaged { Packet::Connect(connect) => connect.protocol_version, _ => version };
        if diverges(&damaged, version) { return Ok(()) }
        // MQTT 3.1 lets a flagged user name be missing, and the other waits for it.
        if version == ProtocolVersion::V3_1 && matches!(damaged, Packet::Connect(_)) { return Ok(()) }
        // It also sends some packets again with DUP, which the other takes for 3.1.1's mistake.
        if version == ProtocolVersion::V3_1 && matches!(bytes.first(), Some(0x6a | 0x8a | 0xaa)) { return Ok(()) }
        let other = through_the_other(&bytes, version);
        prop_assert!(other.is_ok(), "{:?} refuses {:?} = {:02x?}", other, damaged, &bytes[..]);
    }
}
