//! One commit into the engine: all of a batch, or nothing of it.

use super::clock::milliseconds;
use super::record::{self, Body, Row};
use super::seal::Writes;
use super::tables::{
    COMMIT, COUNTS, MESSAGES, META, NEXT_SESSION, QUEUE, QueueKey, RECEIVED, REMOVED, RETAINED,
    ReceivedKey, SENT, SESSIONS, SUBSCRIPTIONS, Table, queue_key, received_key,
};
use crate::session::SessionId;
use ahash::AHashMap;
use redb::{Database, ReadableTable, WriteTransaction};
use std::time::SystemTime;

type Outcome<T = ()> = Result<T, redb::Error>;

/// Synced when it returns. Writing the same batch twice is the same as once.
pub(super) fn write(database: &Database, writes: &Writes, reclaim: &mut Reclaim) -> Outcome {
    let transaction = database.begin_write()?;
    let mut released = Released::default();
    sessions(&transaction, writes)?;
    queue(&transaction, writes, &mut released)?;
    retained(&transaction, writes)?;
    let step = reclaim.step(&transaction, &mut released)?;
    released.write(&transaction)?;
    meta(&transaction, writes)?;
    transaction.commit()?;
    reclaim.done(step, &writes.removed);
    Ok(())
}

fn sessions(transaction: &WriteTransaction, writes: &Writes) -> Outcome {
    if !writes.removed.is_empty() {
        let mut sessions = transaction.open_table(SESSIONS)?;
        let mut removed = transaction.open_table(REMOVED)?;
        for SessionId(id) in &writes.removed {
            sessions.remove(id)?;
            removed.insert(
                id,
                record::mark(Table::Removed, &id.to_be_bytes()).as_slice(),
            )?;
        }
    }
    if !writes.sessions.is_empty() {
        let mut table = transaction.open_table(SESSIONS)?;
        for (SessionId(id), range) in &writes.sessions {
            table.insert(id, writes.get(range))?;
        }
    }
    if !writes.subscriptions.is_empty() {
        let mut table = transaction.open_table(SUBSCRIPTIONS)?;
        for (key, range) in &writes.subscriptions {
            match range {
                Some(range) => table.insert(key.as_slice(), writes.get(range))?,
                None => table.remove(key.as_slice())?,
            };
        }
    }
    if !writes.received.is_empty() {
        let mut table = transaction.open_table(RECEIVED)?;
        for (key, taken) in &writes.received {
            if *taken {
                table.insert(key, record::mark(Table::Received, key).as_slice())?;
            } else {
                table.remove(key)?;
            }
        }
    }
    if !writes.sent.is_empty() {
        let mut table = transaction.open_table(SENT)?;
        for (SessionId(id), sequence) in &writes.sent {
            let record = record::number(Table::Sent, &id.to_be_bytes(), *sequence);
            table.insert(id, record.as_slice())?;
        }
    }
    Ok(())
}

fn queue(transaction: &WriteTransaction, writes: &Writes, released: &mut Released) -> Outcome {
    if !writes.messages.is_empty() {
        let mut messages = transaction.open_table(MESSAGES)?;
        let mut counts = transaction.open_table(COUNTS)?;
        for (id, range, count) in &writes.messages {
            messages.insert(id, writes.get(range))?;
            let record = record::number(Table::Counts, &id.to_be_bytes(), *count);
            counts.insert(id, record.as_slice())?;
        }
    }
    let mut queue = transaction.open_table(QUEUE)?;
    for (key, range) in &writes.queue {
        queue.insert(key, writes.get(range))?;
    }
    for (key, range) in &writes.handed_over {
        // What was settled meanwhile stays gone.
        let Some(old) = queue.get(key)?.map(|old| released.reference(old.value())) else {
            continue;
        };
        queue.insert(key, writes.get(range))?;
        released.count(old);
    }
    for key in &writes.settled {
        if let Some(old) = queue.remove(key)? {
            let old = released.reference(old.value());
            released.count(old);
        }
    }
    Ok(())
}

fn retained(transaction: &WriteTransaction, writes: &Writes) -> Outcome {
    if writes.retained.is_empty() && writes.expired.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(RETAINED)?;
    // Told by a sweep that may be late: only what has expired goes, not what took its place.
    let now = milliseconds(SystemTime::now());
    for topic in &writes.expired {
        let expired = table
            .get(topic.as_str())?
            .is_some_and(|old| expiry(old.value()).is_some_and(|at| at <= now));
        if expired {
            table.remove(topic.as_str())?;
        }
    }
    for (topic, range) in &writes.retained {
        match range {
            Some(range) => table.insert(topic.as_str(), writes.get(range))?,
            None => table.remove(topic.as_str())?,
        };
    }
    Ok(())
}

/// Of a message's header: its flags, then when it expires.
fn expiry(message: &[u8]) -> Option<u64> {
    let (_, rest) = message.split_first()?;
    let (at, _) = rest.split_first_chunk::<8>()?;
    Some(u64::from_be_bytes(*at)).filter(|at| *at != 0)
}

fn meta(transaction: &WriteTransaction, writes: &Writes) -> Outcome {
    let mut meta = transaction.open_table(META)?;
    let commit = record::number(Table::Meta, COMMIT.as_bytes(), writes.number);
    meta.insert(COMMIT, commit.as_slice())?;
    let Some(highest) = writes.sessions.iter().map(|(SessionId(id), _)| *id).max() else {
        return Ok(());
    };
    let known = meta
        .get(NEXT_SESSION)?
        .and_then(|old| record::take_number(Table::Meta, NEXT_SESSION.as_bytes(), old.value()).ok())
        .unwrap_or(0);
    if highest >= known {
        let next = highest.saturating_add(1);
        let record = record::number(Table::Meta, NEXT_SESSION.as_bytes(), next);
        meta.insert(NEXT_SESSION, record.as_slice())?;
    }
    Ok(())
}

/// References to shared messages that rows of this commit gave up: the last one takes the message along.
#[derive(Default)]
struct Released(AHashMap<u64, u64>);

impl Released {
    fn reference(&self, row: &[u8]) -> Option<u64> {
        let (kind, _) = row.split_last_chunk::<8>()?;
        Row::reference(kind)
    }

    fn count(&mut self, reference: Option<u64>) {
        if let Some(id) = reference {
            *self.0.entry(id).or_default() += 1;
        }
    }

    fn write(self, transaction: &WriteTransaction) -> Outcome {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut messages = transaction.open_table(MESSAGES)?;
        let mut counts = transaction.open_table(COUNTS)?;
        for (id, released) in self.0 {
            let key = id.to_be_bytes();
            let count = counts
                .get(id)?
                .and_then(|old| record::take_number(Table::Counts, &key, old.value()).ok());
            // A count that cannot be read keeps its message: `check` tells of it.
            let Some(count) = count else { continue };
            match count.saturating_sub(released) {
                0 => {
                    counts.remove(id)?;
                    messages.remove(id)?;
                }
                left => {
                    counts.insert(id, record::number(Table::Counts, &key, left).as_slice())?;
                }
            }
        }
        Ok(())
    }
}

/// Sessions that have ended, whose rows go in steps so that no commit is long.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    ended: Vec<SessionId>,
}

const STEP: usize = 10_000;

impl Reclaim {
    pub(super) fn new(ended: Vec<SessionId>) -> Self {
        Self { ended }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// Takes at most a step's rows; true when the session it works at has none left.
    fn step(&self, transaction: &WriteTransaction, released: &mut Released) -> Outcome<bool> {
        let Some(SessionId(id)) = self.ended.last().copied() else {
            return Ok(false);
        };
        let mut left = STEP;
        let (first, last) = (
            queue_key(SessionId(id), 0),
            queue_key(SessionId(id), u64::MAX),
        );
        {
            let mut queue = transaction.open_table(QUEUE)?;
            let mut keys: Vec<QueueKey> = Vec::new();
            for row in queue.range::<&QueueKey>(&first..=&last)?.take(left) {
                let (key, value) = row?;
                released.count(released.reference(value.value()));
                keys.push(*key.value());
            }
            for key in &keys {
                queue.remove(key)?;
            }
            left = left.saturating_sub(keys.len());
        }
        if left == 0 {
            return Ok(false);
        }
        // Subscriptions and identifiers of one session are bounded well below a step.
        let (first, last) = (
            received_key(SessionId(id), 0),
            received_key(SessionId(id), u16::MAX),
        );
        transaction
            .open_table(RECEIVED)?
            .retain_in::<&ReceivedKey, _>(&first..=&last, |_, _| false)?;
        let (from, to) = (id.to_be_bytes(), id.saturating_add(1).to_be_bytes());
        transaction
            .open_table(SUBSCRIPTIONS)?
            .retain_in(from.as_slice()..to.as_slice(), |_, _| false)?;
        transaction.open_table(SENT)?.remove(id)?;
        transaction.open_table(REMOVED)?.remove(id)?;
        Ok(true)
    }

    fn done(&mut self, finished: bool, removed: &[SessionId]) {
        if finished {
            self.ended.pop();
        }
        self.ended.extend_from_slice(removed);
    }
}

/// Whether a row is of a delivery that the client has in part.
pub(super) fn is_handed_over(row: &Row<'_>) -> bool {
    row.body == Body::HandedOver
}
