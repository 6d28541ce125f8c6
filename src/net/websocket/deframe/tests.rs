//! Frames as a hostile client cuts them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use proptest::prelude::*;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A masked frame with first byte `first`.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// Feeds `bytes` in pieces of the given lengths, in turn.
fn feed(
    deframer: &mut Deframer,
    bytes: &[u8],
    pieces: &[usize],
) -> (Vec<u8>, Vec<Vec<u8>>, Option<End>) {
    let (mut payload, mut pings, mut end) = (Vec::new(), Vec::new(), None);
    let mut rest = bytes.to_vec();
    for piece in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let mut now: Vec<u8> = rest.drain(..(*piece).clamp(1, rest.len())).collect();
        let feedback = deframer.advance(&mut now, Instant::now());
        payload.extend(&now[..feedback.payload]);
        pings.extend(feedback.ping);
        end = feedback.end;
    }
    (payload, pings, end)
}

fn end_of(bytes: &[u8]) -> Option<End> {
    let whole = feed(&mut Deframer::default(), bytes, &[bytes.len()]);
    let bytewise = feed(&mut Deframer::default(), bytes, &[1]);
    assert_eq!(
        (&whole.0, &whole.2),
        (&bytewise.0, &bytewise.2),
        "{}",
        bytes.escape_ascii()
    );
    whole.2
}

#[test]
fn trn_11_frames_that_end_the_connection() {
    use FrameError as E;
    let unmasked = [&[0x82, 2][..], b"hi"].concat();
    let overlong = [&[0x82, 0x80 | 126, 0, 2][..], &MASK, b"hi"].concat();
    let very_overlong = [&[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 1, 0][..], &MASK].concat();
    let huge = [&[0x82, 0x80 | 127][..], &[0xFF; 8], &MASK].concat();
    let large = [&[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &MASK].concat();
    let rows = [
        ("unmasked", unmasked, E::Unmasked, 1002),
        ("unmasked ping", vec![0x89, 0], E::Unmasked, 1002),
        ("text", frame(0x81, b"hi"), E::Text, 1003),
        ("text fragment", frame(0x01, b"hi"), E::Text, 1003),
        ("rsv1: compressed", frame(0xC2, b"hi"), E::Reserved, 1002),
        ("rsv2", frame(0xA2, b"hi"), E::Reserved, 1002),
        ("rsv3 on a ping", frame(0x99, b""), E::Reserved, 1002),
        ("opcode 3", frame(0x83, b""), E::Reserved, 1002),
        ("opcode 11", frame(0x8B, b""), E::Reserved, 1002),
        (
            "continuation of nothing",
            frame(0x80, b"hi"),
            E::Continuation,
            1002,
        ),
        (
            "message in a message",
            [frame(0x02, b"a"), frame(0x82, b"b")].concat(),
            E::Continuation,
            1002,
        ),
        ("fragmented ping", frame(0x09, b"hi"), E::Control, 1002),
        ("long ping", frame(0x89, &[0; 126]), E::Control, 1002),
        ("long close", frame(0x88, &[0; 126]), E::Control, 1002),
        ("close of one byte", frame(0x88, &[3]), E::Close, 1002),
        (
            "close 1005",
            frame(0x88, &1005_u16.to_be_bytes()),
            E::Close,
            1002,
        ),
        (
            "close 999",
            frame(0x88, &999_u16.to_be_bytes()),
            E::Close,
            1002,
        ),
        (
            "close, not UTF-8",
            frame(0x88, &[3, 0xE8, 0xFF]),
            E::Close,
            1002,
        ),
        ("length not shortest", overlong, E::Length, 1002),
        (
            "length not shortest, 64 bits",
            very_overlong,
            E::Length,
            1002,
        ),
        ("length of 2^64", huge, E::Length, 1002),
        ("too large, by its header alone", large, E::TooLarge, 1009),
        (
            "too large in two",
            [frame(0x02, &[0; 16 * 1024]), frame(0x80, b"b")].concat(),
            E::TooLarge,
            1009,
        ),
    ];
    for (name, bytes, error, code) in rows {
        // What came before is not lost.
        let bytes = [frame(0x82, b"before"), bytes].concat();
        let (payload, _, _) = feed(&mut Deframer::default(), &bytes, &[bytes.len()]);
        assert!(payload.starts_with(b"before"), "{name}");
        assert_eq!(end_of(&bytes), Some(End::Failed(error)), "{name}");
        assert_eq!(error.close_code(), code, "{name}");
    }
}

#[test]
fn a_close_is_echoed_and_ends_reading() {
    let rows = [
        (frame(0x88, b""), 1000),
        (frame(0x88, &1000_u16.to_be_bytes()), 1000),
        (
            frame(0x88, &[&1001_u16.to_be_bytes()[..], b"bye"].concat()),
            1001,
        ),
        (frame(0x88, &4000_u16.to_be_bytes()), 4000),
    ];
    for (bytes, code) in rows {
        let bytes = [bytes, frame(0x82, b"after")].concat();
        assert_eq!(end_of(&bytes), Some(End::Closed(code)));
        assert!(feed(&mut Deframer::default(), &bytes, &[3]).0.is_empty());
    }
}

#[test]
fn messages_fragments_and_pings_between_them_are_one_stream() {
    let bytes = [
        frame(0x82, b"one"),
        frame(0x02, b"tw"),
        frame(0x89, b"ping 1"),
        frame(0x00, b""),
        frame(0x80, b"o"),
        frame(0x8A, b"pong nobody asked for"),
        frame(0x82, &[7; 300]),
        frame(0x89, b""),
        frame(0x82, b"end"),
    ]
    .concat();
    let expected = [&b"onetwo"[..], &[7; 300], b"end"].concat();
    for piece in 1..bytes.len() {
        let (payload, pings, end) = feed(&mut Deframer::default(), &bytes, &[piece]);
        assert_eq!(
            (payload, end),
            (expected.clone(), None),
            "pieces of {piece}"
        );
        assert_eq!(pings.last().unwrap(), b"", "pieces of {piece}");
    }
}

#[test]
fn trn_11_the_limit_follows_the_login() {
    let large = frame(0x82, &[1; 100_000]);
    assert_eq!(end_of(&large), Some(End::Failed(FrameError::TooLarge)));
    let mut deframer = Deframer::default();
    deframer.set_message_limit(100_000);
    let (payload, _, end) = feed(&mut deframer, &large, &[4096]);
    assert_eq!((payload.len(), end), (100_000, None));
    let larger = frame(0x82, &[1; 100_001]);
    let (payload, _, end) = feed(&mut deframer, &larger, &[4096]);
    assert_eq!(
        (payload.len(), end),
        (0, Some(End::Failed(FrameError::TooLarge)))
    );
}

#[test]
fn trn_11_a_million_one_byte_fragments() {
    let mut deframer = Deframer::default();
    let bytes = [frame(0x02, b"x"), frame(0x00, b"x").repeat(1_000_000)].concat();
    let (payload, _, end) = feed(&mut deframer, &bytes, &[65536]);
    assert_eq!(end, Some(End::Failed(FrameError::TooManyFragments)));
    assert_eq!(payload.len(), FRAGMENTS_MAX as usize);
}

#[test]
fn trn_11_a_flood_of_frames_that_carry_nothing() {
    for (name, idle) in [
        ("ping", frame(0x89, b"x")),
        ("pong", frame(0x8A, b"")),
        ("empty", frame(0x82, b"")),
    ] {
        let start = Instant::now();
        let mut deframer = Deframer::default();
        // A ping a second is a careful client.
        for second in 0..1000 {
            let at = start + Duration::from_secs(second);
            assert_eq!(
                deframer.advance(&mut idle.clone(), at).end,
                None,
                "{name} at {second}"
            );
        }
        let mut flood = idle.repeat(10_000);
        let at = start + Duration::from_secs(1000);
        assert_eq!(
            deframer.advance(&mut flood, at).end,
            Some(End::Failed(FrameError::Flood)),
            "{name}"
        );
    }
}

#[test]
fn an_idle_connection_holds_little() {
    assert!(size_of::<Deframer>() <= 200, "{}", size_of::<Deframer>());
    let mut deframer = Deframer::default();
    feed(&mut deframer, &frame(0x89, &[0; 125]).repeat(20), &[7]);
    assert_eq!(deframer.control.capacity(), 0);
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(|payload| frame(0x82, &payload)),
        1 => proptest::collection::vec(any::<u8>(), 0..125).prop_map(|payload| frame(0x89, &payload)),
        1 => (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(|(first, payload)| frame(first, &payload)),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #[test]
    fn however_the_bytes_are_cut_the_payload_is_the_same(
        frames in proptest::collection::vec(any_frame(), 0..12),
        pieces in proptest::collection::vec(1..400_usize, 1..8),
    ) {
        let bytes = frames.concat();
        let whole = feed(&mut Deframer::default(), &bytes, &[bytes.len().max(1)]);
        let cut = feed(&mut Deframer::default(), &bytes, &pieces);
        prop_assert_eq!(whole.0, cut.0);
        prop_assert_eq!(whole.2, cut.2);
        prop_assert_eq!(whole.1.last(), cut.1.last());
    }
}
