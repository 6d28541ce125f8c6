//! Somebody was not let in: the truth for the operator, a reason code at most for the peer.

use super::door::Door;
use crate::audit::{DecisionId, Event, Kind, Outcome};
use crate::identity::{Rejection, Subject};
use crate::limits;
use crate::mqtt::{
    ConnAck, ConnAckProperties, Connect, DecodeError, Packet, PacketType, ProtocolVersion,
    ReasonCode, Text, encode_within,
};
use crate::net::proxy_protocol::ProxyError;
use crate::net::websocket::UpgradeError;
use crate::net::{Stream, TlsError};
use crate::policy::Denial;
use bytes::BytesMut;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Why. `Display` is for the audit log.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error("{0}")]
    Limit(#[from] limits::Refusal),
    #[error("PROXY header: {0}")]
    Proxy(#[from] ProxyError),
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("WebSocket: {0}")]
    Upgrade(#[from] UpgradeError),
    #[error("first packet: {0}")]
    FirstPacket(#[from] DecodeError),
    #[error("the peer closed before its CONNECT was whole")]
    Closed,
    #[error("the network failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("MQTT {0} is not spoken here")]
    Version(&'static str),
    #[error("{0}")]
    ClientIdentifier(String),
    #[error("{0}")]
    Rejected(#[from] Rejection),
    #[error("enhanced authentication by an unknown method")]
    AuthenticationMethod,
    #[error("AUTH: {0}")]
    Auth(DecodeError),
    #[error("{0} where AUTH was due")]
    NotAuth(PacketType),
    #[error("AUTH of another method, or with another reason code, than the exchange has")]
    OtherExchange,
    #[error("the will may not be published: {0}")]
    Will(Denial),
    #[error("the will's QoS or RETAIN is not available")]
    WillNotSupported(ReasonCode),
    #[error("the client takes no packet as large as its CONNACK")]
    AnswerTooLarge,
    #[error("the attempt cannot be audited")]
    Unauditable,
}

/// A refusal on its way: what the audit log gets, and the connection that may still be told a code.
pub struct Refused {
    pub cause: Cause,
    pub event: Event,
    /// The refusal was one too many: its address is banned now.
    pub lockout: Option<limits::Lockout>,
    pub stream: Option<Stream>,
    /// Known once a CONNECT was read: only then is there a CONNACK.
    pub version: Option<ProtocolVersion>,
    /// Bytes that the client takes in one packet. Known once the CONNECT was whole: only then is there a Reason String.
    pub room: Option<usize>,
}

/// The longest packet that a client takes. [MQTT-3.1.2-24]
pub(super) fn room_of(connect: &Connect) -> usize {
    let maximum = connect.properties.maximum_packet_size;
    maximum.map_or(usize::MAX, |maximum| {
        usize::try_from(maximum.get()).unwrap_or(usize::MAX)
    })
}

/// An audit event with all that is known of an identified client.
pub fn event_about(subject: &Subject) -> Event {
    Event {
        client_id: Some(Arc::clone(&subject.client_id)),
        username: Some(Arc::clone(&subject.identity.username)),
        namespace: Some(Arc::clone(&subject.identity.namespace)),
        ip: Some(subject.ip),
        listener: Some(Arc::clone(&subject.listener)),
        protocol: Some(subject.protocol),
        method: Some(subject.identity.method.0),
        groups: subject.identity.groups.clone(),
        ..Event::default()
    }
}

impl Cause {
    /// All that the peer learns. [MQTT-3.1.4-2]
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Limit(refusal) => refusal.reason_code(),
            Self::FirstPacket(error) => error.reason_code(),
            Self::Version(_) => ReasonCode::UnsupportedProtocolVersion,
            Self::ClientIdentifier(_) => ReasonCode::ClientIdentifierNotValid,
            Self::Rejected(rejection) => rejection.reason_code(),
            Self::AuthenticationMethod => ReasonCode::BadAuthenticationMethod,
            Self::Auth(error) => error.reason_code(),
            Self::NotAuth(_) | Self::OtherExchange => ReasonCode::ProtocolError,
            Self::Will(_) => ReasonCode::NotAuthorized,
            Self::WillNotSupported(reason_code) => *reason_code,
            Self::AnswerTooLarge => ReasonCode::PacketTooLarge,
            Self::Unauditable => ReasonCode::ServerUnavailable,
            Self::Proxy(_) | Self::Tls(_) | Self::Upgrade(_) | Self::Closed | Self::Io(_) => {
                ReasonCode::UnspecifiedError
            }
        }
    }

    /// MQTT 3 has no word for a CONNECT that cannot be read: there is nothing but the end. [MQTT3-3.1.4-1]
    fn connack(&self, version: ProtocolVersion) -> Option<ConnAck> {
        if let Self::FirstPacket(error) = self {
            return error.connack(version);
        }
        Some(ConnAck {
            session_present: false, // [MQTT-3.2.2-6]
            reason_code: self.reason_code(),
            properties: ConnAckProperties::default(),
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Limit(_) => Kind::Limit,
            Self::Rejected(_)
            | Self::AuthenticationMethod
            | Self::Auth(_)
            | Self::NotAuth(_)
            | Self::OtherExchange => Kind::Authenticate,
            Self::Version(_)
            | Self::ClientIdentifier(_)
            | Self::Will(_)
            | Self::WillNotSupported(_)
            | Self::AnswerTooLarge
            | Self::Unauditable => Kind::Admit,
            Self::Proxy(_)
            | Self::Tls(_)
            | Self::Upgrade(_)
            | Self::FirstPacket(_)
            | Self::Closed
            | Self::Io(_) => Kind::Screen,
        }
    }
}

impl Refused {
    /// A peer of whom only the address is known.
    pub fn stranger(cause: impl Into<Cause>, door: &Door, ip: IpAddr) -> Box<Self> {
        let event = Event {
            ip: Some(ip),
            listener: Some(Arc::clone(&door.name)),
            ..Event::default()
        };
        Box::new(Self {
            cause: cause.into(),
            event,
            stream: None,
            lockout: None,
            version: None,
            room: None,
        })
    }

    /// The audit line.
    pub fn event(&self, decision: DecisionId) -> Event {
        let rule = if let Cause::Will(denial) = &self.cause {
            denial.rule().map(|rule| Arc::from(rule.to_string()))
        } else {
            None
        };
        Event {
            kind: self.cause.kind(),
            outcome: Outcome::Refused,
            reason: self.cause.to_string(),
            rule,
            decision: Some(decision),
            ..self.event.clone()
        }
    }

    /// Tells the peer its code, if it sent a CONNECT, and closes. [MQTT-3.1.4-2] [MQTT-3.2.2-7]
    /// `decision` is told to a v5 client where the settings reveal it. [MQTT-3.2.2-19]
    pub async fn answer(self, decision: Option<DecisionId>, within: Duration) {
        let Some(mut stream) = self.stream else {
            return;
        };
        if let Some(version) = self.version {
            let mut bytes = BytesMut::new();
            if let Some(mut connack) = self.cause.connack(version) {
                if let (Some(decision), Some(_), true) = (decision, self.room, version.is_v5()) {
                    let reason = Text::try_from(format!("decision {decision}").as_str());
                    connack.properties.reason_string = reason.ok();
                }
                let packet = Packet::ConnAck(Box::new(connack));
                let room = self.room.unwrap_or(usize::MAX);
                encode_within(&packet, version, room, &mut bytes);
            }
            let write = async {
                stream.write_all(&bytes).await?;
                stream.flush().await
            };
            if !matches!(tokio::time::timeout(within, write).await, Ok(Ok(()))) {
                return;
            }
        }
        crate::net::finish(&mut stream, within).await;
    }
}
