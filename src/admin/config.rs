//! `admin` in the configuration: the listener for operators. Contract section 7.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::identity::{AuthenticateConfig, Method, Role, Step};
use crate::net::TlsConfig;

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
}

fn bind() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 18083))
}

fn authenticate() -> AuthenticateConfig {
    AuthenticateConfig(vec![Step(vec![Method::PASSWORD])])
}
