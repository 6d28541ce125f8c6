//! A table of fixed size for facts about strangers: full, it forgets what matters least.
//!
//! An entry weighs what forgetting it would lose. A newcomer takes the place of the lightest of its shard and is told what
//! was there, so that a bucket can inherit it: then no flood of new addresses resets an old offender, nor itself (LIM-6).

use parking_lot::Mutex;

use super::gcra::Nanos;

/// What an entry weighs; 0 when it says no more than no entry.
pub(super) trait Weighed: Copy {
    fn weight(&self, now: Nanos) -> u64;
}

pub(super) struct Table<V> {
    shards: Box<[Shard<V>]>,
    per_shard: usize,
}

type Shard<V> = Mutex<Vec<(u64, V)>>;

impl<V: Weighed> Table<V> {
    /// Room for at least `capacity` entries; the memory is taken as they come.
    pub(super) fn new(capacity: usize) -> Self {
        let shards = capacity.div_ceil(PER_SHARD).max(1);
        Self {
            shards: (0..shards).map(|_| Mutex::new(Vec::new())).collect(),
            per_shard: PER_SHARD,
        }
    }

    /// Changes the entry of a key. A new one begins as `enter` says, which sees what gives way to it.
    pub(super) fn update<R>(
        &self,
        key: u64,
        now: Nanos,
        enter: impl FnOnce(Option<V>) -> V,
        change: impl FnOnce(&mut V) -> R,
    ) -> R {
        let Some(shard) = self.shard(key) else {
            return change(&mut enter(None));
        };
        let mut shard = shard.lock();
        if let Some((_, value)) = shard.iter_mut().find(|(at, _)| *at == key) {
            return change(value);
        }
        if shard.len() < self.per_shard {
            let mut value = enter(None);
            let result = change(&mut value);
            shard.push((key, value));
            return result;
        }
        match shard.iter_mut().min_by_key(|(_, value)| value.weight(now)) {
            Some(lightest) => {
                *lightest = (key, enter(Some(lightest.1)));
                change(&mut lightest.1)
            }
            None => change(&mut enter(None)),
        }
    }

    pub(super) fn find(&self, key: u64) -> Option<V> {
        let shard = self.shard(key)?.lock();
        shard
            .iter()
            .find(|(at, _)| *at == key)
            .map(|(_, value)| *value)
    }

    pub(super) fn remove(&self, key: u64) -> Option<V> {
        let mut shard = self.shard(key)?.lock();
        let at = shard.iter().position(|(at, _)| *at == key)?;
        Some(shard.swap_remove(at).1)
    }

    /// Every entry as it is now, a shard at a time.
    pub(super) fn all(&self) -> Vec<(u64, V)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend_from_slice(&shard.lock());
        }
        all
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    // Keys are keyed hashes: any of their bits will do.
    fn shard(&self, key: u64) -> Option<&Shard<V>> {
        let shards = u64::try_from(self.shards.len()).unwrap_or(u64::MAX).max(1);
        self.shards
            .get(usize::try_from((key >> 16) % shards).unwrap_or(0))
    }
}

const PER_SHARD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Heat(u64);

    impl Weighed for Heat {
        fn weight(&self, _: Nanos) -> u64 {
            self.0
        }
    }

    fn warm(table: &Table<Heat>, key: u64, by: u64) {
        table.update(key, 0, |_| Heat(0), |heat| heat.0 += by);
    }

    #[test]
    fn keeps_finds_and_removes() {
        let table = Table::new(100);
        warm(&table, 7, 3);
        warm(&table, 7, 4);
        assert_eq!(table.find(7), Some(Heat(7)));
        assert_eq!(table.find(8), None);
        assert_eq!(table.remove(7), Some(Heat(7)));
        assert_eq!(table.remove(7), None);
    }

    #[test]
    fn lim_06_a_scan_neither_grows_it_nor_pushes_out_the_heaviest() {
        let table = Table::new(1000);
        let key = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        warm(&table, key(0), 50);
        for n in 1..200_000 {
            warm(&table, key(n), 1);
        }
        assert_eq!(table.find(key(0)), Some(Heat(50)));
        assert!(table.len() <= 1024, "{}", table.len());
    }

    #[test]
    fn a_newcomer_is_told_what_gave_way() {
        let table = Table::new(1);
        for n in 0..32 {
            warm(&table, n, 10 + n);
        }
        let mut seen = None;
        table.update(
            99,
            0,
            |lightest| {
                seen = lightest;
                Heat(1)
            },
            |_| (),
        );
        assert_eq!(seen, Some(Heat(10)));
    }
}
