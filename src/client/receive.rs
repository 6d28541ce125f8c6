//! What each packet from the server does to the machine.

use super::alias::OutboundAliases;
use super::inbound::Arrival;
use super::keep_alive::KeepAlive;
use super::machine::{Client, LONGEST_PACKET, Request, ServerLimits, State};
use super::outbound::{Settled, ack};
use super::{Acknowledgement, Event, ProtocolError};
use crate::mqtt::{
    Ack, ConnAck, Packet, PacketIdentifier, Publish, QoS, ReasonCode, decode, frame_length,
};
use bytes::BytesMut;
use std::num::NonZeroU16;
use std::time::Instant;

impl Client {
    pub(super) fn read_packets(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let maximum = self.connect.properties.maximum_packet_size;
        let maximum = maximum.and_then(|size| usize::try_from(size.get()).ok());
        while self.state != State::Close {
            let Some(length) = frame_length(input, maximum.unwrap_or(LONGEST_PACKET))? else {
                break;
            };
            if input.len() < length {
                break;
            }
            let frame = input.split_to(length).freeze();
            let packet = decode(frame, Some(self.version()), &self.options.decode_limits)?;
            self.receive(packet, now)?;
        }
        Ok(())
    }

    fn receive(&mut self, packet: Packet, now: Instant) -> Result<(), ProtocolError> {
        match (self.state, packet) {
            (State::ConnAck { .. }, Packet::ConnAck(connack)) => self.on_connack(connack, now),
            (State::ConnAck { .. } | State::Packets, Packet::Auth(auth)) => {
                self.events.push_back(Event::Authenticate(auth));
                Ok(())
            }
            (State::Packets, packet) => self.on_packet(packet),
            (State::Connection | State::ConnAck { .. } | State::Close, packet) => {
                Err(unexpected(&packet, "before CONNACK"))
            }
        }
    }

    fn on_connack(&mut self, connack: Box<ConnAck>, now: Instant) -> Result<(), ProtocolError> {
        if connack.reason_code.is_error() {
            self.state = State::Close;
            self.events.push_back(Event::Refused(connack));
            return Ok(());
        }
        // A clean start has no session to be present. [MQTT-3.2.2-2]
        if connack.session_present && self.connect.clean_start {
            return Err(ProtocolError::Unexpected {
                packet: "CONNACK",
                when: "with a session after a clean start",
            });
        }
        let properties = &connack.properties;
        self.server = ServerLimits {
            maximum_qos: properties.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain_available: properties.retain_available.unwrap_or(true),
            maximum_packet_size: properties
                .maximum_packet_size
                .and_then(|size| usize::try_from(size.get()).ok()),
        };
        // The server's keep alive goes before ours. [MQTT-3.1.2-21]
        let keep_alive = properties
            .server_keep_alive
            .unwrap_or(self.connect.keep_alive);
        self.keep_alive = KeepAlive::new(keep_alive, self.options.response_timeout, now);
        let aliases = properties
            .topic_alias_maximum
            .filter(|_| self.options.topic_aliases);
        self.outbound_aliases = OutboundAliases::new(aliases.unwrap_or(0));
        if !connack.session_present {
            self.inbound.clear();
        }
        let receive_maximum = properties.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
        let settled = self
            .outbound
            .connected(connack.session_present, receive_maximum);
        self.state = State::Packets;
        self.events.push_back(Event::Connected(connack));
        self.events
            .extend(settled.into_iter().map(Event::Published));
        Ok(())
    }

    fn on_packet(&mut self, packet: Packet) -> Result<(), ProtocolError> {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::PubAck(ack) => {
                let settled = self.outbound.puback(ack.packet_identifier);
                self.settle("PUBACK", settled, ack)
            }
            Packet::PubRec(ack) => {
                let settled = self.outbound.pubrec(ack.packet_identifier, ack.reason_code);
                self.settle("PUBREC", settled, ack)
            }
            Packet::PubComp(ack) => {
                let settled = self.outbound.pubcomp(ack.packet_identifier);
                self.settle("PUBCOMP", settled, ack)
            }
            Packet::PubRel(ack) => {
                self.on_pubrel(ack.packet_identifier);
                Ok(())
            }
            Packet::SubAck(suback) => {
                let answered = Request::Subscribe(suback.reason_codes.len());
                self.answer(suback.packet_identifier, answered)?;
                self.events.push_back(Event::Subscribed(suback));
                Ok(())
            }
            Packet::UnsubAck(unsuback) => {
                let answered = Request::Unsubscribe(unsuback.reason_codes.len());
                self.answer(unsuback.packet_identifier, answered)?;
                self.events.push_back(Event::Unsubscribed(unsuback));
                Ok(())
            }
            Packet::PingResp => {
                self.keep_alive.received_response();
                Ok(())
            }
            Packet::Disconnect(disconnect) if self.version().is_v5() => {
                self.state = State::Close;
                self.events.push_back(Event::Disconnected(disconnect));
                Ok(())
            }
            packet @ (Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Disconnect(_)
            | Packet::Auth(_)) => Err(unexpected(&packet, "to a connected client")),
        }
    }

    fn on_publish(&mut self, mut publish: Publish) -> Result<(), ProtocolError> {
        self.inbound_aliases.resolve(&mut publish)?;
        let Some(packet_identifier) = publish.packet_identifier else {
            self.events.push_back(Event::Message(publish, None));
            return Ok(());
        };
        match self
            .inbound
            .arrive(publish.qos, packet_identifier, self.connection)?
        {
            Arrival::Held => {}
            Arrival::Known => self
                .transmit
                .push_back(Packet::PubRec(ack(packet_identifier))),
            Arrival::New => {
                let acknowledgement = Acknowledgement {
                    packet_identifier,
                    qos: publish.qos,
                    connection: self.connection,
                };
                self.events
                    .push_back(Event::Message(publish, Some(acknowledgement)));
            }
        }
        Ok(())
    }

    fn on_pubrel(&mut self, packet_identifier: PacketIdentifier) {
        let known = self.inbound.release(packet_identifier);
        self.transmit
            .push_back(Packet::PubComp(self.known_or_not(packet_identifier, known)));
    }

    fn settle(
        &mut self,
        packet: &'static str,
        settled: Settled,
        answer: Ack,
    ) -> Result<(), ProtocolError> {
        match settled {
            Settled::Done => self.events.push_back(Event::Published(answer)),
            Settled::Release => {
                let pubrel = ack(answer.packet_identifier);
                self.transmit.push_back(Packet::PubRel(pubrel));
            }
            // The peer may remember more than we do; it must be let go of. [MQTT-4.3.3-4]
            Settled::Unknown if packet == "PUBREC" && !answer.reason_code.is_error() => {
                let pubrel = self.known_or_not(answer.packet_identifier, false);
                self.transmit.push_back(Packet::PubRel(pubrel));
            }
            Settled::Unknown | Settled::ReleaseInTurn => {}
            Settled::WrongKind => {
                let when = "for a message of another QoS";
                return Err(ProtocolError::Unexpected { packet, when });
            }
        }
        Ok(())
    }

    fn known_or_not(&self, packet_identifier: PacketIdentifier, known: bool) -> Ack {
        let mut answer = ack(packet_identifier);
        if !known && self.version().is_v5() {
            answer.reason_code = ReasonCode::PacketIdentifierNotFound;
        }
        answer
    }

    fn answer(
        &mut self,
        identifier: PacketIdentifier,
        answered: Request,
    ) -> Result<(), ProtocolError> {
        let (packet, fits) = match (self.requests.remove(&identifier), answered) {
            // One reason code for each filter. [MQTT-3.8.4-6]
            (Some(Request::Subscribe(asked)), Request::Subscribe(codes)) => {
                ("SUBACK", asked == codes)
            }
            // MQTT 3 has no reason codes in UNSUBACK.
            (Some(Request::Unsubscribe(asked)), Request::Unsubscribe(codes)) => {
                ("UNSUBACK", asked == codes || !self.version().is_v5())
            }
            (_, Request::Subscribe(_)) => ("SUBACK", false),
            (_, Request::Unsubscribe(_)) => ("UNSUBACK", false),
        };
        if fits {
            return Ok(());
        }
        let when = "that does not fit any request";
        Err(ProtocolError::Unexpected { packet, when })
    }
}

fn unexpected(packet: &Packet, when: &'static str) -> ProtocolError {
    let packet = packet.packet_type().name();
    ProtocolError::Unexpected { packet, when }
}
