//! A message that was permitted: shared by every session it goes to, never changed.

use super::{Position, Ticket};
use crate::identity::Subject;
use crate::mqtt::{
    PacketIdentifier, PublishProperties, QoS, SubscriptionIdentifier, TopicName,
    encode_message_properties,
};
use crate::policy::{About, PublishPermit};
use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A permitted message. The permit is the only way to make one: what is routed, queued or retained was judged (POL-3).
#[derive(Debug)]
pub struct Message {
    about: Arc<About>,
    qos: QoS,
    retain: bool,
    payload: Bytes,
    properties: Option<Box<PublishProperties>>,
    publisher: SessionId,
    expires_at: Option<Instant>,
    encoded_properties: OnceLock<Bytes>,
}

/// Names a session for the life of this process; 0 is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What a message says, apart from what was judged.
#[derive(Debug, Default)]
pub struct Content {
    pub payload: Bytes,
    pub properties: Option<Box<PublishProperties>>,
    /// For No Local: the session the message came from.
    pub publisher: SessionId,
    /// Its QoS 2 identifier, when a durable session publishes it: kept in one step with the message.
    pub received: Option<PacketIdentifier>,
}

/// A message as the store gives it back.
#[derive(Debug)]
pub struct StoredMessage {
    pub topic: TopicName,
    pub qos: QoS,
    pub retain: bool,
    pub payload: Bytes,
    pub properties: Option<Box<PublishProperties>>,
    pub author: Arc<Subject>,
    pub publisher: SessionId,
    pub expires_at: Option<Instant>,
}

impl Message {
    pub fn new(permit: &PublishPermit, content: Content, now: Instant) -> Self {
        let expires_at = content
            .properties
            .as_ref()
            .and_then(|properties| properties.message_expiry_interval)
            .and_then(|seconds| now.checked_add(Duration::from_secs(u64::from(seconds))));
        Self {
            about: Arc::clone(permit.about()),
            qos: permit.qos(),
            retain: permit.retain(),
            payload: content.payload,
            properties: content.properties,
            publisher: content.publisher,
            expires_at,
            encoded_properties: OnceLock::new(),
        }
    }

    /// One that the store kept: it was judged before it was stored.
    pub fn restore(stored: StoredMessage) -> Self {
        let about = About {
            topic: stored.topic,
            author: stored.author,
        };
        Self {
            about: Arc::new(about),
            qos: stored.qos,
            retain: stored.retain,
            payload: stored.payload,
            properties: stored.properties,
            publisher: stored.publisher,
            expires_at: stored.expires_at,
            encoded_properties: OnceLock::new(),
        }
    }

    pub fn topic(&self) -> &TopicName {
        &self.about.topic
    }

    /// As published; a delivery's QoS is the lower of this and what the subscription was granted. [MQTT-3.8.4-8]
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// The RETAIN flag as published.
    pub fn retain(&self) -> bool {
        self.retain
    }

    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    pub fn properties(&self) -> Option<&PublishProperties> {
        self.properties.as_deref()
    }

    /// Who published it: a retained message is delivered only while its author may still publish it (POL-7).
    pub fn author(&self) -> &Arc<Subject> {
        &self.about.author
    }

    pub fn publisher(&self) -> SessionId {
        self.publisher
    }

    pub fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// The interval as received less the time it waited here, in seconds. [MQTT-3.3.2-6]
    pub fn remaining_expiry(&self, now: Instant) -> Option<u32> {
        let remaining = self.expires_at?.saturating_duration_since(now);
        // Rounded up: a message with half a second to live is not one with none.
        let seconds = remaining.as_secs() + u64::from(remaining.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// The forwarded v5 properties, encoded once for all subscribers.
    pub fn encoded_properties(&self) -> &[u8] {
        match &self.properties {
            None => &[],
            Some(properties) => self
                .encoded_properties
                .get_or_init(|| encode_message_properties(properties)),
        }
    }

    /// What it costs a queue to hold it.
    pub fn queued_bytes(&self) -> usize {
        const OVERHEAD: usize = 128;
        self.about.topic.as_str().len()
            + self.payload.len()
            + self
                .properties
                .as_ref()
                .map_or(0, |_| self.encoded_properties().len())
            + OVERHEAD
    }
}

/// A message on its way to one session.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub message: Arc<Message>,
    pub qos: QoS,
    pub retain: bool,
    /// Of every matching subscription that named one. [MQTT-3.3.4-3]
    pub subscription_identifiers: Option<Arc<[SubscriptionIdentifier]>>,
    /// The shared subscription it was drawn for: it moves to another member when this one leaves for good.
    pub share: Option<Arc<crate::mqtt::Subscription>>,
    /// Orders the QoS 1 and 2 deliveries of a session, and gives their packet identifiers; given by its outbox.
    pub sequence: u64,
    /// Of a delivery that must survive the process.
    pub ticket: Option<Arc<Ticket>>,
}

impl Delivery {
    /// A durable session's QoS 2 message leaves only when it is on disk: the client remembers its identifier, and after a crash it must not name another message.
    pub fn awaits(&self, committed: Position) -> Option<Position> {
        if self.qos != QoS::ExactlyOnce {
            return None;
        }
        self.ticket.as_ref()?.awaits(committed)
    }
}
