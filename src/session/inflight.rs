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
    /// Messages of an earlier connection that this one has not sent again: all those from `unsent_from` on. Nothing new is taken in while there are any.
    unsent: usize,
    unsent_from: u64,
}

/// Named after the packet it waits for.
#[derive(Debug)]
pub enum Outgoing {
    PubAck(Delivery),
    PubRec(Delivery),
    /// The message is the client's; only its identifier is kept.
    PubComp(Option<Arc<Ticket>>),
}

impl Outgoing {
    pub fn into_ticket(self) -> Option<Arc<Ticket>> {
        match self {
            Self::PubAck(delivery) | Self::PubRec(delivery) => delivery.ticket,
            Self::PubComp(ticket) => ticket,
        }
    }
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

impl Outgoing {
    fn is_message(&self) -> bool {
        match self {
            Self::PubAck(_) | Self::PubRec(_) => true,
            Self::PubComp(_) => false,
        }
    }
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

    /// Messages that are still to be sent again.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// A new connection begins: nothing was sent on it.
    pub fn begin_again(&mut self) {
        self.unsent_from = self.base;
        let slots = self.slots.iter().flatten();
        self.unsent = slots.filter(|outgoing| outgoing.is_message()).count();
    }

    /// The next message to be sent again, in the session's order: from here on it counts as sent. [MQTT-4.4.0-1] [MQTT-4.6.0-1]
    pub fn send_again(&mut self) -> Option<(PacketIdentifier, Delivery)> {
        while self.unsent > 0 {
            // Older ones may have been answered meanwhile.
            let sequence = self.unsent_from.max(self.base);
            let index = usize::try_from(sequence - self.base).ok()?;
            let outgoing = self.slots.get(index)?;
            self.unsent_from = sequence + 1;
            if let Some(Outgoing::PubAck(delivery) | Outgoing::PubRec(delivery)) = outgoing {
                self.unsent -= 1;
                return Some((identifier(sequence), delivery.clone()));
            }
        }
        None
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

    /// The identifier that belongs to `sequence`; none when that is taken or out of reach.
    pub fn free(&self, sequence: u64) -> Option<PacketIdentifier> {
        if self.taken > 0 {
            let end = self
                .base
                .saturating_add(u64::try_from(self.slots.len()).ok()?);
            if end.saturating_sub(sequence) > SPAN && sequence < self.base
                || sequence >= self.base.saturating_add(SPAN)
            {
                return None;
            }
            let place = sequence.checked_sub(self.base);
            let place = place.and_then(|place| usize::try_from(place).ok());
            if let Some(Some(_)) = place.and_then(|place| self.slots.get(place)) {
                return None;
            }
        }
        Some(identifier(sequence))
    }

    /// Takes the identifier that belongs to `sequence`, if it is [`Self::free`].
    pub fn insert(&mut self, sequence: u64, outgoing: Outgoing) -> Option<PacketIdentifier> {
        let identifier = self.free(sequence)?;
        if self.taken == 0 {
            self.slots.clear();
            self.base = sequence;
        }
        while sequence < self.base {
            self.slots.push_front(None);
            self.base -= 1;
        }
        let index = usize::try_from(sequence - self.base).ok()?;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        *self.slots.get_mut(index)? = Some(outgoing);
        self.taken += 1;
        Some(identifier)
    }

    pub fn state(&self, identifier: PacketIdentifier) -> Option<&Outgoing> {
        self.slots.get(self.index(identifier)?)?.as_ref()
    }

    /// Frees the identifier.
    pub fn remove(&mut self, identifier: PacketIdentifier) -> Option<Outgoing> {
        let index = self.index(identifier)?;
        let outgoing = self.slots.get_mut(index)?.take()?;
        self.taken -= 1;
        if outgoing.is_message() {
            self.answered(index);
        }
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
                self.answered(index);
                Some(delivery)
            }
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Identifiers whose messages the client has, in the session's order.
    pub fn released(&self) -> impl Iterator<Item = PacketIdentifier> {
        (self.base..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.as_ref().is_some_and(|outgoing| !outgoing.is_message()))
            .map(|(sequence, _)| identifier(sequence))
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

    /// The client answered a message of an earlier connection before it was sent again.
    fn answered(&mut self, index: usize) {
        let sequence = u64::try_from(index).map(|index| self.base.saturating_add(index));
        if self.unsent > 0 && sequence.is_ok_and(|sequence| sequence >= self.unsent_from) {
            self.unsent -= 1;
        }
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
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::identity::{Identity, Method, Subject};
    use crate::mqtt::{QoS, Text, TopicLimits, TopicName};
    use crate::session::{Message, SessionId, StoredMessage};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr};

    fn delivery(sequence: u64) -> Delivery {
        let author = Subject {
            identity: Identity::new(Method::PASSWORD, "lab".into(), "alice".into()),
            client_id: "c".into(),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            listener: "lab".into(),
            protocol: "mqtt",
        };
        let message = Message::restore(StoredMessage {
            topic: TopicName::new(Text::try_from("t").unwrap(), TopicLimits::default()).unwrap(),
            qos: QoS::ExactlyOnce,
            retain: false,
            payload: bytes::Bytes::new(),
            properties: None,
            author: Arc::new(author),
            publisher: SessionId(0),
            expires_at: None,
        });
        Delivery {
            message: Arc::new(message),
            qos: QoS::ExactlyOnce,
            retain: false,
            subscription_identifiers: None,
            share: None,
            sequence,
            ticket: None,
        }
    }

    proptest! {
        /// Whatever the client answers in between, each message is sent again once and in order, or was answered before.
        #[test]
        fn what_is_sent_again_agrees_with_a_list_of_it(
            held in prop::collection::vec((1_u64..4, 0..3_u8), 0..12),
            steps in prop::collection::vec(prop::option::of((any::<prop::sample::Index>(), any::<bool>())), 0..40),
        ) {
            let mut inflight = Inflight::default();
            let (mut unsent, mut all, mut sequence) = (BTreeSet::new(), Vec::new(), 65_530);
            for (gap, kind) in held {
                sequence += gap;
                let outgoing = match kind {
                    0 => Outgoing::PubAck(delivery(sequence)),
                    1 => Outgoing::PubRec(delivery(sequence)),
                    _ => Outgoing::PubComp(None),
                };
                prop_assert!(inflight.insert(sequence, outgoing).is_some());
                all.push(sequence);
                if kind < 2 {
                    unsent.insert(sequence);
                }
            }
            inflight.begin_again();
            for step in steps {
                match step {
                    None => {
                        let sent = inflight.send_again().map(|(_, delivery)| delivery.sequence);
                        prop_assert_eq!(sent, unsent.pop_first());
                    }
                    Some(_) if all.is_empty() => {}
                    Some((index, is_over)) => {
                        let sequence = *index.get(&all);
                        let known = identifier(sequence);
                        let changed = if is_over {
                            inflight.remove(known).is_some()
                        } else {
                            inflight.received(known).is_some()
                        };
                        if changed {
                            unsent.remove(&sequence);
                        }
                    }
                }
                prop_assert_eq!(inflight.unsent(), unsent.len());
            }
        }
    }

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
        let order: Vec<u16> = inflight.released().map(NonZeroU16::get).collect();
        assert_eq!(order, [65_529, 65_530, 1, 2]);
        for identifier in [1, 65_529, 2, 65_530] {
            let identifier = NonZeroU16::new(identifier).unwrap_or(NonZeroU16::MIN);
            assert!(inflight.remove(identifier).is_some(), "{identifier}");
        }
        assert!(inflight.is_empty());
        assert_eq!(inflight.reach(), Reach::default());
    }
}
