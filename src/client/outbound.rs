//! Messages to the server that are not fully acknowledged yet, in the order they were sent. MQTT 5.0 sections 4.3 and 4.4

use crate::mqtt::{Ack, Packet, PacketIdentifier, Publish, QoS, ReasonCode};
use std::collections::VecDeque;

#[derive(Debug)]
struct Entry {
    packet_identifier: PacketIdentifier,
    stage: Stage,
    /// Its PUBLISH went out on this connection and holds a place of the quota.
    is_counted: bool,
}

#[derive(Debug)]
enum Stage {
    /// Until PUBACK or PUBREC.
    Published(Publish),
    /// PUBREC came: PUBREL until PUBCOMP, and the PUBLISH never again. [MQTT-4.3.3-6]
    Released,
}

/// What became of an acknowledgement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Delivery is over, well or not.
    Done,
    /// PUBREC: go on with PUBREL.
    Release,
    /// PUBREC before the message was sent again: PUBREL goes in its place.
    ReleaseInTurn,
    /// Nobody waits for it.
    Unknown,
    /// It does not fit the QoS of the message.
    WrongKind,
}

#[derive(Debug, Default)]
pub(super) struct Outbound {
    entries: VecDeque<Entry>,
    /// Entries before this one went out on this connection.
    sent: usize,
    /// How many PUBLISH packets the server takes now. [MQTT-4.9.0-2]
    quota: u16,
}

impl Outbound {
    /// A new connection: everything unsettled goes out again, in order [MQTT-4.4.0-1]; as a duplicate only when the server knows the session.
    pub(super) fn connected(&mut self, session_present: bool, receive_maximum: u16) -> Vec<Ack> {
        self.quota = receive_maximum;
        self.sent = 0;
        let mut settled = Vec::new();
        self.entries.retain_mut(|entry| {
            entry.is_counted = false;
            match &mut entry.stage {
                Stage::Published(publish) => {
                    publish.dup = session_present;
                    true
                }
                // The server had the message; what it forgot is only the last step.
                Stage::Released if !session_present => {
                    settled.push(ack(entry.packet_identifier));
                    false
                }
                Stage::Released => true,
            }
        });
        settled
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.sent = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn has_window(&self) -> bool {
        usize::from(self.quota) > self.entries.len() - self.sent
    }

    pub(super) fn uses(&self, identifier: PacketIdentifier) -> bool {
        self.position(identifier).is_some()
    }

    pub(super) fn push(&mut self, packet_identifier: PacketIdentifier, publish: Publish) {
        self.entries.push_back(Entry {
            packet_identifier,
            stage: Stage::Published(publish),
            is_counted: false,
        });
    }

    /// The next packet that this connection has not seen.
    pub(super) fn poll_transmit(&mut self) -> Option<Packet> {
        let entry = self.entries.get_mut(self.sent)?;
        let packet = match &entry.stage {
            Stage::Published(publish) => {
                // No more than the server's Receive Maximum at once. [MQTT-3.3.4-7]
                self.quota = self.quota.checked_sub(1)?;
                entry.is_counted = true;
                Packet::Publish(publish.clone())
            }
            Stage::Released => Packet::PubRel(ack(entry.packet_identifier)),
        };
        self.sent += 1;
        Some(packet)
    }

    pub(super) fn puback(&mut self, identifier: PacketIdentifier) -> Settled {
        let Some((index, entry)) = self.find(identifier) else {
            return Settled::Unknown;
        };
        match &entry.stage {
            Stage::Published(publish) if publish.qos == QoS::AtLeastOnce => self.remove(index),
            Stage::Published(_) | Stage::Released => Settled::WrongKind,
        }
    }

    pub(super) fn pubrec(&mut self, identifier: PacketIdentifier, reason: ReasonCode) -> Settled {
        let Some((index, entry)) = self.find(identifier) else {
            return Settled::Unknown;
        };
        match &entry.stage {
            Stage::Published(publish) if publish.qos != QoS::ExactlyOnce => Settled::WrongKind,
            Stage::Published(_) if reason.is_error() => self.remove(index),
            Stage::Published(_) | Stage::Released => {
                entry.stage = Stage::Released;
                if index < self.sent {
                    Settled::Release
                } else {
                    Settled::ReleaseInTurn
                }
            }
        }
    }

    pub(super) fn pubcomp(&mut self, identifier: PacketIdentifier) -> Settled {
        let Some((index, entry)) = self.find(identifier) else {
            return Settled::Unknown;
        };
        match entry.stage {
            Stage::Released => self.remove(index),
            Stage::Published(_) => Settled::WrongKind,
        }
    }

    fn position(&self, identifier: PacketIdentifier) -> Option<usize> {
        // Acknowledgements come in order, so the first entry is nearly always the one.
        self.entries
            .iter()
            .position(|entry| entry.packet_identifier == identifier)
    }

    fn find(&mut self, identifier: PacketIdentifier) -> Option<(usize, &mut Entry)> {
        let index = self.position(identifier)?;
        Some((index, self.entries.get_mut(index)?))
    }

    fn remove(&mut self, index: usize) -> Settled {
        let removed = self.entries.remove(index);
        if index < self.sent {
            self.sent -= 1;
        }
        if removed.is_some_and(|entry| entry.is_counted) {
            self.quota = self.quota.saturating_add(1);
        }
        Settled::Done
    }
}

pub(super) fn ack(packet_identifier: PacketIdentifier) -> Ack {
    Ack {
        packet_identifier,
        reason_code: ReasonCode::Success,
        properties: None,
    }
}
