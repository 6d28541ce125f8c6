//! The first packet: a CONNECT of at most `limits.unauthenticated.max_packet_size`, or nothing. MQTT 5.0 section 3.1

use super::door::{Door, Rules};
use super::refusal::{Cause, Refused};
use super::screen::Places;
use super::secure::Secured;
use crate::audit::Event;
use crate::identity::PresentedCertificate;
use crate::mqtt::{
    Connect, Packet, ProtocolVersion, answering_version, decode, first_frame_length,
};
use crate::net::{PeerTls, Stream};
use bytes::{Bytes, BytesMut};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// A peer that sent a CONNECT we can answer. Nothing that it names was looked up (SES-2).
pub struct Greeted {
    pub(super) door: Arc<Door>,
    pub(super) rules: Arc<Rules>,
    pub(super) stream: Stream,
    pub(super) ip: IpAddr,
    pub(super) certificate: Option<Arc<PresentedCertificate>>,
    pub(super) peer_tls: Option<Box<PeerTls>>,
    pub(super) places: Places,
    pub(super) connect: Box<Connect>,
    /// The client has no identifier: it gets one of ours once its name is known. [MQTT-3.1.3-6]
    pub(super) assigned: bool,
    /// What the client sent after its CONNECT without waiting. MQTT 5.0 section 3.1.4
    pub(super) received: BytesMut,
}

impl Secured {
    pub async fn read_connect(mut self) -> Result<Greeted, Box<Refused>> {
        let mut received = BytesMut::new();
        let length = loop {
            match first_frame_length(&received, self.rules.unauthenticated_packet_size) {
                Err(error) => return Err(self.refuse(error, &received)),
                Ok(Some(length)) if length <= received.len() => break length,
                Ok(_) => {}
            }
            // Never more than what a CONNECT may take: what was pipelined behind it stays in the socket (TRN-1).
            let room = self
                .rules
                .unauthenticated_packet_size
                .saturating_sub(received.len())
                .clamp(1, READ_STEP);
            let mut chunk = [0_u8; READ_STEP];
            let chunk = chunk.get_mut(..room).unwrap_or_default();
            match self.stream.read(chunk).await {
                Err(error) => return Err(Refused::stranger(error, &self.door, self.ip)),
                Ok(0) => return Err(Refused::stranger(Cause::Closed, &self.door, self.ip)),
                Ok(read) => received.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            }
        };
        let frame = received.split_to(length).freeze();
        let connect = match decode(frame.clone(), None, &self.rules.decode_limits) {
            Ok(Packet::Connect(connect)) => connect,
            Ok(_) => return Err(Refused::stranger(Cause::Closed, &self.door, self.ip)),
            Err(error) => return Err(self.refuse(error, &frame)),
        };
        self.greet(connect, received)
    }

    /// A malformed CONNECT is answered in its own version when that much could be read. [MQTT-3.1.4-1] [MQTT-3.1.4-2]
    fn refuse(self, cause: impl Into<Cause>, frame: &[u8]) -> Box<Refused> {
        let version = answering_version(&Bytes::copy_from_slice(frame));
        Box::new(Refused {
            version,
            ..self.refused(cause.into())
        })
    }

    fn refused(self, cause: Cause) -> Refused {
        let stranger = *Refused::stranger(cause, &self.door, self.ip);
        Refused {
            stream: Some(self.stream),
            ..stranger
        }
    }

    fn greet(self, connect: Box<Connect>, received: BytesMut) -> Result<Greeted, Box<Refused>> {
        let version = connect.protocol_version;
        if !self.rules.mqtt.speaks(version) {
            return Err(self.refuse_in(version, Cause::Version(version.name())));
        }
        let maximum = self.rules.mqtt.max_client_id_length;
        if connect.client_identifier.len() > maximum {
            return Err(self.refuse_in(
                version,
                Cause::ClientIdentifier(format!("client identifier of more than {maximum} bytes")),
            ));
        }
        let assigned = connect.client_identifier.is_empty();
        if assigned {
            // Only with a clean session in MQTT 3: nobody could resume another. [MQTT3-3.1.3-8]
            if !version.is_v5() && (version == ProtocolVersion::V3_1 || !connect.clean_start) {
                return Err(self.refuse_in(
                    version,
                    Cause::ClientIdentifier("empty client identifier".into()),
                ));
            }
        }
        let certificate = self.presented();
        Ok(Greeted {
            door: self.door,
            rules: self.rules,
            stream: self.stream,
            ip: self.ip,
            certificate,
            peer_tls: self.peer_tls,
            places: self.places,
            connect,
            assigned,
            received,
        })
    }

    fn refuse_in(self, version: ProtocolVersion, cause: Cause) -> Box<Refused> {
        Box::new(Refused {
            version: Some(version),
            ..self.refused(cause)
        })
    }
}

impl Greeted {
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(super) fn refuse(self, cause: impl Into<Cause>) -> Box<Refused> {
        let event = Event {
            ip: Some(self.ip),
            listener: Some(Arc::clone(&self.door.name)),
            client_id: Some(Arc::from(self.connect.client_identifier.as_str())),
            username: self
                .connect
                .username
                .as_ref()
                .map(|username| Arc::from(username.as_str())),
            ..Event::default()
        };
        Box::new(Refused {
            cause: cause.into(),
            event,
            stream: Some(self.stream),
            lockout: None,
            version: Some(self.connect.protocol_version),
        })
    }
}

const READ_STEP: usize = 2048;
