//! QoS 1 and 2 messages on their way to the client, by packet identifier. MQTT 5.0 sections 4.3 and 4.4

use super::message::Delivery;
use super::ticket::Ticket;
use crate::mqtt::PacketIdentifier;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

/// At most Receive Maximum messages. A packet identifier follows from the place of its message in the session's order, so it is the same after a crash and needs no
/// write of its own; identifiers of a resumed session are taken before anything new is sent (SES-6).
#[derive(Debug, Default)]
pub struct Inflight {
    /// The sequence of the first slot.
    base: u64,
    slots: VecDeque<Option<Outgoing>>,
    taken: usize,
}

/// Named after the packet it waits for.
#[derive(Debug)]
pub enum Outgoing {
    PubAck(Delivery),
    PubRec(Delivery),
    /// The message is the client's; only its identifier is kept.
    PubComp(Option<Arc<Ticket>>),
}

/// How far the newest message may be ahead of the oldest unacknowledged one: less than there are identifiers, and little memory.
const SPAN: u64 = 16 * 1024;
const IDENTIFIERS: u64 = 65_535;

/// Sequences that may be in flight together with those that are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    from: u64,
    below: u64,
}

impl Default for Reach {
    /// Nothing is in flight.
    fn default() -> Self {
        Self {
            from: 0,
            below: u64::MAX,
        }
    }
}

impl Reach {
    pub fn contains(&self, sequence: u64) -> bool {
        (self.from..self.below).contains(&sequence)
    }

    /// One more is in flight.
    pub fn narrow(&mut self, sequence: u64) {
        self.from = self
            .from
            .max(sequence.saturating_add(1).saturating_sub(SPAN));
        self.below = self.below.min(sequence.saturating_add(SPAN));
    }
}

/// Of the message with this sequence. [MQTT-2.2.1-4]
pub fn identifier(sequence: u64) -> PacketIdentifier {
    let index = sequence.saturating_sub(1) % IDENTIFIERS;
    u16::try_from(index + 1)
        .ok()
        .and_then(NonZeroU16::new)
        .unwrap_or(NonZeroU16::MIN)
}

impl Inflight {
    pub fn len(&self) -> usize {
        self.taken
    }

    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// The sequences that there is room for; others wait for an acknowledgement.
    pub fn reach(&self) -> Reach {
        let mut reach = Reach::default();
        if self.taken > 0 {
            let length = u64::try_from(self.slots.len()).unwrap_or(SPAN);
            reach.narrow(self.base);
            reach.narrow(self.base.saturating_add(length).saturating_sub(1));
        }
        reach
    }

    /// Takes the identifier that belongs to `sequence`; none when that is taken or out of reach.
    pub fn insert(&mut self, sequence: u64, outgoing: Outgoing) -> Option<PacketIdentifier> {
        if self.taken == 0 {
            self.slots.clear();
            self.base = sequence;
        }
        if sequence < self.base {
            let missing = self.base - sequence;
            if missing.saturating_add(u64::try_from(self.slots.len()).ok()?) > SPAN {
                return None;
            }
            for _ in 0..missing {
                self.slots.push_front(None);
            }
            self.base = sequence;
        }
        let index = usize::try_from(sequence - self.base).ok()?;
        if sequence >= self.base.saturating_add(SPAN) {
            return None;
        }
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        let slot = self.slots.get_mut(index)?;
        if slot.is_some() {
            return None;
        }
        *slot = Some(outgoing);
        self.taken += 1;
        Some(identifier(sequence))
    }

    pub fn state(&self, identifier: PacketIdentifier) -> Option<&Outgoing> {
        self.slots.get(self.index(identifier)?)?.as_ref()
    }

    /// Frees the identifier.
    pub fn remove(&mut self, identifier: PacketIdentifier) -> Option<Outgoing> {
        let index = self.index(identifier)?;
        let outgoing = self.slots.get_mut(index)?.take()?;
        self.taken -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
        while let Some(None) = self.slots.back() {
            self.slots.pop_back();
        }
        if self.taken == 0 {
            self.shrink();
        }
        Some(outgoing)
    }

    /// PUBREC came: from here on only the identifier is held. [MQTT-4.3.3-4]
    pub fn received(&mut self, identifier: PacketIdentifier) -> Option<Delivery> {
        let index = self.index(identifier)?;
        let slot = self.slots.get_mut(index)?;
        match slot.take() {
            Some(Outgoing::PubRec(delivery)) => {
                *slot = Some(Outgoing::PubComp(delivery.ticket.clone()));
                Some(delivery)
            }
            other => {
                *slot = other;
                None
            }
        }
    }

    /// All of them in the session's order, for the resend after a reconnect. [MQTT-4.4.0-1] [MQTT-4.6.0-1]
    pub fn in_order(&self) -> impl Iterator<Item = (PacketIdentifier, &Outgoing)> {
        (self.base..)
            .zip(&self.slots)
            .filter_map(|(sequence, slot)| Some((identifier(sequence), slot.as_ref()?)))
    }

    /// What a session that ends for good leaves to others. A QoS 2 message that was sent is nobody else's. [MQTT-4.8.2-5]
    pub fn into_deliveries(self) -> impl Iterator<Item = Delivery> {
        self.slots
            .into_iter()
            .flatten()
            .filter_map(|outgoing| match outgoing {
                Outgoing::PubAck(delivery) => Some(delivery),
                Outgoing::PubRec(_) | Outgoing::PubComp(_) => None,
            })
    }

    fn index(&self, identifier: PacketIdentifier) -> Option<usize> {
        let first = self.base.saturating_sub(1) % IDENTIFIERS;
        let index = u64::from(identifier.get()) - 1;
        usize::try_from((index + IDENTIFIERS - first) % IDENTIFIERS).ok()
    }

    /// An idle session holds no window: memory goes back once a large one is empty.
    fn shrink(&mut self) {
        const KEPT: usize = 64;
        self.slots.clear();
        if self.slots.capacity() > KEPT {
            self.slots = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(inflight: &mut Inflight, sequence: u64) -> Option<u16> {
        inflight
            .insert(sequence, Outgoing::PubComp(None))
            .map(NonZeroU16::get)
    }

    #[test]
    fn identifiers_follow_from_the_sequence_and_come_round() {
        let mut inflight = Inflight::default();
        for (sequence, expected) in [(1, 1), (65_535, 65_535), (65_536, 1), (131_071, 1)] {
            assert_eq!(take(&mut inflight, sequence), Some(expected), "{sequence}");
            let identifier = NonZeroU16::new(expected).unwrap_or(NonZeroU16::MIN);
            assert!(inflight.state(identifier).is_some());
            assert!(inflight.remove(identifier).is_some());
            assert!(inflight.remove(identifier).is_none(), "it is free");
        }
    }

    #[test]
    fn the_oldest_bounds_how_far_the_newest_may_be_and_order_is_kept() {
        let mut inflight = Inflight::default();
        // A retained message takes its place before older ones of the queue are sent.
        for sequence in [65_530, 65_537, 65_529, 65_536] {
            assert!(take(&mut inflight, sequence).is_some(), "{sequence}");
        }
        assert_eq!(take(&mut inflight, 65_530), None, "taken");
        // What the window says is what there is room for.
        for (sequence, fits) in [
            (65_529 + SPAN, false),
            (65_537 - SPAN, false),
            (65_528 + SPAN, true),
        ] {
            assert_eq!(inflight.reach().contains(sequence), fits, "{sequence}");
            assert_eq!(take(&mut inflight, sequence).is_some(), fits, "{sequence}");
        }
        assert!(inflight.remove(identifier(65_528 + SPAN)).is_some());
        assert!(inflight.reach().contains(65_538 - SPAN));
        let order: Vec<u16> = inflight
            .in_order()
            .map(|(identifier, _)| identifier.get())
            .collect();
        assert_eq!(order, [65_529, 65_530, 1, 2]);
        for identifier in [1, 65_529, 2, 65_530] {
            let identifier = NonZeroU16::new(identifier).unwrap_or(NonZeroU16::MIN);
            assert!(inflight.remove(identifier).is_some(), "{identifier}");
        }
        assert!(inflight.is_empty());
        assert_eq!(inflight.reach(), Reach::default());
    }
}
