//! What the API asks of the broker.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::Denials;
use crate::audit::{Event, Unauditable};
use crate::identity::jwt::JwtConfig;
use crate::identity::{Credentials, Identity, Rejection, Role, Subject};
use crate::limits::{BanSubject, Explained, Limits, Standing};
use crate::policy::Policies;
use crate::problem::Problem;

/// Writes all that is kept into one portable file and gives the number of records. Reads the disk: it is for a thread that may wait.
pub type Export = Box<dyn FnOnce(&mut dyn io::Write) -> io::Result<u64> + Send>;
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The broker as its operators see it.
pub trait Node: Send + Sync + 'static {
    fn limits(&self) -> &Limits;
    fn policies(&self) -> Arc<Policies>;
    fn denials(&self) -> &Denials;
    /// `Err`: what was to be done must not be.
    fn record(&self, event: Event) -> Result<(), Unauditable>;
    /// Why the node cannot take on work, in words that say nothing of clients.
    fn readiness(&self) -> Result<(), String>;
    fn status(&self) -> Status;
    /// What a token's claims stand for.
    fn jwt(&self) -> JwtConfig;
    /// Somebody with the groups that a login gives here; `None`: no other than those it has.
    fn regrouped(&self, identity: &Identity) -> Option<Identity>;
    /// The settings in force, secrets redacted.
    fn effective_configuration(&self) -> Value;
    /// Prometheus text.
    fn metrics(&self) -> String;
    /// Clients by client identifier, at most `query.limit`.
    fn clients(&self, query: &ClientQuery<'_>) -> Vec<ClientSummary>;
    fn client(&self, client_id: &str) -> Option<ClientDetail>;
    /// Who a client is to the policies.
    fn subject(&self, client_id: &str) -> Option<Arc<Subject>>;
    /// Ends a live connection (v5: 0x98). False: there is none.
    fn kick(&self, client_id: &str, reason: &str) -> bool;
    /// Ends the live connections that a ban concerns.
    fn kick_banned(&self, subject: &BanSubject) -> u64;
    /// Returns when every ban that was placed or lifted before is on disk.
    fn keep_bans(&self) -> Pending<'_, io::Result<()>>;
    fn reload(&self) -> Pending<'_, Result<(), Vec<Problem>>>;
    /// `None`: nothing is kept.
    fn export(&self) -> Option<Export>;
    /// The folder of the audit trail.
    fn audit_trail(&self) -> PathBuf;
    /// Who shows a certificate, or a name and a password, as `admin.authenticate` says. Asks no limits: the caller does.
    fn identify(&self, credentials: Credentials) -> Pending<'_, Result<Identity, Rejection>>;
    /// What the users file lets an identity do here.
    fn role(&self, identity: &Identity) -> Option<Role>;
    /// Whether an identity that logged in earlier still stands.
    fn recheck(&self, identity: &Identity) -> Result<(), Rejection>;
}

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub node: String,
    pub version: &'static str,
    pub uptime_seconds: u64,
    pub ready: bool,
    /// Where each listener really listens, `admin` among them.
    pub listeners: BTreeMap<String, SocketAddr>,
    pub connected_clients: u64,
    pub subscriptions: u64,
    pub policies: usize,
    pub policy_generation: u64,
    pub limits: Standing,
}

/// A page of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientQuery<'a> {
    /// Only client identifiers that begin so.
    pub prefix: &'a str,
    /// Only client identifiers after this one.
    pub after: &'a str,
    pub limit: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct ClientSummary {
    pub client_id: Arc<str>,
    pub username: Arc<str>,
    pub namespace: Arc<str>,
    pub auth: &'static str,
    /// Absent: an offline session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Arc<str>>,
    pub protocol: &'static str,
    pub connected: bool,
    pub subscriptions: usize,
    pub queued_messages: u64,
    pub queued_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ClientDetail {
    #[serde(flatten)]
    pub summary: ClientSummary,
    pub groups: Vec<Arc<str>>,
    /// The certificate's subject, where one was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Seconds since 1970: when the proof of the name ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<u64>,
    pub filters: Vec<SubscriptionSummary>,
    /// Each limit and what is left of it.
    pub limits: Vec<Explained>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SubscriptionSummary {
    pub filter: String,
    pub qos: u8,
}
