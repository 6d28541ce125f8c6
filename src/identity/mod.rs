//! Who is there: identities, the credentials that prove them, and the chain that asks. Contract section 4.

mod certificate;
mod certificate_username;
mod client_id;
mod config;
pub mod cookie;
mod credentials;
mod distinguished_name;
pub mod io;
pub mod jwt;
pub mod ldap;
pub mod password_hash;
mod proof;
mod rejection;
mod repute;
pub mod scram;
mod users;
mod users_document;

pub use self::certificate::{CertificateError, CertificateFacts, RSA_BITS_MIN};
pub use self::certificate_username::UsernameFrom;
pub use self::client_id::{ClientIdBinding, ClientIdConfig, ClientIdNotBound};
pub use self::config::{
    AnonymousConfig, AuthenticateConfig, AuthenticationConfig, CertificateConfig, HashingConfig,
    PasswordConfig, Step,
};
pub use self::credentials::{Credentials, PresentedCertificate};
pub use self::proof::Proof;
pub use self::rejection::Rejection;
pub use self::repute::Repute;
pub use self::users::{Role, User, Users, check_username};
pub use self::users_document::{UserEntry, UsersDocument};

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
    /// The list of statements that a token brought along.
    pub acl: Option<Arc<jwt::TokenAcl>>,
    /// The key that verified the token: when it goes, so does the session (IDN-11).
    pub token_key: Option<jwt::KeyPrint>,
    /// When the proof ends (certificate `notAfter`, token `exp`), and the session with it (IDN-11).
    pub valid_until: Option<SystemTime>,
    /// The login that a cookie stood for; only [`Method::COOKIE`] gives one, whatever the claims of a token are called.
    pub login: Option<Arc<str>>,
    /// What each method of an `all: […]` gave; empty where one method was asked. All of them must go on holding (IDN-11).
    pub parts: Vec<Part>,
}

/// One of several proofs that make an identity together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub method: Method,
    pub groups: Vec<Arc<str>>,
}

impl Identity {
    /// A name and what proved it, with nothing else known of it.
    pub fn new(method: Method, namespace: Arc<str>, username: Arc<str>) -> Self {
        Self {
            namespace,
            username,
            method,
            groups: Vec::new(),
            certificate: None,
            claims: BTreeMap::new(),
            acl: None,
            token_key: None,
            valid_until: None,
            login: None,
            parts: Vec::new(),
        }
    }

    /// Every method that it rests on, with the groups that this one gave.
    pub fn methods(&self) -> impl Iterator<Item = (Method, &[Arc<str>])> {
        let alone = self.parts.is_empty();
        let alone = alone.then_some((self.method, self.groups.as_slice()));
        let parts = self.parts.iter();
        alone
            .into_iter()
            .chain(parts.map(|part| (part.method, part.groups.as_slice())))
    }

    pub fn rests_on(&self, method: Method) -> bool {
        self.methods().any(|(own, _)| own == method)
    }

    /// The same with the groups that `now` says each method gives; `None`: they are what they were.
    pub fn regrouped<E>(
        &self,
        mut now: impl FnMut(Method, &[Arc<str>]) -> Result<Vec<Arc<str>>, E>,
    ) -> Result<Option<Self>, E> {
        let mut parts = Vec::new();
        for (method, groups) in self.methods() {
            let groups = now(method, groups)?;
            parts.push(Part { method, groups });
        }
        let groups = union(parts.iter().map(|part| part.groups.as_slice()));
        if self.parts.is_empty() {
            parts.clear();
        }
        if groups == self.groups && parts == self.parts {
            return Ok(None);
        }
        Ok(Some(Self {
            groups,
            parts,
            ..self.clone()
        }))
    }
}

/// Each group once, in the order in which they were given.
fn union<'a>(all: impl Iterator<Item = &'a [Arc<str>]>) -> Vec<Arc<str>> {
    let mut groups: Vec<Arc<str>> = Vec::new();
    for group in all.flatten() {
        if !groups.contains(group) {
            groups.push(Arc::clone(group));
        }
    }
    groups
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
    /// A one-time token for a first certificate. No authenticator gives it.
    pub const ENROLMENT: Self = Self("enrolment");
    /// The broker itself, for `$SYS`. No authenticator gives it.
    pub const SYSTEM: Self = Self("system");

    /// Those that a listener's `authenticate` may list.
    pub const LISTED: [Self; 7] = [
        Self::ANONYMOUS,
        Self::CERTIFICATE,
        Self::PASSWORD,
        Self::LDAP,
        Self::JWT,
        Self::COOKIE,
        Self::SCRAM,
    ];

    pub fn listed(name: &str) -> Option<Self> {
        Self::LISTED.into_iter().find(|method| method.0 == name)
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
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

/// Lower case, without separators.
pub fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
