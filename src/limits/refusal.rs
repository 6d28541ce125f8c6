//! Why a limit refused: what the operator reads, what the peer learns, what the metric is called.

use std::time::Instant;

use super::flapping::Flapped;
use crate::mqtt::ReasonCode;

/// `Display` is for the operator; the peer learns only the reason code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the address is on the deny list")]
    AddressDenied,
    #[error("the address is not on the allow list")]
    AddressNotAllowed,
    #[error("banned: {reason}")]
    Banned { reason: String },
    #[error("the address opens connections faster than limits.connections.per_ip.rate")]
    AddressRate,
    #[error("the address holds limits.connections.per_ip.max connections")]
    AddressConnections,
    #[error("connections open faster than limits.connections.global.rate")]
    GlobalRate,
    #[error("limits.connections.global.max connections are open")]
    GlobalConnections,
    #[error("the listener's max_connections are open")]
    ListenerConnections,
    #[error("overloaded: no connections from addresses without a recent good login")]
    Overloaded,
    #[error("limits.connections.handshakes.concurrent handshakes are under way")]
    HandshakesFull,
    #[error(
        "gave way: the oldest unfinished handshake of the busiest address when all slots were taken"
    )]
    HandshakeEvicted,
    #[error("no CONNECT finished within limits.connections.handshakes.timeout")]
    HandshakeTimeout,
    #[error("too many failed logins by this method from the address")]
    AddressLockedOut { until: Option<Instant> },
    #[error("the user is under attack: tries from addresses without a good login are slowed")]
    UserSlowed { until: Instant },
    #[error("the user holds limits.connections.per_user.max connections")]
    UserConnections,
    #[error("the client connects more often than limits.flapping.connections")]
    Flapping {
        until: Option<Instant>,
        /// This attempt was one too many.
        banned_now: Option<Flapped>,
    },
    #[error("limits.state.sessions sessions exist")]
    Sessions,
    #[error("the user holds limits.state.sessions_per_user sessions")]
    UserSessions,
    #[error("limits.state.retained.messages messages are retained")]
    RetainedMessages,
    #[error("limits.state.retained.bytes are retained")]
    RetainedBytes,
    #[error("the user holds limits.state.retained.per_user retained messages")]
    UserRetained,
    #[error("the free disk is below limits.state.store_free")]
    StoreFree,
}

impl Refusal {
    /// All that the peer learns. MQTT 5.0 section 3.2.2.2
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::AddressDenied | Self::AddressNotAllowed => ReasonCode::NotAuthorized,
            Self::Banned { .. } | Self::AddressLockedOut { .. } | Self::Flapping { .. } => {
                ReasonCode::Banned
            }
            Self::AddressRate | Self::GlobalRate => ReasonCode::ConnectionRateExceeded,
            Self::GlobalConnections
            | Self::ListenerConnections
            | Self::Overloaded
            | Self::HandshakesFull
            | Self::HandshakeEvicted
            | Self::HandshakeTimeout
            | Self::UserSlowed { .. } => ReasonCode::ServerBusy,
            Self::AddressConnections
            | Self::UserConnections
            | Self::Sessions
            | Self::UserSessions
            | Self::RetainedMessages
            | Self::RetainedBytes
            | Self::UserRetained
            | Self::StoreFree => ReasonCode::QuotaExceeded,
        }
    }

    /// When to try again, where that is known.
    pub fn until(&self) -> Option<Instant> {
        if let Self::AddressLockedOut { until } | Self::Flapping { until, .. } = self {
            return *until;
        }
        if let Self::UserSlowed { until } = self {
            return Some(*until);
        }
        None
    }

    /// The value of the metric label `limit`: a fixed set, whatever strangers do (LIM-6).
    pub fn label(&self) -> &'static str {
        match self {
            Self::AddressDenied => "deny_list",
            Self::AddressNotAllowed => "allow_list",
            Self::Banned { .. } => "ban",
            Self::AddressRate => "connections_per_ip_rate",
            Self::AddressConnections => "connections_per_ip_max",
            Self::GlobalRate => "connections_global_rate",
            Self::GlobalConnections => "connections_global_max",
            Self::ListenerConnections => "listener_max_connections",
            Self::Overloaded => "overload",
            Self::HandshakesFull => "handshakes_full",
            Self::HandshakeEvicted => "handshakes_evicted",
            Self::HandshakeTimeout => "handshakes_timeout",
            Self::AddressLockedOut { .. } => "failures_per_ip",
            Self::UserSlowed { .. } => "failures_per_user",
            Self::UserConnections => "connections_per_user_max",
            Self::Flapping { .. } => "flapping",
            Self::Sessions => "state_sessions",
            Self::UserSessions => "state_sessions_per_user",
            Self::RetainedMessages => "state_retained_messages",
            Self::RetainedBytes => "state_retained_bytes",
            Self::UserRetained => "state_retained_per_user",
            Self::StoreFree => "state_store_free",
        }
    }
}

/// Every label, of refusals and buckets alike.
pub const LABELS: [&str; 27] = [
    "deny_list",
    "allow_list",
    "ban",
    "connections_per_ip_rate",
    "connections_per_ip_max",
    "connections_global_rate",
    "connections_global_max",
    "listener_max_connections",
    "overload",
    "handshakes_full",
    "handshakes_evicted",
    "handshakes_timeout",
    "failures_per_ip",
    "failures_per_user",
    "connections_per_user_max",
    "flapping",
    "state_sessions",
    "state_sessions_per_user",
    "state_retained_messages",
    "state_retained_bytes",
    "state_retained_per_user",
    "state_store_free",
    "messages_per_client",
    "bytes_per_client",
    "messages_policy",
    "messages_per_user",
    "bytes_per_user",
];

/// A message or byte bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limiter {
    ClientMessages,
    ClientBytes,
    PolicyMessages,
    UserMessages,
    UserBytes,
}

impl Limiter {
    /// The value of the metric label `limit`.
    pub fn label(self) -> &'static str {
        match self {
            Self::ClientMessages => "messages_per_client",
            Self::ClientBytes => "bytes_per_client",
            Self::PolicyMessages => "messages_policy",
            Self::UserMessages => "messages_per_user",
            Self::UserBytes => "bytes_per_user",
        }
    }

    /// For a message that was dropped (PUBACK, PUBREC). Contract section 10
    pub const DROPPED: ReasonCode = ReasonCode::QuotaExceeded;
    /// For the DISCONNECT of a client that went too fast. MQTT 5.0 section 3.14.2.1
    pub const DISCONNECTED: ReasonCode = ReasonCode::MessageRateTooHigh;
}

impl std::fmt::Display for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ClientMessages => "faster than limits.messages.per_client",
            Self::ClientBytes => "faster than limits.bytes.per_client",
            Self::PolicyMessages => "faster than the limits of a policy",
            Self::UserMessages => {
                "the user's clients are together faster than limits.messages.per_user"
            }
            Self::UserBytes => "the user's clients are together faster than limits.bytes.per_user",
        })
    }
}
