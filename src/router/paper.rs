//! A store for tests that keeps everything on paper: what it was told can be looked at, and commits happen when the test says so.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::store::{Accepted, Fetch, Page, Replaying, SessionRecord, Store};
use super::{Gate, SessionHandle, Subscribed};
use crate::mqtt::{PacketIdentifier, Subscription, TopicName};
use crate::session::{Delivery, Position, SessionId, Ticket};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::task::Waker;

#[derive(Default)]
pub struct Paper {
    /// As with `store.kind: memory`.
    pub forgetful: bool,
    gate: RwLock<()>,
    state: Mutex<State>,
    /// By the verb in which they happen.
    meanwhile: Mutex<BTreeMap<&'static str, Meanwhile>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    committed: u64,
    full: bool,
    rows: BTreeMap<(SessionId, u64), Delivery>,
    retained: BTreeMap<String, u64>,
    records: BTreeMap<SessionId, SessionRecord>,
    wanted: Vec<Fetch>,
    received: Vec<PacketIdentifier>,
    replaying: BTreeMap<(SessionId, String), Replaying>,
}

impl Paper {
    /// How far the replay of a subscription has come, if it is not over.
    pub fn replaying(&self, handle: &SessionHandle, subscription: &str) -> Option<Replaying> {
        let key = (handle.id(), subscription.to_owned());
        self.state.lock().replaying.get(&key).cloned()
    }

    /// What is queued for the session, by sequence.
    pub fn rows(&self, handle: &SessionHandle) -> Vec<u64> {
        self.state
            .lock()
            .rows
            .keys()
            .filter(|(session, _)| *session == handle.id())
            .map(|(_, sequence)| *sequence)
            .collect()
    }

    /// The same with their messages.
    pub fn deliveries(&self, handle: &SessionHandle) -> Vec<Delivery> {
        let state = self.state.lock();
        let rows = state.rows.iter();
        rows.filter(|((session, _), _)| *session == handle.id())
            .map(|(_, delivery)| delivery.clone())
            .collect()
    }

    pub fn record(&self, handle: &SessionHandle) -> Option<SessionRecord> {
        self.state.lock().records.get(&handle.id()).cloned()
    }

    pub fn received(&self) -> usize {
        self.state.lock().received.len()
    }

    pub fn retained(&self) -> usize {
        self.state.lock().retained.len()
    }

    /// Something that others do while the store is asked this: once, on a thread of theirs, and the one who asked goes on when it is done.
    pub fn meanwhile(&self, verb: &'static str, others: impl FnOnce() + Send + 'static) {
        self.meanwhile.lock().insert(verb, Box::new(others));
    }

    fn pause(&self, verb: &'static str) {
        let others = self.meanwhile.lock().remove(verb);
        if let Some(others) = others {
            std::thread::spawn(others).join().unwrap();
        }
    }

    pub fn commit(&self) -> Position {
        let mut state = self.state.lock();
        state.committed += 1;
        Position(state.committed)
    }

    pub fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    /// Answers what was asked for; gives how many questions there were.
    pub fn answer(&self) -> usize {
        let wanted = std::mem::take(&mut self.state.lock().wanted);
        let count = wanted.len();
        for fetch in wanted {
            let mut deliveries: Vec<Delivery> = self
                .state
                .lock()
                .rows
                .range((fetch.session, fetch.after + 1)..=(fetch.session, fetch.up_to))
                .map(|(_, delivery)| delivery.clone())
                .filter(|delivery| delivery.share.is_none())
                .take(fetch.messages + 1)
                .collect();
            let more = deliveries.len() > fetch.messages;
            deliveries.truncate(fetch.messages);
            (fetch.reply)(Page {
                deliveries,
                more,
                damaged: 0,
            });
        }
        count
    }

    fn next(&self) -> Position {
        Position(self.state.lock().committed + 1)
    }
}

impl Store for Paper {
    fn keeps(&self) -> bool {
        !self.forgetful
    }

    fn accepting(&self) -> bool {
        self.pause("accepting");
        !self.state.lock().full
    }

    fn gate(&self) -> Gate<'_> {
        Gate::enter(&self.gate)
    }

    fn publish(&self, accepted: Accepted<'_>) -> Position {
        self.pause("publish");
        let position = self.next();
        let mut state = self.state.lock();
        for delivery in accepted.deliveries {
            if let Some(ticket) = &delivery.ticket {
                ticket.set_position(position);
                if ticket.begin_writing() {
                    state
                        .rows
                        .insert((ticket.session(), ticket.sequence()), delivery);
                }
            }
        }
        if let Some(version) = accepted.retain {
            let topic = accepted.message.topic().as_str().to_owned();
            if accepted.message.payload().is_empty() {
                state.retained.remove(&topic);
            } else {
                state.retained.insert(topic, version);
            }
        }
        state
            .received
            .extend(accepted.received.map(|(_, identifier)| identifier));
        position
    }

    fn settle(&self, ticket: &Ticket) {
        if ticket.settle() {
            self.state
                .lock()
                .rows
                .remove(&(ticket.session(), ticket.sequence()));
        }
    }

    fn hand_over(&self, _ticket: &Ticket) -> Position {
        self.next()
    }

    fn release(&self, _session: SessionId, identifier: PacketIdentifier) -> Position {
        self.state
            .lock()
            .received
            .retain(|held| *held != identifier);
        self.next()
    }

    fn save(&self, record: SessionRecord) -> Position {
        self.state.lock().records.insert(record.id, record);
        self.next()
    }

    fn remove(&self, session: SessionId) -> Position {
        let mut state = self.state.lock();
        state.records.remove(&session);
        state.rows.retain(|(owner, _), _| *owner != session);
        drop(state);
        self.next()
    }

    fn subscribe(
        &self,
        session: SessionId,
        subscription: &Subscription,
        _subscribed: Subscribed,
    ) -> Position {
        let key = (session, subscription.to_string());
        self.state.lock().replaying.remove(&key);
        self.next()
    }

    fn subscribe_replaying(
        &self,
        session: SessionId,
        subscription: &Subscription,
        _subscribed: Subscribed,
        replaying: Replaying,
    ) -> Position {
        let key = (session, subscription.to_string());
        self.state.lock().replaying.insert(key, replaying);
        self.next()
    }

    fn unsubscribe(&self, _session: SessionId, _subscription: &Subscription) -> Position {
        self.next()
    }

    fn sent(&self, _session: SessionId, _sequence: u64) {}

    fn forget_retained(&self, topic: &TopicName, version: u64) {
        let mut state = self.state.lock();
        if state.retained.get(topic.as_str()) == Some(&version) {
            state.retained.remove(topic.as_str());
        }
    }

    fn current(&self) -> Position {
        self.next()
    }

    fn committed(&self) -> Position {
        Position(self.state.lock().committed)
    }

    fn wait(&self, position: Position, _waker: &Waker) -> bool {
        position <= self.committed()
    }

    fn fetch(&self, fetch: Fetch) {
        self.state.lock().wanted.push(fetch);
    }
    fn close(&self) {}
}
