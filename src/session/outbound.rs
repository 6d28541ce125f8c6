//! Messages on their way to the client: the window, aliases, expiry, the client's packet size. MQTT 5.0 section 3.3

use super::alias::TopicForm;
use super::inflight::Outgoing;
use super::{Action, Delivery, Output, Position, Reach, Session};
use crate::mqtt::{PacketIdentifier, PublishHead, QoS};
use std::time::Instant;

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// On its way. For QoS 1 and 2 the client's acknowledgement settles it.
    Yes,
    /// Over for this client: its time had passed, or it was larger than the client takes and counts as sent. [MQTT-3.1.2-25] [MQTT-3.3.2-5]
    Expired,
    TooLarge,
    /// No identifier was free: never while the outbox keeps to [`Session::reach`]. Not sent, and not settled.
    Unidentified,
}

/// What became of a message that was due again.
#[derive(Debug)]
pub enum Resent {
    Yes,
    /// Not sent, and over for this client; with what is left to do about it.
    Withheld(Action),
    TooLarge(Action),
}

impl Session {
    /// QoS 1 and 2 messages that the client's Receive Maximum leaves room for, on this connection. [MQTT-3.3.4-9] MQTT 5.0 section 4.9
    pub fn window(&self) -> usize {
        let inflight = &self.carried.inflight;
        usize::from(self.peer.receive_maximum.get())
            .saturating_sub(inflight.len().saturating_sub(inflight.unsent()))
    }

    /// The messages that identifiers are free for.
    pub fn reach(&self) -> Reach {
        self.carried.inflight.reach()
    }

    /// Encodes a delivery; one of QoS 1 or 2 only while [`Session::window`] has room.
    pub fn deliver(&mut self, delivery: Delivery, now: Instant, out: &mut Output) -> Sent {
        if delivery.message.is_expired(now) {
            return Sent::Expired;
        }
        if !self.fits(&delivery, now) {
            return Sent::TooLarge;
        }
        if delivery.qos == QoS::AtMostOnce {
            self.write_publish(&delivery, None, false, now, out);
            return Sent::Yes;
        }
        let Some(identifier) = self.carried.inflight.free(delivery.sequence) else {
            return Sent::Unidentified;
        };
        self.write_publish(&delivery, Some(identifier), false, now, out);
        let sequence = delivery.sequence;
        let outgoing = if delivery.qos == QoS::AtLeastOnce {
            Outgoing::PubAck(delivery)
        } else {
            Outgoing::PubRec(delivery)
        };
        self.carried.inflight.insert(sequence, outgoing);
        Sent::Yes
    }

    /// After a reconnect: PUBREL again for what the client has. They come before the messages, for the client may count them against its Receive Maximum.
    /// A release leaves once what was written so far is on disk, `current`. [MQTT-4.4.0-1]
    pub fn release_again(&mut self, current: Position, committed: Position, out: &mut Output) {
        let identifiers: Vec<_> = self.carried.inflight.released().collect();
        for identifier in identifiers {
            self.send_release(identifier, current, committed, out);
        }
    }

    /// Whether messages of an earlier connection are still to be sent again: before anything new. [MQTT-4.6.0-1]
    pub fn is_behind(&self) -> bool {
        self.carried.inflight.unsent() > 0
    }

    /// Sends the next one again, under its identifier, if the client may have it; `None` when there is none, or no room in the window. [MQTT-4.4.0-1]
    pub fn resend(
        &mut self,
        permits: impl FnOnce(&Delivery) -> bool,
        now: Instant,
        out: &mut Output,
    ) -> Option<Resent> {
        if self.window() == 0 {
            return None;
        }
        let (identifier, delivery) = self.carried.inflight.send_again()?;
        Some(if !permits(&delivery) {
            Resent::Withheld(self.give_up(identifier, delivery, out))
        } else if !self.fits(&delivery, now) {
            Resent::TooLarge(self.give_up(identifier, delivery, out)) // [MQTT-3.1.2-25]
        } else {
            self.write_publish(&delivery, Some(identifier), true, now, out);
            Resent::Yes
        })
    }

    /// A message that was sent before and is not sent again. The client may hold its QoS 2 identifier, and would take the next message under it for this one: it is released.
    fn give_up(
        &mut self,
        identifier: PacketIdentifier,
        delivery: Delivery,
        out: &mut Output,
    ) -> Action {
        if delivery.qos == QoS::ExactlyOnce {
            return self.hand_over(identifier, out);
        }
        self.carried.inflight.remove(identifier);
        Action::Settled(delivery.ticket)
    }

    fn fits(&self, delivery: &Delivery, now: Instant) -> bool {
        let maximum = self.peer.maximum_packet_size;
        if maximum == usize::MAX {
            return true;
        }
        let message = &delivery.message;
        let head = head(
            delivery,
            PacketIdentifier::new(1).filter(|_| delivery.qos > QoS::AtMostOnce),
            message.topic().as_str(),
            false,
            now,
        );
        // With room for an alias that may be defined on the way.
        let alias = if self.outgoing_aliases.form(message.topic()) == TopicForm::Plain {
            0
        } else {
            3
        };
        head.length(self.version) + alias <= maximum
    }

    fn write_publish(
        &mut self,
        delivery: &Delivery,
        identifier: Option<PacketIdentifier>,
        dup: bool,
        now: Instant,
        out: &mut Output,
    ) {
        let topic = delivery.message.topic();
        let mut head = head(delivery, identifier, topic.as_str(), dup, now);
        match self.outgoing_aliases.form(topic) {
            TopicForm::Plain => {}
            TopicForm::Define(alias) => {
                head.topic_alias = Some(alias);
                self.outgoing_aliases.sent(topic, alias);
            }
            TopicForm::Alias(alias) => {
                head.topic_alias = Some(alias);
                head.topic = "";
            }
        }
        out.count_packet();
        head.encode(self.version, out.buffer());
        out.append(delivery.message.payload());
    }
}

fn head<'a>(
    delivery: &'a Delivery,
    packet_identifier: Option<PacketIdentifier>,
    topic: &'a str,
    dup: bool,
    now: Instant,
) -> PublishHead<'a> {
    let message = &delivery.message;
    PublishHead {
        dup,
        qos: delivery.qos,
        retain: delivery.retain,
        packet_identifier,
        topic,
        topic_alias: None,
        subscription_identifiers: delivery
            .subscription_identifiers
            .as_deref()
            .unwrap_or_default(),
        message_expiry_interval: message.remaining_expiry(now),
        message_properties: message.encoded_properties(),
        payload_length: message.payload().len(),
    }
}
