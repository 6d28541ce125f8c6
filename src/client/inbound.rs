//! Messages from the server that are not fully acknowledged yet. MQTT 5.0 section 4.3

use super::{Acknowledgement, ProtocolError};
use crate::mqtt::{PacketIdentifier, QoS};
use std::collections::{BTreeMap, BTreeSet};

/// How far a QoS 2 message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Given to the user on that connection and not acknowledged: it is the user's, whatever happens to the connection.
    Delivered(u64),
    /// PUBREC is out: the identifier is the session's until PUBREL. [MQTT-4.3.3-10]
    Received,
}

#[derive(Debug)]
pub(super) struct Inbound {
    receive_maximum: u16,
    /// How many the server may still send. MQTT 5.0 section 4.9
    quota: u16,
    /// Received on this connection and not settled.
    window: BTreeSet<PacketIdentifier>,
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
            quota: receive_maximum,
            window: BTreeSet::new(),
            at_least_once: BTreeSet::new(),
            exactly_once: BTreeMap::new(),
        }
    }

    pub(super) fn arrive(
        &mut self,
        qos: QoS,
        identifier: PacketIdentifier,
        connection: u64,
    ) -> Result<Arrival, ProtocolError> {
        let quota = self.quota.checked_sub(1);
        self.quota = quota.ok_or(ProtocolError::ReceiveMaximum(self.receive_maximum))?;
        self.window.insert(identifier);
        Ok(match (qos, self.exactly_once.get(&identifier)) {
            (QoS::ExactlyOnce, Some(Progress::Received)) => Arrival::Known,
            (QoS::ExactlyOnce, Some(Progress::Delivered(_))) => Arrival::Held,
            (QoS::ExactlyOnce, None) => {
                self.exactly_once
                    .insert(identifier, Progress::Delivered(connection));
                Arrival::New
            }
            (QoS::AtLeastOnce | QoS::AtMostOnce, _) => {
                self.at_least_once.insert(identifier);
                Arrival::New
            }
        })
    }

    /// The user is done with the message: true if PUBACK or PUBREC goes now. At QoS 2 after a loss of connection it goes when the server has sent the message again.
    pub(super) fn acknowledge(&mut self, given: &Acknowledgement) -> bool {
        let identifier = given.packet_identifier;
        match given.qos {
            QoS::AtMostOnce => false,
            QoS::AtLeastOnce => {
                self.settle(identifier);
                self.at_least_once.remove(&identifier)
            }
            QoS::ExactlyOnce => match self.exactly_once.get_mut(&identifier) {
                Some(progress) if *progress == Progress::Delivered(given.connection) => {
                    *progress = Progress::Received;
                    self.window.contains(&identifier)
                }
                Some(_) | None => false,
            },
        }
    }

    /// PUBREL: the identifier is free again. False when it was not taken.
    pub(super) fn release(&mut self, identifier: PacketIdentifier) -> bool {
        self.settle(identifier);
        self.exactly_once.remove(&identifier).is_some()
    }

    /// QoS 1 that was not acknowledged comes again, as new, on the next connection of the session.
    pub(super) fn connection_lost(&mut self) {
        self.window.clear();
        self.quota = self.receive_maximum;
        self.at_least_once.clear();
    }

    /// PUBACK and PUBCOMP each give a place back, up to the maximum.
    fn settle(&mut self, identifier: PacketIdentifier) {
        self.window.remove(&identifier);
        self.quota = self.quota.saturating_add(1).min(self.receive_maximum);
    }

    pub(super) fn clear(&mut self) {
        self.at_least_once.clear();
        self.exactly_once.clear();
    }
}
