//! CRC-32C (Castagnoli, RFC 3720 appendix B.4), bit by bit: at most 4 KiB a connection, and only where a proxy sends a checksum.

const POLYNOMIAL_REVERSED: u32 = 0x82F6_3B78;

pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let bytes = parts.into_iter().flatten();
    !bytes.fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            let carry = crc & 1;
            (crc >> 1) ^ (POLYNOMIAL_REVERSED * carry)
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_vectors_of_rfc_3720() {
        assert_eq!(super::of([b"123456789".as_slice()]), 0xE306_9283);
        assert_eq!(super::of([[0_u8; 32].as_slice()]), 0x8A91_36AA);
        assert_eq!(super::of([[0_u8; 16].as_slice(), &[0; 16]]), 0x8A91_36AA);
    }
}
