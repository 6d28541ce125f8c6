//! What must survive, as a trait of verbs; the engines are in `crate::store`.

use super::Gate;
use super::handle::Subscribed;
use crate::identity::Subject;
use crate::mqtt::{PacketIdentifier, Subscription, TopicName, Will};
use crate::session::{Delivery, Message, Position, SessionId, Ticket};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

/// Writes are ordered by [`Position`]: when a position is committed, so is everything written before it. No verb waits for the disk.
pub trait Store: Send + Sync {
    /// Whether anything outlives the process: otherwise no tickets are made, and the verbs below are not called.
    fn keeps(&self) -> bool;

    /// False while what is promised could not be kept: the disk is full or failing.
    fn accepting(&self) -> bool;

    /// Held while a message goes into outboxes and then into the store. All that one holder writes lands in one commit, and a commit waits for those who hold it:
    /// what was numbered by an outbox before a commit began is in that commit or an earlier one. Never taken twice by one thread: a commit that waits in between
    /// would be waited for.
    fn gate(&self) -> Gate<'_>;

    /// A message was accepted: all of it is written, or nothing.
    fn publish(&self, accepted: Accepted<'_>) -> Position;

    /// The session needs the delivery no more.
    fn settle(&self, ticket: &Ticket);

    /// The client has the QoS 2 message (PUBREC): only its identifier is kept from here on.
    fn hand_over(&self, ticket: &Ticket) -> Position;

    /// The client released the identifier of a QoS 2 message that it had published (PUBREL).
    fn release(&self, session: SessionId, identifier: PacketIdentifier) -> Position;

    /// Makes or replaces what is known of a session; its queue and its subscriptions stay.
    fn save(&self, record: SessionRecord) -> Position;

    /// The session has ended: everything of it goes.
    fn remove(&self, session: SessionId) -> Position;

    fn subscribe(
        &self,
        session: SessionId,
        subscription: &Subscription,
        subscribed: Subscribed,
    ) -> Position;

    /// The same while retained messages are still to come to it: a restart goes on from there. Told under the [`Store::gate`] under which those before were.
    fn subscribe_replaying(
        &self,
        session: SessionId,
        subscription: &Subscription,
        subscribed: Subscribed,
        replaying: Replaying,
    ) -> Position;

    fn unsubscribe(&self, session: SessionId, subscription: &Subscription) -> Position;

    /// Deliveries up to this one were handed to the client. Written along with what else is.
    fn sent(&self, session: SessionId, sequence: u64);

    /// The topic's retained message of this version is gone: it has expired. The caller holds the [`Store::gate`] under which that was found.
    fn forget_retained(&self, topic: &TopicName, version: u64);

    /// The commit that takes what is written now.
    fn current(&self) -> Position;

    /// Up to where everything is as safe as `store.durability` says.
    fn committed(&self) -> Position;

    /// Wakes when the position is committed; true, and no wake, when it is already.
    fn wait(&self, position: Position, waker: &Waker) -> bool;

    /// Reads a page of a session's queue; answers from a thread of the store's own.
    fn fetch(&self, fetch: Fetch);

    /// Writes all that was told, and ends in order. Later words are not kept.
    fn close(&self);
}

/// A message that was accepted, and all that must be on disk before its publisher is told.
pub struct Accepted<'a> {
    pub message: &'a Arc<Message>,
    /// It is, or with an empty payload clears, its topic's retained message, of this version. Publishers of one topic may tell the store in another order than they
    /// took the topic; those that share a commit are told apart by this: the highest stands.
    pub retain: Option<u64>,
    /// To durable sessions: each has a ticket. The caller still holds the [`Store::gate`] under which they were numbered.
    pub deliveries: Vec<Delivery>,
    /// A durable publisher's QoS 2 identifier: a repeated PUBLISH is not taken again. [MQTT-4.3.3-10]
    pub received: Option<(SessionId, PacketIdentifier)>,
}

/// How far the retained messages of a new subscription have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaying {
    /// What was retained later comes as a live message. Counted as `Accepted::retain` is.
    pub as_of: u64,
    /// The last topic that was looked at; `None`: it begins.
    pub after: Option<TopicName>,
}

/// What is kept of a session besides its queue and its subscriptions.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    pub id: SessionId,
    /// Its owner and client identifier; rights are compiled from it.
    pub subject: Arc<Subject>,
    /// In seconds; 0: it is kept for its will alone.
    pub session_expiry_interval: u32,
    pub connected: bool,
    /// Of a session without a connection.
    pub expires_at: Option<Instant>,
    pub will: Option<Box<Will>>,
    /// When the will of a session without a connection falls due.
    pub will_at: Option<Instant>,
}

/// A page of a session's queue that is wanted.
pub struct Fetch {
    pub session: SessionId,
    /// The last sequence that is already in memory.
    pub after: u64,
    /// The last sequence that the outbox had given when it asked: everything up to it is read, once its commit is done.
    pub up_to: u64,
    pub messages: usize,
    pub bytes: usize,
    pub reply: Box<dyn FnOnce(Page) + Send>,
}

/// In the order of their sequences.
#[derive(Debug, Default)]
pub struct Page {
    pub deliveries: Vec<Delivery>,
    /// There are more up to the sequence asked for.
    pub more: bool,
    /// Entries that could not be read; named in the log.
    pub damaged: usize,
}

/// How much of a waiting session's queue is in memory; what comes behind it is only in the store.
pub const WINDOW_MESSAGES: usize = 256;
pub const WINDOW_BYTES: usize = 256 * 1024;

/// What a start finds.
#[derive(Debug, Default)]
pub struct Restored {
    pub sessions: Vec<RestoredSession>,
    /// Each with its version.
    pub retained: Vec<(Arc<Message>, u64)>,
    /// Higher than any that was ever kept.
    pub next_session: u64,
}

#[derive(Debug)]
pub struct RestoredSession {
    pub record: SessionRecord,
    pub subscriptions: Vec<(Subscription, Subscribed)>,
    /// Those of them to which retained messages are still to come.
    pub replaying: Vec<(Subscription, Replaying)>,
    /// QoS 2 identifiers that the client has not released.
    pub received: Vec<PacketIdentifier>,
    /// Deliveries that the client has and has not completed: PUBREL is sent again.
    pub handed_over: Vec<Arc<Ticket>>,
    /// Deliveries up to this sequence may have reached the client.
    pub sent: u64,
    /// All up to `sent`, and of those behind it as many as the window holds.
    pub window: Vec<Delivery>,
    /// What is behind the window.
    pub spilled: Spilled,
    /// The highest that was ever given, handed-over and settled ones included as far as they are known.
    pub last_sequence: u64,
}

/// A part of a queue that is only in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spilled {
    pub messages: usize,
    /// As [`Message::queued_bytes`] counts them.
    pub bytes: usize,
}
