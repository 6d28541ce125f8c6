//! Who is there: identities, the credentials that prove them, and the chain that asks. Contract section 4.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Somebody whose name was proved. Two identities are one person only when name space and username are both equal (IDN-4).
#[derive(Clone, Debug)]
pub struct Identity {
    /// What proved the name (`certificate`, `password`, `jwt:ISSUER`, …) unless `authentication.METHOD.namespace` says otherwise.
    pub namespace: Arc<str>,
    pub username: Arc<str>,
    pub method: Method,
    pub groups: Vec<Arc<str>>,
    pub certificate: Option<Arc<CertificateNames>>,
    /// Scalar claims as text; a list claim has several values.
    pub claims: BTreeMap<String, Vec<String>>,
    /// When the proof ends (certificate `notAfter`, token `exp`), and the session with it (IDN-11).
    pub valid_until: Option<SystemTime>,
}

/// How a name was proved, as policies (`auth:`) and logs write it. Names are data: a new method is a new constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub &'static str);

impl Method {
    pub const ANONYMOUS: Self = Self("anonymous");
    pub const CERTIFICATE: Self = Self("certificate");
    pub const PASSWORD: Self = Self("password");
    pub const LDAP: Self = Self("ldap");
    pub const JWT: Self = Self("jwt");
    pub const COOKIE: Self = Self("cookie");
    pub const SCRAM: Self = Self("scram");
    pub const TOKEN: Self = Self("token");
}

/// The names a client certificate carries, each validated text. RFC 5280 section 4.1.2.6, 4.2.1.6
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    pub common_name: Vec<String>,
    pub organizational_unit: Vec<String>,
    pub organization: Vec<String>,
    pub san_dns: Vec<String>,
    pub san_uri: Vec<String>,
    pub san_email: Vec<String>,
    /// RFC 4514 text.
    pub subject_dn: String,
    pub issuer: String,
    /// Lower-case hexadecimal, without separators.
    pub serial: String,
    /// SHA-256 over the DER, lower-case hexadecimal.
    pub fingerprint: String,
}

/// An identity at a place: all that a policy may ask about. One for each connection, shared by every message it publishes.
#[derive(Clone, Debug)]
pub struct Subject {
    pub identity: Identity,
    pub client_id: Arc<str>,
    /// After PROXY.
    pub ip: IpAddr,
    pub listener: Arc<str>,
    /// `mqtt`, `websocket`, `http`, …
    pub protocol: &'static str,
}
