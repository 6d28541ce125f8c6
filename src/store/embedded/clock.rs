//! Times of the process and times on disk: a pair of readings taken at the start joins them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What is on disk is in Unix milliseconds; 0 stands for no time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    instant: Instant,
    system: SystemTime,
}

impl Clock {
    pub(super) fn new(instant: Instant, system: SystemTime) -> Self {
        Self { instant, system }
    }

    pub(super) fn to_disk(self, at: Option<Instant>) -> u64 {
        let Some(at) = at else { return 0 };
        let system = match at.checked_duration_since(self.instant) {
            Some(later) => self.system.checked_add(later),
            None => self.system.checked_sub(self.instant.duration_since(at)),
        };
        // Beyond what the system's clock can say: the last moment there is.
        system.map_or(u64::MAX, milliseconds)
    }

    /// A moment before the machine's own clock began is the moment of the start: past as well.
    pub(super) fn read_disk(self, at: u64) -> Option<Instant> {
        if at == 0 {
            return None;
        }
        let start = milliseconds(self.system);
        Some(match at.checked_sub(start) {
            Some(later) => self
                .instant
                .checked_add(Duration::from_millis(later))
                // Further off than the clock can say: a century will do.
                .or_else(|| self.instant.checked_add(CENTURY))
                .unwrap_or(self.instant),
            None => self
                .instant
                .checked_sub(Duration::from_millis(start - at))
                .unwrap_or(self.instant),
        })
    }
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// At least 1, since 0 stands for no time.
pub(super) fn milliseconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(1, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_back_as_it_was_before_and_after_the_start() {
        let (instant, system) = (
            Instant::now(),
            UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        );
        let clock = Clock::new(instant, system);
        for seconds in [0, 1, 3_600, 7 * 24 * 3_600] {
            let at = instant + Duration::from_secs(seconds);
            assert_eq!(
                clock.read_disk(clock.to_disk(Some(at))),
                Some(at),
                "{seconds}"
            );
        }
        let past = clock.read_disk(1_700_000_000_000 - 5_000);
        assert!(past.is_some_and(|past| past <= instant));
        assert_eq!(clock.to_disk(None), 0);
        assert_eq!(clock.read_disk(0), None);
        assert!(clock.read_disk(u64::MAX).is_some_and(|far| far > instant));
    }

    #[test]
    fn a_later_start_reads_the_same_moment() {
        let (instant, system) = (
            Instant::now(),
            UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        );
        let written = Clock::new(instant, system).to_disk(Some(instant + Duration::from_secs(60)));
        let later = Clock::new(instant, system + Duration::from_secs(45));
        assert_eq!(
            later.read_disk(written),
            Some(instant + Duration::from_secs(15))
        );
    }
}
