//! SCRAM-SHA-256: a password proved without being sent, and a server that proves it knows it too. RFC 5802, RFC 7677

mod credential;
mod exchange;
mod message;

pub use self::credential::{InvalidScramCredential, ScramCredential, StandIns};
pub use self::exchange::Exchange;
pub use self::message::{ClientFirst, ScramError};

/// As MQTT and RFC 7677 write it.
pub const NAME: &str = "SCRAM-SHA-256";
