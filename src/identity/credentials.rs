//! What a client offers as proof of who it is, gathered from TLS, the upgrade request and CONNECT.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use super::io::ScramVerdict;
use super::{Method, Repute};
use crate::mqtt::Text;
use crate::secret::Secret;

/// Everything an authenticator may look at. Secrets are shared, never copied.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub certificate: Option<Arc<PresentedCertificate>>,
    pub username: Option<Text>,
    pub password: Option<Arc<Secret>>,
    /// The value of our own cookie in a WebSocket upgrade from an allowed Origin; without one it was not looked at (IDN-14).
    pub cookie: Option<Arc<Secret>>,
    /// `Authorization: Bearer`, where the listener takes it.
    pub authorization: Option<Arc<Secret>>,
    /// What an exchange of AUTH packets has shown.
    pub scram: Option<ScramVerdict>,
    /// The method that a v5 client named in CONNECT: nothing else may answer for it.
    pub demanded: Option<Method>,
    pub client_id: Text,
    /// After PROXY.
    pub ip: IpAddr,
    /// Among whom it waits for a turn, where turns are few.
    pub repute: Repute,
    pub listener: Arc<str>,
    /// `mqtt`, `websocket`, `http`, …
    pub protocol: &'static str,
    pub now: SystemTime,
}

/// A certificate chain that TLS has verified, the client's own certificate first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedCertificate {
    pub chain: Vec<CertificateDer<'static>>,
}

impl PresentedCertificate {
    /// The client's own certificate.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.chain.first()
    }
}

impl Credentials {
    /// Whether the client claims to be somebody. A client identifier is no claim.
    pub fn offers_nothing(&self) -> bool {
        self.certificate.is_none()
            && self.username.is_none()
            && self.password.is_none()
            && self.cookie.is_none()
            && self.authorization.is_none()
            && self.demanded.is_none()
    }
}
