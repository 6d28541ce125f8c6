//! What the client machine tells its user.

use crate::mqtt::{
    Ack, Auth, ConnAck, Disconnect, PacketIdentifier, Publish, QoS, SubAck, UnsubAck,
};

#[derive(Debug)]
pub enum Event {
    /// CONNACK said yes; unacknowledged messages of the session go out again by themselves.
    Connected(Box<ConnAck>),
    /// CONNACK said no; the server closes.
    Refused(Box<ConnAck>),
    /// A message, its topic alias resolved. Above QoS 0 it waits for [`super::Client::acknowledge`].
    Message(Publish, Option<Acknowledgement>),
    /// A message above QoS 0 is settled: PUBACK, PUBCOMP, or a PUBREC that refused it.
    Published(Ack),
    Subscribed(SubAck),
    Unsubscribed(UnsubAck),
    /// A step of enhanced authentication. MQTT 5.0 section 4.12
    Authenticate(Auth),
    /// The server said why it closes.
    Disconnected(Disconnect),
}

/// The right to acknowledge one message once: at QoS 1 on the connection that brought it, at QoS 2 as long as the session lasts.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an unacknowledged message holds a place of the receive maximum"]
pub struct Acknowledgement {
    pub(super) packet_identifier: PacketIdentifier,
    pub(super) qos: QoS,
    pub(super) connection: u64,
}
