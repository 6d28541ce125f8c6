//! The client's state machine: packets in, packets and events out; no socket, no clock.

use super::alias::{InboundAliases, OutboundAliases};
use super::inbound::Inbound;
use super::keep_alive::{Due, KeepAlive};
use super::outbound::{Outbound, ack};
use super::{Acknowledgement, Event, ProtocolError, PublishError, SubscribeError};
use crate::mqtt::{
    Auth, Connect, DecodeLimits, Disconnect, Packet, PacketIdentifier, ProtocolVersion, Publish,
    PublishHead, QoS, ReasonCode, Subscribe, SubscribeFilter, Subscription, SubscriptionIdentifier,
    TopicName, Unsubscribe, UserProperties, decode, encode, encode_message_properties,
    frame_length,
};
use bytes::BytesMut;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

/// MQTT 5.0 section 2.1.4
pub(super) const LONGEST_PACKET: usize = 268_435_460;

/// What the protocol leaves to the client.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long CONNACK and PINGRESP may take.
    pub response_timeout: Duration,
    /// Shorten repeated topics by aliases as far as the server takes them.
    pub topic_aliases: bool,
    pub decode_limits: DecodeLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            response_timeout: Duration::from_secs(10),
            topic_aliases: false,
            decode_limits: DecodeLimits::of_client(),
        }
    }
}

/// One client and its session, over any number of connections, one after the other.
#[derive(Debug)]
pub struct Client {
    pub(super) connect: Connect,
    pub(super) options: Options,
    pub(super) state: State,
    /// Counts connections, so that an acknowledgement cannot reach a later one.
    pub(super) connection: u64,
    pub(super) server: ServerLimits,
    pub(super) keep_alive: KeepAlive,
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
    pub(super) outbound_aliases: OutboundAliases,
    pub(super) inbound_aliases: InboundAliases,
    pub(super) requests: BTreeMap<PacketIdentifier, Request>,
    pub(super) last_identifier: u16,
    pub(super) transmit: VecDeque<Packet>,
    pub(super) events: VecDeque<Event>,
}

/// Named after what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connection,
    ConnAck {
        deadline: Instant,
    },
    Packets,
    /// DISCONNECT was sent or received: nothing more to say.
    Close,
}

/// SUBSCRIBE or UNSUBSCRIBE without its answer, and the number of filters in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Subscribe(usize),
    Unsubscribe(usize),
}

/// What CONNACK said that the server does not take. MQTT 5.0 section 3.2.2.3
#[derive(Debug)]
pub(super) struct ServerLimits {
    pub(super) maximum_qos: QoS,
    pub(super) retain_available: bool,
    pub(super) maximum_packet_size: Option<usize>,
}

impl Client {
    pub fn new(connect: Connect, options: Options, now: Instant) -> Self {
        let properties = &connect.properties;
        let receive_maximum = properties.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
        Self {
            keep_alive: KeepAlive::new(connect.keep_alive, options.response_timeout, now),
            inbound: Inbound::new(receive_maximum),
            connect,
            options,
            state: State::Connection,
            connection: 0,
            server: ServerLimits::default(),
            outbound: Outbound::default(),
            outbound_aliases: OutboundAliases::default(),
            inbound_aliases: InboundAliases::default(),
            requests: BTreeMap::new(),
            last_identifier: 0,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub fn version(&self) -> ProtocolVersion {
        self.connect.protocol_version
    }

    /// CONNECT was answered and DISCONNECT neither sent nor received.
    pub fn is_connected(&self) -> bool {
        self.state == State::Packets
    }

    /// Every message above QoS 0 is settled and every request answered.
    pub fn is_settled(&self) -> bool {
        self.outbound.is_empty() && self.requests.is_empty()
    }

    /// A network connection stands: CONNECT goes out first. [MQTT-3.1.0-1]
    pub fn connect(&mut self, now: Instant) {
        self.connection_lost();
        if self.connect.clean_start {
            self.outbound.clear();
            self.inbound.clear();
        }
        self.connection += 1;
        self.state = State::ConnAck {
            deadline: now + self.options.response_timeout,
        };
        let maximum = self.connect.properties.topic_alias_maximum.unwrap_or(0);
        self.inbound_aliases = InboundAliases::new(maximum);
        self.transmit
            .push_back(Packet::Connect(Box::new(self.connect.clone())));
    }

    /// The network connection ended: what was not acknowledged stays for the next one.
    pub fn connection_lost(&mut self) {
        self.state = State::Connection;
        self.inbound.connection_lost();
        self.requests.clear();
        self.transmit.clear();
        self.events.clear();
    }

    /// Sends a message, or keeps it until acknowledged; above QoS 0 the identifier comes back in [`Event::Published`].
    pub fn publish(
        &mut self,
        mut publish: Publish,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        self.check(&publish)?;
        publish.dup = false;
        if publish.qos == QoS::AtMostOnce {
            publish.packet_identifier = None;
            self.transmit.push_back(Packet::Publish(publish));
            return Ok(None);
        }
        if !self.outbound.has_window() {
            return Err(PublishError::WindowFull);
        }
        let identifier = self.free_identifier().ok_or(PublishError::WindowFull)?;
        publish.packet_identifier = Some(identifier);
        self.outbound.push(identifier, publish);
        Ok(Some(identifier))
    }

    /// The answer comes as [`Event::Subscribed`].
    pub fn subscribe(
        &mut self,
        filters: Vec<SubscribeFilter>,
        subscription_identifier: Option<SubscriptionIdentifier>,
        user_properties: UserProperties,
    ) -> Result<PacketIdentifier, SubscribeError> {
        let packet_identifier = self.request(Request::Subscribe(filters.len()))?;
        self.transmit.push_back(Packet::Subscribe(Subscribe {
            packet_identifier,
            subscription_identifier,
            user_properties,
            filters,
        }));
        Ok(packet_identifier)
    }

    /// The answer comes as [`Event::Unsubscribed`].
    pub fn unsubscribe(
        &mut self,
        subscriptions: Vec<Subscription>,
    ) -> Result<PacketIdentifier, SubscribeError> {
        let packet_identifier = self.request(Request::Unsubscribe(subscriptions.len()))?;
        self.transmit.push_back(Packet::Unsubscribe(Unsubscribe {
            packet_identifier,
            user_properties: Vec::new(),
            filters: subscriptions.into_iter().map(Ok).collect(),
        }));
        Ok(packet_identifier)
    }

    /// The user has the message for good. Acknowledge in the order of arrival. [MQTT-4.6.0-2] [MQTT-4.6.0-3]
    pub fn acknowledge(&mut self, given: Acknowledgement) {
        // At QoS 1 an unacknowledged message comes again on the next connection, and is another one.
        if given.qos == QoS::AtLeastOnce && given.connection != self.connection {
            return;
        }
        if !self.inbound.acknowledge(&given) || self.state != State::Packets {
            return;
        }
        self.transmit.push_back(match given.qos {
            QoS::ExactlyOnce => Packet::PubRec(ack(given.packet_identifier)),
            QoS::AtLeastOnce | QoS::AtMostOnce => Packet::PubAck(ack(given.packet_identifier)),
        });
    }

    /// The next step of enhanced authentication, or a new round of it. MQTT 5.0 section 4.12
    pub fn authenticate(&mut self, auth: Auth) {
        self.transmit.push_back(Packet::Auth(auth));
    }

    /// Says goodbye; 0x04 asks the server to send the will all the same.
    pub fn disconnect(&mut self, reason_code: ReasonCode) {
        if self.state == State::Packets {
            self.transmit.push_back(Packet::Disconnect(Disconnect {
                reason_code,
                session_expiry_interval: None,
                reason_string: None,
                user_properties: Vec::new(),
                server_reference: None,
            }));
        }
        self.state = State::Close;
    }

    /// Takes every whole packet out of `input`. After an error: transmit what is left to say, then close.
    pub fn read(&mut self, input: &mut BytesMut, now: Instant) -> Result<(), ProtocolError> {
        self.read_packets(input, now)
            .inspect_err(|error| self.fail(error))
    }

    /// Looks through what came last for the reason why the server closes.
    pub fn read_goodbye(&mut self, input: &mut BytesMut) -> Option<Event> {
        while let Ok(Some(length)) = frame_length(input, LONGEST_PACKET)
            && input.len() >= length
        {
            let frame = input.split_to(length).freeze();
            match decode(frame, Some(self.version()), &self.options.decode_limits) {
                Ok(Packet::Disconnect(said)) => return Some(Event::Disconnected(said)),
                Ok(Packet::ConnAck(said)) if said.reason_code.is_error() => {
                    return Some(Event::Refused(said));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let outcome = match self.state {
            State::ConnAck { deadline } if now >= deadline => Err(ProtocolError::ConnectTimeout),
            State::Packets => match self.keep_alive.handle_timeout(now) {
                Due::Nothing => Ok(()),
                Due::Ping => {
                    self.transmit.push_back(Packet::PingReq);
                    Ok(())
                }
                Due::GiveUp => Err(ProtocolError::KeepAliveTimeout),
            },
            State::Connection | State::ConnAck { .. } | State::Close => Ok(()),
        };
        outcome.inspect_err(|error| self.fail(error))
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::ConnAck { deadline } => Some(deadline),
            State::Packets => self.keep_alive.deadline(),
            State::Connection | State::Close => None,
        }
    }

    /// Appends one packet for the server; false: nothing left to say.
    pub fn poll_transmit(&mut self, out: &mut BytesMut, now: Instant) -> bool {
        let next = match self.transmit.pop_front() {
            Some(packet) => Some(packet),
            None if self.state == State::Packets => self.outbound.poll_transmit(),
            None => None,
        };
        let Some(mut packet) = next else { return false };
        if let Packet::Publish(publish) = &mut packet {
            self.outbound_aliases.apply(publish);
        }
        encode(&packet, self.version(), out);
        self.keep_alive.sent(now);
        true
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn request(&mut self, request: Request) -> Result<PacketIdentifier, SubscribeError> {
        if self.state != State::Packets {
            return Err(SubscribeError::NotConnected);
        }
        let identifier = self.free_identifier().ok_or(SubscribeError::WindowFull)?;
        self.requests.insert(identifier, request);
        Ok(identifier)
    }

    fn check(&self, publish: &Publish) -> Result<(), PublishError> {
        if self.state != State::Packets {
            return Err(PublishError::NotConnected);
        }
        let topic = publish.topic.as_ref().ok_or(PublishError::NoTopic)?;
        // [MQTT-3.2.2-11]
        if publish.qos > self.server.maximum_qos {
            return Err(PublishError::QoSNotSupported(self.server.maximum_qos));
        }
        // [MQTT-3.2.2-14]
        if publish.retain && !self.server.retain_available {
            return Err(PublishError::RetainNotSupported);
        }
        // [MQTT-3.2.2-15]
        let maximum = self.server.maximum_packet_size.unwrap_or(LONGEST_PACKET);
        let length = self.length_at_most(publish, topic);
        if length > maximum {
            return Err(PublishError::PacketTooLarge { length, maximum });
        }
        Ok(())
    }

    /// The packet's length, with room for a topic alias if there may be one.
    fn length_at_most(&self, publish: &Publish, topic: &TopicName) -> usize {
        let properties = publish.properties.as_deref();
        let head = PublishHead {
            dup: false,
            qos: publish.qos,
            retain: publish.retain,
            packet_identifier: Some(PacketIdentifier::MIN),
            topic: topic.as_str(),
            topic_alias: self.options.topic_aliases.then_some(NonZeroU16::MAX),
            subscription_identifiers: &[],
            message_expiry_interval: properties.and_then(|known| known.message_expiry_interval),
            message_properties: &properties
                .map(encode_message_properties)
                .unwrap_or_default(),
            payload_length: publish.payload.len(),
        };
        head.length(self.version())
    }

    /// Not in use by a message or a request. [MQTT-2.2.1-3] [MQTT-2.2.1-4]
    fn free_identifier(&mut self) -> Option<PacketIdentifier> {
        for _ in 0..=u16::MAX {
            self.last_identifier = self.last_identifier.wrapping_add(1);
            if let Some(identifier) = PacketIdentifier::new(self.last_identifier)
                && !self.outbound.uses(identifier)
                && !self.requests.contains_key(&identifier)
            {
                return Some(identifier);
            }
        }
        None
    }

    /// Tells a v5 server why, as far as it may be told. MQTT 5.0 section 4.13.1
    fn fail(&mut self, error: &ProtocolError) {
        if self.version().is_v5() {
            self.disconnect(error.reason_code());
        }
        self.state = State::Close;
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: None,
        }
    }
}
