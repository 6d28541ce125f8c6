//! Certificates in the envelope that EST hands them over in: a CMS SignedData that nobody signs. RFC 5652 section 5.1, RFC 8951 section 3

use rustls_pki_types::CertificateDer;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed.
const CONTEXT_0: u8 = 0xa0;
/// The INTEGER 1.
const VERSION: &[u8] = &[0x02, 0x01, 0x01];
/// 1.2.840.113549.1.7.1
const DATA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01,
];
/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02,
];

/// DER. No digest, no content, no signer: only the set of certificates says anything.
pub(super) fn certs_only(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let mut certificates: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
    // DER sorts a SET OF by its encodings. X.690 section 11.6
    certificates.sort_unstable();
    let signed_data = [
        VERSION,
        &element(SET, &[]),
        &element(SEQUENCE, &[DATA]),
        &element(CONTEXT_0, &certificates),
        &element(SET, &[]),
    ];
    let content = element(CONTEXT_0, &[&element(SEQUENCE, &signed_data)]);
    element(SEQUENCE, &[SIGNED_DATA, &content])
}

/// Tag, length, and what is inside, one after another.
fn element(tag: u8, inside: &[&[u8]]) -> Vec<u8> {
    let length: usize = inside.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(length.saturating_add(6));
    bytes.push(tag);
    // As few octets as will do; a length below 128 is its own octet. X.690 section 10.1
    let octets = length.to_be_bytes();
    let shortest = octets.len() - octets.iter().take_while(|octet| **octet == 0).count();
    if length >= 0x80 {
        bytes.push(0x80 | u8::try_from(shortest).unwrap_or(0x7f));
    }
    bytes.extend(octets.iter().skip(octets.len() - shortest.max(1)));
    bytes.extend(inside.iter().copied().flatten());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_as_short_as_it_can_be() {
        let rows: [(usize, &[u8]); 7] = [
            (0, &[0x30, 0x00]),
            (1, &[0x30, 0x01]),
            (127, &[0x30, 0x7f]),
            (128, &[0x30, 0x81, 0x80]),
            (255, &[0x30, 0x81, 0xff]),
            (256, &[0x30, 0x82, 0x01, 0x00]),
            (65536, &[0x30, 0x83, 0x01, 0x00, 0x00]),
        ];
        for (length, head) in rows {
            let bytes = element(SEQUENCE, &[&vec![0; length]]);
            assert!(bytes.starts_with(head), "{length}");
            assert_eq!(bytes.len(), head.len() + length, "{length}");
        }
    }

    #[test]
    fn the_envelope_is_der_whatever_the_order_given() {
        let [one, other] = [[0x30, 0x01, 0x05], [0x30, 0x01, 0x04]].map(|der| der.to_vec());
        let expected = [
            &[0x30, 0x2b][..],
            SIGNED_DATA,
            &[
                0xa0, 0x1e, 0x30, 0x1c, 0x02, 0x01, 0x01, 0x31, 0x00, 0x30, 0x0b,
            ],
            DATA,
            &[0xa0, 0x06, 0x30, 0x01, 0x04, 0x30, 0x01, 0x05, 0x31, 0x00],
        ]
        .concat();
        let both = [one.into(), other.into()];
        let reversed: Vec<CertificateDer<'_>> = both.iter().rev().cloned().collect();
        let made = certs_only(&both);
        assert_eq!(made.len(), expected.len(), "{made:02x?}");
        assert_eq!(made, expected, "{made:02x?}");
        assert_eq!(certs_only(&reversed), expected);
    }
}
