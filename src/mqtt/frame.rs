//! Where a packet ends: the fixed header, judged as soon as its bytes are there. MQTT 5.0 section 2.1

use super::{DecodeError, PacketType, variable_byte_integer};

/// A fixed header that is whole.
pub(super) struct FixedHeader {
    pub(super) packet_type: PacketType,
    pub(super) flags: u8,
    pub(super) remaining_length: usize,
    /// Of the fixed header itself.
    pub(super) length: usize,
}

impl FixedHeader {
    /// `None`: the remaining length has not arrived whole. Type and flags are judged by the first byte alone.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Some((first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let packet_type = PacketType::of(*first)?;
        let Some((remaining_length, length)) = variable_byte_integer::read(rest)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            packet_type,
            flags: first & 0x0f,
            remaining_length: usize::try_from(remaining_length)
                .map_err(|_| DecodeError::LongInteger)?,
            length: 1 + length,
        }))
    }
}

/// How long the packet is that these bytes begin, as soon as its fixed header says so; `None`: more bytes are needed to tell. A packet longer than `maximum` is refused
/// here, before anybody waits or makes room for its body (TRN-1).
pub fn frame_length(bytes: &[u8], maximum: usize) -> Result<Option<usize>, DecodeError> {
    let Some(header) = FixedHeader::read(bytes)? else {
        return Ok(None);
    };
    let length = header.length + header.remaining_length;
    if length > maximum {
        return Err(DecodeError::TooLarge { length, maximum });
    }
    Ok(Some(length))
}

/// The same before CONNECT: a first byte that begins any other packet is refused at once. [MQTT-3.1.0-1]
pub fn first_frame_length(bytes: &[u8], maximum: usize) -> Result<Option<usize>, DecodeError> {
    if let Some(first) = bytes.first() {
        let packet_type = PacketType::of(*first)?;
        if packet_type != PacketType::Connect {
            return Err(DecodeError::NotConnect(packet_type));
        }
    }
    frame_length(bytes, maximum)
}
