//! `store.kind: memory`: what the router holds is all there is.

use crate::mqtt::{PacketIdentifier, Subscription, TopicName};
use crate::router::{Accepted, Fetch, Gate, Page, Replaying, SessionRecord, Store, Subscribed};
use crate::session::{Position, SessionId, Ticket};
use std::task::Waker;

/// Nothing is written, so every position is committed.
#[derive(Debug, Default)]
pub struct Memory;

const DONE: Position = Position(0);

impl Store for Memory {
    fn keeps(&self) -> bool {
        false
    }

    fn accepting(&self) -> bool {
        true
    }

    fn gate(&self) -> Gate<'_> {
        Gate::open()
    }

    fn publish(&self, _accepted: Accepted<'_>) -> Position {
        DONE
    }

    fn settle(&self, _ticket: &Ticket) {}

    fn hand_over(&self, _ticket: &Ticket) -> Position {
        DONE
    }

    fn release(&self, _session: SessionId, _identifier: PacketIdentifier) -> Position {
        DONE
    }

    fn save(&self, _record: SessionRecord) -> Position {
        DONE
    }

    fn remove(&self, _session: SessionId) -> Position {
        DONE
    }

    fn subscribe(
        &self,
        _session: SessionId,
        _subscription: &Subscription,
        _subscribed: Subscribed,
    ) -> Position {
        DONE
    }

    fn subscribe_replaying(
        &self,
        _session: SessionId,
        _subscription: &Subscription,
        _subscribed: Subscribed,
        _replaying: Replaying,
    ) -> Position {
        DONE
    }

    fn unsubscribe(&self, _session: SessionId, _subscription: &Subscription) -> Position {
        DONE
    }

    fn sent(&self, _session: SessionId, _sequence: u64) {}

    fn forget_retained(&self, _topic: &TopicName, _version: u64) {}

    fn current(&self) -> Position {
        DONE
    }

    fn committed(&self) -> Position {
        DONE
    }

    fn wait(&self, _position: Position, _waker: &Waker) -> bool {
        true
    }

    fn fetch(&self, fetch: Fetch) {
        (fetch.reply)(Page::default());
    }

    fn close(&self) {}
}
