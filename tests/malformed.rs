//! Packets that no client may send (tests/data/malformed.txt), given to the codec and to a real broker over every transport.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use bytes::{Bytes, BytesMut};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::broker::EVERY_TRANSPORT;
use support::{Setup, Wire, notation};
use wardgate::mqtt::{
    DecodeError, DecodeLimits, Packet, ProtocolVersion, answering_version, decode, encode,
    first_frame_length, frame_length,
};

const ROWS: &str = include_str!("data/malformed.txt");

/// What a listener takes at most: before CONNECT, and after it.
const FIRST_MAXIMUM: usize = 16 << 10;
const MAXIMUM: usize = 1 << 20;

#[derive(Debug)]
struct Row<'a> {
    name: &'a str,
    version: ProtocolVersion,
    is_first: bool,
    packet: Vec<u8>,
    reaction: Reaction,
    judged_by_codec: bool,
    clause: &'a str,
}

/// What the peer is told.
#[derive(Clone, Debug, PartialEq)]
enum Reaction {
    Close,
    ConnAck(u8),
    Disconnect(u8),
    /// The packet type of an answer after which the connection stays, and the codes in it.
    Answer(u8, Vec<u8>),
}

fn rows() -> Vec<Row<'static>> {
    ROWS.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(row)
        .collect()
}

fn row(line: &'static str) -> Row<'static> {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    let [name, version, state, packet, reaction, judge, clause] = columns[..] else {
        panic!("seven columns: {line}");
    };
    Row {
        name,
        version: match version {
            "3.1" => ProtocolVersion::V3_1,
            "3.1.1" => ProtocolVersion::V3_1_1,
            "5.0" => ProtocolVersion::V5_0,
            _ => panic!("version: {line}"),
        },
        is_first: match state {
            "first" => true,
            "connected" => false,
            _ => panic!("state: {line}"),
        },
        packet: notation::bytes(packet),
        reaction: self::reaction(reaction),
        judged_by_codec: match judge {
            "codec" => true,
            "session" => false,
            _ => panic!("judge: {line}"),
        },
        clause,
    }
}

fn reaction(text: &str) -> Reaction {
    let mut words = text.split(' ');
    let word = words.next().unwrap();
    let codes: Vec<u8> = words
        .map(|code| u8::from_str_radix(code, 16).unwrap())
        .collect();
    match (word, &codes[..]) {
        ("close", []) => Reaction::Close,
        ("connack", [code]) => Reaction::ConnAck(*code),
        ("disconnect", [code]) => Reaction::Disconnect(*code),
        ("suback", _) => Reaction::Answer(0x90, codes),
        ("unsuback", _) => Reaction::Answer(0xb0, codes),
        ("pubrel", _) => Reaction::Answer(0x62, codes),
        ("pubcomp", _) => Reaction::Answer(0x70, codes),
        _ => panic!("reaction: {text}"),
    }
}

/// Frames and decodes as a connection does, `chunk` bytes at a time.
fn read(row: &Row, chunk: usize) -> Result<Packet, DecodeError> {
    let mut buffer = BytesMut::new();
    for piece in row.packet.chunks(chunk) {
        buffer.extend_from_slice(piece);
        let length = match row.is_first {
            true => first_frame_length(&buffer, FIRST_MAXIMUM)?,
            false => frame_length(&buffer, MAXIMUM)?,
        };
        if let Some(length) = length.filter(|length| *length <= buffer.len()) {
            let version = (!row.is_first).then_some(row.version);
            let frame = buffer.split_to(length).freeze();
            return decode(frame, version, &DecodeLimits::default());
        }
    }
    panic!("{} is never whole", row.name);
}

/// What the codec would have the peer told.
fn codec_reaction(row: &Row) -> Option<Reaction> {
    match read(row, usize::MAX) {
        Err(error) if row.is_first => {
            let version = answering_version(&Bytes::copy_from_slice(&row.packet));
            let connack = version.and_then(|version| Some((version, error.connack(version)?)));
            Some(connack.map_or(Reaction::Close, |(version, connack)| {
                let mut out = BytesMut::new();
                assert!(encode(
                    &Packet::ConnAck(Box::new(connack)),
                    version,
                    &mut out
                ));
                Reaction::ConnAck(out[3])
            }))
        }
        Err(error) => Some(
            error
                .disconnect(row.version)
                .map_or(Reaction::Close, |disconnect| {
                    Reaction::Disconnect(disconnect.reason_code.byte())
                }),
        ),
        Ok(_) => None,
    }
}

/// The codes of a packet whose filters are not all filters.
fn filter_codes(row: &Row) -> Option<Vec<bool>> {
    match read(row, usize::MAX) {
        Ok(Packet::Subscribe(subscribe)) => Some(
            subscribe
                .filters
                .iter()
                .map(|filter| filter.subscription.is_ok())
                .collect(),
        ),
        Ok(Packet::Unsubscribe(unsubscribe)) => {
            Some(unsubscribe.filters.iter().map(Result::is_ok).collect())
        }
        Ok(_) | Err(_) => None,
    }
}

#[test]
fn there_are_enough_rows_and_each_says_why() {
    let rows = rows();
    assert!(rows.len() >= 400, "{}", rows.len());
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "a name twice");
    for row in rows {
        assert!(row.clause.starts_with("MQTT"), "{}", row.name);
    }
}

#[test]
fn the_codec_judges_every_row() {
    for row in rows() {
        let found = codec_reaction(&row);
        if !row.judged_by_codec {
            assert_eq!(found, None, "{}", row.name);
        } else if let Reaction::Answer(_, codes) = &row.reaction {
            let expected: Vec<bool> = codes.iter().map(|code| *code < 0x80).collect();
            assert_eq!(filter_codes(&row), Some(expected), "{}", row.name);
        } else {
            let expected = Some(row.reaction.clone());
            assert_eq!(found, expected, "{} ({})", row.name, row.clause);
        }
    }
}

#[test]
fn trn_02_every_row_in_pieces_is_judged_alike() {
    for row in rows() {
        let whole = read(&row, usize::MAX);
        for chunk in [1, 2, 3, 7] {
            assert_eq!(read(&row, chunk), whole, "{} by {chunk}", row.name);
        }
    }
}

/// The same rows to a real broker; somebody else is connected and must not notice.
fn over(listener: &str) {
    let broker = Setup::new(EVERY_TRANSPORT).start();
    let mut witness = broker.dial("tcp");
    witness.send("10 .. s'MQTT' 05 02 0000 <> s'witness' ");
    witness.expect_connack(0);
    witness.send("82 .. 0001 <> s'witness/#' 01");
    witness.expect("90 .. 0001 <*> 01");
    let mut failures = Vec::new();
    for (number, row) in rows().iter().enumerate() {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut wire = broker.dial_as_named(listener);
            wire.name = format!("{} ({})", row.name, row.clause);
            send_row(&mut wire, row);
        }));
        if let Err(panic) = outcome {
            failures.push(panic.downcast_ref::<String>().cloned().unwrap_or_default());
        }
        if number % 100 == 0 {
            witness.send("32 .. s'witness/x' 0001 <> 'still here'");
            let (first, second) = (witness.receive().unwrap(), witness.receive().unwrap());
            let delivery = if first[0] == 0x40 { second } else { first };
            assert_eq!(delivery[0], 0x32, "{delivery:02x?}");
            witness.send_bytes(&[0x40, 2, delivery[13], delivery[14]]);
        }
    }
    witness.expect_quiet();
    assert!(
        failures.is_empty(),
        "{listener}: {} of the rows\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn send_row(wire: &mut Wire, row: &Row) {
    if !row.is_first {
        wire.send(match row.version {
            ProtocolVersion::V3_1 => "10 .. s'MQIsdp' 03 02 0000 s'culprit'",
            ProtocolVersion::V3_1_1 => "10 .. s'MQTT' 04 02 0000 s'culprit'",
            ProtocolVersion::V5_0 => "10 .. s'MQTT' 05 02 0000 <> s'culprit'",
        });
        wire.expect_connack(0);
    }
    wire.send_bytes(&row.packet);
    match &row.reaction {
        Reaction::Close => wire.expect_closed(),
        Reaction::ConnAck(code) => wire.expect_then_closed(&format!("20 .. 00 {code:02x} *")),
        Reaction::Disconnect(code) => wire.expect_then_closed(&format!("e0 .. {code:02x} *")),
        Reaction::Answer(first, codes) => {
            let answer = wire.receive().expect("an answer");
            let is_list = matches!(first, 0x90 | 0xb0);
            let seen = if is_list {
                &answer[answer.len() - codes.len()..]
            } else {
                &answer[4..=4]
            };
            assert_eq!(
                (answer[0], seen),
                (*first, &codes[..]),
                "{}: {answer:02x?}",
                wire.name
            );
            wire.expect_quiet();
        }
    }
}

#[test]
fn trn_04_every_row_over_tcp() {
    over("tcp");
}

#[test]
fn trn_04_every_row_over_tls() {
    over("tls");
}

#[test]
fn trn_04_every_row_over_ws() {
    over("ws");
}

#[test]
fn trn_04_every_row_over_wss() {
    over("wss");
}
