//! Who owns which client identifier: one live connection and at most one session for each.

use super::handle::SessionHandle;
use ahash::AHashMap;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

/// Sharded, so that a storm of CONNECTs does not meet at one lock.
pub struct Registry {
    shards: Vec<Mutex<Shard>>,
    hasher: ahash::RandomState,
}

pub(super) type Shard = AHashMap<Arc<str>, Arc<SessionHandle>>;

const SHARDS: usize = 64;

impl Default for Registry {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl Registry {
    /// The table that holds this client identifier, locked: claim, take-over, expiry and end of one session follow one another (SES-4).
    pub(super) fn shard(&self, client_id: &str) -> Option<MutexGuard<'_, Shard>> {
        let hash = self.hasher.hash_one(client_id);
        let index = usize::try_from(hash % SHARDS as u64).ok()?;
        self.shards.get(index).map(Mutex::lock)
    }

    pub fn find(&self, client_id: &str) -> Option<Arc<SessionHandle>> {
        self.shard(client_id)?.get(client_id).cloned()
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits every session, one table at a time; `visit` works on a copy of the table, not under its lock.
    pub fn for_each(&self, mut visit: impl FnMut(&Arc<SessionHandle>)) {
        for shard in &self.shards {
            let handles: Vec<_> = shard.lock().values().cloned().collect();
            handles.iter().for_each(&mut visit);
        }
    }
}
