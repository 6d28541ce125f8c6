//! The tables of the store's one file, and how their keys are made.

use crate::session::SessionId;
use redb::TableDefinition;

/// The format's version, the store's own number, the last commit's number, and what must never be given twice.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");
/// Session, then the filter as its client wrote it.
pub(super) const SUBSCRIPTIONS: TableDefinition<'_, &[u8], &[u8]> =
    TableDefinition::new("subscriptions");
/// Session, then a QoS 2 identifier that its client has not released.
pub(super) const RECEIVED: TableDefinition<'_, &[u8; 10], &[u8]> = TableDefinition::new("received");
/// The highest sequence that was handed to a session's client.
pub(super) const SENT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sent");
/// Session, then the sequence: each queue in its order.
pub(super) const QUEUE: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("queue");
/// Messages that several queues wait for, and how many still do.
pub(super) const MESSAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
pub(super) const COUNTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("counts");
pub(super) const RETAINED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("retained");
/// Sessions that have ended and whose rows are not all reclaimed.
pub(super) const REMOVED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("removed");

pub(super) const FORMAT: &str = "format";
pub(super) const STORE: &str = "store";
pub(super) const COMMIT: &str = "commit";
pub(super) const NEXT_SESSION: &str = "next_session";

/// What this version writes. The next one must be able to read it.
pub(super) const FORMAT_VERSION: u64 = 1;

/// Says which table a record belongs to, inside its checksum: a record in another's place is damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Meta = 1,
    Sessions,
    Subscriptions,
    Received,
    Sent,
    Queue,
    Messages,
    Counts,
    Retained,
    Removed,
}

impl Table {
    const ALL: [Self; 10] = [
        Self::Meta,
        Self::Sessions,
        Self::Subscriptions,
        Self::Received,
        Self::Sent,
        Self::Queue,
        Self::Messages,
        Self::Counts,
        Self::Retained,
        Self::Removed,
    ];

    /// As an export numbers them.
    pub(super) fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == number)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Sessions => "sessions",
            Self::Subscriptions => "subscriptions",
            Self::Received => "received",
            Self::Sent => "sent",
            Self::Queue => "queue",
            Self::Messages => "messages",
            Self::Counts => "counts",
            Self::Retained => "retained",
            Self::Removed => "removed",
        }
    }
}

pub(super) type QueueKey = [u8; 16];
pub(super) type ReceivedKey = [u8; 10];

pub(super) fn queue_key(session: SessionId, sequence: u64) -> QueueKey {
    ((u128::from(session.0) << 64) | u128::from(sequence)).to_be_bytes()
}

pub(super) fn of_queue_key(key: &QueueKey) -> (SessionId, u64) {
    let number = u128::from_be_bytes(*key);
    let (session, sequence) = (number >> 64, number & u128::from(u64::MAX));
    (
        SessionId(u64::try_from(session).unwrap_or(u64::MAX)),
        u64::try_from(sequence).unwrap_or(u64::MAX),
    )
}

pub(super) fn received_key(session: SessionId, identifier: u16) -> ReceivedKey {
    let mut key = ReceivedKey::default();
    let (left, right) = key.split_at_mut(8);
    left.copy_from_slice(&session.0.to_be_bytes());
    right.copy_from_slice(&identifier.to_be_bytes());
    key
}

pub(super) fn of_received_key(key: &ReceivedKey) -> (SessionId, u16) {
    let [a, b, c, d, e, f, g, h, i, j] = *key;
    (
        SessionId(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        u16::from_be_bytes([i, j]),
    )
}

pub(super) fn subscription_key(session: SessionId, filter: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + filter.len());
    key.extend_from_slice(&session.0.to_be_bytes());
    key.extend_from_slice(filter.as_bytes());
    key
}

pub(super) fn of_subscription_key(key: &[u8]) -> Option<(SessionId, &[u8])> {
    let (session, filter) = key.split_first_chunk::<8>()?;
    Some((SessionId(u64::from_be_bytes(*session)), filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_order_a_queue() {
        for (session, sequence) in [(0, 0), (1, u64::MAX), (u64::MAX, 1), (7, 300)] {
            let session = SessionId(session);
            assert_eq!(
                of_queue_key(&queue_key(session, sequence)),
                (session, sequence)
            );
            assert_eq!(
                of_received_key(&received_key(session, 65_535)),
                (session, 65_535)
            );
            let key = subscription_key(session, "a/+/b");
            assert_eq!(of_subscription_key(&key), Some((session, &b"a/+/b"[..])));
        }
        assert!(queue_key(SessionId(1), 255) < queue_key(SessionId(1), 256));
        assert!(queue_key(SessionId(1), u64::MAX) < queue_key(SessionId(2), 0));
        assert_eq!(of_subscription_key(b"short"), None);
    }
}
