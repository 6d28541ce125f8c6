//! What must survive the process.

mod config;

pub use self::config::{Durability, Kind, StoreConfig};
