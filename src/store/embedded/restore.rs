//! What a start finds: every record is read and judged; of each queue only its window is kept in memory.

use super::clock::{Clock, milliseconds};
use super::error::EngineError;
use super::record::{
    self, Authors, Body, Row, Unreadable, take_message, take_retained, take_session,
    take_subscription,
};
use super::tables::{
    COUNTS, MESSAGES, META, NEXT_SESSION, QUEUE, QueueKey, RECEIVED, REMOVED, RETAINED, SENT,
    SESSIONS, SUBSCRIPTIONS, Table, of_queue_key, of_received_key, of_subscription_key,
};
use crate::mqtt::PacketIdentifier;
use crate::router::{Restored, RestoredSession, Spilled, WINDOW_BYTES, WINDOW_MESSAGES};
use crate::session::{Message, SessionId, Ticket};
use ahash::{AHashMap, AHashSet};
use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What a start makes of the file.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) restored: Restored,
    pub(super) damage: Damage,
    /// Queue rows that have expired or lead nowhere.
    pub(super) expired: Vec<QueueKey>,
    pub(super) expired_retained: Vec<crate::mqtt::TopicName>,
    /// Sessions that have ended, or are not known, and have rows.
    pub(super) ended: Vec<SessionId>,
    /// Sessions whose time was up: their records still stand.
    pub(super) expired_sessions: Vec<SessionId>,
    pub(super) next_message: u64,
    pub(super) queued: usize,
}

/// What could not be read, the first few by name.
#[derive(Debug, Default)]
pub(super) struct Damage {
    pub(super) named: Vec<String>,
    pub(super) records: usize,
}

/// Reads all of it; `now` and `system` are the moment of the start.
pub(super) fn restore(
    database: &Database,
    clock: Clock,
    now: Instant,
    system: SystemTime,
) -> Result<Start, EngineError> {
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    let mut reading = Reading {
        transaction,
        clock,
        now,
        now_on_disk: milliseconds(system),
        authors: Authors::default(),
        sessions: BTreeMap::new(),
        removed: AHashSet::new(),
        strays: AHashSet::new(),
        counts: AHashMap::new(),
        shared: AHashMap::new(),
        start: Start::default(),
    };
    reading.meta()?;
    reading.sessions()?;
    reading.subscriptions()?;
    reading.received()?;
    reading.sent()?;
    reading.messages()?;
    reading.queue()?;
    reading.counted();
    reading.retained()?;
    Ok(reading.into_start())
}

struct Reading {
    transaction: ReadTransaction,
    clock: Clock,
    now: Instant,
    now_on_disk: u64,
    authors: Authors,
    sessions: BTreeMap<SessionId, RestoredSession>,
    /// Ended before the last stop, and not reclaimed yet.
    removed: AHashSet<SessionId>,
    /// Named by a row and by no session.
    strays: AHashSet<SessionId>,
    /// Of each shared message the rows that should refer to it.
    counts: AHashMap<u64, u64>,
    /// Shared messages that a window holds.
    shared: AHashMap<u64, Arc<Message>>,
    start: Start,
}

impl Damage {
    fn add(&mut self, table: Table, place: &dyn std::fmt::Display, why: &Unreadable) {
        const NAMED: usize = 10;
        self.records += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("{} {place}: {why}", table.name()));
        }
    }

    pub(super) fn told(mut self) -> Vec<String> {
        if self.records > self.named.len() {
            let more = self.records - self.named.len();
            self.named.push(format!("and {more} more records"));
        }
        self.named
    }
}

impl Reading {
    fn meta(&mut self) -> Result<(), redb::Error> {
        let meta = self.transaction.open_table(META)?;
        if let Some(record) = meta.get(NEXT_SESSION)? {
            match record::take_number(Table::Meta, NEXT_SESSION.as_bytes(), record.value()) {
                Ok(next) => self.start.restored.next_session = next,
                Err(why) => self.start.damage.add(Table::Meta, &NEXT_SESSION, &why),
            }
        }
        let removed = self.transaction.open_table(REMOVED)?;
        for row in removed.iter()? {
            let (id, record) = row?;
            let id = id.value();
            match record::open(Table::Removed, &id.to_be_bytes(), record.value()) {
                Ok(_) => _ = self.removed.insert(SessionId(id)),
                Err(why) => self.start.damage.add(Table::Removed, &id, &why),
            }
        }
        Ok(())
    }

    fn sessions(&mut self) -> Result<(), redb::Error> {
        let table = self.transaction.open_table(SESSIONS)?;
        for row in table.iter()? {
            let (id, record) = row?;
            let id = id.value();
            let session = record::open(Table::Sessions, &id.to_be_bytes(), record.value())
                .and_then(|fields| {
                    take_session(SessionId(id), Bytes::copy_from_slice(fields), self.clock)
                });
            let record = match session {
                Ok(record) => record,
                Err(why) => {
                    self.start.damage.add(Table::Sessions, &id, &why);
                    continue;
                }
            };
            let is_over = record.expires_at.is_some_and(|at| at <= self.now);
            // One with a will is kept: its end publishes it. [MQTT-3.1.2-8]
            if is_over && record.will.is_none() {
                self.start.expired_sessions.push(SessionId(id));
                continue;
            }
            self.sessions.insert(
                SessionId(id),
                RestoredSession {
                    record,
                    subscriptions: Vec::new(),
                    replaying: Vec::new(),
                    received: Vec::new(),
                    handed_over: Vec::new(),
                    sent: 0,
                    window: Vec::new(),
                    spilled: Spilled::default(),
                    last_sequence: 0,
                },
            );
        }
        Ok(())
    }

    fn subscriptions(&mut self) -> Result<(), redb::Error> {
        let table = self.transaction.open_table(SUBSCRIPTIONS)?;
        for row in table.iter()? {
            let (key, record) = row?;
            let key = key.value();
            let Some((id, filter)) = of_subscription_key(key) else {
                let why = Unreadable::Short("a key");
                self.start
                    .damage
                    .add(Table::Subscriptions, &key.len(), &why);
                continue;
            };
            let subscription = record::open(Table::Subscriptions, key, record.value())
                .and_then(|fields| take_subscription(filter, fields));
            match (subscription, self.sessions.get_mut(&id)) {
                (Ok((subscription, subscribed, replaying)), Some(session)) => {
                    let replaying = replaying.map(|replaying| (subscription.clone(), replaying));
                    session.replaying.extend(replaying);
                    session.subscriptions.push((subscription, subscribed));
                }
                (Ok(_), None) => _ = self.strays.insert(id),
                (Err(why), _) => self.start.damage.add(Table::Subscriptions, &id.0, &why),
            }
        }
        Ok(())
    }

    fn received(&mut self) -> Result<(), redb::Error> {
        let table = self.transaction.open_table(RECEIVED)?;
        for row in table.iter()? {
            let (key, record) = row?;
            let (id, identifier) = of_received_key(key.value());
            let identifier = record::open(Table::Received, key.value(), record.value())
                .and(PacketIdentifier::new(identifier).ok_or(Unreadable::Invalid("an identifier")));
            match (identifier, self.sessions.get_mut(&id)) {
                (Ok(identifier), Some(session)) => session.received.push(identifier),
                (Ok(_), None) => _ = self.strays.insert(id),
                (Err(why), _) => self.start.damage.add(Table::Received, &id.0, &why),
            }
        }
        Ok(())
    }

    fn sent(&mut self) -> Result<(), redb::Error> {
        let table = self.transaction.open_table(SENT)?;
        for row in table.iter()? {
            let (id, record) = row?;
            let id = id.value();
            let sent = record::take_number(Table::Sent, &id.to_be_bytes(), record.value());
            match (sent, self.sessions.get_mut(&SessionId(id))) {
                (Ok(sent), Some(session)) => {
                    session.sent = sent;
                    session.last_sequence = sent;
                }
                (Ok(_), None) => _ = self.strays.insert(SessionId(id)),
                (Err(why), _) => self.start.damage.add(Table::Sent, &id, &why),
            }
        }
        Ok(())
    }

    /// Judges what several queues share; what a window needs is read again there.
    fn messages(&mut self) -> Result<(), redb::Error> {
        let counts = self.transaction.open_table(COUNTS)?;
        for row in counts.iter()? {
            let (id, record) = row?;
            let id = id.value();
            match record::take_number(Table::Counts, &id.to_be_bytes(), record.value()) {
                Ok(count) => _ = self.counts.insert(id, count),
                Err(why) => self.start.damage.add(Table::Counts, &id, &why),
            }
        }
        let messages = self.transaction.open_table(MESSAGES)?;
        for row in messages.iter()? {
            let (id, record) = row?;
            let id = id.value();
            self.start.next_message = self.start.next_message.max(id.saturating_add(1));
            if let Err(why) = record::open(Table::Messages, &id.to_be_bytes(), record.value()) {
                self.start.damage.add(Table::Messages, &id, &why);
            }
        }
        Ok(())
    }

    fn queue(&mut self) -> Result<(), redb::Error> {
        let table = self.transaction.open_table(QUEUE)?;
        let messages = self.transaction.open_table(MESSAGES)?;
        let mut window = Window::default();
        for row in table.iter()? {
            let (key, record) = row?;
            let key = key.value();
            let (id, sequence) = of_queue_key(key);
            if window.session != Some(id) {
                window = Window::of(id);
            }
            let read = record::open(Table::Queue, key, record.value())
                .and_then(Row::take)
                .and_then(|row| self.row(key, row, &messages, &mut window));
            if let Err(why) = read {
                let place = format!("of session {}, sequence {sequence}", id.0);
                self.start.damage.add(Table::Queue, &place, &why);
            }
        }
        Ok(())
    }

    fn row(
        &mut self,
        key: &QueueKey,
        row: Row<'_>,
        messages: &impl ReadableTable<u64, &'static [u8]>,
        window: &mut Window,
    ) -> Result<(), Unreadable> {
        let (id, sequence) = of_queue_key(key);
        if let Body::Reference(message) = row.body {
            match self.counts.get_mut(&message) {
                Some(count) => *count = count.saturating_sub(1),
                None => return Err(Unreadable::Dangling(message)),
            }
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            self.strays.insert(id);
            return Ok(());
        };
        session.last_sequence = session.last_sequence.max(sequence);
        if row.body == Body::HandedOver {
            session
                .handed_over
                .push(Arc::new(Ticket::written(id, sequence)));
            return Ok(());
        }
        let was_sent = sequence <= session.sent;
        // What the client may have stays: it is sent again under its identifier, expired or not. [MQTT-4.4.0-1]
        if !was_sent && row.expires_at != 0 && row.expires_at <= self.now_on_disk {
            self.start.expired.push(*key);
            return Ok(());
        }
        self.start.queued += 1;
        let fits = was_sent || window.takes(&row);
        if !fits && !row.is_shared() {
            session.spilled.messages += 1;
            session.spilled.bytes = session.spilled.bytes.saturating_add(row.queued_bytes);
            return Ok(());
        }
        let message = match row.body {
            Body::Inline(bytes) => Arc::new(take_message(
                Bytes::copy_from_slice(bytes),
                self.clock,
                &mut self.authors,
            )?),
            Body::Reference(message) => match self.shared.get(&message) {
                Some(message) => Arc::clone(message),
                None => {
                    let read = Arc::new(shared(messages, message, self.clock, &mut self.authors)?);
                    self.shared.insert(message, Arc::clone(&read));
                    read
                }
            },
            Body::HandedOver => return Ok(()),
        };
        session.window.push(row.delivery(id, sequence, message)?);
        Ok(())
    }

    /// Messages that no row refers to any more: left by nothing that we know of, and said.
    fn counted(&mut self) {
        for (message, left) in std::mem::take(&mut self.counts) {
            if left != 0 {
                tracing::warn!(
                    message,
                    left,
                    "a stored message has fewer receivers than it counts"
                );
            }
        }
    }

    fn retained(&mut self) -> Result<(), redb::Error> {
        let table = self.transaction.open_table(RETAINED)?;
        for row in table.iter()? {
            let (topic, record) = row?;
            let topic = topic.value();
            let message = record::open(Table::Retained, topic.as_bytes(), record.value()).and_then(
                |fields| {
                    take_retained(
                        Bytes::copy_from_slice(fields),
                        self.clock,
                        &mut self.authors,
                    )
                },
            );
            match message {
                Ok((message, _)) if message.is_expired(self.now) => {
                    self.start.expired_retained.push(message.topic().clone());
                }
                Ok((message, version)) => {
                    let retained = &mut self.start.restored.retained;
                    retained.push((Arc::new(message), version));
                }
                Err(why) => self.start.damage.add(Table::Retained, &topic, &why),
            }
        }
        Ok(())
    }

    fn into_start(mut self) -> Start {
        let highest = self.sessions.keys().next_back().map_or(0, |id| id.0);
        let restored = &mut self.start.restored;
        restored.next_session = restored.next_session.max(highest.saturating_add(1));
        restored.sessions = self.sessions.into_values().collect();
        let expired: AHashSet<_> = self.start.expired_sessions.iter().copied().collect();
        self.strays.retain(|id| !expired.contains(id));
        self.removed.extend(self.strays);
        self.start.ended = self.removed.into_iter().collect();
        self.start
    }
}

pub(super) fn shared(
    messages: &impl ReadableTable<u64, &'static [u8]>,
    id: u64,
    clock: Clock,
    authors: &mut Authors,
) -> Result<Message, Unreadable> {
    let record = messages
        .get(id)
        .ok()
        .flatten()
        .ok_or(Unreadable::Dangling(id))?;
    let fields = record::open(Table::Messages, &id.to_be_bytes(), record.value())?;
    take_message(Bytes::copy_from_slice(fields), clock, authors)
}

/// How much of one queue is in memory. Once a row did not fit, none behind it does: order is kept.
#[derive(Default)]
struct Window {
    session: Option<SessionId>,
    messages: usize,
    bytes: usize,
    closed: bool,
}

impl Window {
    fn of(session: SessionId) -> Self {
        Self {
            session: Some(session),
            ..Self::default()
        }
    }

    fn takes(&mut self, row: &Row<'_>) -> bool {
        let bytes = self.bytes.saturating_add(row.queued_bytes);
        // One message is taken however large it is: a window that holds none would never move.
        if self.closed
            || self.messages >= WINDOW_MESSAGES
            || (self.messages > 0 && bytes > WINDOW_BYTES)
        {
            self.closed = true;
            return false;
        }
        self.messages += 1;
        self.bytes = bytes;
        true
    }
}
