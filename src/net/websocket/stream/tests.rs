//! Whole connections, against tungstenite's own client.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream as Client;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::super::deframe::FrameError;
use super::super::head::HeadError;
use super::super::{OwnOrigin, UpgradeError, UpgradeRequest, upgrade};
use super::*;
use crate::net::config::WebSocketConfig;

const OWN: OwnOrigin<'static> = OwnOrigin {
    secure: true,
    ports: &[8084],
};

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: gate:8084\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n";

fn config() -> WebSocketConfig {
    WebSocketConfig {
        allowed_origins: vec!["https://app.example.com".to_owned()],
        ..WebSocketConfig::default()
    }
}

/// A connection that is through its upgrade, with `room` bytes of buffer either way.
async fn pair(room: usize) -> (Client<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (near, far) = duplex(room);
    let mut request = "wss://gate:8084/mqtt".into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", "mqtt".parse().unwrap());
    headers.insert(
        "sec-websocket-extensions",
        "permessage-deflate".parse().unwrap(),
    );
    let config = config();
    let (client, server) = tokio::join!(client_async(request, near), upgrade(far, &config, OWN));
    let (client, answer) = client.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "mqtt");
    // TRN-11: the offer of compression is declined.
    assert!(!answer.headers().contains_key("sec-websocket-extensions"));
    (client, server.unwrap().0)
}

/// The same, without the upgrade itself.
async fn after_upgrade(room: usize) -> (Client<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (near, far) = duplex(room);
    let client = Client::from_raw_socket(near, Role::Client, None).await;
    (client, WebSocketStream::new(far, Vec::new()))
}

/// Answers bytes that are a whole request with what the server sends back before it closes.
async fn answer_to(request: &[u8]) -> (String, Result<UpgradeRequest, UpgradeError>) {
    let (mut near, far) = duplex(64 * 1024);
    let config = config();
    let asking = async {
        near.write_all(request).await.unwrap();
        near.shutdown().await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answering = async { upgrade(far, &config, OWN).await.map(|(_, request)| request) };
    tokio::join!(asking, answering)
}

fn with(fields: &str) -> Vec<u8> {
    format!("{REQUEST}{fields}\r\n").into_bytes()
}

fn instead(old: &str, new: &str) -> Vec<u8> {
    assert!(REQUEST.contains(old));
    format!("{}\r\n", REQUEST.replace(old, new)).into_bytes()
}

#[tokio::test]
async fn trn_11_refusals_tell_nothing_but_their_status() {
    let rows = [
        (instead("/mqtt ", "/ "), "404 Not Found", HeadError::Path),
        (
            instead("/mqtt ", "/mqtt/ "),
            "404 Not Found",
            HeadError::Path,
        ),
        (
            instead("/mqtt ", "/MQTT "),
            "404 Not Found",
            HeadError::Path,
        ),
        (
            instead("/mqtt ", "/%6dqtt "),
            "404 Not Found",
            HeadError::Path,
        ),
        (
            instead("/mqtt ", "//mqtt "),
            "404 Not Found",
            HeadError::Path,
        ),
        (
            instead("/mqtt ", "/x/../mqtt "),
            "404 Not Found",
            HeadError::Path,
        ),
        (
            instead("/mqtt ", "http://gate/mqtt "),
            "404 Not Found",
            HeadError::Path,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n".to_vec(),
            "404 Not Found",
            HeadError::Path,
        ),
        (
            b"POST /secret HTTP/1.0\r\n\r\n".to_vec(),
            "404 Not Found",
            HeadError::Path,
        ),
        (
            b"GET /mqtt HTTP/1.1\r\nHost: gate\r\n\r\n".to_vec(),
            "426 Upgrade Required",
            HeadError::NotAnUpgrade,
        ),
        (
            instead("GET", "POST"),
            "405 Method Not Allowed",
            HeadError::Method,
        ),
        // TRN-4: no upgrade on HTTP/1.0, no unknown subprotocol.
        (
            instead("HTTP/1.1", "HTTP/1.0"),
            "505 HTTP Version Not Supported",
            HeadError::Version,
        ),
        (
            instead("Protocol: mqtt", "Protocol: amqp"),
            "400 Bad Request",
            HeadError::Subprotocol,
        ),
        (
            with("Content-Length: 5\r\n"),
            "400 Bad Request",
            HeadError::Field("content-length"),
        ),
        (
            with("Origin: https://evil.example\r\n"),
            "403 Forbidden",
            HeadError::Origin,
        ),
        (with("Origin: null\r\n"), "403 Forbidden", HeadError::Origin),
        (
            with("Origin: https://app.example.com.evil\r\n"),
            "403 Forbidden",
            HeadError::Origin,
        ),
        (
            with("Origin: https://sub.app.example.com\r\n"),
            "403 Forbidden",
            HeadError::Origin,
        ),
        (
            with("Origin: https://APP.example.com\r\n"),
            "403 Forbidden",
            HeadError::Origin,
        ),
        (
            with("Origin: https://app.example.com:444\r\n"),
            "403 Forbidden",
            HeadError::Origin,
        ),
        (
            with("Origin: http://app.example.com\r\n"),
            "403 Forbidden",
            HeadError::Origin,
        ),
        (
            with("Origin: https://gate:9000\r\n"),
            "403 Forbidden",
            HeadError::Origin,
        ),
        (with("Origin:\r\n"), "403 Forbidden", HeadError::Origin),
        (
            with(&"X: y\r\n".repeat(64)),
            "431 Request Header Fields Too Large",
            HeadError::TooLarge,
        ),
        (
            with(&format!("X: {}\r\n", "y".repeat(17_000))),
            "431 Request Header Fields Too Large",
            HeadError::TooLarge,
        ),
        (
            b"\x10\x0c\0\x04MQTT\r\n\r\n".to_vec(),
            "400 Bad Request",
            HeadError::Malformed,
        ),
    ];
    for (request, status, error) in rows {
        let asked = request.escape_ascii().to_string();
        let (answer, refused) = answer_to(&request).await;
        assert!(
            matches!(refused, Err(UpgradeError::Refused(e)) if e == error),
            "{asked}: {refused:?}"
        );
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{asked}: {answer}"
        );
        assert!(answer.ends_with("Content-Length: 0\r\n\r\n"), "{answer}");
        assert!(!answer.to_lowercase().contains("wardgate"), "{answer}");
    }
}

#[tokio::test]
async fn idn_14_a_cookie_counts_only_with_an_origin() {
    let rows = [
        ("Cookie: a=1\r\n", None, false),
        (
            "Cookie: a=1\r\nOrigin: https://app.example.com\r\n",
            Some("https://app.example.com"),
            true,
        ),
        (
            "Cookie: a=1\r\nOrigin: https://gate:8084\r\n",
            Some("https://gate:8084"),
            true,
        ),
        (
            "Origin: https://gate:8084\r\n",
            Some("https://gate:8084"),
            false,
        ),
    ];
    for (fields, origin, cookie) in rows {
        let (answer, request) = answer_to(&with(fields)).await;
        let request = request.unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        // The example of RFC 6455 section 1.3
        assert!(
            answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            "{answer}"
        );
        assert_eq!(request.origin.as_deref(), origin);
        assert_eq!(request.cookie.is_some(), cookie, "{fields}");
    }
}

#[tokio::test]
async fn trn_11_an_endless_head_is_refused_at_its_limit() {
    let (mut near, far) = duplex(1024);
    let config = config();
    let dripping = async {
        let mut sent = 0_usize;
        let _ = near.write_all(REQUEST.as_bytes()).await;
        while near.write_all(b"X: y\r\n").await.is_ok() && sent < 1_000_000 {
            sent += 6;
        }
        sent
    };
    let (sent, refused) = tokio::join!(dripping, async { upgrade(far, &config, OWN).await.err() });
    assert!(matches!(
        refused,
        Some(UpgradeError::Refused(HeadError::TooLarge))
    ));
    // The head, what is read away at farewell, and what lies in the pipe.
    assert!(sent < 100_000, "{sent}");
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_the_answer_loses_nothing() {
    let (mut near, far) = duplex(4096);
    // A masked frame of "hi", with a mask of zeros.
    let early = [
        with("").as_slice(),
        &[0x82, 0x82, 0, 0, 0, 0],
        b"hi",
        &[0x82],
    ]
    .concat();
    near.write_all(&early).await.unwrap();
    let (mut server, _) = upgrade(far, &config(), OWN).await.unwrap();
    near.write_all(&[0x81, 0, 0, 0, 0, b'!']).await.unwrap();
    let mut read = [0; 3];
    server.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hi!");
}

#[tokio::test]
async fn bytes_go_both_ways_whatever_the_buffers() {
    let sent: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for room in [1, 7, 100, 4096, 1 << 20] {
        let sent = if room < 100 { &sent[..5000] } else { &sent[..] };
        let (mut client, mut server) = after_upgrade(room).await;
        server.set_message_limit(1 << 20);
        let client_side = async {
            client
                .send(Message::binary(sent[..1000].to_vec()))
                .await
                .unwrap();
            client.send(Message::Ping("p".into())).await.unwrap();
            client
                .send(Message::binary(sent[1000..].to_vec()))
                .await
                .unwrap();
            let (mut got, mut pongs) = (Vec::new(), 0);
            while got.len() < sent.len() {
                match client.next().await.unwrap().unwrap() {
                    Message::Binary(bytes) => got.extend(bytes),
                    Message::Pong(payload) => {
                        assert_eq!(payload.as_ref(), b"p");
                        pongs += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((got.as_slice(), pongs), (sent, 1));
        };
        let server_side = async {
            let mut got = vec![0; sent.len()];
            server.read_exact(&mut got).await.unwrap();
            assert_eq!(got, sent);
            server.write_all(&got).await.unwrap();
            server.flush().await.unwrap();
        };
        tokio::join!(client_side, server_side);
    }
}

#[tokio::test]
async fn one_write_is_one_frame() {
    let (mut client, mut server) = pair(1 << 20).await;
    let slices = [
        IoSlice::new(b"one "),
        IoSlice::new(b""),
        IoSlice::new(b"frame"),
    ];
    assert_eq!(server.write_vectored(&slices).await.unwrap(), 9);
    server.write_all(b"two").await.unwrap();
    for expected in ["one frame", "two"] {
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::binary(expected)
        );
    }
}

#[tokio::test]
async fn the_closing_handshake_from_either_side() {
    let (mut client, mut server) = pair(4096).await;
    client.close(None).await.unwrap();
    assert_eq!(
        server.read(&mut [0; 9]).await.unwrap(),
        0,
        "the end, like that of TCP"
    );
    assert!(server.write_all(b"x").await.is_err());
    assert!(matches!(
        client.next().await,
        Some(Ok(Message::Close(_))) | None
    ));

    let (mut client, mut server) = pair(4096).await;
    server.write_all(b"last words").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(
        client.next().await.unwrap().unwrap(),
        Message::binary("last words")
    );
    match client.next().await.unwrap().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1000),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn trn_11_a_mistake_is_answered_with_its_code() {
    let text = || Message::text("no");
    let large = || Message::binary(vec![0; 16 * 1024 + 1]);
    let rows: [(&dyn Fn() -> Message, FrameError, u16); 2] = [
        (&text, FrameError::Text, 1003),
        (&large, FrameError::TooLarge, 1009),
    ];
    for (message, expected, code) in rows {
        let (mut client, mut server) = pair(1 << 20).await;
        client.send(Message::binary("before")).await.unwrap();
        client.send(message()).await.unwrap();
        let mut before = [0; 6];
        server.read_exact(&mut before).await.unwrap();
        let error = server.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.downcast::<FrameError>().unwrap(), expected);
        match client.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), code),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn trn_14_pings_of_a_peer_that_does_not_read_are_not_hoarded() {
    let (mut client, mut server) = pair(200).await;
    let flooding = async {
        for _ in 0..1000 {
            let ping = Message::Ping(vec![7; 125].into());
            if tokio::time::timeout(Duration::from_millis(50), client.send(ping))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let mut scratch = [0; 9];
    let (_, read) = tokio::join!(flooding, server.read(&mut scratch));
    let error = read.unwrap_err().downcast::<FrameError>().unwrap();
    assert_eq!(error, FrameError::Flood);
    assert!(server.outgoing.control.capacity() <= 256);
}

#[tokio::test]
async fn a_pong_waits_for_the_end_of_the_frame_that_is_being_written() {
    let (mut client, mut server) = after_upgrade(16).await;
    let payload = [9_u8; 64];
    // The frame does not fit: part of it stays with the writer.
    let begun = server.write(&payload).await.unwrap();
    assert!(begun < payload.len());
    client.send(Message::Ping("p".into())).await.unwrap();
    let reading = tokio::time::timeout(Duration::from_millis(20), server.read(&mut [0; 9])).await;
    assert!(reading.is_err());
    let finishing = async {
        server.write_all(&payload[begun..]).await.unwrap();
        server.flush().await.unwrap();
    };
    let receiving = async {
        (
            client.next().await.unwrap().unwrap(),
            client.next().await.unwrap().unwrap(),
        )
    };
    let ((), (first, second)) = tokio::join!(finishing, receiving);
    assert_eq!(
        (first, second),
        (Message::binary(payload.to_vec()), Message::Pong("p".into()))
    );
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let size = size_of::<WebSocketStream<tokio::net::TcpStream>>();
    assert!(size <= 512, "{size}");
}
