//! The request heads of TRN-11.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use proptest::prelude::*;

const GOOD: [&str; 7] = [
    "GET /mqtt?access_token=t HTTP/1.1",
    "Host: gate.example:8084",
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: foo, mqtt",
];

fn head(lines: &[&str]) -> Vec<u8> {
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

/// The good head with the line that begins like `line` replaced by it, or with `line` added.
fn with(line: &str) -> Vec<u8> {
    let name = line.split_inclusive([' ', ':']).next().unwrap();
    let mut lines = GOOD.to_vec();
    match lines.iter().position(|known| known.starts_with(name)) {
        Some(at) => lines[at] = line,
        None => lines.push(line),
    }
    head(&lines)
}

fn without(name: &str) -> Vec<u8> {
    let lines: Vec<_> = GOOD
        .into_iter()
        .filter(|line| !line.starts_with(name))
        .collect();
    head(&lines)
}

fn twice(name: &str) -> Vec<u8> {
    let line = GOOD
        .into_iter()
        .find(|line| line.starts_with(name))
        .unwrap();
    head(&[&GOOD[..], &[line]].concat())
}

#[test]
fn a_good_head() {
    let head = Head::parse(&head(&GOOD)).unwrap();
    assert_eq!(head.path, "/mqtt");
    assert!(head.query.unwrap().matches(b"access_token=t"));
    assert_eq!(head.host, "gate.example:8084");
    assert_eq!(head.subprotocol, "mqtt");
    assert!(head.origin.is_none() && head.cookie.is_none() && head.authorization.is_none());
}

#[test]
fn what_a_head_may_vary_in() {
    let rows = [
        with("Sec-WebSocket-Protocol: mqtt"),
        with("Sec-WebSocket-Protocol:mqttv3.1,mqtt"),
        with("connection: UPGRADE"),
        with("Origin: null"),
        with("Sec-WebSocket-Extensions: permessage-deflate"),
        head(
            &[
                &GOOD[..6],
                &["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: mqtt"],
            ]
            .concat(),
        ),
    ];
    for bytes in rows {
        assert_eq!(
            Head::parse(&bytes).unwrap().subprotocol,
            "mqtt",
            "{}",
            bytes.escape_ascii()
        );
    }
    let old = Head::parse(&with("Sec-WebSocket-Protocol: mqttv3.1")).unwrap();
    assert_eq!(old.subprotocol, "mqttv3.1");
}

#[test]
fn trn_11_heads_that_are_refused() {
    use HeadError as E;
    let many = vec!["X: y"; FIELDS_MAX];
    let long = format!("X: {}", "y".repeat(HEAD_MAX));
    let rows = [
        (with("GET /mqtt HTTP/1.0"), E::Version),
        (with("GET /mqtt HTTP/2.0"), E::Version),
        (with("GET /mqtt"), E::Malformed),
        (with("GET /mqtt HTTP/1.1 "), E::Malformed),
        (
            head(&[&["POST /mqtt HTTP/1.1"], &GOOD[1..]].concat()),
            E::Method,
        ),
        (
            head(&[&["get /mqtt HTTP/1.1"], &GOOD[1..]].concat()),
            E::Method,
        ),
        (with("Content-Length: 0"), E::Field("content-length")),
        (
            with("Transfer-Encoding: chunked"),
            E::Field("transfer-encoding"),
        ),
        (without("Connection"), E::NotAnUpgrade),
        (without("Upgrade"), E::NotAnUpgrade),
        (with("Upgrade: h2c"), E::NotAnUpgrade),
        (without("Sec-WebSocket-Version"), E::NotAnUpgrade),
        (with("Sec-WebSocket-Version: 8"), E::NotAnUpgrade),
        (
            twice("Sec-WebSocket-Version"),
            E::Field("sec-websocket-version"),
        ),
        (without("Sec-WebSocket-Key"), E::Field("sec-websocket-key")),
        (twice("Sec-WebSocket-Key"), E::Field("sec-websocket-key")),
        (
            with("Sec-WebSocket-Key: dGhl"),
            E::Field("sec-websocket-key"),
        ),
        (with("Sec-WebSocket-Key: *"), E::Field("sec-websocket-key")),
        (without("Host"), E::Field("host")),
        (twice("Host"), E::Field("host")),
        (with("Host:"), E::Field("host")),
        (with("Host: a b"), E::Field("host")),
        (with("Host: user@gate.example"), E::Field("host")),
        (with("Host: gate.example:port"), E::Field("host")),
        (without("Sec-WebSocket-Protocol"), E::Subprotocol),
        (with("Sec-WebSocket-Protocol: MQTT"), E::Subprotocol),
        (with("Sec-WebSocket-Protocol: mqtt5"), E::Subprotocol),
        (
            head(&[&GOOD[..], &["Origin: a", "Origin: b"]].concat()),
            E::Field("origin"),
        ),
        (
            head(&[&GOOD[..], &["Cookie: a=1", "Cookie: a=2"]].concat()),
            E::Field("cookie"),
        ),
        (with("Authorization: B\u{e9}"), E::Field("authorization")),
        (
            head(&[&GOOD[..], &["X: y", " folded"]].concat()),
            E::Malformed,
        ),
        (head(&[&GOOD[..], &["X : y"]].concat()), E::Malformed),
        (head(&[&GOOD[..], &["X: \0"]].concat()), E::Malformed),
        (head(&[&GOOD[..], &["no colon"]].concat()), E::Malformed),
        (head(&[&GOOD[..], &many].concat()), E::TooLarge),
        (with(&long), E::TooLarge),
        (b"GET / HTTP/1.1\n\nX: y\r\n\r\n".to_vec(), E::Malformed),
        (b"\x16\x03\x01\r\n\r\n".to_vec(), E::Malformed),
        (b"\r\n\r\n".to_vec(), E::Malformed),
        (Vec::new(), E::Malformed),
    ];
    for (bytes, expected) in rows {
        let error = Head::parse(&bytes).unwrap_err();
        assert_eq!(error, expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_end_is_found_wherever_the_bytes_are_cut() {
    let bytes = [&head(&GOOD)[..], b"\x82\x80"].concat();
    let whole = bytes.len() - 2;
    for cut in 0..bytes.len() {
        assert_eq!(
            end(&bytes[..cut], 0),
            (cut >= whole).then_some(whole),
            "{cut}"
        );
        assert_eq!(
            end(&bytes, cut.min(whole - 1)),
            Some(whole),
            "scanned {cut}"
        );
    }
}

#[test]
fn secrets_are_not_printed() {
    let bytes = head(
        &[
            &GOOD[..],
            &["Cookie: canary", "Authorization: Bearer canary"],
        ]
        .concat(),
    );
    let printed = format!("{:?}", Head::parse(&bytes).unwrap());
    assert!(
        !printed.contains("canary") && !printed.contains("access_token"),
        "{printed}"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Head::parse(&bytes);
        let _ = requested_path(&bytes);
        let _ = end(&bytes, bytes.len() / 2);
    }
}
