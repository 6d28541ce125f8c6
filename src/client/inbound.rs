//! Messages from the server that are not fully acknowledged yet. MQTT 5.0 section 4.3

use super::ProtocolError;
use crate::mqtt::{PacketIdentifier, QoS};
use std::collections::{BTreeMap, BTreeSet};

/// How far a QoS 2 message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Given to the user, who has not acknowledged it.
    Delivered,
    /// PUBREC is out: the identifier is the session's until PUBREL. [MQTT-4.3.3-10]
    Received,
}

#[derive(Debug)]
pub(super) struct Inbound {
    receive_maximum: u16,
    at_least_once: BTreeSet<PacketIdentifier>,
    exactly_once: BTreeMap<PacketIdentifier, Progress>,
}

/// What to do with a message above QoS 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    New,
    /// A QoS 2 message that was acknowledged before: only PUBREC again.
    Known,
    /// A QoS 2 message that the user still holds: PUBREC will follow.
    Held,
}

impl Inbound {
    pub(super) fn new(receive_maximum: u16) -> Self {
        Self {
            receive_maximum,
            at_least_once: BTreeSet::new(),
            exactly_once: BTreeMap::new(),
        }
    }

    pub(super) fn arrive(
        &mut self,
        qos: QoS,
        identifier: PacketIdentifier,
    ) -> Result<Arrival, ProtocolError> {
        let arrival = match (qos, self.exactly_once.get(&identifier)) {
            (QoS::ExactlyOnce, Some(Progress::Received)) => Arrival::Known,
            (QoS::ExactlyOnce, Some(Progress::Delivered)) => Arrival::Held,
            (QoS::ExactlyOnce, None) => {
                self.exactly_once.insert(identifier, Progress::Delivered);
                Arrival::New
            }
            (QoS::AtLeastOnce | QoS::AtMostOnce, _) => {
                self.at_least_once.insert(identifier);
                Arrival::New
            }
        };
        if self.at_least_once.len() + self.exactly_once.len() > usize::from(self.receive_maximum) {
            return Err(ProtocolError::ReceiveMaximum(self.receive_maximum));
        }
        Ok(arrival)
    }

    /// The user is done with the message: PUBACK or PUBREC may go.
    pub(super) fn acknowledge(&mut self, qos: QoS, identifier: PacketIdentifier) {
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                self.at_least_once.remove(&identifier);
            }
            QoS::ExactlyOnce => {
                self.exactly_once.insert(identifier, Progress::Received);
            }
        }
    }

    /// PUBREL: the identifier is free again. False when it was not taken.
    pub(super) fn release(&mut self, identifier: PacketIdentifier) -> bool {
        self.exactly_once.remove(&identifier).is_some()
    }

    /// What was not acknowledged comes again on the next connection of the session.
    pub(super) fn connection_lost(&mut self) {
        self.at_least_once.clear();
        self.exactly_once
            .retain(|_, progress| *progress == Progress::Received);
    }

    pub(super) fn clear(&mut self) {
        self.at_least_once.clear();
        self.exactly_once.clear();
    }
}
