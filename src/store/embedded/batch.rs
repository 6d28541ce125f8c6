//! What the next commit will hold, gathered while the last one runs; whatever a later word overrides is kept once.

use super::tables::{QueueKey, ReceivedKey, queue_key};
use crate::mqtt::{Subscription, TopicName};
use crate::router::{Replaying, SessionRecord, Subscribed};
use crate::session::{Delivery, Message, SessionId};
use ahash::{AHashMap, AHashSet};
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

/// Bounded by what publishers may have under way, and by [`Batch::bytes`]: while too much waits, nothing more is accepted.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) published: Vec<Published>,
    pub(super) sessions: AHashMap<SessionId, SessionRecord>,
    /// They have ended: nothing else of them is written.
    pub(super) removed: AHashSet<SessionId>,
    pub(super) subscriptions: AHashMap<(SessionId, Subscription), Option<Kept>>,
    /// True: taken; false: released.
    pub(super) received: AHashMap<ReceivedKey, bool>,
    pub(super) handed_over: AHashSet<QueueKey>,
    /// With the version of each: publishers may tell of one topic in another order than they took it, and the highest stands.
    pub(super) retained: AHashMap<TopicName, (u64, Retain)>,
    pub(super) lazy: Lazy,
    /// Somebody waits for this commit.
    promised: bool,
    /// A reader waits for it: it does not wait for company.
    pub(super) forced: bool,
    /// Of the messages that wait.
    pub(super) bytes: usize,
    since: Option<Instant>,
}

/// A subscription, and how far its retained messages have come where they have not all.
type Kept = (Subscribed, Option<Replaying>);

/// What nobody waits for: it goes along with what somebody does.
#[derive(Debug, Default)]
pub(super) struct Lazy {
    pub(super) settled: Vec<QueueKey>,
    pub(super) sent: AHashMap<SessionId, u64>,
    pub(super) expired: AHashSet<TopicName>,
}

#[derive(Debug)]
pub(super) struct Published {
    pub(super) message: Arc<Message>,
    /// Each with a ticket.
    pub(super) deliveries: Vec<Delivery>,
}

#[derive(Debug)]
pub(super) enum Retain {
    Set(Arc<Message>),
    Cleared,
}

impl Batch {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            published: Vec::new(),
            sessions: AHashMap::new(),
            removed: AHashSet::new(),
            subscriptions: AHashMap::new(),
            received: AHashMap::new(),
            handed_over: AHashSet::new(),
            retained: AHashMap::new(),
            lazy: Lazy::default(),
            promised: false,
            forced: false,
            bytes: 0,
            since: None,
        }
    }

    /// Its place is taken by an empty one with the next number.
    pub(super) fn take(&mut self) -> Self {
        let next = Self::new(self.number.saturating_add(1));
        std::mem::replace(self, next)
    }

    /// True when this is the first word that somebody waits for.
    pub(super) fn promise(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        !std::mem::replace(&mut self.promised, true)
    }

    pub(super) fn is_promised(&self) -> bool {
        self.promised
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.promised && !self.forced && self.lazy.len() == 0
    }

    /// When the first word came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn settle(&mut self, key: QueueKey, now: Instant) {
        self.since.get_or_insert(now);
        // A PUBREC that is not on disk yet and its PUBCOMP: the entry goes.
        self.handed_over.remove(&key);
        self.lazy.settled.push(key);
    }

    pub(super) fn sent(&mut self, session: SessionId, sequence: u64, now: Instant) {
        self.since.get_or_insert(now);
        let highest = self.lazy.sent.entry(session).or_default();
        *highest = sequence.max(*highest);
    }

    pub(super) fn retain(&mut self, topic: TopicName, version: u64, retain: Retain) {
        match self.retained.entry(topic) {
            Entry::Occupied(mut known) => {
                if known.get().0 <= version {
                    known.insert((version, retain));
                }
            }
            Entry::Vacant(place) => _ = place.insert((version, retain)),
        }
    }

    pub(super) fn expired(&mut self, topic: TopicName, version: u64, now: Instant) {
        self.since.get_or_insert(now);
        if let Some(known) = self.retained.get_mut(&topic)
            && known.0 <= version
        {
            *known = (version, Retain::Cleared);
        }
        self.lazy.expired.insert(topic);
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.removed.insert(session);
    }

    /// What was put off by a commit that had nothing else to write.
    pub(super) fn absorb(&mut self, earlier: Lazy, since: Option<Instant>) {
        self.since = match (self.since, since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.lazy.settled.extend(earlier.settled);
        self.lazy.expired.extend(earlier.expired);
        for (session, sequence) in earlier.sent {
            let highest = self.lazy.sent.entry(session).or_default();
            *highest = sequence.max(*highest);
        }
    }
}

impl Lazy {
    pub(super) fn len(&self) -> usize {
        self.settled.len() + self.sent.len() + self.expired.len()
    }
}

impl Published {
    /// Those of sessions that go on.
    pub(super) fn lasting<'a>(
        &'a self,
        removed: &'a AHashSet<SessionId>,
    ) -> impl Iterator<Item = &'a Delivery> {
        self.deliveries.iter().filter(|delivery| {
            delivery
                .ticket
                .as_ref()
                .is_some_and(|ticket| !removed.contains(&ticket.session()))
        })
    }
}

pub(super) fn key_of(ticket: &crate::session::Ticket) -> QueueKey {
    queue_key(ticket.session(), ticket.sequence())
}
