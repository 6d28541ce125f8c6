//! Listeners as configured become the rules that admission goes by.

use crate::admission::Rules;
use crate::config::{Config, ListenerConfig};
use crate::identity::io::{BackEnds, Chain};
use crate::mqtt::{DecodeLimits, MqttConfig};
use crate::net::{ServerTls, Transport};
use crate::policy::Policies;
use crate::problem::Problem;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// What all listeners have in common.
pub struct Common<'a> {
    pub config: &'a Config,
    pub back_ends: &'a BackEnds,
    pub policies: &'a Arc<Policies>,
    pub mqtt: &'a Arc<MqttConfig>,
    /// Where each listener really listens.
    pub addresses: &'a BTreeMap<String, SocketAddr>,
}

impl Common<'_> {
    /// The rules of every listener, or every problem of all of them.
    pub fn all_rules(&self) -> Result<BTreeMap<String, Rules>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut all = BTreeMap::new();
        for (name, listener) in &self.config.listeners {
            match self.rules(name, listener) {
                Ok(rules) => {
                    all.insert(name.clone(), rules);
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            Ok(all)
        } else {
            Err(problems)
        }
    }

    fn rules(&self, name: &str, listener: &ListenerConfig) -> Result<Rules, Vec<Problem>> {
        let config = self.config;
        let tls = match &listener.tls {
            None => None,
            Some(tls) => Some(Arc::new(ServerTls::build(
                tls,
                &config.base,
                listener.transport,
            )?)),
        };
        let chain = Chain::build(&listener.authenticate, self.back_ends).map_err(|error| {
            vec![Problem::whole(
                &config.base,
                format!("listeners.{name}: {error}"),
            )]
        })?;
        let secure = tls.is_some();
        Ok(Rules {
            transport: listener.transport,
            tls,
            websocket: listener.websocket.clone().unwrap_or_default(),
            web_ports: self.web_ports(secure),
            proxy_protocol: listener.proxy_protocol.clone(),
            methods: listener.authenticate.methods().collect(),
            chain: Arc::new(chain),
            client_id_binding: config.authentication.client_id.bind_to,
            policies: Arc::clone(self.policies),
            mqtt: Arc::clone(self.mqtt),
            decode_limits: Arc::new(DecodeLimits {
                topic: self.mqtt.topic_limits(),
                client_identifier_length: self.mqtt.max_client_id_length,
                filters: self.mqtt.max_filters_per_packet,
                user_properties: self.mqtt.max_user_properties,
                ..DecodeLimits::default()
            }),
            // Nobody gets more before login than after it.
            unauthenticated_packet_size: config
                .limits
                .unauthenticated
                .max_packet_size
                .min(listener.max_packet_size)
                .as_usize(),
            maximum_packet_size: listener.max_packet_size.as_usize(),
            maximum_connections: listener.max_connections,
            expiry_warning: config.authentication.certificate.expiry_warning.get(),
        })
    }

    /// What counts as same-origin: every listener that pages may come from, with the same scheme.
    fn web_ports(&self, secure: bool) -> Vec<u16> {
        let listeners = self.config.listeners.iter();
        let web = listeners.filter(|(_, listener)| {
            listener.transport == Transport::Websocket && listener.tls.is_some() == secure
        });
        let listeners = web.map(|(name, _)| name.as_str());
        // Pages of our own come from the admin port, and that has TLS.
        let admin = (secure && self.config.admin.is_some()).then_some("admin");
        listeners
            .chain(admin)
            .filter_map(|name| Some(self.addresses.get(name)?.port()))
            .collect()
    }
}
