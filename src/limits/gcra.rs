//! The arithmetic of a token bucket (GCRA): one number of state, with `now` from outside.
//!
//! The crate `governor` asks a clock of its own, keeps 40 bytes a bucket, has no debts and refuses what is larger than the
//! burst; a property test below holds this arithmetic to its verdicts.

use std::time::{Duration, Instant};

use super::config::{ByteLimit, Count, GlobalConnectionsConfig, MessageLimit, PerIpConfig};

/// Nanoseconds since the limits began to count: what buckets keep.
pub(super) type Nanos = u64;

/// Turns instants into the numbers that buckets keep, and back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(Instant);

/// How much, how fast. The state of a bucket is the moment at which it will be full again; 0 is a full bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    /// What one costs, in units of 2^-20 ns, so that a gigabyte a second is still told from two.
    cost: u64,
    /// What the whole burst costs, in nanoseconds.
    burst: Nanos,
}

/// The burst is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotUntil(pub(super) Nanos);

impl Epoch {
    pub(super) fn new(now: Instant) -> Self {
        Self(now)
    }

    #[inline]
    pub(super) fn nanos(self, now: Instant) -> Nanos {
        nanos(now.saturating_duration_since(self.0))
    }

    /// Beyond what the system can count: a moment that does not come while anybody waits.
    pub(super) fn instant(self, at: Nanos) -> Instant {
        self.0
            .checked_add(Duration::from_nanos(at))
            .unwrap_or(self.0)
    }
}

/// Saturates after 584 years.
pub(super) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Quota {
    /// `amount` in `period`, and `burst` at once. An amount or a burst of 0 counts as 1.
    pub(super) fn new(amount: u64, period: Duration, burst: u64) -> Self {
        let cost = (period.as_nanos() << FRACTION) / u128::from(amount.max(1));
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        Self {
            cost,
            burst: whole(cost, burst.max(1)),
        }
    }

    /// Takes `n`, or nothing. More than the burst passes when the bucket is full: what is larger than any bucket would else
    /// never pass.
    #[inline]
    pub(super) fn take(&self, full_at: Nanos, n: u64, now: Nanos) -> Result<Nanos, NotUntil> {
        let next = full_at.max(now).saturating_add(whole(self.cost, n));
        if next <= now.saturating_add(self.burst) || full_at <= now {
            return Ok(next);
        }
        Err(NotUntil(next.saturating_sub(self.burst)))
    }

    /// Takes `n` in any case. `Err`: the bucket is in debt until then.
    #[inline]
    pub(super) fn borrow(
        &self,
        full_at: Nanos,
        n: u64,
        now: Nanos,
    ) -> (Nanos, Result<(), NotUntil>) {
        let next = full_at.max(now).saturating_add(whole(self.cost, n));
        let free_at = next.saturating_sub(self.burst);
        let standing = if free_at > now {
            Err(NotUntil(free_at))
        } else {
            Ok(())
        };
        (next, standing)
    }

    /// How much could be taken now. `Err`: nothing, for it is in debt for so long.
    pub(super) fn left(&self, full_at: Nanos, now: Nanos) -> Result<u64, Duration> {
        let used = full_at.saturating_sub(now);
        let Some(free) = self.burst.checked_sub(used) else {
            return Err(Duration::from_nanos(used.saturating_sub(self.burst)));
        };
        let left = (u128::from(free) << FRACTION) / u128::from(self.cost.max(1));
        Ok(u64::try_from(left).unwrap_or(u64::MAX))
    }

    /// The most that a bucket can be worth: what is used up of it, of any state.
    pub(super) fn is_spent(&self, full_at: Nanos, now: Nanos) -> bool {
        self.take(full_at, 1, now).is_err()
    }
}

impl From<&GlobalConnectionsConfig> for Option<Quota> {
    fn from(config: &GlobalConnectionsConfig) -> Self {
        let rate = config.rate.get()?;
        Some(Quota::new(
            rate.amount().into(),
            rate.period(),
            config.burst.get().into(),
        ))
    }
}

impl From<&PerIpConfig> for Option<Quota> {
    fn from(config: &PerIpConfig) -> Self {
        let rate = config.rate.get()?;
        Some(Quota::new(
            rate.amount().into(),
            rate.period(),
            config.burst.get().into(),
        ))
    }
}

impl From<MessageLimit> for Quota {
    fn from(limit: MessageLimit) -> Self {
        let amount = u64::from(limit.rate.amount());
        let burst = limit
            .burst
            .map_or(amount.saturating_mul(2), |burst: Count| burst.get().into());
        Self::new(amount, limit.rate.period(), burst)
    }
}

impl From<ByteLimit> for Quota {
    fn from(limit: ByteLimit) -> Self {
        let amount = limit.rate.amount().get();
        let burst = limit
            .burst
            .map_or(amount.saturating_mul(2), |burst| burst.get());
        Self::new(amount, limit.rate.period(), burst)
    }
}

/// Rounded up, so that many small takings cost no less than one large.
#[inline]
fn whole(cost: u64, n: u64) -> Nanos {
    let cost = (u128::from(cost) * u128::from(n) + ((1 << FRACTION) - 1)) >> FRACTION;
    u64::try_from(cost).unwrap_or(u64::MAX)
}

const FRACTION: u32 = 20;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_left_is_what_can_be_taken() {
        let quota = Quota::new(10, SECOND, 3);
        let (mut full_at, now) = (0, nanos(SECOND));
        for left in (0..=3).rev() {
            assert_eq!(quota.left(full_at, now), Ok(left));
            full_at = quota.borrow(full_at, 1, now).0;
        }
        let debt = quota.left(full_at, now).unwrap_err();
        assert_eq!(debt.as_millis(), 100);
    }

    #[test]
    fn takes_the_burst_at_once_and_then_its_rate() {
        // (rate, burst, [(moment in ms, wanted, granted)])
        type Step = (u64, u64, bool);
        let rows: [(u64, u64, &[Step]); 4] = [
            (
                10,
                3,
                &[
                    (0, 1, true),
                    (0, 1, true),
                    (0, 1, true),
                    (0, 1, false),
                    (99, 1, false),
                    (100, 1, true),
                    (100, 1, false),
                ],
            ),
            (
                10,
                3,
                &[(0, 3, true), (0, 1, false), (200, 3, false), (200, 2, true)],
            ),
            // Larger than the burst: only from a full bucket, which then is in debt.
            (
                10,
                3,
                &[
                    (0, 5, true),
                    (199, 1, false),
                    (300, 1, true),
                    (300, 1, false),
                ],
            ),
            (
                1_000_000_000,
                1,
                &[(0, 1, true), (0, 1, false), (1, 1, true)],
            ),
        ];
        for (rate, burst, steps) in rows {
            let quota = Quota::new(rate, SECOND, burst);
            let mut state = 0;
            for &(at, n, expected) in steps {
                let taken = quota.take(state, n, 1_000_000_000 + at * 1_000_000);
                assert_eq!(
                    taken.is_ok(),
                    expected,
                    "{rate}/s burst {burst}: {n} at {at} ms"
                );
                state = taken.unwrap_or(state);
            }
        }
    }

    #[test]
    fn lim_07_no_amount_and_no_time_overflows() {
        for amount in [0, 1, u64::MAX] {
            for period in [Duration::ZERO, SECOND, Duration::MAX] {
                for (burst, n, now) in [(0, 0, 0), (1, u64::MAX, u64::MAX), (u64::MAX, u64::MAX, 0)]
                {
                    let quota = Quota::new(amount, period, burst);
                    let _ = quota.take(u64::MAX, n, now);
                    let _ = quota.borrow(u64::MAX, n, now);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_governor(
            rate in 1u32..2000, burst in 1u32..50,
            steps in proptest::collection::vec((0u64..200, 1u32..5), 1..200),
        ) {
            let clock = FakeRelativeClock::default();
            let theirs = governor::Quota::per_second(NonZeroU32::new(rate).unwrap())
                .allow_burst(NonZeroU32::new(burst).unwrap());
            let theirs = governor::RateLimiter::direct_with_clock(theirs, clock.clone());
            let ours = Quota::new(rate.into(), SECOND, burst.into());
            let (mut state, mut now) = (0, 1_000_000_000_000u64);
            for (wait, n) in steps {
                let n = n.min(burst);
                // Half a microsecond aside of the tick, where the two may round differently.
                now += wait * 1_000_000 + 500;
                clock.advance(Duration::from_nanos(wait * 1_000_000 + 500));
                let granted = theirs.check_n(NonZeroU32::new(n).unwrap()).unwrap().is_ok();
                let taken = ours.take(state, n.into(), now);
                prop_assert_eq!(taken.is_ok(), granted);
                state = taken.unwrap_or(state);
            }
        }

        #[test]
        fn never_grants_more_than_burst_and_rate(
            rate in 1u64..10_000, burst in 1u64..100,
            steps in proptest::collection::vec((0u64..100_000_000, 1u64..10), 1..200),
        ) {
            let quota = Quota::new(rate, SECOND, burst);
            let start = 5_000_000_000u64;
            let (mut state, mut now, mut granted) = (0, start, 0u64);
            for (wait, n) in steps {
                now += wait;
                if let Ok(next) = quota.take(state, n.min(burst), now) {
                    state = next;
                    granted += n.min(burst);
                }
                let most = burst + (now - start) * rate / 1_000_000_000 + 1;
                prop_assert!(granted <= most, "{granted} > {most}");
            }
        }
    }
}
