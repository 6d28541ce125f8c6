//! The only thing a session opens with.

use super::door::{Door, Rules};
use super::screen::Places;
use crate::identity::{Identity, Subject};
use crate::limits::{ClientBuckets, UserSlot};
use crate::mqtt::{Connect, Will};
use crate::net::PeerTls;
use crate::policy::Compiled;
use bytes::Bytes;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Says that this client was screened, secured, greeted, identified and admitted. Made by [`super::Identified::admit`] alone.
pub struct Grant {
    rights: Arc<Compiled>,
    connect: Box<Connect>,
    authentication_data: Option<Bytes>,
    assigned: bool,
    occupied: Occupied,
    door: Arc<Door>,
    rules: Arc<Rules>,
    peer_tls: Option<Box<PeerTls>>,
}

/// What an admitted connection holds until it ends: its buckets, and its places in every count.
pub struct Occupied {
    pub buckets: ClientBuckets,
    _user: UserSlot,
    _places: Places,
}

/// What a connection goes on with.
pub struct Parts {
    pub rights: Arc<Compiled>,
    pub will: Option<Will>,
    pub occupied: Occupied,
    pub door: Arc<Door>,
    pub rules: Arc<Rules>,
    /// With a client certificate: to judge it again when the trust changes.
    pub peer_tls: Option<Box<PeerTls>>,
}

impl Occupied {
    pub(super) fn new(buckets: ClientBuckets, user: UserSlot, places: Places) -> Self {
        Self {
            buckets,
            _user: user,
            _places: places,
        }
    }
}

impl Grant {
    pub(super) fn new(
        rights: Arc<Compiled>,
        (connect, authentication_data): (Box<Connect>, Option<Bytes>),
        assigned: bool,
        occupied: Occupied,
        (door, rules): (Arc<Door>, Arc<Rules>),
        peer_tls: Option<Box<PeerTls>>,
    ) -> Self {
        Self {
            rights,
            connect,
            authentication_data,
            assigned,
            occupied,
            door,
            rules,
            peer_tls,
        }
    }

    pub fn subject(&self) -> &Arc<Subject> {
        self.rights.subject()
    }

    pub fn rights(&self) -> &Arc<Compiled> {
        &self.rights
    }

    /// Without its password.
    pub fn connect(&self) -> &Connect {
        &self.connect
    }

    /// The server's proof at the end of an exchange of AUTH packets, for CONNACK.
    pub fn authentication_data(&self) -> Option<&Bytes> {
        self.authentication_data.as_ref()
    }

    /// The server chose the client identifier.
    pub fn is_assigned(&self) -> bool {
        self.assigned
    }

    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The largest packet that the client may send, as it is told.
    pub fn maximum_packet_size(&self) -> Option<NonZeroU32> {
        u32::try_from(self.rules.maximum_packet_size)
            .ok()
            .and_then(NonZeroU32::new)
    }

    /// In seconds, as agreed. MQTT 5.0 section 3.1.2.11.2
    pub fn session_expiry_interval(&self) -> u32 {
        self.rules.mqtt.session_expiry(&self.connect)
    }

    /// When the credential ends, and the session with it (IDN-11).
    pub fn valid_until(&self, now: Instant) -> Option<Instant> {
        ends_at(&self.subject().identity, now)
    }

    pub fn into_parts(self) -> Parts {
        let Self {
            rights,
            connect,
            occupied,
            door,
            rules,
            peer_tls,
            ..
        } = self;
        Parts {
            rights,
            will: connect.will,
            occupied,
            door,
            rules,
            peer_tls,
        }
    }
}

/// When an identity's proof ends.
pub fn ends_at(identity: &Identity, now: Instant) -> Option<Instant> {
    let left = identity
        .valid_until?
        .duration_since(SystemTime::now())
        .unwrap_or_default();
    // Further away than a clock can count is never.
    now.checked_add(left)
}
