//! When sessions without a connection expire and their wills fall due.

use super::handle::SessionHandle;
use crate::session::SessionId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::sync::Notify;

/// At most one entry for each parked session: its next event. A session that comes back takes its entry out.
#[derive(Default)]
pub struct Timers {
    due: Mutex<BTreeMap<(Instant, SessionId), Weak<SessionHandle>>>,
    earlier: Notify,
}

impl Timers {
    pub(super) fn set(&self, at: Instant, handle: &Arc<SessionHandle>) {
        let key = (at, handle.id());
        let is_first = {
            let mut due = self.due.lock();
            due.insert(key, Arc::downgrade(handle));
            due.first_key_value()
                .is_some_and(|(first, _)| *first == key)
        };
        if is_first {
            self.earlier.notify_one();
        }
    }

    pub(super) fn clear(&self, at: Instant, session: SessionId) {
        self.due.lock().remove(&(at, session));
    }

    /// Takes those that are due, at most `limit`.
    pub(super) fn take_due(&self, now: Instant, limit: usize) -> Vec<Arc<SessionHandle>> {
        let mut due = self.due.lock();
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some(entry) = due.first_entry()
            && entry.key().0 <= now
        {
            taken.extend(entry.remove().upgrade());
        }
        taken
    }

    pub fn next(&self) -> Option<Instant> {
        self.due.lock().first_key_value().map(|((at, _), _)| *at)
    }

    /// Resolves when an event earlier than all others was set.
    pub async fn earlier(&self) {
        self.earlier.notified().await;
    }
}
