//! Counters that many threads bump without sharing a cache line.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// Only grows. Sharded: each thread adds to its own cell, a reader sums them up.
#[derive(Default)]
pub struct Counter {
    cells: [Cell; CELLS],
}

/// One cache line (two where the processor fetches them in pairs).
#[derive(Default)]
#[repr(align(128))]
struct Cell(AtomicU64);

impl Counter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, amount: u64) {
        let cell = THREAD_CELL.with(|index| self.cells.get(*index));
        if let Some(Cell(count)) = cell {
            count.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub fn value(&self) -> u64 {
        self.cells.iter().fold(0, |sum, Cell(count)| {
            sum.wrapping_add(count.load(Ordering::Relaxed))
        })
    }
}

/// Counts what is rare: one plain atomic.
#[derive(Default)]
pub struct RareCounter(AtomicU64);

impl RareCounter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn add(&self, amount: i64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

const CELLS: usize = 8;

static NEXT_CELL: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD_CELL: usize = NEXT_CELL.fetch_add(1, Ordering::Relaxed) % CELLS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_is_lost_between_threads() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1000).for_each(|_| counter.increment()));
            }
        });
        assert_eq!(counter.value(), 20_000);
    }
}
