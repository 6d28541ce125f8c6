//! From an accepted socket to one stream of bytes: PROXY, TLS, WebSocket. Contract sections 3 and 10; no MQTT and no identity here.
//!
//! The way of a connection, each step a future that may be dropped at any point (which closes the socket):
//! `Listener::accept` → `proxy_protocol::read` → `ServerTls::accept` → `websocket::upgrade` → `Stream`.
//! Deadlines are the caller's, one over all of it (TRN-10).

pub mod config;
mod linger;
pub mod listener;
pub mod proxy_protocol;
mod stream;
pub mod tls;
pub mod websocket;

pub use self::config::{ProxyProtocolConfig, TlsConfig, Transport, WebSocketConfig};
pub use self::linger::finish;
pub use self::listener::{Accepted, Descriptors, Listener};
pub use self::stream::Stream;
pub use self::tls::{PeerTls, ServerTls, TlsError};
pub use self::websocket::UpgradeRequest;

#[cfg(test)]
mod tests;
