//! QoS 1 and 2 messages on their way to the client, by packet identifier. MQTT 5.0 sections 4.3 and 4.4

use super::message::Delivery;
use crate::mqtt::PacketIdentifier;
use std::num::NonZeroU16;

/// At most Receive Maximum messages; a slot's index is its packet identifier less one, so finding one costs an index and taken identifiers are restored before
/// anything new is sent (SES-6).
#[derive(Debug, Default)]
pub struct Inflight {
    slots: Vec<Option<Slot>>,
    free: Vec<u16>,
    taken: usize,
    order: u64,
}

#[derive(Debug)]
struct Slot {
    order: u64,
    state: Outgoing,
}

/// Named after the packet it waits for.
#[derive(Debug)]
pub enum Outgoing {
    PubAck(Delivery),
    PubRec(Delivery),
    /// The message is the client's; only its identifier is kept. Holds the store's sequence number.
    PubComp(u64),
}

impl Inflight {
    pub fn len(&self) -> usize {
        self.taken
    }

    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Takes the lowest identifier that was freed last, if fewer than `maximum` are taken. [MQTT-2.2.1-4]
    pub fn insert(&mut self, outgoing: Outgoing, maximum: NonZeroU16) -> Option<PacketIdentifier> {
        if self.taken >= usize::from(maximum.get()) {
            return None;
        }
        self.order += 1;
        let slot = Slot {
            order: self.order,
            state: outgoing,
        };
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u16::try_from(self.slots.len()).ok()?;
                self.slots.push(None);
                index
            }
        };
        let identifier = NonZeroU16::new(index.checked_add(1)?)?;
        *self.slots.get_mut(usize::from(index))? = Some(slot);
        self.taken += 1;
        Some(identifier)
    }

    pub fn state(&self, identifier: PacketIdentifier) -> Option<&Outgoing> {
        self.slots
            .get(usize::from(identifier.get()) - 1)?
            .as_ref()
            .map(|slot| &slot.state)
    }

    /// Frees the identifier.
    pub fn remove(&mut self, identifier: PacketIdentifier) -> Option<Outgoing> {
        let index = identifier.get() - 1;
        let slot = self.slots.get_mut(usize::from(index))?.take()?;
        self.taken -= 1;
        self.free.push(index);
        if self.taken == 0 {
            self.shrink();
        }
        Some(slot.state)
    }

    /// PUBREC came: from here on only the identifier is held. [MQTT-4.3.3-4]
    pub fn received(&mut self, identifier: PacketIdentifier) -> Option<Delivery> {
        let slot = self
            .slots
            .get_mut(usize::from(identifier.get()) - 1)?
            .as_mut()?;
        let Outgoing::PubRec(delivery) = &slot.state else {
            return None;
        };
        let sequence = delivery.sequence;
        match std::mem::replace(&mut slot.state, Outgoing::PubComp(sequence)) {
            Outgoing::PubRec(delivery) => Some(delivery),
            Outgoing::PubAck(_) | Outgoing::PubComp(_) => None,
        }
    }

    /// All of them in the order they were first sent, for the resend after a reconnect. [MQTT-4.4.0-1] [MQTT-4.6.0-1]
    pub fn in_order(&self) -> Vec<(PacketIdentifier, &Outgoing)> {
        let mut all: Vec<_> = self
            .slots
            .iter()
            .zip(1u16..)
            .filter_map(|(slot, identifier)| {
                Some((
                    slot.as_ref()?.order,
                    NonZeroU16::new(identifier)?,
                    &slot.as_ref()?.state,
                ))
            })
            .collect();
        all.sort_unstable_by_key(|(order, _, _)| *order);
        all.into_iter()
            .map(|(_, identifier, state)| (identifier, state))
            .collect()
    }

    /// What a session that ends for good leaves to others. A QoS 2 message that was sent is nobody else's. [MQTT-4.8.2-5]
    pub fn into_deliveries(self) -> impl Iterator<Item = Delivery> {
        let mut slots: Vec<Slot> = self.slots.into_iter().flatten().collect();
        slots.sort_unstable_by_key(|slot| slot.order);
        slots.into_iter().filter_map(|slot| match slot.state {
            Outgoing::PubAck(delivery) => Some(delivery),
            Outgoing::PubRec(_) | Outgoing::PubComp(_) => None,
        })
    }

    /// An idle session holds no window: memory goes back once a large one is empty.
    fn shrink(&mut self) {
        const KEPT: usize = 64;
        if self.slots.capacity() > KEPT {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
    }
}
