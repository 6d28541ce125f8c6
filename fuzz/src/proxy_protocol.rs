//! The PROXY header: found in whole or refused, alike whatever the pieces, and nothing after it is touched (TRN-12).

use wardgate::net::proxy_protocol::{HEADER_MAX, Progress, parse};

pub fn check(bytes: &[u8]) {
    let whole = outcome(bytes);
    // As the reader does it: never more than is known to belong to the header.
    let mut end = 0;
    let in_pieces = loop {
        match parse(bytes.get(..end).unwrap_or_default()) {
            Ok(Progress::Incomplete { need }) => {
                assert!(need > 0, "no progress at {end}");
                end += need;
                assert!(end <= HEADER_MAX + 16, "{end} bytes asked for");
                if end > bytes.len() {
                    break None;
                }
            }
            Ok(Progress::Complete { header, length }) => {
                assert_eq!(length, end, "read past the header");
                break Some(Some((header, length)));
            }
            Err(_) => break Some(None),
        }
    };
    if let (Some(in_pieces), Some(whole)) = (in_pieces, whole) {
        assert_eq!(in_pieces, whole, "pieces make a difference");
    }
}

/// `None`: incomplete.
fn outcome(bytes: &[u8]) -> Option<Option<(wardgate::net::proxy_protocol::Header, usize)>> {
    match parse(bytes) {
        Ok(Progress::Incomplete { .. }) => None,
        Ok(Progress::Complete { header, length }) => {
            assert!(length <= bytes.len() && length <= HEADER_MAX);
            Some(Some((header, length)))
        }
        Err(_) => Some(None),
    }
}
