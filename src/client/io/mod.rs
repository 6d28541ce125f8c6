//! The client over sockets: mqtt, mqtts, ws and wss.

mod connection;
mod stream;
mod target;
mod tls;
mod websocket;

pub use self::connection::{Connection, ConnectionError};
pub use self::stream::{DialError, Stream, dial};
pub use self::target::{InvalidTarget, Scheme, Target};
pub use self::tls::{TlsFiles, TlsSetupError};
