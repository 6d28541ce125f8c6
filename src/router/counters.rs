//! What the router counts, for `$SYS` and the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Monotonic totals since the start, but for the two gauges.
#[derive(Debug, Default)]
pub struct Counters {
    /// Deliveries dropped: queue full.
    pub dropped: Counter,
    /// Deliveries dropped: larger than the client takes.
    pub too_large: Counter,
    /// Deliveries withheld by policy.
    pub withheld: Counter,
    pub expired_messages: Counter,
    pub expired_sessions: Counter,
    pub wills_sent: Counter,
    /// Gauge.
    pub connected: Counter,
    /// Gauge: the most that were connected at once.
    pub connected_maximum: Counter,
}

/// One number, added to from every thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, amount: u64) {
        if amount > 0 {
            self.0.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    pub fn raise(&self, to: u64) {
        self.0.fetch_max(to, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
