//! Moments as files keep them, seconds since 1970, to and from the nanoseconds that tables count.

use std::time::{Duration, SystemTime};

use super::gcra::{Nanos, nanos};

pub(super) fn unix(wall: SystemTime) -> u64 {
    wall.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

pub(super) fn later(now: Nanos, seconds: u64) -> Nanos {
    now.saturating_add(nanos(Duration::from_secs(seconds)))
}

/// The second in which a moment that is to come falls.
pub(super) fn unix_of(at: Nanos, now: Nanos, wall: SystemTime) -> u64 {
    let left = Duration::from_nanos(at.saturating_sub(now)).as_secs();
    unix(wall).saturating_add(left)
}
