//! One stream of bytes to the server, whichever way it travels.

use super::websocket::WebSocket;
use super::{Scheme, Target};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<WebSocket<TcpStream>>),
    SecureWebSocket(Box<WebSocket<TlsStream<TcpStream>>>),
}

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("no connection to {target}: {source}")]
    Tcp {
        target: String,
        #[source]
        source: io::Error,
    },
    #[error("{0:?} is no name that a certificate can bear")]
    ServerName(String),
    #[error("TLS with {target} failed: {source}")]
    Tls {
        target: String,
        #[source]
        source: io::Error,
    },
    #[error("no WebSocket at {target}: {source}")]
    WebSocket {
        target: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} needs TLS settings")]
    NoTls(String),
}

/// Connects, secures and upgrades as the scheme asks.
pub async fn dial(target: &Target, tls: Option<&Arc<ClientConfig>>) -> Result<Stream, DialError> {
    let tcp = dial_tcp(target).await?;
    let tls = || tls.ok_or_else(|| DialError::NoTls(target.to_string()));
    match target.scheme {
        Scheme::Mqtt => Ok(Stream::Tcp(tcp)),
        Scheme::Mqtts => {
            let secured = secure(target, tls()?, tcp).await?;
            Ok(Stream::Tls(Box::new(secured)))
        }
        Scheme::Ws => {
            let upgraded = upgrade(target, tcp).await?;
            Ok(Stream::WebSocket(Box::new(upgraded)))
        }
        Scheme::Wss => {
            let secured = secure(target, tls()?, tcp).await?;
            let upgraded = upgrade(target, secured).await?;
            Ok(Stream::SecureWebSocket(Box::new(upgraded)))
        }
    }
}

async fn dial_tcp(target: &Target) -> Result<TcpStream, DialError> {
    let dialled = TcpStream::connect((target.host.as_str(), target.port)).await;
    // A lone message goes out at once.
    dialled
        .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
        .map_err(|source| DialError::Tcp {
            target: target.to_string(),
            source,
        })
}

async fn secure(
    target: &Target,
    tls: &Arc<ClientConfig>,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, DialError> {
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| DialError::ServerName(target.host.clone()))?;
    let connector = TlsConnector::from(Arc::clone(tls));
    let secured = connector.connect(name, tcp).await;
    secured.map_err(|source| DialError::Tls {
        target: target.to_string(),
        source,
    })
}

async fn upgrade<S>(target: &Target, stream: S) -> Result<WebSocket<S>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let upgraded = WebSocket::upgrade(target, stream).await;
    upgraded.map_err(|source| DialError::WebSocket {
        target: target.to_string(),
        source,
    })
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::WebSocket(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::SecureWebSocket(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::WebSocket(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::SecureWebSocket(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::WebSocket(stream) => Pin::new(stream).poll_flush(cx),
            Self::SecureWebSocket(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::WebSocket(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::SecureWebSocket(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
