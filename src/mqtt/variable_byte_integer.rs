//! Variable Byte Integer: seven bits a byte, one to four bytes. MQTT 5.0 section 1.5.5

use super::DecodeError;
use bytes::{BufMut, BytesMut};

/// The largest value: 268,435,455.
pub const MAXIMUM: u32 = (1 << 28) - 1;

/// The value that the bytes begin with and how many of them it takes; `None` when it has not arrived whole.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (index, byte) in (0u32..).zip(bytes.iter().take(4)) {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            // A last byte of zero says nothing that fewer bytes could not. [MQTT-1.5.5-1]
            if *byte == 0 && index > 0 {
                return Err(DecodeError::OverlongInteger);
            }
            let length = if index == 0 { 1 } else { length(value) };
            return Ok(Some((value, length)));
        }
    }
    if bytes.len() >= 4 {
        return Err(DecodeError::LongInteger);
    }
    Ok(None)
}

/// How many bytes the value takes.
pub(super) fn length(value: u32) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// Writes the value in as few bytes as it takes; what is above the maximum is written as the maximum. [MQTT-1.5.5-1]
pub(super) fn write(value: u32, out: &mut BytesMut) {
    let mut rest = value.min(MAXIMUM);
    while rest >= 0x80 {
        out.put_u8(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest.to_le_bytes()[0]);
}

/// A first byte, a remaining length of four bytes and as many as that can say.
pub const LONGEST_PACKET: usize = 1 + 4 + 268_435_455;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_specification() {
        // MQTT 5.0 section 1.5.5, table 1-1
        let rows: [(u32, &[u8]); 8] = [
            (0, &[0x00]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xff, 0xff, 0x7f]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xff, 0xff, 0xff, 0x7f]),
        ];
        for (value, bytes) in rows {
            let mut out = BytesMut::new();
            write(value, &mut out);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(read(bytes), Ok(Some((value, bytes.len()))), "{value}");
            assert_eq!(length(value), bytes.len(), "{value}");
            for cut in 0..bytes.len() {
                let part = bytes.get(..cut).unwrap();
                assert_eq!(read(part), Ok(None), "{value} cut at {cut}");
            }
        }
    }

    #[test]
    fn trn_02_longer_than_needed_is_refused() {
        let rows: [(&[u8], DecodeError); 6] = [
            (&[0x80, 0x00], DecodeError::OverlongInteger), // [MQTT-1.5.5-1]
            (&[0xff, 0x00], DecodeError::OverlongInteger),
            (&[0x80, 0x80, 0x00], DecodeError::OverlongInteger),
            (&[0x80, 0x80, 0x80, 0x00], DecodeError::OverlongInteger),
            (&[0x80, 0x80, 0x80, 0x80], DecodeError::LongInteger),
            (&[0xff, 0xff, 0xff, 0xff, 0x7f], DecodeError::LongInteger),
        ];
        for (bytes, error) in rows {
            assert_eq!(read(bytes), Err(error), "{bytes:02x?}");
        }
    }
}
