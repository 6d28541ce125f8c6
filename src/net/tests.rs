//! A connection's whole way over real sockets: PROXY, TLS, upgrade, bytes, goodbye.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::config::{ClientAuth, ProxyProtocolConfig, Transport, WebSocketConfig};
use super::tls::fixtures::{Authority, client, server_files};
use super::websocket::OwnOrigin;
use super::{
    Accepted, Descriptors, Listener, ServerTls, Stream, finish, proxy_protocol, websocket,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Tcp,
    Tls,
    Ws,
    Wss,
}

const WAYS: [Way; 4] = [Way::Tcp, Way::Tls, Way::Ws, Way::Wss];

struct Gate {
    listener: Listener,
    way: Way,
    tls: ServerTls,
    connector: TlsConnector,
    proxies: Option<ProxyProtocolConfig>,
}

impl Gate {
    fn open(way: Way, trusted: Option<&str>) -> Self {
        let ca = Authority::root("ca");
        let (folder, config) = server_files(&ca, ClientAuth::Off);
        let transport = match way {
            Way::Tcp | Way::Tls => Transport::Tcp,
            Way::Ws | Way::Wss => Transport::Websocket,
        };
        let client = client(&ca, None, &[&rustls::version::TLS13]);
        Self {
            listener: Listener::bind(([127, 0, 0, 1], 0).into(), Descriptors::new(100)).unwrap(),
            way,
            tls: ServerTls::build(&config, folder.path(), transport).unwrap(),
            connector: TlsConnector::from(Arc::new(client)),
            proxies: trusted.map(|block| ProxyProtocolConfig {
                trusted: vec![block.parse().unwrap()],
            }),
        }
    }

    /// What admission does with an accepted connection, but for deadlines.
    async fn enter(&self, accepted: Accepted) -> Result<(Stream, SocketAddr), String> {
        let Accepted {
            mut stream,
            mut peer,
            slot: _,
        } = accepted;
        let text = |error: &dyn std::error::Error| error.to_string();
        if let Some(proxies) = &self.proxies {
            peer = proxy_protocol::read(&mut stream, proxies, peer)
                .await
                .map_err(|e| text(&e))?;
        }
        let config = WebSocketConfig::default();
        let own = OwnOrigin {
            secure: self.way == Way::Wss,
            ports: &[],
        };
        let stream = match self.way {
            Way::Tcp => stream.into(),
            Way::Tls => self
                .tls
                .accept(stream)
                .await
                .map_err(|e| text(&e))?
                .0
                .into(),
            Way::Ws => websocket::upgrade(stream, &config, own)
                .await
                .map_err(|e| text(&e))?
                .0
                .into(),
            Way::Wss => {
                let (stream, _) = self.tls.accept(stream).await.map_err(|e| text(&e))?;
                websocket::upgrade(stream, &config, own)
                    .await
                    .map_err(|e| text(&e))?
                    .0
                    .into()
            }
        };
        Ok((stream, peer))
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.listener.local_addr().unwrap())
            .await
            .unwrap()
    }

    /// Sends `first`, then comes in as clients do, then sends "hello" and waits for as much. `None` when that fails.
    async fn call(&self, first: &[u8]) -> Option<()> {
        let mut tcp = self.dial().await;
        tcp.write_all(first).await.ok()?;
        let name = ServerName::try_from("localhost").unwrap();
        match self.way {
            Way::Tcp => greet(tcp).await,
            Way::Tls => greet(self.connector.connect(name, tcp).await.ok()?).await,
            Way::Ws => greet_in_frames(tcp).await,
            Way::Wss => greet_in_frames(self.connector.connect(name, tcp).await.ok()?).await,
        }
    }
}

async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
    stream.write_all(b"hello").await.ok()?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.ok()?;
    assert_eq!(&answer, b"hello");
    Some(())
}

async fn greet_in_frames(stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
    let mut request = "ws://localhost/mqtt".into_client_request().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", "mqtt".parse().unwrap());
    let (mut socket, _) = client_async(request, stream).await.ok()?;
    socket.send(Message::binary("hello")).await.ok()?;
    assert_eq!(socket.next().await?.ok()?, Message::binary("hello"));
    Some(())
}

/// Echoes five bytes. The address that the rest of the broker would see, or why there is none.
async fn serve(gate: &Gate) -> Result<SocketAddr, String> {
    let accepted = gate.listener.accept().await.unwrap();
    let (mut stream, peer) = gate.enter(accepted).await?;
    let mut greeting = [0; 5];
    stream
        .read_exact(&mut greeting)
        .await
        .map_err(|error| error.to_string())?;
    if &greeting != b"hello" {
        return Err(format!("read {:?}", greeting.escape_ascii().to_string()));
    }
    stream
        .write_all(&greeting)
        .await
        .map_err(|error| error.to_string())?;
    finish(&mut stream, Duration::from_secs(60)).await;
    Ok(peer)
}

#[tokio::test]
async fn trn_12_proxy_headers_over_every_transport() {
    const V1: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.1 7 8883\r\n";
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let v2 = |rest: &[u8]| [&signature[..], rest].concat();
    let tcp4 = v2(&[
        0x21, 0x11, 0, 12, 203, 0, 113, 9, 192, 0, 2, 1, 0, 7, 0x22, 0xB3,
    ]);
    let crc = v2(&[
        0x21, 0x11, 0, 19, 203, 0, 113, 9, 192, 0, 2, 1, 0, 7, 0x22, 0xB3, 3, 0, 4, 1, 2, 3, 4,
    ]);
    let overrun = v2(&[
        0x21, 0x11, 0, 15, 203, 0, 113, 9, 192, 0, 2, 1, 0, 7, 0x22, 0xB3, 4, 0, 9,
    ]);
    let rows: [(&str, Vec<u8>, Option<&str>); 9] = [
        ("none", vec![], None),
        ("v1", V1.to_vec(), Some("203.0.113.9")),
        (
            "v1 unknown",
            b"PROXY UNKNOWN\r\n".to_vec(),
            Some("127.0.0.1"),
        ),
        ("v2", tcp4, Some("203.0.113.9")),
        ("LOCAL", v2(&[0x20, 0, 0, 0]), Some("127.0.0.1")),
        ("bad CRC", crc, None),
        ("TLV overrun", overrun, None),
        ("unknown family", v2(&[0x21, 0x51, 0, 0]), None),
        (
            "64 KiB",
            [v2(&[0x21, 0x11, 0xFF, 0xFF]), vec![0; 0xFFFF]].concat(),
            None,
        ),
    ];
    for way in WAYS {
        for (name, header, expected) in &rows {
            // TRN-13: a trusted proxy on loopback forwards an outside peer, and is seen as that peer.
            let trusting = Gate::open(way, Some("127.0.0.0/8"));
            let (seen, _) = tokio::join!(serve(&trusting), trusting.call(header));
            let seen = seen.ok().map(|peer| peer.ip().to_string());
            assert_eq!(seen.as_deref(), *expected, "{way:?}, trusted, {name}");

            // Not trusted, or no PROXY at all: a header is not guessed, it is bytes that do not belong here.
            for gate in [Gate::open(way, Some("10.0.0.0/8")), Gate::open(way, None)] {
                let (seen, _) = tokio::join!(serve(&gate), gate.call(header));
                let seen = seen.ok().map(|peer| peer.ip().to_string());
                let expected = header.is_empty().then_some("127.0.0.1");
                assert_eq!(seen.as_deref(), expected, "{way:?}, not trusted, {name}");
            }
        }
    }
}

#[tokio::test]
async fn trn_10_a_stalled_peer_is_dropped_at_its_deadline() {
    let rows: [(Way, &[u8]); 7] = [
        (Way::Tls, b""),
        (Way::Tls, b"PROXY TCP4 203.0."),
        (Way::Tls, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C"),
        (
            Way::Tls,
            b"PROXY UNKNOWN\r\n\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03",
        ),
        (Way::Wss, b"PROXY UNKNOWN\r\n\x16\x03\x01\x02\0"),
        (
            Way::Ws,
            b"PROXY UNKNOWN\r\nGET /mqtt HTTP/1.1\r\nHost: x\r\n",
        ),
        (Way::Ws, b"PROXY UNKNOWN\r\n"),
    ];
    for (way, half) in rows {
        let gate = Gate::open(way, Some("127.0.0.0/8"));
        let mut peer = gate.dial().await;
        peer.write_all(half).await.unwrap();
        let accepted = gate.listener.accept().await.unwrap();
        let began = Instant::now();
        let entered = tokio::time::timeout(Duration::from_millis(50), gate.enter(accepted)).await;
        assert!(
            entered.is_err(),
            "{way:?} {:?}",
            half.escape_ascii().to_string()
        );
        assert!(began.elapsed() < Duration::from_secs(60));
        // Dropping the future closed the socket.
        let read = tokio::time::timeout(Duration::from_secs(60), peer.read(&mut [0; 9])).await;
        assert!(matches!(read, Ok(Ok(0) | Err(_))), "{way:?}: {read:?}");
    }
}

#[tokio::test]
async fn the_last_words_arrive_though_the_peer_still_sends() {
    for way in [Way::Tcp, Way::Tls] {
        let gate = Gate::open(way, None);
        let serving = async {
            let (mut stream, _) = gate
                .enter(gate.listener.accept().await.unwrap())
                .await
                .unwrap();
            stream.write_all(b"last words").await.unwrap();
            finish(&mut stream, Duration::from_secs(60)).await;
        };
        let calling = async {
            let tcp = gate.dial().await;
            let name = ServerName::try_from("localhost").unwrap();
            let mut heard = Vec::new();
            match way {
                Way::Tls => {
                    let mut stream = gate.connector.connect(name, tcp).await.unwrap();
                    stream.write_all(&[0; 4000]).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    stream.read_to_end(&mut heard).await.unwrap();
                }
                Way::Tcp | Way::Ws | Way::Wss => {
                    let mut stream = tcp;
                    stream.write_all(&[0; 4000]).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    stream.read_to_end(&mut heard).await.unwrap();
                }
            }
            heard
        };
        let ((), heard) = tokio::join!(serving, calling);
        assert_eq!(heard, b"last words", "{way:?}");
    }
}

#[tokio::test]
async fn a_peer_that_never_stops_sending_does_not_hold_the_goodbye() {
    let gate = Gate::open(Way::Tcp, None);
    let serving = async {
        let (mut stream, _) = gate
            .enter(gate.listener.accept().await.unwrap())
            .await
            .unwrap();
        let began = Instant::now();
        finish(&mut stream, Duration::from_secs(120)).await;
        began.elapsed()
    };
    let calling = async {
        let mut stream = gate.dial().await;
        while stream.write_all(&[0; 4096]).await.is_ok() {}
    };
    let (elapsed, ()) = tokio::join!(serving, calling);
    assert!(elapsed < Duration::from_secs(60), "{elapsed:?}");
}
