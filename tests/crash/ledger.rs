//! What a store was told and when, so that what it gives back can be held against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wardgate::mqtt::{QoS, Subscription};
use wardgate::router::{RestoredSession, Subscribed};
use wardgate::session::{Delivery, Message, Position, SessionId, Ticket};

/// Values that something had, each with the commit that makes it safe.
pub struct History<T>(Vec<(Position, T)>);

#[derive(Default)]
pub struct Ledger {
    /// The tag of a session's record; `None`: it has ended.
    pub records: BTreeMap<SessionId, History<Option<u32>>>,
    pub subscriptions: BTreeMap<(SessionId, Subscription), History<Option<u8>>>,
    /// QoS 2 identifiers that are held for publishers.
    pub received: BTreeMap<(SessionId, u16), History<bool>>,
    pub retained: BTreeMap<String, History<Option<u64>>>,
    pub entries: BTreeMap<(SessionId, u64), Entry>,
    /// The highest that was told.
    pub sent: BTreeMap<SessionId, u64>,
}

/// A delivery in a session's queue.
pub struct Entry {
    pub number: u64,
    pub qos: QoS,
    pub position: Position,
    pub ticket: Arc<Ticket>,
    pub handed_over: Option<Position>,
    pub settled: bool,
}

/// All that a restarted store gave, its pages read to the end.
pub struct Found {
    pub sessions: Vec<FoundSession>,
    pub retained: Vec<Arc<Message>>,
}

pub struct FoundSession {
    pub session: RestoredSession,
    pub queue: Vec<Delivery>,
}

impl<T> History<T> {
    pub fn new(position: Position, value: T) -> Self {
        Self(vec![(position, value)])
    }

    pub fn empty() -> Self {
        Self(Vec::new())
    }

    pub fn push(&mut self, position: Position, value: T) {
        self.0.push((position, value));
    }

    fn last(&self) -> Option<&T> {
        self.0.last().map(|(_, value)| value)
    }

    /// What it can be when everything up to that commit is safe, and perhaps more; `default` is what it was before the first.
    fn possible<'a>(&'a self, committed: Position, default: &'a T) -> Vec<&'a T> {
        let safe = self.0.iter().rposition(|(at, _)| *at <= committed);
        let start = safe.unwrap_or(0);
        let values = self.0[start..].iter().map(|(_, value)| value);
        values.chain(safe.is_none().then_some(default)).collect()
    }
}

impl History<Option<u32>> {
    /// Of a session's record: it was not told to end.
    pub fn stands(&self) -> bool {
        self.last().is_some_and(Option::is_some)
    }
}

impl Ledger {
    /// Every difference that a loss of power does not excuse.
    pub fn compare(&self, found: &Found, committed: Position) -> Vec<String> {
        let mut faults = Vec::new();
        // A commit is there whole or not at all, and so are those before it: the newest that shows counts as safe.
        let committed = committed.max(self.newest_visible(found));
        let sessions: BTreeMap<SessionId, &FoundSession> = found
            .sessions
            .iter()
            .map(|found| (found.session.record.id, found))
            .collect();
        self.compare_records(&sessions, committed, &mut faults);
        self.compare_entries(&sessions, committed, &mut faults);
        self.compare_retained(found, committed, &mut faults);
        faults
    }

    fn newest_visible(&self, found: &Found) -> Position {
        let keys = found.sessions.iter().flat_map(FoundSession::keys);
        keys.filter_map(|key| self.entries.get(&key))
            .map(|entry| entry.position)
            .max()
            .unwrap_or_default()
    }

    fn compare_records(
        &self,
        sessions: &BTreeMap<SessionId, &FoundSession>,
        committed: Position,
        faults: &mut Vec<String>,
    ) {
        for (id, history) in &self.records {
            let tag = sessions.get(id).map(|found| {
                let record = &found.session.record;
                record.session_expiry_interval
            });
            if !history.possible(committed, &None).contains(&&tag) {
                faults.push(format!("LOST or stale: the record of {id:?} is {tag:?}"));
            }
        }
        for id in sessions.keys() {
            if !self.records.contains_key(id) {
                faults.push(format!("{id:?} was never made"));
            }
        }
        for ((id, subscription), history) in &self.subscriptions {
            let Some(found) = self.living(*id, sessions) else {
                continue;
            };
            let held = found
                .session
                .subscriptions
                .iter()
                .find(|(held, _)| held == subscription)
                .map(|(_, subscribed)| subscribed.options.maximum_qos.bits());
            if !history.possible(committed, &None).contains(&&held) {
                faults.push(format!(
                    "LOST or stale: {subscription} of {id:?} is {held:?}"
                ));
            }
        }
        for ((id, identifier), history) in &self.received {
            let Some(found) = self.living(*id, sessions) else {
                continue;
            };
            let mut held = found.session.received.iter();
            let held = held.any(|held| held.get() == *identifier);
            if !history.possible(committed, &false).contains(&&held) {
                faults.push(format!(
                    "LOST or stale: identifier {identifier} of {id:?} is held: {held}"
                ));
            }
        }
    }

    /// A session that is there and was not told to go: its contents are judged.
    fn living<'a>(
        &self,
        id: SessionId,
        sessions: &BTreeMap<SessionId, &'a FoundSession>,
    ) -> Option<&'a FoundSession> {
        if !self.records.get(&id)?.stands() {
            return None;
        }
        sessions.get(&id).copied()
    }

    fn compare_entries(
        &self,
        sessions: &BTreeMap<SessionId, &FoundSession>,
        committed: Position,
        faults: &mut Vec<String>,
    ) {
        for ((id, sequence), entry) in &self.entries {
            let Some(found) = self.living(*id, sessions) else {
                continue;
            };
            let queued = found
                .queue
                .iter()
                .any(|delivery| delivery.sequence == *sequence);
            let handed = found.handed(*sequence);
            if queued && handed {
                faults.push(format!(
                    "TWICE: {sequence} of {id:?} waits and was handed over"
                ));
            }
            let handing = entry.handed_over;
            let must = entry.position <= committed && !entry.settled;
            if must && !queued && !handed {
                faults.push(format!("LOST {sequence} of {id:?}: {}", entry.number));
            }
            if must && queued && handing.is_some_and(|position| position <= committed) {
                faults.push(format!(
                    "TWICE: {sequence} of {id:?} was handed over and waits again"
                ));
            }
            if handed && handing.is_none() {
                faults.push(format!(
                    "LOST {sequence} of {id:?}: it was never handed over"
                ));
            }
        }
        for found in sessions.values() {
            found.check(self, faults);
        }
    }

    fn compare_retained(&self, found: &Found, committed: Position, faults: &mut Vec<String>) {
        let values: BTreeMap<&str, &Arc<Message>> = found
            .retained
            .iter()
            .map(|message| (message.topic().as_str(), message))
            .collect();
        for (topic, history) in &self.retained {
            let value = values
                .get(topic.as_str())
                .and_then(|message| number_of(message));
            if !history.possible(committed, &None).contains(&&value) {
                faults.push(format!("RETAINED {topic} is {value:?}"));
            }
        }
        let unknown: BTreeSet<&str> = values
            .keys()
            .copied()
            .filter(|topic| !self.retained.contains_key(*topic))
            .collect();
        if !unknown.is_empty() {
            faults.push(format!("RETAINED {unknown:?}, which nobody set"));
        }
    }

    /// What was found is all there is, and safe.
    pub fn begin_anew(found: &Found) -> Self {
        let start = Position::default();
        let mut ledger = Self::default();
        for FoundSession { session, queue } in &found.sessions {
            let id = session.record.id;
            let tag = session.record.session_expiry_interval;
            ledger.records.insert(id, History::new(start, Some(tag)));
            ledger.sent.insert(id, session.sent);
            for (subscription, Subscribed { options, .. }) in &session.subscriptions {
                ledger.subscriptions.insert(
                    (id, subscription.clone()),
                    History::new(start, Some(options.maximum_qos.bits())),
                );
            }
            for identifier in &session.received {
                ledger
                    .received
                    .insert((id, identifier.get()), History::new(start, true));
            }
            for delivery in queue {
                if let (Some(ticket), Some(number)) =
                    (delivery.ticket.clone(), number_of(&delivery.message))
                {
                    let entry = Entry::new(number, delivery.qos, start, ticket);
                    ledger.entries.insert((id, delivery.sequence), entry);
                }
            }
            for ticket in &session.handed_over {
                let mut entry = Entry::new(0, QoS::ExactlyOnce, start, Arc::clone(ticket));
                entry.handed_over = Some(start);
                ledger.entries.insert((id, ticket.sequence()), entry);
            }
        }
        for message in &found.retained {
            let history = History::new(start, number_of(message));
            ledger
                .retained
                .insert(message.topic().as_str().to_owned(), history);
        }
        ledger
    }
}

impl Entry {
    pub fn new(number: u64, qos: QoS, position: Position, ticket: Arc<Ticket>) -> Self {
        Self {
            number,
            qos,
            position,
            ticket,
            handed_over: None,
            settled: false,
        }
    }
}

impl FoundSession {
    fn keys(&self) -> impl Iterator<Item = (SessionId, u64)> {
        let id = self.session.record.id;
        let queued = self.queue.iter().map(|delivery| delivery.sequence);
        let handed = self.session.handed_over.iter();
        queued
            .chain(handed.map(|ticket| ticket.sequence()))
            .map(move |sequence| (id, sequence))
    }

    fn handed(&self, sequence: u64) -> bool {
        let mut handed = self.session.handed_over.iter();
        handed.any(|ticket| ticket.sequence() == sequence)
    }

    /// Everything in it was told, is as it was told, and stands in its order.
    fn check(&self, ledger: &Ledger, faults: &mut Vec<String>) {
        let id = self.session.record.id;
        let mut last = 0;
        for delivery in &self.queue {
            let sequence = delivery.sequence;
            if sequence <= last {
                faults.push(format!("DISORDER in {id:?}: {sequence} after {last}"));
            }
            last = sequence;
            let Some(entry) = ledger.entries.get(&(id, sequence)) else {
                faults.push(format!("{sequence} of {id:?} was never told"));
                continue;
            };
            let genuine =
                number_of(&delivery.message) == Some(entry.number) && delivery.qos == entry.qos;
            if !genuine {
                faults.push(format!("{sequence} of {id:?} is another message"));
            }
            if delivery.ticket.is_none() {
                faults.push(format!("{sequence} of {id:?} has no ticket"));
            }
        }
        let highest = self.keys().map(|(_, sequence)| sequence).max().unwrap_or(0);
        if self.session.last_sequence < highest {
            faults.push(format!(
                "{id:?} would use {highest} again after {}",
                self.session.last_sequence
            ));
        }
        if self.session.sent > ledger.sent.get(&id).copied().unwrap_or(0) {
            faults.push(format!("{id:?} has sent what it never sent"));
        }
    }
}

/// Every byte of a payload follows from the number in front.
pub fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend((0..length).map(|index| number.wrapping_add(index as u64).to_be_bytes()[7]));
    payload
}

/// `None`: not one of ours, or damaged.
pub fn number_of(message: &Message) -> Option<u64> {
    let bytes = message.payload();
    let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    (payload(number, bytes.len() - 8) == bytes.as_ref()).then_some(number)
}
