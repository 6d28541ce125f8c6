//! A listener as admission sees it: what it demands of those who come in.

use crate::identity::io::Chain;
use crate::identity::{ClientIdBinding, Method};
use crate::limits::{Limits, Tally};
use crate::mqtt::{DecodeLimits, MqttConfig};
use crate::net::{ProxyProtocolConfig, ServerTls, Transport, WebSocketConfig};
use crate::policy::Policies;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

/// One for each listener; what a reload may change is inside [`Rules`], replaced whole.
pub struct Door {
    pub name: Arc<str>,
    pub rules: ArcSwap<Rules>,
    pub limits: Arc<Limits>,
    /// Connections of this listener.
    pub connections: Arc<Tally>,
}

/// What is in force now.
#[derive(Clone)]
pub struct Rules {
    pub transport: Transport,
    pub tls: Option<Arc<ServerTls>>,
    pub websocket: WebSocketConfig,
    /// Of all our web listeners with the same scheme: what counts as same-origin.
    pub web_ports: Vec<u16>,
    pub proxy_protocol: Option<ProxyProtocolConfig>,
    pub chain: Arc<Chain>,
    /// The ways in that `chain` offers.
    pub methods: Vec<Method>,
    pub client_id_binding: ClientIdBinding,
    pub policies: Arc<Policies>,
    pub mqtt: Arc<MqttConfig>,
    pub decode_limits: Arc<DecodeLimits>,
    /// In bytes, before CONNACK.
    pub unauthenticated_packet_size: usize,
    /// In bytes, after it.
    pub maximum_packet_size: usize,
    pub maximum_connections: u32,
    /// How long before its certificate ends a client's login is told of.
    pub expiry_warning: Duration,
}

impl Rules {
    /// `mqtt` or `websocket`, as policies write it.
    pub fn protocol(&self) -> &'static str {
        match self.transport {
            Transport::Tcp => "mqtt",
            Transport::Websocket => "websocket",
        }
    }

    /// The same with certificates, client CAs and revocation lists read again.
    pub fn with_tls(&self, tls: ServerTls) -> Self {
        Self {
            tls: Some(Arc::new(tls)),
            ..self.clone()
        }
    }
}
