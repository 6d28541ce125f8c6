//! The matrix of TRN-12, as far as it is one header.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use super::*;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = v2::SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0xDC, 0x04, 0x22, 0xB3];

fn ipv4_with(tlvs: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&IPV4, tlvs].concat())
}

/// With a checksum field that is right.
fn ipv4_with_checksum() -> Vec<u8> {
    let mut bytes = ipv4_with(&[3, 0, 4, 0, 0, 0, 0, 4, 0, 2, 0, 0]);
    let crc = crc32c::of([bytes.as_slice()]);
    bytes[31..35].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn source(bytes: &[u8]) -> Result<Option<String>, String> {
    match parse(bytes) {
        Ok(Progress::Complete { header, length }) => {
            assert_eq!(length, bytes.len());
            Ok(header.addresses.map(|a| a.source.to_string()))
        }
        Ok(Progress::Incomplete { need }) => Err(format!("incomplete, {need} more")),
        Err(error) => Err(error.to_string()),
    }
}

fn good() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let ipv6 = [
        [0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0; 16],
    ]
    .concat();
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    vec![
        (
            "v1 TCP4",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 8883\r\n".to_vec(),
            Some("192.0.2.1:56324"),
        ),
        (
            "v1 TCP6",
            b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n".to_vec(),
            Some("[2001:db8::1]:1"),
        ),
        ("v1 UNKNOWN", b"PROXY UNKNOWN\r\n".to_vec(), None),
        (
            "v1 UNKNOWN and more",
            b"PROXY UNKNOWN ffff::1 x y z\r\n".to_vec(),
            None,
        ),
        ("v1 longest", longest.into_bytes(), None),
        ("v2 TCP4", ipv4_with(&[]), Some("192.0.2.1:56324")),
        (
            "v2 TCP6",
            v2(0x21, 0x21, &[ipv6, vec![0, 9, 0, 10]].concat()),
            Some("[2001:db8::1]:9"),
        ),
        ("v2 LOCAL", v2(0x20, 0x00, &[]), None),
        ("v2 LOCAL with anything", v2(0x20, 0x77, &[1, 2, 3]), None),
        ("v2 UNSPEC", v2(0x21, 0x00, &[]), None),
        (
            "v2 authority",
            ipv4_with(&[2, 0, 1, b'h']),
            Some("192.0.2.1:56324"),
        ),
        (
            "v2 SSL",
            ipv4_with(&[0x20, 0, 9, 1, 0, 0, 0, 0, 0x21, 0, 1, b'3']),
            Some("192.0.2.1:56324"),
        ),
        (
            "v2 unknown field",
            ipv4_with(&[0xE4, 0, 2, 7, 7]),
            Some("192.0.2.1:56324"),
        ),
        ("v2 checksum", ipv4_with_checksum(), Some("192.0.2.1:56324")),
        (
            "v2 full",
            ipv4_with(&[&[4, 0x0F, 0xE1][..], &[0; 0x0FE1]].concat()),
            Some("192.0.2.1:56324"),
        ),
    ]
}

#[test]
fn trn_12_well_formed_headers() {
    for (name, bytes, expected) in good() {
        assert_eq!(source(&bytes), Ok(expected.map(str::to_owned)), "{name}");
    }
}

#[test]
fn trn_12_malformed_headers() {
    let mut bad_crc = ipv4_with_checksum();
    bad_crc[16] ^= 1;
    let twice = [3, 0, 4, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0];
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "TLS",
            vec![0x16, 3, 1],
            "the trusted proxy sent no PROXY header",
        ),
        (
            "MQTT",
            vec![0x10, 0x0C],
            "the trusted proxy sent no PROXY header",
        ),
        (
            "HTTP",
            b"GET /".to_vec(),
            "the trusted proxy sent no PROXY header",
        ),
        (
            "POST",
            b"PO".to_vec(),
            "the trusted proxy sent no PROXY header",
        ),
        (
            "v1 lower case",
            b"proxy".to_vec(),
            "the trusted proxy sent no PROXY header",
        ),
        (
            "v1 no CR",
            b"PROXY UNKNOWN  \n".to_vec(),
            "PROXY header: the line does not end with CR LF",
        ),
        (
            "v1 LF at once",
            b"PROXY \n".to_vec(),
            "PROXY header: the line does not end with CR LF",
        ),
        (
            "v1 family",
            b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
            "PROXY header: unknown family",
        ),
        (
            "v1 no family",
            b"PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
            "PROXY header: unknown family",
        ),
        (
            "v1 mixed",
            b"PROXY TCP4 ::1 ::1 1 1\r\n".to_vec(),
            "PROXY header: bad address",
        ),
        (
            "v1 zeros",
            b"PROXY TCP4 192.0.02.1 1.1.1.1 1 1\r\n".to_vec(),
            "PROXY header: bad address",
        ),
        (
            "v1 zone",
            b"PROXY TCP6 fe80::1%1 ::1 1 1\r\n".to_vec(),
            "PROXY header: bad address",
        ),
        (
            "v1 port",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n".to_vec(),
            "PROXY header: bad port",
        ),
        (
            "v1 port +",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n".to_vec(),
            "PROXY header: bad port",
        ),
        (
            "v1 port 0x",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n".to_vec(),
            "PROXY header: bad port",
        ),
        (
            "v1 missing",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n".to_vec(),
            "PROXY header: a field is missing",
        ),
        (
            "v1 extra",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n".to_vec(),
            "PROXY header: more fields than there should be",
        ),
        (
            "v1 NUL",
            b"PROXY UNKNOWN \0\r\n".to_vec(),
            "PROXY header: the line is not printable ASCII",
        ),
        (
            "v1 two CR",
            b"PROXY UNKNOWN\r\r\n".to_vec(),
            "PROXY header: the line is not printable ASCII",
        ),
        (
            "v1 endless",
            [b"PROXY UNKNOWN ".as_slice(), &[b'f'; 93]].concat(),
            "PROXY header of 107 bytes is too long",
        ),
        (
            "v2 version",
            v2(0x31, 0x11, &IPV4),
            "PROXY header: unknown version",
        ),
        (
            "v2 command",
            v2(0x22, 0x11, &IPV4),
            "PROXY header: unknown command",
        ),
        (
            "v2 short address",
            v2(0x21, 0x11, &IPV4[..11]),
            "PROXY header: the address block is cut short",
        ),
        (
            "v2 empty address",
            v2(0x21, 0x21, &[]),
            "PROXY header: the address block is cut short",
        ),
        (
            "v2 UDP",
            v2(0x21, 0x12, &IPV4),
            "PROXY header: not a TCP connection",
        ),
        (
            "v2 UNIX",
            v2(0x21, 0x31, &[0; 216]),
            "PROXY header: not a TCP connection",
        ),
        (
            "v2 family",
            v2(0x21, 0x41, &IPV4),
            "PROXY header: unknown family",
        ),
        (
            "v2 transport",
            v2(0x21, 0x10, &IPV4),
            "PROXY header: unknown family",
        ),
        (
            "v2 field overrun",
            ipv4_with(&[4, 0, 2, 0]),
            "PROXY header: a field reaches past its end",
        ),
        (
            "v2 field cut",
            ipv4_with(&[4, 0]),
            "PROXY header: a field reaches past its end",
        ),
        (
            "v2 SSL cut",
            ipv4_with(&[0x20, 0, 4, 0, 0, 0, 0]),
            "PROXY header: the SSL field is cut short",
        ),
        (
            "v2 SSL overrun",
            ipv4_with(&[0x20, 0, 8, 1, 0, 0, 0, 0, 0x21, 0, 1]),
            "PROXY header: a field reaches past its end",
        ),
        (
            "v2 checksum",
            bad_crc,
            "PROXY header: checksum does not match",
        ),
        (
            "v2 checksum of 3",
            ipv4_with(&[3, 0, 3, 0, 0, 0]),
            "PROXY header: not one checksum of four bytes",
        ),
        (
            "v2 unique id",
            ipv4_with(&[&[5, 0, 129][..], &[0; 129]].concat()),
            "PROXY header: unique id of more than 128 bytes",
        ),
        (
            "v2 authority",
            ipv4_with(&[2, 0, 0]),
            "PROXY header: ALPN or authority of a wrong length",
        ),
        (
            "v2 too long",
            ipv4_with(&[&[4, 0x0F, 0xE2][..], &[0; 0x0FE2]].concat()),
            "PROXY header of 4097 bytes is too long",
        ),
        (
            "v2 64 KiB",
            [v2::SIGNATURE, &[0x21, 0x11, 0xFF, 0xFF]].concat(),
            "PROXY header of 65551 bytes is too long",
        ),
    ];
    for (name, bytes, expected) in rows {
        assert_eq!(source(&bytes), Err(expected.to_owned()), "{name}");
    }
    // Two checksums cannot both be right: the second is looked at only if the first one is.
    assert!(source(&ipv4_with(&twice)).is_err());
}

#[test]
fn trn_12_cut_anywhere_a_header_asks_for_no_byte_too_many() {
    for (name, bytes, _) in good() {
        for cut in 0..bytes.len() {
            match parse(&bytes[..cut]) {
                Ok(Progress::Incomplete { need }) => {
                    assert!(
                        need > 0 && cut + need <= bytes.len(),
                        "{name} cut at {cut}: {need}"
                    );
                }
                other => panic!("{name} cut at {cut}: {other:?}"),
            }
        }
    }
}

fn trusted() -> ProxyProtocolConfig {
    ProxyProtocolConfig {
        trusted: vec!["10.0.0.0/8".parse().unwrap()],
    }
}

#[tokio::test]
async fn trn_12_what_follows_the_header_is_left_alone() {
    for (name, bytes, expected) in good() {
        let peer: SocketAddr = "10.0.0.1:5".parse().unwrap();
        let (mut near, mut far) = tokio::io::duplex(8192);
        near.write_all(&[&bytes[..], b"after"].concat())
            .await
            .unwrap();
        let source = read(&mut far, &trusted(), peer).await.unwrap();
        assert_eq!(
            source.to_string(),
            expected.unwrap_or("10.0.0.1:5"),
            "{name}"
        );
        let mut after = [0; 5];
        far.read_exact(&mut after).await.unwrap();
        assert_eq!(&after, b"after", "{name}");
    }
}

#[tokio::test]
async fn trn_12_only_a_trusted_source_is_read() {
    let bytes = b"PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r\n";
    // TRN-13: loopback is not trusted unless it is listed.
    for peer in [
        "127.0.0.1:9",
        "[::1]:9",
        "11.0.0.1:9",
        "[::ffff:11.0.0.1]:9",
    ] {
        let peer: SocketAddr = peer.parse().unwrap();
        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(bytes).await.unwrap();
        assert_eq!(read(&mut far, &trusted(), peer).await.unwrap(), peer);
        let mut untouched = [0; 6];
        far.read_exact(&mut untouched).await.unwrap();
        assert_eq!(&untouched, b"PROXY ", "{peer}");
    }
    for peer in ["10.1.2.3:9", "[::ffff:10.1.2.3]:9"] {
        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(bytes).await.unwrap();
        let source = read(&mut far, &trusted(), peer.parse().unwrap())
            .await
            .unwrap();
        assert_eq!(source.to_string(), "192.0.2.1:1", "{peer}");
    }
}

#[tokio::test]
async fn trn_12_a_mapped_source_is_the_ipv4_address() {
    let (mut near, mut far) = tokio::io::duplex(128);
    near.write_all(b"PROXY TCP6 ::ffff:203.0.113.9 ::1 7 8\r\n")
        .await
        .unwrap();
    let source = read(&mut far, &trusted(), "10.0.0.1:5".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(source.to_string(), "203.0.113.9:7");
}

#[tokio::test]
async fn a_connection_that_ends_in_the_header() {
    let (mut near, mut far) = tokio::io::duplex(64);
    near.write_all(b"PROXY TC").await.unwrap();
    drop(near);
    let read = read(&mut far, &trusted(), "10.0.0.1:5".parse().unwrap()).await;
    assert!(matches!(read, Err(ProxyError::Truncated)), "{read:?}");
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in 0..3) {
        let bytes = match start {
            0 => bytes,
            1 => [v1::SIGNATURE, &bytes].concat(),
            _ => [v2::SIGNATURE, &[0x21], &bytes].concat(),
        };
        if let Ok(Progress::Complete { length, .. }) = parse(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}
