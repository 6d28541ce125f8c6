//! The first packet: a CONNECT of at most `limits.unauthenticated.max_packet_size`, or nothing. MQTT 5.0 section 3.1

use super::door::{Door, Rules};
use super::refusal::{Cause, Refused, room_of};
use super::screen::Places;
use super::secure::Secured;
use crate::audit::Event;
use crate::identity::PresentedCertificate;
use crate::mqtt::{
    Connect, DecodeError, Packet, ProtocolVersion, answering_version, decode, first_frame_length,
};
use crate::net::{PeerTls, Stream};
use crate::secret::Secret;
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
    pub(super) cookie: Option<Arc<Secret>>,
    pub(super) connect: Box<Connect>,
    /// The client has no identifier: it gets one of ours once its name is known. [MQTT-3.1.3-6]
    pub(super) assigned: bool,
    /// What the client sent after its CONNECT without waiting. MQTT 5.0 section 3.1.4
    pub(super) received: BytesMut,
    /// What CONNACK tells a client that proved itself by an exchange: the server's own proof.
    pub(super) authentication_data: Option<Bytes>,
}

impl Secured {
    pub async fn read_connect(mut self) -> Result<Greeted, Box<Refused>> {
        let mut received = BytesMut::new();
        let maximum = self.rules.unauthenticated_packet_size;
        let read = read_frame(&mut self.stream, &mut received, |bytes| {
            first_frame_length(bytes, maximum)
        });
        let frame = match read.await {
            Ok(frame) => frame,
            Err(Unread::Malformed(error)) => return Err(self.refuse(error, &received)),
            Err(Unread::Closed) => {
                return Err(Refused::stranger(Cause::Closed, &self.door, self.ip));
            }
            Err(Unread::Io(error)) => return Err(Refused::stranger(error, &self.door, self.ip)),
        };
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
            cookie: self.cookie,
            connect,
            assigned,
            received,
            authentication_data: None,
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
            room: Some(room_of(&self.connect)),
        })
    }
}

/// Why there is no whole packet.
pub(super) enum Unread {
    Malformed(DecodeError),
    Closed,
    Io(std::io::Error),
}

/// The next packet before CONNACK. What has come behind it stays in `received`; `length` refuses what is too long.
pub(super) async fn read_frame(
    stream: &mut Stream,
    received: &mut BytesMut,
    length: impl Fn(&[u8]) -> Result<Option<usize>, DecodeError>,
) -> Result<Bytes, Unread> {
    loop {
        let missing = match length(received).map_err(Unread::Malformed)? {
            Some(length) if length <= received.len() => {
                return Ok(received.split_to(length).freeze());
            }
            Some(length) => length.saturating_sub(received.len()),
            None => READ_STEP,
        };
        // In steps: memory grows with what has come, never with what was announced (TRN-1).
        let mut chunk = [0_u8; READ_STEP];
        let chunk = chunk
            .get_mut(..missing.clamp(1, READ_STEP))
            .unwrap_or_default();
        match stream.read(chunk).await {
            Err(error) => return Err(Unread::Io(error)),
            Ok(0) => return Err(Unread::Closed),
            Ok(read) => received.extend_from_slice(chunk.get(..read).unwrap_or_default()),
        }
    }
}

const READ_STEP: usize = 2048;
