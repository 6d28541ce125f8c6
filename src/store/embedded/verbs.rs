//! What the router tells the store: each verb takes a short lock and returns; the committing thread does the rest.

use super::Embedded;
use super::batch::{Batch, Published, Retain, key_of};
use super::reader::Wanted;
use super::tables::received_key;
use crate::mqtt::{PacketIdentifier, Subscription, TopicName};
use crate::router::{Accepted, Fetch, Gate, Replaying, SessionRecord, Store, Subscribed};
use crate::session::{Delivery, Position, SessionId, Ticket};
use crate::store::Durability;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Instant;

/// Waiting for a disk that does not keep up: nothing more is promised. Beyond what the windows of publishers usually come to.
const WAITING_MAX: usize = 512 * 1024 * 1024;

/// Nobody has to wait for it.
const DONE: Position = Position(0);
/// Told after the end: it is never on disk, and nobody is told that it is.
const NEVER: Position = Position(u64::MAX);

impl Store for Embedded {
    fn keeps(&self) -> bool {
        true
    }

    fn accepting(&self) -> bool {
        let shared = &self.shared;
        !(shared.failing.load(Ordering::Relaxed)
            || shared.full.load(Ordering::Relaxed)
            || shared.overloaded.load(Ordering::Relaxed)
            || shared.stopping.load(Ordering::Relaxed))
    }

    fn gate(&self) -> Gate<'_> {
        Gate::enter(&self.shared.gate)
    }

    fn publish(&self, accepted: Accepted<'_>) -> Position {
        let Accepted {
            message,
            retain,
            mut deliveries,
            received,
        } = accepted;
        deliveries.retain(|delivery| delivery.ticket.is_some());
        if deliveries.is_empty() && retain.is_none() && received.is_none() {
            return DONE;
        }
        if self.shared.stopping.load(Ordering::Acquire) {
            // The gate is held: this cannot change meanwhile. What has never been written must not reach anybody at QoS 2.
            for ticket in deliveries
                .iter()
                .filter_map(|delivery| delivery.ticket.as_ref())
            {
                ticket.set_position(NEVER);
            }
            return NEVER;
        }
        self.tell(|batch, position| {
            for ticket in deliveries
                .iter()
                .filter_map(|delivery| delivery.ticket.as_ref())
            {
                ticket.set_position(position);
            }
            if let Some((session, identifier)) = received {
                batch
                    .received
                    .insert(received_key(session, identifier.get()), true);
            }
            if let Some(version) = retain {
                let kept = if message.payload().is_empty() {
                    Retain::Cleared
                } else {
                    Retain::Set(message.clone())
                };
                batch.retain(message.topic().clone(), version, kept);
            }
            batch.bytes = batch.bytes.saturating_add(
                message.queued_bytes() + deliveries.len() * std::mem::size_of::<Delivery>(),
            );
            if !deliveries.is_empty() {
                batch.published.push(Published {
                    message: message.clone(),
                    deliveries,
                });
            }
        })
    }

    fn settle(&self, ticket: &Ticket) {
        if ticket.settle() {
            self.mention(|batch, now| batch.settle(key_of(ticket), now));
        }
    }

    fn hand_over(&self, ticket: &Ticket) -> Position {
        if ticket.is_settled() {
            return DONE;
        }
        self.tell(|batch, _| _ = batch.handed_over.insert(key_of(ticket)))
    }

    fn release(&self, session: SessionId, identifier: PacketIdentifier) -> Position {
        self.tell(|batch, _| {
            batch
                .received
                .insert(received_key(session, identifier.get()), false);
        })
    }

    fn save(&self, record: SessionRecord) -> Position {
        self.tell(|batch, _| {
            if !batch.removed.contains(&record.id) {
                batch.sessions.insert(record.id, record);
            }
        })
    }

    fn remove(&self, session: SessionId) -> Position {
        self.tell(|batch, _| batch.remove(session))
    }

    fn subscribe(
        &self,
        session: SessionId,
        subscription: &Subscription,
        subscribed: Subscribed,
    ) -> Position {
        self.tell(|batch, _| {
            batch
                .subscriptions
                .insert((session, subscription.clone()), Some((subscribed, None)));
        })
    }

    fn subscribe_replaying(
        &self,
        session: SessionId,
        subscription: &Subscription,
        subscribed: Subscribed,
        replaying: Replaying,
    ) -> Position {
        self.tell(|batch, _| {
            let known = Some((subscribed, Some(replaying)));
            batch
                .subscriptions
                .insert((session, subscription.clone()), known);
        })
    }

    fn unsubscribe(&self, session: SessionId, subscription: &Subscription) -> Position {
        self.tell(|batch, _| {
            batch
                .subscriptions
                .insert((session, subscription.clone()), None);
        })
    }

    fn sent(&self, session: SessionId, sequence: u64) {
        self.mention(|batch, now| batch.sent(session, sequence, now));
    }

    fn forget_retained(&self, topic: &TopicName, version: u64) {
        self.mention(|batch, now| batch.expired(topic.clone(), version, now));
    }

    fn current(&self) -> Position {
        let batch = self.shared.pending.lock();
        let waits = batch.is_promised();
        self.position(if waits {
            batch.number
        } else {
            batch.number.saturating_sub(1)
        })
    }

    fn committed(&self) -> Position {
        self.shared.waiters.committed()
    }

    fn wait(&self, position: Position, waker: &Waker) -> bool {
        match self.shared.options.durability {
            Durability::Sync => self.shared.waiters.wait(position, waker),
            Durability::Interval | Durability::None => true,
        }
    }

    fn fetch(&self, fetch: Fetch) {
        let shared = &self.shared;
        let position = {
            // A publisher that holds the gate may have numbered what it has not told yet. The commit that begins now waits for it, and then has it.
            let mut batch = shared.pending.lock();
            batch.forced = true;
            Position(batch.number)
        };
        shared.work.notify_one();
        // A session asks for one page at a time: the list is no longer than there are sessions.
        shared.fetches.lock().push_back(Wanted { fetch, position });
        shared.fetch_work.notify_one();
    }

    fn close(&self) {
        Embedded::close(self);
    }
}

impl Embedded {
    /// Somebody waits for what is told.
    fn tell(&self, word: impl FnOnce(&mut Batch, Position)) -> Position {
        let shared = &self.shared;
        let (position, wakes) = {
            let mut batch = shared.pending.lock();
            if shared.stopping.load(Ordering::Acquire) {
                return NEVER;
            }
            let position = self.position(batch.number);
            word(&mut batch, position);
            let overloaded = batch.bytes >= WAITING_MAX;
            if overloaded {
                shared.overloaded.store(true, Ordering::Relaxed);
            }
            (position, batch.promise(Instant::now()) || overloaded)
        };
        if wakes {
            shared.work.notify_one();
        }
        position
    }

    /// Nobody does; it may wait for company.
    fn mention(&self, word: impl FnOnce(&mut Batch, Instant)) {
        let wakes = {
            let mut batch = self.shared.pending.lock();
            if self.shared.stopping.load(Ordering::Acquire) {
                return;
            }
            let was_empty = batch.is_empty();
            word(&mut batch, Instant::now());
            was_empty
        };
        if wakes {
            self.shared.work.notify_one();
        }
    }

    /// Only `sync` lets anybody wait for the disk.
    fn position(&self, number: u64) -> Position {
        match self.shared.options.durability {
            Durability::Sync => Position(number),
            Durability::Interval | Durability::None => DONE,
        }
    }
}
