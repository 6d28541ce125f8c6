//! WebSocket frames: the same payload and the same end whatever the pieces, never more payload than bytes, nothing after the end (TRN-11).

use std::time::Instant;
use wardgate::net::websocket::Deframer;

const LIMIT: usize = 1000;

/// The first byte is the size of the pieces.
pub fn check(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else {
        return;
    };
    let now = Instant::now();
    let whole = read(stream, stream.len().max(1), now);
    let pieces = read(stream, usize::from(*piece % 32) + 1, now);
    assert_eq!(whole, pieces, "pieces make a difference");
}

/// The payload, and how it ended.
fn read(stream: &[u8], piece: usize, now: Instant) -> (Vec<u8>, String) {
    let mut deframer = Deframer::default();
    deframer.set_message_limit(LIMIT);
    let mut payload = Vec::new();
    for piece in stream.chunks(piece) {
        let mut bytes = piece.to_vec();
        let feedback = deframer.advance(&mut bytes, now);
        assert!(feedback.payload <= piece.len());
        payload.extend_from_slice(bytes.get(..feedback.payload).unwrap_or_default());
        if let Some(end) = feedback.end {
            let after = deframer.advance(&mut [0x82, 0x81, 0, 0, 0, 0, 0], now);
            assert_eq!(after.payload, 0, "payload after the end");
            return (payload, format!("{end:?}"));
        }
    }
    (payload, String::new())
}
