//! Shared subscriptions: each message to one member of the group. MQTT 5.0 section 4.8.2

use super::index::Entry;
use crate::mqtt::Subscription;
use crate::session::SessionId;
use parking_lot::Mutex;
use std::sync::Arc;

/// The members of one `$share/NAME/FILTER`, in turn.
pub struct Group {
    subscription: Arc<Subscription>,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    entries: Vec<Entry>,
    next: usize,
}

impl Group {
    pub fn new(subscription: Subscription) -> Self {
        Self {
            subscription: Arc::new(subscription),
            members: Mutex::default(),
        }
    }

    pub fn subscription(&self) -> &Arc<Subscription> {
        &self.subscription
    }

    /// Whether the member is new.
    pub(super) fn join(&self, entry: Entry) -> bool {
        let mut members = self.members.lock();
        match members
            .entries
            .iter_mut()
            .find(|member| member.handle.id() == entry.handle.id())
        {
            Some(member) => {
                *member = entry;
                false
            }
            None => {
                members.entries.push(entry);
                true
            }
        }
    }

    /// Whether the session was a member, and whether nobody is left.
    pub(super) fn leave(&self, session: SessionId) -> (bool, bool) {
        let mut members = self.members.lock();
        let before = members.entries.len();
        members
            .entries
            .retain(|member| member.handle.id() != session);
        (members.entries.len() != before, members.entries.is_empty())
    }

    /// Offers the message to the members in turn, connected ones first, until `accept` takes it. Those that are full or denied are passed over (RTE-3).
    pub fn offer(&self, mut accept: impl FnMut(&Entry) -> bool) -> bool {
        let mut members = self.members.lock();
        let count = members.entries.len();
        let start = members.next;
        for online in [true, false] {
            for step in 0..count {
                let index = (start + step) % count;
                let Some(entry) = members.entries.get(index) else {
                    continue;
                };
                if entry.handle.outbox().is_online() == online && accept(entry) {
                    members.next = (index + 1) % count;
                    return true;
                }
            }
        }
        false
    }
}
