//! A batch becomes bytes: each entry that is not settled yet is encoded once, and from here on it is being written.

use super::batch::{Batch, Lazy, Published, Retain, key_of};
use super::clock::Clock;
use super::record::{self, Form, Row, RowHead, put_message, put_session, put_subscription};
use super::tables::{QueueKey, ReceivedKey, Table, subscription_key};
use crate::mqtt::TopicName;
use crate::session::{Delivery, SessionId};
use ahash::AHashSet;
use bytes::BytesMut;
use std::ops::Range;
use std::time::Instant;

/// All that a commit writes. Written again as it is when the disk fails.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) number: u64,
    /// The records below, one after the other.
    pub(super) bytes: BytesMut,
    pub(super) sessions: Vec<(SessionId, Range<usize>)>,
    pub(super) removed: Vec<SessionId>,
    pub(super) subscriptions: Vec<(Vec<u8>, Option<Range<usize>>)>,
    pub(super) received: Vec<(ReceivedKey, bool)>,
    /// With the number of rows that refer to it.
    pub(super) messages: Vec<(u64, Range<usize>, u64)>,
    pub(super) queue: Vec<(QueueKey, Range<usize>)>,
    pub(super) handed_over: Vec<(QueueKey, Range<usize>)>,
    pub(super) settled: Vec<QueueKey>,
    pub(super) sent: Vec<(SessionId, u64)>,
    pub(super) retained: Vec<(TopicName, Option<Range<usize>>)>,
    pub(super) expired: Vec<TopicName>,
}

/// What a batch comes to.
pub(super) enum Sealed {
    Write(Box<Writes>),
    /// All of it was settled before it was written: done, but for what nobody waits for.
    Nothing(Lazy, Option<Instant>),
}

/// `next_message`: numbers those that stand in `messages`.
pub(super) fn seal(batch: Batch, clock: Clock, next_message: &mut u64) -> Sealed {
    let mut writes = Writes {
        number: batch.number,
        ..Writes::default()
    };
    let (removed, since, promised) = (&batch.removed, batch.since(), batch.is_promised());
    for published in &batch.published {
        writes.publish(published, removed, clock, next_message);
    }
    for (id, session) in &batch.sessions {
        let range = writes.record(Table::Sessions, &id.0.to_be_bytes(), |out| {
            put_session(session, clock, out);
        });
        writes.sessions.push((*id, range));
    }
    for ((session, subscription), subscribed) in &batch.subscriptions {
        if removed.contains(session) {
            continue;
        }
        let key = subscription_key(*session, &subscription.to_string());
        let range = subscribed.as_ref().map(|(subscribed, replaying)| {
            writes.record(Table::Subscriptions, &key, |out| {
                put_subscription(*subscribed, replaying.as_ref(), out);
            })
        });
        writes.subscriptions.push((key, range));
    }
    for (topic, (version, retain)) in &batch.retained {
        let range = match retain {
            Retain::Set(message) => {
                Some(
                    writes.record(Table::Retained, topic.as_str().as_bytes(), |out| {
                        put_message(message, Form::Retained(*version), clock, out);
                    }),
                )
            }
            Retain::Cleared => None,
        };
        writes.retained.push((topic.clone(), range));
    }
    for key in &batch.handed_over {
        let range = writes.record(Table::Queue, key, Row::put_handed_over);
        writes.handed_over.push((*key, range));
    }
    writes.received = batch.received.into_iter().collect();
    writes.removed = removed.iter().copied().collect();
    // Promised and empty: every ticket of it was settled. Without a promise it is the lazy part's own turn.
    if promised && writes.is_empty() {
        return Sealed::Nothing(batch.lazy, since);
    }
    writes.settled = batch.lazy.settled;
    writes.settled.sort_unstable();
    writes.sent = batch.lazy.sent.into_iter().collect();
    writes
        .sent
        .retain(|(session, _)| !removed.contains(session));
    writes.expired = batch.lazy.expired.into_iter().collect();
    writes.queue.sort_unstable_by_key(|(key, _)| *key);
    Sealed::Write(Box::new(writes))
}

impl Writes {
    pub(super) fn get(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// Not even what nobody waits for.
    pub(super) fn is_idle(&self) -> bool {
        self.is_empty()
            && self.settled.is_empty()
            && self.sent.is_empty()
            && self.expired.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.removed.is_empty()
            && self.subscriptions.is_empty()
            && self.received.is_empty()
            && self.queue.is_empty()
            && self.handed_over.is_empty()
            && self.retained.is_empty()
    }

    /// One payload is written once, however many sessions queue it.
    fn publish(
        &mut self,
        published: &Published,
        removed: &AHashSet<SessionId>,
        clock: Clock,
        next_message: &mut u64,
    ) {
        let message = &published.message;
        // From here on a settlement finds the entry written, and takes it back with a later commit.
        let written: Vec<&Delivery> = published
            .lasting(removed)
            .filter(|delivery| {
                delivery
                    .ticket
                    .as_ref()
                    .is_some_and(|ticket| ticket.begin_writing())
            })
            .collect();
        let reference = (written.len() > 1).then(|| {
            let id = *next_message;
            *next_message += 1;
            let range = self.record(Table::Messages, &id.to_be_bytes(), |out| {
                put_message(message, Form::Queued, clock, out);
            });
            self.messages
                .push((id, range, u64::try_from(written.len()).unwrap_or(u64::MAX)));
            id
        });
        for delivery in written {
            let Some(ticket) = &delivery.ticket else {
                continue;
            };
            let key = key_of(ticket);
            let head = RowHead {
                delivery,
                expires_at: clock.to_disk(message.expires_at()),
            };
            let range = self.record(Table::Queue, &key, |out| match reference {
                Some(id) => head.put_reference(id, out),
                None => {
                    head.put_inline(out);
                    put_message(message, Form::Queued, clock, out);
                }
            });
            self.queue.push((key, range));
        }
    }

    fn record(
        &mut self,
        table: Table,
        key: &[u8],
        put: impl FnOnce(&mut BytesMut),
    ) -> Range<usize> {
        let start = self.bytes.len();
        put(&mut self.bytes);
        record::seal(table, key, start, &mut self.bytes);
        start..self.bytes.len()
    }
}
