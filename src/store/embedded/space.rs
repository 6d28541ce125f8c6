//! Whether the disk has room (`limits.state.store_free`).

use super::medium::Medium;
use std::time::{Duration, Instant};

/// Asked each second at most.
#[derive(Debug)]
pub(super) struct Space {
    least: u64,
    full: bool,
    looked: Option<Instant>,
}

pub(super) const LOOK: Duration = Duration::from_secs(1);

impl Space {
    pub(super) fn new(least: u64) -> Self {
        Self {
            least,
            full: false,
            looked: None,
        }
    }

    /// `Some` when it changed; says it once each time.
    pub(super) fn look(&mut self, medium: &dyn Medium, now: Instant) -> Option<bool> {
        if self.looked.is_some_and(|looked| now < looked + LOOK) {
            return None;
        }
        self.looked = Some(now);
        let free = match medium.free() {
            Ok(free) => free,
            Err(error) => {
                tracing::debug!(%error, "cannot tell how much of the disk is free");
                return None;
            }
        };
        let full = free < self.least;
        if std::mem::replace(&mut self.full, full) == full {
            return None;
        }
        if full {
            tracing::error!(
                free,
                least = self.least,
                store = medium.name(),
                "the disk is nearly full: what must be stored is refused until there is room"
            );
        } else {
            tracing::info!(free, store = medium.name(), "the disk has room again");
        }
        Some(full)
    }
}
