//! How often somebody was banned: each ban within a day of the last lasts twice as long, up to a day.

use std::time::{Duration, SystemTime};

use super::bans::Ban;
use super::gcra::{Nanos, nanos};
use super::table::{Table, Weighed};
use super::wall::{later, unix};

pub(super) struct Strikes(Table<Count>);

/// How often, until a day after the last ban.
#[derive(Clone, Copy, Default)]
struct Count {
    strikes: u32,
    until: Nanos,
}

impl Weighed for Count {
    fn weight(&self, now: Nanos) -> u64 {
        self.until.saturating_sub(now)
    }
}

impl Strikes {
    pub(super) fn new() -> Self {
        Self(Table::new(CAPACITY))
    }

    /// How long a ban lasts this time; `first` is how long the first one does.
    pub(super) fn strike(&self, key: u64, first: Duration, now: Nanos) -> Duration {
        let change = |count: &mut Count| {
            let before = if count.until > now { count.strikes } else { 0 };
            let duration = growing(first, before);
            count.strikes = before.saturating_add(1);
            count.until = now.saturating_add(nanos(duration.saturating_add(LONGEST)));
            duration
        };
        self.0.update(key, now, |_| Count::default(), change)
    }

    /// A ban that an earlier process placed: the next is longer.
    pub(super) fn recall(
        &self,
        key: u64,
        first: Duration,
        ban: &Ban,
        (now, wall): (Nanos, SystemTime),
    ) {
        let (None, Some(until)) = (&ban.by, ban.until) else {
            return;
        };
        let lasts = Duration::from_secs(until.saturating_sub(ban.since));
        let mut strikes = 1u32;
        while growing(first, strikes) <= lasts && strikes < u32::BITS {
            strikes = strikes.saturating_add(1);
        }
        let ends = later(now, until.saturating_sub(unix(wall)));
        let count = Count {
            strikes,
            until: ends.saturating_add(nanos(LONGEST)),
        };
        self.0.update(key, now, |_| count, |there| *there = count);
    }
}

/// The ban after so many before it.
fn growing(first: Duration, before: u32) -> Duration {
    first
        .saturating_mul(1u32.checked_shl(before).unwrap_or(u32::MAX))
        .min(LONGEST.max(first))
}

const CAPACITY: usize = 65_536;
const LONGEST: Duration = Duration::from_secs(86_400);
