//! Who can reach what: listeners beyond loopback, credentials in clear, trust in proxies.

use std::net::SocketAddr;

use super::Findings;
use crate::address::Cidr;
use crate::config::{Config, ListenerConfig};
use crate::identity::Method;
use crate::net::config::ClientAuth;

pub(super) fn examine(config: &Config, findings: &mut Findings) {
    for (name, listener) in &config.listeners {
        reach(name, listener, findings);
        if let Some(proxies) = &listener.proxy_protocol {
            for block in proxies.trusted.iter().filter(|block| is_wide(block)) {
                findings.serious(
                    "trusted-proxies",
                    format!("listeners.{name}.proxy_protocol.trusted"),
                    format!("everybody in {block} may claim any address"),
                    "name the proxies themselves: deny lists, bans and policies believe what they say",
                );
            }
        }
    }
    let Some(admin) = &config.admin else {
        findings.note(
            "admin",
            "admin",
            "there is no admin listener: no health, metrics, kick or ban while it runs",
        );
        return;
    };
    if is_exposed(admin.bind) {
        findings.warning(
            "reachable",
            "admin.bind",
            format!(
                "operators' API on {}, reachable from other machines",
                admin.bind
            ),
            "bind it to loopback or to a management network, or keep others off by a firewall",
        );
    }
    if let Some(bind) = admin.metrics_bind.filter(|bind| is_exposed(*bind)) {
        findings.warning(
            "reachable",
            "admin.metrics_bind",
            format!("/metrics on {bind} without credentials, reachable from other machines"),
            "bind it to loopback or to where Prometheus alone can reach it",
        );
    }
}

fn reach(name: &str, listener: &ListenerConfig, findings: &mut Findings) {
    let methods: Vec<&str> = listener
        .authenticate
        .methods()
        .map(|method| method.0)
        .collect();
    let proves = listener
        .authenticate
        .methods()
        .any(|method| method != Method::ANONYMOUS);
    let anonymous = methods.contains(&Method::ANONYMOUS.0);
    let at = format!("listeners.{name}");
    let exposed = is_exposed(listener.bind);
    let bind = listener.bind;
    if exposed && anonymous {
        findings.serious(
            "anonymous",
            format!("{at}.authenticate"),
            format!("anybody who reaches {bind} comes in without a name"),
            "remove anonymous, or bind to 127.0.0.1",
        );
    }
    if exposed && listener.tls.is_none() && proves {
        findings.serious(
            "plaintext-credentials",
            format!("{at}.tls"),
            format!(
                "{} over {bind} in clear: whoever sees the wire can log in",
                methods.join(", ")
            ),
            "add tls, or bind to 127.0.0.1",
        );
    }
    if exposed && listener.tls.is_none() && !proves {
        findings.warning(
            "plaintext",
            format!("{at}.tls"),
            format!("messages over {bind} can be read and changed on their way"),
            "add tls, or bind to 127.0.0.1",
        );
    }
    if !exposed && (anonymous || listener.tls.is_none()) {
        findings.note(
            "loopback",
            &at,
            format!("{bind} without TLS or name: every user of this machine can reach it"),
        );
    }
    if exposed && listener.tls.is_some() {
        let certificates = match listener.tls.as_ref().map(|tls| tls.client_auth) {
            Some(ClientAuth::Required) => "a certificate is demanded before any MQTT",
            Some(ClientAuth::Optional | ClientAuth::Off) | None => {
                "strangers get as far as a login"
            }
        };
        findings.note(
            "reachable",
            &at,
            format!(
                "{bind} is reachable from other machines; {certificates}; logins by {}",
                methods.join(", ")
            ),
        );
    }
}

/// Other machines may reach it, as far as the address tells.
pub(super) fn is_exposed(bind: SocketAddr) -> bool {
    !bind.ip().to_canonical().is_loopback()
}

/// More than any organisation's own network.
pub(super) fn is_wide(block: &Cidr) -> bool {
    let shortest = if block.network().is_ipv4() { 8 } else { 32 };
    block.length() < shortest
}
