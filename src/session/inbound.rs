//! What the client still owes us: QoS 2 identifiers it has not released, and its window. MQTT 5.0 sections 4.3.3 and 4.9

use super::error::ProtocolError;
use crate::mqtt::{PacketIdentifier, QoS};
use std::collections::BTreeSet;
use std::num::NonZeroU16;

/// Identifiers of QoS 2 messages that were taken over and wait for their PUBREL: at most Receive Maximum (LIM-4).
#[derive(Debug, Default)]
pub struct Received(BTreeSet<u16>);

impl Received {
    /// Whether this identifier's message was taken over before: a repeated PUBLISH is not delivered again. [MQTT-4.3.3-10]
    pub fn contains(&self, identifier: PacketIdentifier) -> bool {
        self.0.contains(&identifier.get())
    }

    pub fn insert(&mut self, identifier: PacketIdentifier) {
        self.0.insert(identifier.get());
    }

    pub fn remove(&mut self, identifier: PacketIdentifier) -> bool {
        self.0.remove(&identifier.get())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// QoS 1 and 2 publishes that we have not acknowledged. [MQTT-3.3.4-9]
#[derive(Debug)]
pub struct Window {
    unacknowledged: usize,
    maximum: NonZeroU16,
}

impl Window {
    /// `held`: identifiers that a resumed session still holds; they take their places again.
    pub fn new(maximum: NonZeroU16, held: usize) -> Self {
        Self {
            unacknowledged: held,
            maximum,
        }
    }

    /// A client that sends more than it was granted breaks the protocol. [MQTT-3.3.4-7]
    pub fn take(&mut self, qos: QoS) -> Result<(), ProtocolError> {
        if qos == QoS::AtMostOnce {
            return Ok(());
        }
        if self.unacknowledged >= usize::from(self.maximum.get()) {
            return Err(ProtocolError::ReceiveMaximumExceeded);
        }
        self.unacknowledged += 1;
        Ok(())
    }

    pub fn give_back(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
    }
}
