//! Wardgate: a security-first MQTT broker. ARCHITECTURE.md tells the way of a packet and who may import whom.
#![forbid(unsafe_code)]

// rank 0: pure
pub mod address;
pub mod problem;
pub mod secret;
pub mod units;
pub mod yaml;

pub mod mqtt;
// rank 1: pure, but for identity::io
pub mod audit;
pub mod identity;
// rank 2: pure
pub mod limits;
pub mod policy;
// rank 3
pub mod net;
// rank 4
pub mod admission;
// rank 5: pure
pub mod client;
pub mod session;
// rank 6
pub mod router;
// rank 7
pub mod pki;
pub mod store;
pub mod telemetry;
// rank 8
pub mod admin;
// rank 9
pub mod config;
// rank 10
pub mod broker;
// rank 11
pub mod cli;
