//! The sections of a listener that say how its bytes travel. Contract section 3, `listeners`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::address::Cidr;
use crate::units::Period;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    #[default]
    Tcp,
    Websocket,
}

/// `listeners.NAME.tls`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    pub private_key: PathBuf,
    #[serde(default)]
    pub min_version: TlsVersion,
    #[serde(default)]
    pub client_auth: ClientAuth,
    #[serde(default)]
    pub client_ca: Vec<PathBuf>,
    #[serde(default)]
    pub crl: Vec<PathBuf>,
    /// A revocation list past its `nextUpdate`.
    #[serde(default)]
    pub crl_stale: Doubt,
    /// An issuer without a revocation list, once any list is configured.
    #[serde(default)]
    pub crl_missing: Doubt,
    #[serde(default)]
    pub resumption: Resumption,
    /// Other certificates, by the host name that the client asks for.
    #[serde(default)]
    pub sni: BTreeMap<String, CertificateFiles>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    #[default]
    Off,
    /// A client without a certificate may come in; one with a bad certificate may not.
    Optional,
    Required,
}

/// What becomes of a certificate whose revocation cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Doubt {
    #[default]
    Deny,
    Allow,
}

/// `resumption`: a resumed connection skips the key exchange with certificates, never the judgement of the client's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resumption {
    pub tickets: bool,
    /// No ticket resumes anything after this time.
    pub lifetime: Period,
}

impl Default for Resumption {
    fn default() -> Self {
        Self {
            tickets: true,
            lifetime: Period::from_hours(12),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

impl TlsConfig {
    /// With all else as by default.
    pub fn new(certificate: impl Into<PathBuf>, private_key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            private_key: private_key.into(),
            min_version: TlsVersion::default(),
            client_auth: ClientAuth::default(),
            client_ca: Vec::new(),
            crl: Vec::new(),
            crl_stale: Doubt::default(),
            crl_missing: Doubt::default(),
            resumption: Resumption::default(),
            sni: BTreeMap::new(),
        }
    }

    /// Every file that a built `ServerTls` was made from: what a watcher watches.
    pub fn files(&self, base: &Path) -> Vec<PathBuf> {
        let own = [&self.certificate, &self.private_key];
        let sni = self
            .sni
            .values()
            .flat_map(|files| [&files.certificate, &files.private_key]);
        own.into_iter()
            .chain(&self.client_ca)
            .chain(&self.crl)
            .chain(sni)
            .map(|file| base.join(file))
            .collect()
    }
}

/// `listeners.NAME.websocket`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebSocketConfig {
    pub path: String,
    /// Compared byte for byte with the Origin of the request, never as patterns. Same-origin needs no entry.
    pub allowed_origins: Vec<String>,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            path: "/mqtt".to_owned(),
            allowed_origins: Vec::new(),
        }
    }
}

impl WebSocketConfig {
    /// What is wrong, in words, and at which key or item of the section; empty when nothing is.
    pub fn problems(&self) -> Vec<(Vec<String>, String)> {
        let mut problems = Vec::new();
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
        if !self.path.starts_with('/') || !self.path.bytes().all(plain) {
            let message = format!(
                "path {:?} must begin with / and hold neither blanks, ? nor #",
                self.path
            );
            problems.push((vec!["path".to_owned()], message));
        }
        for (index, origin) in self.allowed_origins.iter().enumerate() {
            if !super::websocket::is_origin(origin) {
                let message = format!(
                    "{origin:?} is not an origin: write scheme://host or scheme://host:port in lower case, without a path or a pattern"
                );
                problems.push((
                    vec!["allowed_origins".to_owned(), index.to_string()],
                    message,
                ));
            }
        }
        problems
    }
}

/// `listeners.NAME.proxy_protocol`: these sources must send a PROXY header, all others must not (TRN-12).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocolConfig {
    pub trusted: Vec<Cidr>,
}
