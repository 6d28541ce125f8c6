//! What the tests over sockets share: a broker as a process of its own, wires to it, and packets written as text.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

pub mod broker;
pub mod certificates;
pub mod notation;
pub mod packet;
pub mod scram;
pub mod script;
pub mod websocket;
pub mod wire;

pub use self::broker::{Broker, Setup};
pub use self::certificates::Certificates;
pub use self::notation::bytes;
pub use self::wire::{Transport, Wire};
