//! One client's state machine: packets and `now` in, bytes and actions out; it never touches a socket or a clock. MQTT 5.0 section 4

mod acknowledgements;
mod alias;
mod error;
mod greeting;
mod inbound;
mod inflight;
mod message;
mod outbound;
mod output;
mod ticket;

pub use self::acknowledgements::Position;
pub use self::error::ProtocolError;
pub use self::greeting::connack;
pub use self::inflight::{Inflight, Outgoing, Reach};
pub use self::message::{Content, Delivery, Message, SessionId, StoredMessage};
pub use self::outbound::{Resent, Sent};
pub use self::output::Output;
pub use self::ticket::Ticket;
pub use crate::mqtt::{MqttConfig, QueueConfig, RetainedConfig, WhenFull};

use self::acknowledgements::Acknowledgements;
use self::alias::{IncomingAliases, OutgoingAliases};
use self::inbound::{Received, Window};
use crate::admission::Grant;
use crate::mqtt::{
    Ack, Auth, Disconnect, Packet, PacketIdentifier, ProtocolVersion, Publish, PublishProperties,
    QoS, ReasonCode, ReasonProperties, Subscribe, Text, TopicName, Unsubscribe, encode_within,
};
use bytes::Bytes;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

/// A client that was admitted, for the life of its network connection. What outlives the connection is [`Carried`].
pub struct Session {
    version: ProtocolVersion,
    settings: Arc<MqttConfig>,
    peer: Peer,
    carried: Carried,
    window: Window,
    incoming_aliases: IncomingAliases,
    outgoing_aliases: OutgoingAliases,
    acknowledgements: Acknowledgements,
    /// PUBREL that wait for the disk.
    releases: Acknowledgements,
    /// In seconds.
    session_expiry_interval: u32,
    keep_alive: Option<Duration>,
    /// Of enhanced authentication, which few clients use.
    authentication_method: Option<Box<Text>>,
}

/// What a session keeps when its connection ends. MQTT 5.0 section 4.1
#[derive(Debug, Default)]
pub struct Carried {
    pub inflight: Inflight,
    received: Received,
}

impl Carried {
    /// What a session that was kept goes on with.
    pub fn restore(inflight: Inflight, received: &[PacketIdentifier]) -> Self {
        let mut carried = Self {
            inflight,
            ..Self::default()
        };
        for identifier in received {
            carried.received.insert(*identifier);
        }
        carried
    }
}

/// What the client said it can take.
#[derive(Clone, Copy, Debug)]
struct Peer {
    receive_maximum: NonZeroU16,
    /// In bytes; `usize::MAX` when it named none.
    maximum_packet_size: usize,
    request_problem_information: bool,
}

/// What a packet asks of the world outside the session.
#[derive(Debug)]
pub enum Action {
    Nothing,
    Publish(Incoming),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    /// The client has the message: the store may forget it.
    Settled(Option<Arc<Ticket>>),
    /// The client has a QoS 2 message (PUBREC), and a crash must not make it another one; answer by [`Session::send_release`].
    HandedOver(PacketIdentifier, Arc<Ticket>),
    /// A QoS 2 message that was taken over before; answer by [`Session::acknowledge_again`].
    Repeated(PacketIdentifier),
    /// The client released a QoS 2 identifier, which we did or did not hold; answer by [`Session::complete`].
    Released(PacketIdentifier, bool),
    Disconnect(Disconnect),
    /// The client proves itself again, by the method it came in with.
    Authenticate(Auth),
}

/// A PUBLISH whose alias was resolved; answer by [`Session::acknowledge`].
#[derive(Debug)]
pub struct Incoming {
    pub topic: TopicName,
    pub qos: QoS,
    pub retain: bool,
    pub payload: Bytes,
    pub properties: Option<Box<PublishProperties>>,
    pub packet_identifier: Option<PacketIdentifier>,
}

impl Session {
    /// Only a [`Grant`] makes one.
    pub fn open(grant: &Grant, mut carried: Carried, settings: Arc<MqttConfig>) -> Self {
        let connect = grant.connect();
        let properties = &connect.properties;
        let peer = Peer {
            // v5: absent means 65,535 by the specification, but what nobody asked for need not be used. [MQTT-3.3.4-9]
            receive_maximum: properties.receive_maximum.unwrap_or(settings.max_inflight),
            maximum_packet_size: properties
                .maximum_packet_size
                .and_then(|size| usize::try_from(size.get()).ok())
                .unwrap_or(usize::MAX),
            request_problem_information: properties.request_problem_information.unwrap_or(true),
        };
        carried.inflight.begin_again();
        Self {
            version: connect.protocol_version,
            peer,
            window: Window::new(
                receive_maximum(connect.protocol_version, &settings),
                carried.received.len(),
            ),
            carried,
            incoming_aliases: IncomingAliases::new(settings.topic_alias_maximum),
            outgoing_aliases: OutgoingAliases::new(
                properties
                    .topic_alias_maximum
                    .unwrap_or(0)
                    .min(settings.topic_alias_maximum),
            ),
            acknowledgements: Acknowledgements::default(),
            releases: Acknowledgements::default(),
            session_expiry_interval: settings.session_expiry(connect),
            keep_alive: greeting::keep_alive(connect, &settings),
            authentication_method: properties.authentication_method.clone().map(Box::new),
            settings,
        }
    }

    pub fn authentication_method(&self) -> Option<&Text> {
        self.authentication_method.as_deref()
    }

    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// In seconds, as agreed; 0: the session ends with its connection.
    pub fn session_expiry_interval(&self) -> u32 {
        self.session_expiry_interval
    }

    /// How long the client may be silent: one and a half times the keep alive. [MQTT-3.1.2-22]
    pub fn silence_limit(&self) -> Option<Duration> {
        self.keep_alive
            .map(|keep_alive| keep_alive + keep_alive / 2)
    }

    /// For the next connection of this client.
    pub fn take_carried(&mut self) -> Carried {
        std::mem::take(&mut self.carried)
    }

    /// Takes one packet; what it answers by itself goes to `out`.
    pub fn receive(&mut self, packet: Packet, out: &mut Output) -> Result<Action, ProtocolError> {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::PubAck(ack) => self.on_puback(&ack),
            Packet::PubRec(ack) => self.on_pubrec(&ack, out),
            Packet::PubRel(ack) => Ok(self.on_pubrel(&ack)),
            Packet::PubComp(ack) => self.on_pubcomp(&ack),
            Packet::Subscribe(subscribe) => Ok(Action::Subscribe(subscribe)),
            Packet::Unsubscribe(unsubscribe) => Ok(Action::Unsubscribe(unsubscribe)),
            Packet::PingReq => {
                self.send(&Packet::PingResp, out); // [MQTT-3.12.4-1]
                Ok(Action::Nothing)
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(disconnect),
            Packet::Auth(auth) => self.on_auth(auth),
            Packet::Connect(_) => Err(ProtocolError::SecondConnect), // [MQTT-3.1.0-2]
            Packet::ConnAck(_) => Err(ProtocolError::ServerPacket("CONNACK")),
            Packet::SubAck(_) => Err(ProtocolError::ServerPacket("SUBACK")),
            Packet::UnsubAck(_) => Err(ProtocolError::ServerPacket("UNSUBACK")),
            Packet::PingResp => Err(ProtocolError::ServerPacket("PINGRESP")),
        }
    }

    /// Answers an [`Incoming`] publish once it was routed or refused. `position`: where the store will have it on disk.
    pub fn acknowledge(
        &mut self,
        qos: QoS,
        identifier: Option<PacketIdentifier>,
        answer: Answer,
        position: Position,
        committed: Position,
        out: &mut Output,
    ) {
        let Some(packet_identifier) = identifier else {
            return;
        };
        // An MQTT 3 client cannot be told: its refused message is acknowledged and dropped.
        let reason_code = if self.version.is_v5() {
            answer.reason_code
        } else {
            ReasonCode::Success
        };
        let ack = Ack {
            packet_identifier,
            reason_code,
            properties: self.reason(answer.reason_string),
        };
        let packet = match qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => Packet::PubAck(ack),
            QoS::ExactlyOnce => {
                // An identifier whose PUBREC says error is free again. [MQTT-4.3.3-9]
                if !reason_code.is_error() {
                    self.carried.received.insert(packet_identifier);
                }
                Packet::PubRec(ack)
            }
        };
        if let Some(packet) = self.acknowledgements.push(packet, position, committed) {
            self.send_acknowledgement(&packet, out);
        }
    }

    /// Answers [`Action::Repeated`] by PUBREC, once what was written so far is on disk: its message may be among it.
    pub fn acknowledge_again(
        &mut self,
        packet_identifier: PacketIdentifier,
        current: Position,
        committed: Position,
        out: &mut Output,
    ) {
        let packet = Packet::PubRec(Ack {
            packet_identifier,
            reason_code: ReasonCode::Success,
            properties: None,
        });
        self.confirm(packet, current, committed, out);
    }

    /// Answers [`Action::Released`] by PUBCOMP.
    pub fn complete(
        &mut self,
        (packet_identifier, was_held): (PacketIdentifier, bool),
        position: Position,
        committed: Position,
        out: &mut Output,
    ) {
        // MQTT 3 has no way to say "not found": PUBCOMP ends the exchange.
        let reason_code = if was_held {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        let packet = Packet::PubComp(Ack {
            packet_identifier,
            reason_code,
            properties: None,
        });
        if let Some(packet) = self.acknowledgements.push(packet, position, committed) {
            self.send_acknowledgement(&packet, out);
        }
    }

    /// Answers [`Action::HandedOver`] by PUBREL, in the order the PUBRECs came. [MQTT-4.6.0-4]
    pub fn send_release(
        &mut self,
        packet_identifier: PacketIdentifier,
        position: Position,
        committed: Position,
        out: &mut Output,
    ) {
        let packet = Packet::PubRel(Ack {
            packet_identifier,
            reason_code: ReasonCode::Success,
            properties: None,
        });
        if let Some(packet) = self.releases.push(packet, position, committed) {
            self.send(&packet, out);
        }
    }

    /// Answers SUBSCRIBE or UNSUBSCRIBE once a durable session's change is on disk.
    pub fn confirm(
        &mut self,
        packet: Packet,
        position: Position,
        committed: Position,
        out: &mut Output,
    ) {
        if let Some(packet) = self.acknowledgements.push(packet, position, committed) {
            self.send(&packet, out);
        }
    }

    /// Sends the acknowledgements and releases whose commit is done. [MQTT-4.6.0-2]
    pub fn release(&mut self, committed: Position, out: &mut Output) {
        while let Some(packet) = self.acknowledgements.pop(committed) {
            self.send_acknowledgement(&packet, out);
        }
        while let Some(packet) = self.releases.pop(committed) {
            self.send(&packet, out);
        }
    }

    /// The commit that the oldest unsent acknowledgement or release waits for.
    pub fn awaited(&self) -> Option<Position> {
        let (ours, theirs) = (self.acknowledgements.awaited(), self.releases.awaited());
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        }
    }

    /// Too many answers wait for the disk: what is not read asks for none.
    pub fn is_congested(&self) -> bool {
        const WAITING: usize = 4096;
        self.acknowledgements.len() >= WAITING || self.releases.len() >= WAITING
    }

    /// Sends any packet but a PUBLISH; reason strings that the client did not ask for or cannot take are left out. [MQTT-3.4.2-2]
    pub fn send(&self, packet: &Packet, out: &mut Output) {
        out.count_packet();
        // Longer than the client takes even without its diagnostics: not sent. [MQTT-3.1.2-24]
        encode_within(
            packet,
            self.version,
            self.peer.maximum_packet_size,
            out.buffer(),
        );
    }

    /// A Reason String, for a v5 client that did not turn problem information off. [MQTT-3.1.2-29]
    pub fn reason(&self, text: Option<String>) -> ReasonProperties {
        let text =
            text.filter(|_| self.version.is_v5() && self.peer.request_problem_information)?;
        let text = crate::mqtt::Text::try_from(text.as_str()).ok()?;
        Some(Box::new((Some(text), Vec::new())))
    }

    fn on_publish(&mut self, publish: Publish) -> Result<Action, ProtocolError> {
        let alias = publish
            .properties
            .as_ref()
            .and_then(|properties| properties.topic_alias);
        let topic = match (publish.topic, alias) {
            (Some(topic), None) => topic,
            (topic, alias) => self.incoming_aliases.resolve(topic, alias)?,
        };
        if publish.qos > self.settings.max_qos.0 {
            return Err(ProtocolError::QoSNotSupported);
        }
        if publish.retain && !self.settings.retain_available {
            return Err(ProtocolError::RetainNotSupported);
        }
        if let (QoS::ExactlyOnce, Some(identifier)) = (publish.qos, publish.packet_identifier)
            && self.carried.received.contains(identifier)
        {
            // Taken over before: acknowledged again, not delivered again. [MQTT-4.3.3-10]
            return Ok(Action::Repeated(identifier));
        }
        self.window.take(publish.qos)?;
        Ok(Action::Publish(Incoming {
            topic,
            qos: publish.qos,
            retain: publish.retain,
            payload: publish.payload,
            properties: publish.properties,
            packet_identifier: publish.packet_identifier,
        }))
    }

    fn on_puback(&mut self, ack: &Ack) -> Result<Action, ProtocolError> {
        match self.carried.inflight.state(ack.packet_identifier) {
            Some(Outgoing::PubAck(_)) => {
                let removed = self.carried.inflight.remove(ack.packet_identifier);
                Ok(Action::Settled(removed.and_then(Outgoing::into_ticket)))
            }
            Some(Outgoing::PubRec(_) | Outgoing::PubComp(_)) => {
                Err(ProtocolError::UnexpectedAcknowledgement)
            }
            // A late one, for a message of an earlier connection: nothing to do.
            None => Ok(Action::Nothing),
        }
    }

    fn on_pubrec(&mut self, ack: &Ack, out: &mut Output) -> Result<Action, ProtocolError> {
        let identifier = ack.packet_identifier;
        let reason_code = match self.carried.inflight.state(identifier) {
            Some(Outgoing::PubRec(_)) if ack.reason_code.is_error() => {
                // The client will not have it: the exchange is over. [MQTT-4.3.3-4]
                let removed = self.carried.inflight.remove(identifier);
                return Ok(Action::Settled(removed.and_then(Outgoing::into_ticket)));
            }
            Some(Outgoing::PubRec(_)) => return Ok(self.hand_over(identifier, out)),
            // Said again: its release may still be waiting for the disk, and that stays so.
            Some(Outgoing::PubComp(Some(ticket))) => {
                return Ok(Action::HandedOver(identifier, Arc::clone(ticket)));
            }
            Some(Outgoing::PubComp(None)) => ReasonCode::Success,
            Some(Outgoing::PubAck(_)) => return Err(ProtocolError::UnexpectedAcknowledgement),
            None if ack.reason_code.is_error() => return Ok(Action::Nothing),
            None => ReasonCode::PacketIdentifierNotFound,
        };
        self.send_pubrel(identifier, reason_code, out);
        Ok(Action::Nothing)
    }

    /// From here on only the identifier is held. A durable session's release waits until that is on disk.
    fn hand_over(&mut self, identifier: PacketIdentifier, out: &mut Output) -> Action {
        let delivery = self.carried.inflight.received(identifier);
        if let Some(ticket) = delivery.and_then(|delivery| delivery.ticket) {
            return Action::HandedOver(identifier, ticket);
        }
        self.send_pubrel(identifier, ReasonCode::Success, out);
        Action::Nothing
    }

    fn send_pubrel(
        &self,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
        out: &mut Output,
    ) {
        let packet = Packet::PubRel(Ack {
            packet_identifier,
            reason_code,
            properties: None,
        });
        self.send(&packet, out);
    }

    fn on_pubrel(&mut self, ack: &Ack) -> Action {
        let packet_identifier = ack.packet_identifier;
        let was_held = self.carried.received.remove(packet_identifier);
        Action::Released(packet_identifier, was_held)
    }

    fn on_pubcomp(&mut self, ack: &Ack) -> Result<Action, ProtocolError> {
        match self.carried.inflight.state(ack.packet_identifier) {
            Some(Outgoing::PubComp(_)) => {
                let removed = self.carried.inflight.remove(ack.packet_identifier);
                Ok(Action::Settled(removed.and_then(Outgoing::into_ticket)))
            }
            Some(Outgoing::PubAck(_) | Outgoing::PubRec(_)) => {
                Err(ProtocolError::UnexpectedAcknowledgement)
            }
            None => Ok(Action::Nothing),
        }
    }

    fn on_auth(&self, auth: Auth) -> Result<Action, ProtocolError> {
        match self.authentication_method() {
            // [MQTT-4.12.0-7]
            None => Err(ProtocolError::UnexpectedAuth),
            // [MQTT-4.12.1-1]
            method if method != auth.authentication_method.as_ref() => {
                Err(ProtocolError::OtherAuthenticationMethod)
            }
            Some(_) => Ok(Action::Authenticate(auth)),
        }
    }

    fn on_disconnect(&mut self, disconnect: Disconnect) -> Result<Action, ProtocolError> {
        if let Some(interval) = disconnect.session_expiry_interval {
            // A session that was to end with its connection cannot be kept after all. [MQTT-3.14.2-2]
            if self.session_expiry_interval == 0 && interval != 0 {
                return Err(ProtocolError::SessionExpiryRaised);
            }
            self.session_expiry_interval = interval.min(self.settings.session_expiry_max());
        }
        Ok(Action::Disconnect(disconnect))
    }

    fn send_acknowledgement(&mut self, packet: &Packet, out: &mut Output) {
        let ends_exchange = matches!(packet, Packet::PubAck(_))
            || matches!(packet, Packet::PubRec(ack) if ack.reason_code.is_error())
            || matches!(packet, Packet::PubComp(ack) if ack.reason_code == ReasonCode::Success);
        if ends_exchange {
            self.window.give_back();
        }
        self.send(packet, out);
    }
}

/// MQTT 3 cannot be told a Receive Maximum, so it is not held to one: its packet identifiers bound it.
fn receive_maximum(version: ProtocolVersion, settings: &MqttConfig) -> NonZeroU16 {
    if version.is_v5() {
        settings.receive_maximum
    } else {
        NonZeroU16::MAX
    }
}

/// How a publish is answered.
#[derive(Debug)]
pub struct Answer {
    pub reason_code: ReasonCode,
    pub reason_string: Option<String>,
}

impl From<ReasonCode> for Answer {
    fn from(reason_code: ReasonCode) -> Self {
        Self {
            reason_code,
            reason_string: None,
        }
    }
}
