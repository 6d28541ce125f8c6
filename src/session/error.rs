//! What an admitted client can do wrong, with the reason code it is told. MQTT 5.0 section 4.13

use crate::mqtt::{DecodeError, ReasonCode};

/// Ends the connection. `Display` is for the audit log.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("a second CONNECT")] // [MQTT-3.1.0-2]
    SecondConnect,
    #[error("{0}, which only a server sends")]
    ServerPacket(&'static str),
    #[error("AUTH where none is due")]
    UnexpectedAuth,
    #[error("AUTH by another method than CONNECT's")]
    OtherAuthenticationMethod,
    #[error("more unacknowledged messages than Receive Maximum")]
    ReceiveMaximumExceeded,
    #[error("PUBLISH with neither topic nor alias")]
    TopicNameMissing,
    #[error("topic alias 0 or above the maximum")]
    TopicAliasInvalid,
    #[error("a topic alias that stands for nothing")]
    TopicAliasUnknown,
    #[error("QoS above the maximum")] // [MQTT-3.2.2-11]
    QoSNotSupported,
    #[error("RETAIN is not available")] // [MQTT-3.2.2-14]
    RetainNotSupported,
    #[error("session expiry interval raised from 0 at DISCONNECT")]
    SessionExpiryRaised,
    #[error("an acknowledgement that does not fit the message's state")]
    UnexpectedAcknowledgement,
    #[error("keep alive timed out")]
    KeepAliveTimeout,
    #[error("messages come faster than permitted")]
    MessageRateTooHigh,
    #[error("did not read what was sent to it in time")]
    WriteTimeout,
    #[error("a denied action under a policy that disconnects")]
    Denied,
    #[error("cannot be audited")]
    Unauditable,
}

impl ProtocolError {
    /// What a v5 client is told in DISCONNECT.
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Decode(error) => error.reason_code(),
            Self::SecondConnect
            | Self::ServerPacket(_)
            | Self::UnexpectedAuth
            | Self::OtherAuthenticationMethod
            | Self::TopicNameMissing
            | Self::TopicAliasUnknown
            | Self::SessionExpiryRaised
            | Self::UnexpectedAcknowledgement => ReasonCode::ProtocolError,
            Self::ReceiveMaximumExceeded => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAliasInvalid => ReasonCode::TopicAliasInvalid,
            Self::QoSNotSupported => ReasonCode::QoSNotSupported,
            Self::RetainNotSupported => ReasonCode::RetainNotSupported,
            Self::KeepAliveTimeout => ReasonCode::KeepAliveTimeout,
            Self::MessageRateTooHigh => ReasonCode::MessageRateTooHigh,
            Self::WriteTimeout => ReasonCode::UnspecifiedError,
            Self::Denied => ReasonCode::NotAuthorized,
            Self::Unauditable => ReasonCode::ServerUnavailable,
        }
    }
}
