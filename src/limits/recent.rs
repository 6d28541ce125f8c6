//! How often something happened within the last window, at least: five counters, each for a quarter of it.

use std::time::Duration;

use super::gcra::{Nanos, nanos};
use super::table::Weighed;

/// Counts for a window and up to a quarter of one more: never less than what the last window held.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent {
    counts: [u16; 5],
    /// The quarter that the first counter counts.
    quarter: u64,
    /// When all of it is over.
    over_at: Nanos,
    /// The bucket of whoever is slowed for it.
    pub(super) full_at: Nanos,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    quarter: Nanos,
}

impl Window {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            quarter: (nanos(window) / 4).max(1),
        }
    }
}

impl Recent {
    pub(super) fn count(&self, window: Window, now: Nanos) -> u32 {
        let past = self.past(window, now);
        let kept = self.counts.len().saturating_sub(past);
        self.counts
            .iter()
            .take(kept)
            .map(|count| u32::from(*count))
            .sum()
    }

    /// Counts one more and says how many there are.
    pub(super) fn add(&mut self, window: Window, now: Nanos) -> u32 {
        let past = self.past(window, now);
        self.counts.rotate_right(past);
        self.counts
            .iter_mut()
            .take(past)
            .for_each(|count| *count = 0);
        self.quarter = self.quarter.max(now / window.quarter);
        if let Some(count) = self.counts.first_mut() {
            *count = count.saturating_add(1);
        }
        self.over_at = now.saturating_add(window.quarter.saturating_mul(5));
        self.count(window, now)
    }

    /// Takes back the newest `n`.
    pub(super) fn forgive(&mut self, mut n: u32) {
        for count in &mut self.counts {
            let taken = u16::try_from(n).unwrap_or(u16::MAX).min(*count);
            *count = count.saturating_sub(taken);
            n = n.saturating_sub(u32::from(taken));
        }
    }

    /// How many quarters ago the first counter was the current one; as many as there are counters when all is over.
    fn past(&self, window: Window, now: Nanos) -> usize {
        let past = (now / window.quarter).saturating_sub(self.quarter);
        usize::try_from(past)
            .unwrap_or(usize::MAX)
            .min(self.counts.len())
    }
}

impl Weighed for Recent {
    fn weight(&self, now: Nanos) -> u64 {
        if self.over_at <= now {
            return 0;
        }
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    proptest! {
        #[test]
        fn counts_all_of_the_window_and_nothing_older_than_a_quarter_more(
            waits in proptest::collection::vec(0u64..30, 1..60),
        ) {
            let window = Window::new(Duration::from_secs(60));
            let (mut recent, mut now, mut times) = (Recent::default(), 1000u64, Vec::new());
            for wait in waits {
                now += wait;
                times.push(now);
                let count = recent.add(window, now * SECOND);
                let since = |age: u64| u32::try_from(times.iter().filter(|at| **at + age > now).count()).unwrap_or(0);
                prop_assert!(count >= since(60) && count <= since(75), "{count} of {times:?}");
                prop_assert_eq!(recent.count(window, (now + 75) * SECOND), 0);
            }
        }
    }

    #[test]
    fn forgives_the_newest() {
        let window = Window::new(Duration::from_secs(60));
        let mut recent = Recent::default();
        for second in [1000, 1016, 1031, 1031] {
            recent.add(window, second * SECOND);
        }
        recent.forgive(3);
        assert_eq!(recent.count(window, 1031 * SECOND), 1);
        recent.forgive(100);
        assert_eq!(recent.count(window, 1031 * SECOND), 0);
    }
}
