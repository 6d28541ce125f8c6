//! What one record looks like on disk: its fields, then a checksum over key and fields.

mod content;
mod fields;
mod row;
mod session;
mod subject;

pub(super) use self::content::{Authors, Form, put_message, take_message, take_retained};
pub(super) use self::row::{Body, Row, RowHead};
pub(super) use self::session::{put_session, put_subscription, take_session, take_subscription};

use super::tables::Table;
use bytes::{BufMut, BytesMut};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Why a record cannot be read. What comes from the disk is judged like what comes from the network (STO-2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the checksum does not match")]
    Checksum,
    #[error("{0} ends too early")]
    Short(&'static str),
    #[error("{0} is not valid")]
    Invalid(&'static str),
    #[error("{0}")]
    Subject(String),
    #[error("it refers to message {0}, which is missing")]
    Dangling(u64),
}

const CHECKSUM: usize = 8;

/// Ends the record that began at `start`.
pub(super) fn seal(table: Table, key: &[u8], start: usize, out: &mut BytesMut) {
    let sum = checksum(table, key, out.get(start..).unwrap_or_default());
    out.put_u64_le(sum);
}

/// The fields of a record whose checksum is right.
pub(super) fn open<'a>(table: Table, key: &[u8], record: &'a [u8]) -> Result<&'a [u8], Unreadable> {
    let (fields, sum) = record
        .split_last_chunk::<CHECKSUM>()
        .ok_or(Unreadable::Checksum)?;
    if checksum(table, key, fields) == u64::from_le_bytes(*sum) {
        Ok(fields)
    } else {
        Err(Unreadable::Checksum)
    }
}

/// A record of one number.
pub(super) fn number(table: Table, key: &[u8], number: u64) -> [u8; 16] {
    let sum = checksum(table, key, &number.to_be_bytes());
    ((u128::from(number) << 64) | u128::from(sum.swap_bytes())).to_be_bytes()
}

pub(super) fn take_number(table: Table, key: &[u8], record: &[u8]) -> Result<u64, Unreadable> {
    open(table, key, record)?
        .try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| Unreadable::Short("a number"))
}

/// A record that says only that it is there.
pub(super) fn mark(table: Table, key: &[u8]) -> [u8; CHECKSUM] {
    checksum(table, key, &[]).to_le_bytes()
}

fn checksum(table: Table, key: &[u8], fields: &[u8]) -> u64 {
    let place = xxh3_64_with_seed(key, table as u64);
    xxh3_64_with_seed(fields, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sto_02_a_record_is_refused_when_any_bit_of_it_or_its_place_is_another() {
        let mut out = BytesMut::new();
        out.extend_from_slice(b"what is kept");
        seal(Table::Queue, b"key", 0, &mut out);
        assert_eq!(open(Table::Queue, b"key", &out), Ok(&b"what is kept"[..]));
        assert_eq!(open(Table::Queue, b"kez", &out), Err(Unreadable::Checksum));
        assert_eq!(
            open(Table::Retained, b"key", &out),
            Err(Unreadable::Checksum)
        );
        for bit in 0..out.len() * 8 {
            let mut flipped = out.to_vec();
            if let Some(byte) = flipped.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            assert_eq!(
                open(Table::Queue, b"key", &flipped),
                Err(Unreadable::Checksum),
                "bit {bit}"
            );
        }
        for length in 0..out.len() {
            let short = out.get(..length).unwrap_or_default();
            assert_eq!(
                open(Table::Queue, b"key", short),
                Err(Unreadable::Checksum),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn a_number_is_a_sealed_record() {
        for value in [0, 1, 0xfedc_ba98_7654_3210, u64::MAX] {
            let record = number(Table::Meta, b"commit", value);
            assert_eq!(take_number(Table::Meta, b"commit", &record), Ok(value));
            assert_eq!(
                take_number(Table::Meta, b"format", &record),
                Err(Unreadable::Checksum)
            );
        }
        assert_eq!(
            open(Table::Received, b"k", &mark(Table::Received, b"k")),
            Ok(&[][..])
        );
    }
}
