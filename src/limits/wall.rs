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
    // Added before they are cut to seconds: whenever it is asked, it is the same one.
    let left = Duration::from_nanos(at.saturating_sub(now));
    let since = wall.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().saturating_add(left).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_to_come_is_the_same_second_whenever_it_is_asked() {
        const SECOND: Nanos = 1_000_000_000;
        let (now, wall) = (5 * SECOND, Duration::from_millis(1_000_700));
        for passed in [0, 299, 300, 301, 999, 1_000, 59_999] {
            let later = now + passed * 1_000_000;
            let wall = SystemTime::UNIX_EPOCH + wall + Duration::from_millis(passed);
            assert_eq!(
                unix_of(now + 60 * SECOND, later, wall),
                1_060,
                "{passed} ms"
            );
        }
    }
}
