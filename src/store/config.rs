//! `store` in the configuration: where what must survive is kept. Contract section 3.

use crate::units::{ByteSize, Period};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    pub kind: Kind,
    pub path: PathBuf,
    pub durability: Durability,
    /// With `durability: interval`.
    pub flush_interval: Period,
    /// How much of the file is kept in memory.
    pub cache: ByteSize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Embedded,
    Memory,
}

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Acknowledged means on disk.
    Sync,
    /// On disk every `flush_interval`.
    Interval,
    None,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            kind: Kind::Embedded,
            path: PathBuf::from("./data/store"),
            durability: Durability::Sync,
            flush_interval: Period::from_secs(1),
            cache: ByteSize::mib(64),
        }
    }
}
