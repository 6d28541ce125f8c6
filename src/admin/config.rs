//! `admin` in the configuration: the listener for operators. Contract section 7.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::identity::{AuthenticateConfig, Method, Role, Step};
use crate::net::config::ClientAuth;
use crate::net::{ServerTls, TlsConfig, Transport};
use crate::pki::{Enrolment, PkiError, Validity};
use crate::problem::Problem;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    #[serde(default = "bind")]
    pub bind: SocketAddr,
    /// There is no admin listener without TLS.
    pub tls: TlsConfig,
    /// Who may log in with a name and a password.
    #[serde(default = "authenticate")]
    pub authenticate: AuthenticateConfig,
    /// What a client certificate may do, by the name it proves.
    #[serde(default)]
    pub certificate_roles: BTreeMap<String, Role>,
    /// `/metrics` without credentials, on a bind of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_bind: Option<SocketAddr>,
    /// Devices fetch and renew their certificates here. Absent: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub est: Option<EstConfig>,
}

/// `admin.est`: RFC 7030.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EstConfig {
    /// The folder of the device CA, with its key.
    pub ca: PathBuf,
    /// How long a certificate is valid.
    pub days: u32,
    /// Valid certificates that one name may have.
    pub certificates_per_name: u32,
    /// Holds the passphrase of the CA's key, where that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<PathBuf>,
}

impl Default for EstConfig {
    fn default() -> Self {
        Self {
            ca: "ca".into(),
            days: Validity::DAYS,
            certificates_per_name: 10,
            passphrase_file: None,
        }
    }
}

impl EstConfig {
    pub fn enrolment(&self, base: &Path) -> Enrolment {
        let file = self.passphrase_file.as_ref().map(|file| base.join(file));
        Enrolment::new(&base.join(&self.ca), self.days, self.certificates_per_name)
            .with_passphrase(file)
    }

    /// Whose certificates the handshake lets in for the sake of enrolment, and for nothing else.
    fn devices(&self, own: &TlsConfig) -> TlsConfig {
        TlsConfig {
            client_auth: ClientAuth::Optional,
            client_ca: vec![self.ca.join("device-ca.pem")],
            crl: vec![self.ca.join("device-ca.crl")],
            ..TlsConfig::new(&own.certificate, &own.private_key)
        }
    }
}

impl AdminConfig {
    /// How the certificates of devices are judged, where they are asked for.
    pub fn device_tls(&self) -> Option<TlsConfig> {
        self.est.as_ref().map(|est| est.devices(&self.tls))
    }

    /// The listener's TLS, which with `est` asks for the certificates of devices too.
    pub fn server_tls(&self, base: &Path) -> Result<ServerTls, Vec<Problem>> {
        let devices = self.device_tls();
        // Browsers and curl speak HTTP here, as on a WebSocket listener.
        ServerTls::build_with_devices(&self.tls, devices.as_ref(), base, Transport::Websocket)
    }

    /// Every file that [`Self::server_tls`] is made from.
    pub fn tls_files(&self, base: &Path) -> Vec<PathBuf> {
        let devices = self.device_tls();
        let more = devices.iter().flat_map(|devices| devices.files(base));
        self.tls.files(base).into_iter().chain(more).collect()
    }

    /// Whether certificates can be made: asked before anything serves.
    pub fn check_est(&self, base: &Path) -> Result<(), Problem> {
        let Some(est) = &self.est else { return Ok(()) };
        let failed = |error: PkiError| {
            let advice = if matches!(error, PkiError::PassphraseNeeded) {
                ": admin.est.passphrase_file names its file"
            } else {
                ""
            };
            Problem::whole(base.join(&est.ca), format!("admin.est: {error}{advice}"))
        };
        est.enrolment(base).check().map_err(failed)
    }
}

fn bind() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 18083))
}

fn authenticate() -> AuthenticateConfig {
    AuthenticateConfig(vec![Step(vec![Method::PASSWORD])])
}
