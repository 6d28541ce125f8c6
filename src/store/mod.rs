//! What must survive the process: engines behind [`crate::router::Store`].

mod config;
mod embedded;
mod memory;

pub use self::config::{Durability, Kind, StoreConfig};
pub use self::embedded::{Embedded, Folder, Medium, OpenError, Options, upkeep};
pub use self::memory::Memory;
