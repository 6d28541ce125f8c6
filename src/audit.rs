//! The vocabulary of security events: what was decided, about whom, and why. Contract section 8.

use std::net::IpAddr;
use std::sync::Arc;

/// One line of the audit log. Absent fields are left out of the line.
#[derive(Clone, Debug, Default)]
pub struct Event {
    pub kind: Kind,
    pub outcome: Outcome,
    pub client_id: Option<Arc<str>>,
    pub username: Option<Arc<str>>,
    /// The name space that proved the username.
    pub namespace: Option<Arc<str>>,
    pub ip: Option<IpAddr>,
    pub listener: Option<Arc<str>>,
    /// `mqtt`, `websocket`, `http`, …
    pub protocol: Option<&'static str>,
    pub method: Option<&'static str>,
    pub groups: Vec<Arc<str>>,
    /// The true reason, for the operator.
    pub reason: String,
    /// `file:line id` of the deciding statement.
    pub rule: Option<Arc<str>>,
    /// `file:line id` of a statement in audit mode that would have decided otherwise.
    pub audited: Option<Arc<str>>,
    /// `publish` or `subscribe`, where a topic was judged; `authenticate`, on a connection that was admitted before.
    pub action: Option<&'static str>,
    pub topic: Option<String>,
    pub qos: Option<u8>,
    pub retain: Option<bool>,
    /// Leads from a refusal to its explanation.
    pub decision: Option<DecisionId>,
}

/// What happened. Written as `snake_case` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A connection closed before anybody was named: deny list, rate, PROXY, TLS, upgrade, first packet.
    #[default]
    Screen,
    /// A login: CONNECT, cookie login, API credential.
    Authenticate,
    /// An identified client entering: client identifier binding, session owner, limits, will.
    Admit,
    Publish,
    Subscribe,
    /// A message withheld at delivery.
    Deliver,
    /// A malformed packet or a protocol error on an admitted connection.
    Protocol,
    /// An admitted connection that ended.
    Disconnect,
    Limit,
    Ban,
    Reload,
    /// The device CA issued, renewed or revoked.
    Certificate,
    /// An administrator's act.
    Admin,
    /// Lines that were summed up or could not be written.
    Audit,
    /// The broker's own fault: a task of it panicked.
    Internal,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    #[default]
    Refused,
    Permitted,
    Failed,
}

/// 64 random bits, written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecisionId(pub u64);

impl std::fmt::Display for DecisionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Kind {
    pub const ALL: [Self; 15] = [
        Self::Screen,
        Self::Authenticate,
        Self::Admit,
        Self::Publish,
        Self::Subscribe,
        Self::Deliver,
        Self::Protocol,
        Self::Disconnect,
        Self::Limit,
        Self::Ban,
        Self::Reload,
        Self::Certificate,
        Self::Admin,
        Self::Audit,
        Self::Internal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Screen => "screen",
            Self::Authenticate => "authenticate",
            Self::Admit => "admit",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Deliver => "deliver",
            Self::Protocol => "protocol",
            Self::Disconnect => "disconnect",
            Self::Limit => "limit",
            Self::Ban => "ban",
            Self::Reload => "reload",
            Self::Certificate => "certificate",
            Self::Admin => "admin",
            Self::Audit => "audit",
            Self::Internal => "internal",
        }
    }
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Permitted => "permitted",
            Self::Failed => "failed",
        }
    }
}

/// Where events go. `record` never blocks; `Err` when the log cannot take it and `audit.on_failure` says that what cannot be audited is refused.
pub trait Sink: Send + Sync {
    fn record(&self, event: Event) -> Result<(), Unauditable>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Unauditable;
