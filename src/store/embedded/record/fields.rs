//! Fields of a record, read by a cursor that can fail but never index.

use super::Unreadable;
use bytes::{Buf, BufMut, Bytes, BytesMut};

pub(super) fn put_bytes(bytes: &[u8], out: &mut BytesMut) {
    // No field is longer than a packet, which is shorter than this can say.
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

pub(super) fn take_u8(input: &mut impl Buf, what: &'static str) -> Result<u8, Unreadable> {
    input.try_get_u8().map_err(|_| Unreadable::Short(what))
}

pub(super) fn take_u16(input: &mut impl Buf, what: &'static str) -> Result<u16, Unreadable> {
    input.try_get_u16().map_err(|_| Unreadable::Short(what))
}

pub(super) fn take_u32(input: &mut impl Buf, what: &'static str) -> Result<u32, Unreadable> {
    input.try_get_u32().map_err(|_| Unreadable::Short(what))
}

pub(super) fn take_u64(input: &mut impl Buf, what: &'static str) -> Result<u64, Unreadable> {
    input.try_get_u64().map_err(|_| Unreadable::Short(what))
}

/// As [`put_bytes`] wrote them; shares the input's memory.
pub(super) fn take_bytes(input: &mut Bytes, what: &'static str) -> Result<Bytes, Unreadable> {
    let length = length(input, what)?;
    if length > input.len() {
        return Err(Unreadable::Short(what));
    }
    Ok(input.split_to(length))
}

/// The same of borrowed bytes.
pub(super) fn take_slice<'a>(
    input: &mut &'a [u8],
    what: &'static str,
) -> Result<&'a [u8], Unreadable> {
    let length = length(input, what)?;
    let (field, rest) = input
        .split_at_checked(length)
        .ok_or(Unreadable::Short(what))?;
    *input = rest;
    Ok(field)
}

pub(super) fn take_str(input: &mut Bytes, what: &'static str) -> Result<String, Unreadable> {
    String::from_utf8(take_bytes(input, what)?.into()).map_err(|_| Unreadable::Invalid(what))
}

fn length(input: &mut impl Buf, what: &'static str) -> Result<usize, Unreadable> {
    usize::try_from(take_u32(input, what)?).map_err(|_| Unreadable::Invalid(what))
}
