//! The whole of `wardgate.yaml`, composed of the sections that live with their modules. Contract section 3.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::admin::AdminConfig;
use crate::identity::{AuthenticateConfig, AuthenticationConfig};
use crate::limits::LimitsConfig;
use crate::net::{ProxyProtocolConfig, TlsConfig, Transport, WebSocketConfig};
use crate::session::MqttConfig;
use crate::store::StoreConfig;
use crate::telemetry::{AuditConfig, LogConfig};
use crate::units::{ByteSize, Period};

/// All settings, from file and environment alike (TRN-9). Paths of `data_dir`, `store` and `audit` are resolved; all others are relative to `base`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub node: String,
    pub data_dir: PathBuf,
    pub listeners: BTreeMap<String, ListenerConfig>,
    pub authentication: AuthenticationConfig,
    /// Files, or folders of `*.yaml`.
    pub policies: Vec<PathBuf>,
    pub limits: LimitsConfig,
    pub mqtt: MqttConfig,
    pub store: StoreConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminConfig>,
    pub audit: AuditConfig,
    pub log: LogConfig,
    pub shutdown: ShutdownConfig,
    pub reload: ReloadConfig,
    /// The folder of the file.
    #[serde(skip)]
    pub base: PathBuf,
}

/// `listeners.NAME`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Port 0 takes a free one.
    pub bind: SocketAddr,
    #[serde(default)]
    pub transport: Transport,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket: Option<WebSocketConfig>,
    pub authenticate: AuthenticateConfig,
    #[serde(default = "max_connections")]
    pub max_connections: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolConfig>,
    #[serde(default = "max_packet_size")]
    pub max_packet_size: ByteSize,
    /// Takes anonymous clients from anywhere, and credentials in clear.
    #[serde(default)]
    pub allow_insecure: bool,
}

/// `shutdown`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long clients have to take their leave.
    pub grace: Period,
}

/// `reload`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadConfig {
    /// Without being asked, when this file or a policy file changes.
    pub watch: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: "wardgate".into(),
            data_dir: "./data".into(),
            listeners: BTreeMap::new(),
            authentication: AuthenticationConfig::default(),
            policies: Vec::new(),
            limits: LimitsConfig::default(),
            mqtt: MqttConfig::default(),
            store: StoreConfig::default(),
            admin: None,
            audit: AuditConfig::default(),
            log: LogConfig::default(),
            shutdown: ShutdownConfig::default(),
            reload: ReloadConfig::default(),
            base: PathBuf::new(),
        }
    }
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            grace: Period::from_secs(10),
        }
    }
}

fn max_connections() -> u32 {
    100_000
}

fn max_packet_size() -> ByteSize {
    ByteSize::mib(1)
}
