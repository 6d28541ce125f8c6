//! Counting what is there: a slot holds one place and gives it back when dropped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// How many there are of one thing.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

/// One place in a tally.
#[derive(Debug)]
pub struct Slot(Arc<Tally>);

/// How many there are for each of many. Nobody with none has an entry, so it is as large as what it counts, which a `Tally`
/// beside it bounds.
#[derive(Debug)]
pub(super) struct Tallies {
    shards: [Mutex<HashMap<u64, u32, ahash::RandomState>>; SHARDS],
}

/// One place for one of many.
#[derive(Debug)]
pub(super) struct KeyedSlot {
    tallies: Arc<Tallies>,
    key: u64,
}

impl Tally {
    /// A place, if fewer than `max` are taken.
    pub fn claim(self: &Arc<Self>, max: u32) -> Option<Slot> {
        self.add(1, u64::from(max)).then(|| Slot(Arc::clone(self)))
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, amount: u64, max: u64) -> bool {
        let add = |count: u64| count.checked_add(amount).filter(|sum| *sum <= max);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
    }

    pub(super) fn subtract(&self, amount: u64) {
        let subtract = |count: u64| Some(count.saturating_sub(amount));
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.subtract(1);
    }
}

impl Tallies {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))),
        }
    }

    pub(super) fn claim(self: &Arc<Self>, key: u64, max: u32) -> Option<KeyedSlot> {
        let mut shard = self.shard(key)?.lock();
        let count = shard.entry(key).or_insert(0);
        // `max` is at least 1, so an entry of 0 never stays behind.
        if *count >= max.max(1) {
            return None;
        }
        *count = count.saturating_add(1);
        Some(KeyedSlot {
            tallies: Arc::clone(self),
            key,
        })
    }

    pub(super) fn count(&self, key: u64) -> u32 {
        let shard = self.shard(key).map(Mutex::lock);
        shard
            .and_then(|shard| shard.get(&key).copied())
            .unwrap_or(0)
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn release(&self, key: u64) {
        let Some(shard) = self.shard(key) else { return };
        if let Entry::Occupied(mut entry) = shard.lock().entry(key) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    fn shard(&self, key: u64) -> Option<&Mutex<HashMap<u64, u32, ahash::RandomState>>> {
        self.shards.get(usize::try_from(key >> 58).unwrap_or(0))
    }
}

impl Drop for KeyedSlot {
    fn drop(&mut self) {
        self.tallies.release(self.key);
    }
}

/// As many as the six highest bits of a key can name.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_gives_as_many_places_as_it_has() {
        let tally = Arc::new(Tally::default());
        let first = tally.claim(2);
        let second = tally.claim(2);
        assert!(first.is_some() && second.is_some() && tally.claim(2).is_none());
        drop(first);
        assert!(tally.claim(2).is_some(), "a dropped slot is free");
        assert_eq!(tally.count(), 1);
    }

    #[test]
    fn each_key_has_its_own_places_and_none_leaves_a_trace() {
        let tallies = Arc::new(Tallies::new(&ahash::RandomState::with_seeds(1, 2, 3, 4)));
        let held: Vec<_> = [1, 1, u64::MAX].map(|key| tallies.claim(key, 2)).into();
        assert!(held.iter().all(Option::is_some) && tallies.claim(1, 2).is_none());
        assert_eq!((tallies.count(1), tallies.count(u64::MAX)), (2, 1));
        drop(held);
        assert_eq!(tallies.entries(), 0);
    }
}
