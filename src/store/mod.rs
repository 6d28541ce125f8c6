//! What must survive the process: engines behind [`crate::router::Store`].

mod config;
mod memory;

pub use self::config::{Durability, Kind, StoreConfig};
pub use self::memory::Memory;
