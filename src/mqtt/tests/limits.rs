//! The rows LIM-1 and LIM-3: deep, long and many is refused while it is parsed.

use crate::mqtt::{
    DecodeError, DecodeLimits, InvalidTopic, Packet, ProtocolVersion, ReasonCode, TopicLimits,
    decode, frame_length,
};
use bytes::{BufMut, Bytes, BytesMut};
use std::time::Instant;

/// A packet with that many of something in it.
type Make<'a> = Box<dyn Fn(usize) -> Bytes + 'a>;

const V5: Option<ProtocolVersion> = Some(ProtocolVersion::V5_0);

fn frame(first: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(first);
    crate::mqtt::variable_byte_integer::write(u32::try_from(body.len()).unwrap(), &mut out);
    out.extend_from_slice(body);
    out.freeze()
}

fn text(text: &str) -> Vec<u8> {
    let mut out = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out
}

fn properties(section: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    crate::mqtt::variable_byte_integer::write(u32::try_from(section.len()).unwrap(), &mut out);
    out.extend_from_slice(section);
    out.to_vec()
}

fn publish(topic: &str) -> Bytes {
    frame(0x30, &[text(topic), vec![0]].concat())
}

fn subscribe(filter: &str) -> Bytes {
    frame(0x82, &[vec![0, 1, 0], text(filter), vec![0]].concat())
}

fn unsubscribe(filter: &str) -> Bytes {
    frame(0xa2, &[vec![0, 1, 0], text(filter)].concat())
}

fn connect_with_will(topic: &str) -> Bytes {
    let head = [&text("MQTT")[..], &[5, 0b110, 0, 0, 0]].concat();
    frame(
        0x10,
        &[head, text("c"), vec![0], text(topic), text("")].concat(),
    )
}

fn response_topic(topic: &str) -> Bytes {
    let section = properties(&[vec![0x08], text(topic)].concat());
    frame(0x30, &[text("t"), section].concat())
}

#[test]
fn lim_01_deep_and_long_topics_are_refused_everywhere() {
    let limits = DecodeLimits::default();
    let TopicLimits { levels, length } = limits.topic;
    let deep = |levels: usize| vec!["a"; levels].join("/");
    let rows = [
        (deep(levels), None),
        (deep(levels + 1), Some(InvalidTopic::TooDeep(levels))),
        ("a".repeat(length), None),
        ("a".repeat(length + 1), Some(InvalidTopic::TooLong(length))),
        ("/".repeat(65_535), Some(InvalidTopic::TooLong(length))),
    ];
    for (topic, wrong) in rows {
        let shown = topic.len();
        let name = decode(publish(&topic), V5, &limits).map(|_| ());
        assert_eq!(
            name,
            wrong.map_or(Ok(()), |wrong| Err(DecodeError::TopicName(wrong))),
            "PUBLISH {shown}"
        );
        let will = decode(connect_with_will(&topic), None, &limits).map(|_| ());
        assert_eq!(
            will,
            wrong.map_or(Ok(()), |wrong| Err(DecodeError::TopicName(wrong))),
            "will {shown}"
        );
        let response = decode(response_topic(&topic), V5, &limits).map(|_| ());
        assert_eq!(
            response,
            wrong.map_or(Ok(()), |wrong| Err(DecodeError::ResponseTopic(wrong))),
            "response topic {shown}"
        );
        // The SUBACK and UNSUBACK answer for a filter, so there it is a value.
        let Ok(Packet::Subscribe(found)) = decode(subscribe(&topic), V5, &limits) else {
            unreachable!()
        };
        assert_eq!(
            found
                .filters
                .first()
                .unwrap()
                .subscription
                .as_ref()
                .err()
                .copied(),
            wrong,
            "SUBSCRIBE {shown}"
        );
        let Ok(Packet::Unsubscribe(found)) = decode(unsubscribe(&topic), V5, &limits) else {
            unreachable!()
        };
        assert_eq!(
            found.filters.first().unwrap().as_ref().err().copied(),
            wrong,
            "UNSUBSCRIBE {shown}"
        );
    }
}

#[test]
fn lim_03_many_small_things_are_counted_while_parsing() {
    let limits = DecodeLimits::default();
    let user_properties = |count: usize| properties(&[0x26, 0, 0, 0, 0].repeat(count));
    let filters = |count: usize| [0, 1, b'a', 0].repeat(count);
    let names = |count: usize| [0, 1, b'a'].repeat(count);
    let rows: Vec<(&str, Make, Option<ProtocolVersion>)> = vec![
        (
            "PUBLISH",
            Box::new(|n| frame(0x30, &[text("t"), user_properties(n)].concat())),
            V5,
        ),
        (
            "PUBACK",
            Box::new(|n| frame(0x40, &[vec![0, 1, 0], user_properties(n)].concat())),
            V5,
        ),
        (
            "DISCONNECT",
            Box::new(|n| frame(0xe0, &[vec![0], user_properties(n)].concat())),
            V5,
        ),
        (
            "SUBSCRIBE properties",
            Box::new(|n| frame(0x82, &[vec![0, 1], user_properties(n), filters(1)].concat())),
            V5,
        ),
        (
            "UNSUBSCRIBE properties",
            Box::new(|n| frame(0xa2, &[vec![0, 1], user_properties(n), names(1)].concat())),
            V5,
        ),
        (
            "CONNECT",
            Box::new(|n| {
                frame(
                    0x10,
                    &[text("MQTT"), vec![5, 2, 0, 0], user_properties(n), text("")].concat(),
                )
            }),
            None,
        ),
        (
            "will",
            Box::new(|n| {
                frame(
                    0x10,
                    &[
                        text("MQTT"),
                        vec![5, 6, 0, 0, 0],
                        text(""),
                        user_properties(n),
                        text("t"),
                        text(""),
                    ]
                    .concat(),
                )
            }),
            None,
        ),
        (
            "SUBSCRIBE",
            Box::new(|n| frame(0x82, &[vec![0, 1, 0], filters(n)].concat())),
            V5,
        ),
        (
            "SUBSCRIBE 3.1.1",
            Box::new(|n| frame(0x82, &[vec![0, 1], filters(n)].concat())),
            Some(ProtocolVersion::V3_1_1),
        ),
        (
            "UNSUBSCRIBE",
            Box::new(|n| frame(0xa2, &[vec![0, 1, 0], names(n)].concat())),
            V5,
        ),
    ];
    for (what, make, version) in rows {
        assert!(decode(make(64), version, &limits).is_ok(), "{what} 64");
        // The least of several: a loaded machine may take its time over any one.
        let least = |count| {
            let frame = make(count);
            let once = || {
                let frame = frame.clone();
                let started = Instant::now();
                let error = decode(frame, version, &limits).unwrap_err();
                let elapsed = started.elapsed();
                let code = error.reason_code();
                assert_eq!(code, ReasonCode::QuotaExceeded, "{what} {count}");
                elapsed
            };
            (0..20).map(|_| once()).min().unwrap()
        };
        let (one_too_many, far_too_many) = (least(65), least(100_000));
        // Whoever reads on takes a thousand times as long.
        assert!(
            far_too_many < 50 * one_too_many,
            "{what}: {far_too_many:?}, and {one_too_many:?} for one too many"
        );
    }
}

#[test]
fn lim_03_subscription_identifiers_come_from_servers_only() {
    let one = frame(0x30, &[text("t"), properties(&[0x0b, 1])].concat());
    let server = decode(one.clone(), V5, &DecodeLimits::default()).unwrap_err();
    assert_eq!(server.reason_code(), ReasonCode::ProtocolError); // [MQTT-3.3.4-6]
    assert!(decode(one, V5, &DecodeLimits::of_client()).is_ok());
}

#[test]
fn trn_01_a_length_is_judged_before_its_bytes_arrive() {
    let maximum = 16 << 10;
    type Expected = Result<Option<usize>, ReasonCode>;
    let rows: [(&[u8], Expected); 10] = [
        (&[], Ok(None)),
        (&[0x10], Ok(None)),
        (&[0x10, 0x80], Ok(None)),
        (&[0x10, 0xfd, 0x7f], Ok(Some(maximum))),
        (&[0x10, 0xfe, 0x7f], Err(ReasonCode::PacketTooLarge)),
        (
            &[0x10, 0xff, 0xff, 0xff, 0x7f],
            Err(ReasonCode::PacketTooLarge),
        ),
        (
            &[0x10, 0xff, 0xff, 0xff, 0xff],
            Err(ReasonCode::MalformedPacket),
        ),
        (&[0x10, 0x80, 0x00], Err(ReasonCode::MalformedPacket)),
        (&[0x00], Err(ReasonCode::MalformedPacket)),
        (&[0x36], Err(ReasonCode::MalformedPacket)),
    ];
    for (bytes, expected) in rows {
        let found = frame_length(bytes, maximum).map_err(|error| error.reason_code());
        assert_eq!(found, expected, "{bytes:02x?}");
    }
}
