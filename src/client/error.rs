//! What goes wrong at the client: a server that breaks the protocol, a message that the server said it does not take.

use crate::mqtt::{DecodeError, QoS, ReasonCode};

/// Why the connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    #[error("the server sent what is no MQTT: {0}")]
    Malformed(#[from] DecodeError),
    #[error("the server sent {packet} {when}")]
    Unexpected {
        packet: &'static str,
        when: &'static str,
    },
    #[error("the server used topic alias {0}, which stands for nothing")]
    TopicAlias(u16),
    #[error("the server sent more than {0} messages without an acknowledgement")]
    ReceiveMaximum(u16),
    #[error("the server did not answer CONNECT in time")]
    ConnectTimeout,
    #[error("the server did not answer PINGREQ in time")]
    KeepAliveTimeout,
}

impl ProtocolError {
    /// What the server learns in DISCONNECT. MQTT 5.0 section 4.13
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Malformed(error) => error.reason_code(),
            Self::Unexpected { .. } => ReasonCode::ProtocolError,
            Self::TopicAlias(_) => ReasonCode::TopicAliasInvalid,
            Self::ReceiveMaximum(_) => ReasonCode::ReceiveMaximumExceeded,
            Self::ConnectTimeout => ReasonCode::UnspecifiedError,
            Self::KeepAliveTimeout => ReasonCode::KeepAliveTimeout,
        }
    }
}

/// Why a message was not taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("not connected")]
    NotConnected,
    #[error("as many messages are in flight as the server takes at once")]
    WindowFull,
    #[error("the server takes no message above QoS {}", .0.bits())]
    QoSNotSupported(QoS),
    #[error("the server keeps no retained messages")]
    RetainNotSupported,
    #[error("the message makes a packet of {length} bytes and the server takes {maximum}")]
    PacketTooLarge { length: usize, maximum: usize },
    #[error("a message needs a topic name")]
    NoTopic,
}

/// Why a SUBSCRIBE or UNSUBSCRIBE was not taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    #[error("not connected")]
    NotConnected,
    #[error("no packet identifier is free")]
    WindowFull,
}
