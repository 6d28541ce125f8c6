//! The other side of MQTT: a client as a state machine, driven over sockets by `io`. For pub, sub, bench, bridges and tests.

mod alias;
mod error;
mod event;
mod inbound;
pub mod io;
mod keep_alive;
mod machine;
mod outbound;
#[cfg(test)]
mod pair_tests;
mod receive;
#[cfg(test)]
mod tests;

pub use self::error::{ProtocolError, PublishError, SubscribeError};
pub use self::event::{Acknowledgement, Event};
pub use self::machine::{Client, Options};
