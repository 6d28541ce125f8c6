//! A delivery that must survive its process, as its session and the store both know it.

use super::{Position, SessionId};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// One for each delivery of QoS 1 or 2 to a durable session. Whoever is first decides what becomes of it: a commit that finds it settled writes nothing at all.
#[derive(Debug)]
pub struct Ticket {
    session: SessionId,
    sequence: u64,
    /// The commit that holds it; [`UNTOLD`] until the store was told of it.
    position: AtomicU64,
    state: AtomicU8,
}

const UNTOLD: u64 = u64::MAX;
const PENDING: u8 = 0;
const WRITTEN: u8 = 1;
const SETTLED: u8 = 2;

impl Ticket {
    /// `sequence` orders the session's queue; it is never used twice.
    pub fn new(session: SessionId, sequence: u64) -> Self {
        Self {
            session,
            sequence,
            position: AtomicU64::new(UNTOLD),
            state: AtomicU8::new(PENDING),
        }
    }

    /// Of an entry that was read from the store.
    pub fn written(session: SessionId, sequence: u64) -> Self {
        Self {
            session,
            sequence,
            position: AtomicU64::new(0),
            state: AtomicU8::new(WRITTEN),
        }
    }

    pub fn session(&self) -> SessionId {
        self.session
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The store has it in the batch of this commit.
    pub fn set_position(&self, position: Position) {
        self.position.store(position.0, Ordering::Release);
    }

    /// The commit to wait for, while the one that holds it is not done.
    pub fn awaits(&self, committed: Position) -> Option<Position> {
        match self.position.load(Ordering::Acquire) {
            // Its publisher is about to tell the store: the next commit takes it.
            UNTOLD => Some(Position(committed.0.saturating_add(1))),
            position if position > committed.0 => Some(Position(position)),
            _ => None,
        }
    }

    /// Whether a commit that is done holds it.
    pub fn is_committed(&self, committed: Position) -> bool {
        self.position.load(Ordering::Acquire) <= committed.0
    }

    /// Called by the commit that is about to write it; false when there is nothing left to write.
    pub fn begin_writing(&self) -> bool {
        self.state
            .compare_exchange(PENDING, WRITTEN, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The session needs it no more; true when the store has, or is writing, an entry to take back. Later calls give false.
    pub fn settle(&self) -> bool {
        self.state.swap(SETTLED, Ordering::AcqRel) == WRITTEN
    }

    pub fn is_settled(&self) -> bool {
        self.state.load(Ordering::Acquire) == SETTLED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_settled_first_is_not_written_and_what_was_written_is_taken_back_once() {
        let early = Ticket::new(SessionId(1), 7);
        assert!(!early.settle(), "nothing was written");
        assert!(!early.begin_writing());
        let late = Ticket::new(SessionId(1), 8);
        assert!(late.begin_writing());
        assert!(!late.is_settled());
        assert!(late.settle(), "the entry must go");
        assert!(!late.settle(), "only once");
    }

    #[test]
    fn is_not_committed_before_the_store_was_told() {
        let ticket = Ticket::new(SessionId(1), 1);
        assert!(!ticket.is_committed(Position(5)));
        assert_eq!(ticket.awaits(Position(5)), Some(Position(6)));
        ticket.set_position(Position(7));
        assert_eq!(ticket.awaits(Position(5)), Some(Position(7)));
        assert_eq!(ticket.awaits(Position(7)), None);
        ticket.set_position(Position(6));
        assert!(!ticket.is_committed(Position(5)));
        assert!(ticket.is_committed(Position(6)));
        assert!(Ticket::written(SessionId(1), 1).is_committed(Position(0)));
    }
}
