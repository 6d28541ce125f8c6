//! What no single setting shows: settings that do not go together.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::sections::{Config, ListenerConfig};
use crate::admin::AdminConfig;
use crate::identity::Method;
use crate::net::config::ClientAuth;
use crate::net::{TlsConfig, Transport};
use crate::problem::Problem;
use crate::yaml::tree::Node;

/// All of them, each at the setting that has to change.
pub(super) fn problems(config: &Config, root: &Node) -> Vec<Problem> {
    let mut found = Findings {
        root,
        problems: Vec::new(),
    };
    if config.listeners.is_empty() {
        found.at(
            &["listeners"],
            "there is no listener, so nobody could connect",
        );
    }
    if !is_name(&config.node) {
        found.at(
            &["node"],
            format!("{:?} is not a name: {NAME}", config.node),
        );
    }
    if config.mqtt.versions.is_empty() {
        found.at(
            &["mqtt", "versions"],
            "the list is empty, so nobody could connect",
        );
    }
    for (name, listener) in &config.listeners {
        Listener {
            config,
            name,
            listener,
            found: &mut found,
        }
        .check();
    }
    if let Some(admin) = &config.admin {
        tls(&mut found, &["admin"], &admin.tls);
        web_logins(&mut found, config, admin);
        if !admin.certificate_roles.is_empty() && admin.tls.client_auth == ClientAuth::Off {
            found.at(
                &["admin", "certificate_roles"],
                "needs tls.client_auth: optional or required",
            );
        }
        if admin.est.is_some() && admin.tls.client_auth == ClientAuth::Required {
            found.at(
                &["admin", "est"],
                "needs tls.client_auth: optional or off, for a device has no certificate of yours",
            );
        }
    }
    let jwt = config.authentication.jwt.as_ref();
    if jwt.is_some_and(|jwt| jwt.acl_mode.is_some() && jwt.acl_claim.is_none()) {
        found.at(
            &["authentication", "jwt", "acl_mode"],
            "says nothing without `acl_claim`",
        );
    }
    binds(config, &mut found);
    found.problems
}

struct Findings<'a> {
    root: &'a Node,
    problems: Vec<Problem>,
}

impl Findings<'_> {
    fn at(&mut self, path: &[&str], message: impl Into<String>) {
        let place = self.root.place_of(path.iter().copied());
        self.problems.push(place.problem(message));
    }
}

struct Listener<'a, 'b> {
    config: &'a Config,
    name: &'a str,
    listener: &'a ListenerConfig,
    found: &'a mut Findings<'b>,
}

impl Listener<'_, '_> {
    fn check(mut self) {
        if !is_name(self.name) || self.name == ADMIN {
            self.at(
                &[],
                format!(
                    "{:?} cannot name a listener: {NAME}; `{ADMIN}` is taken",
                    self.name
                ),
            );
        }
        if let Some(section) = &self.listener.tls {
            tls(self.found, &["listeners", self.name], section);
        }
        self.methods();
        self.exposure();
        self.web();
        if self
            .listener
            .proxy_protocol
            .as_ref()
            .is_some_and(|section| section.trusted.is_empty())
        {
            self.at(
                &["proxy_protocol", "trusted"],
                "the list is empty: name the proxies, or leave the section out",
            );
        }
    }

    /// Each method has what it needs.
    fn methods(&mut self) {
        if self.listener.authenticate.0.is_empty() {
            self.at(
                &["authenticate"],
                "the list is empty, so nobody could log in",
            );
        }
        let verifies = self
            .listener
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_auth != ClientAuth::Off);
        if self.uses(Method::CERTIFICATE) && !verifies {
            self.at(
                &["authenticate"],
                "certificate needs tls with client_auth: optional or required, and a client_ca",
            );
        }
        let file = self.config.authentication.password.is_some();
        if (self.uses(Method::PASSWORD) || self.uses(Method::SCRAM)) && !file {
            self.at(
                &["authenticate"],
                "password needs the section authentication.password with its file",
            );
        }
        if self.uses(Method::COOKIE) && self.listener.transport != Transport::Websocket {
            self.at(&["authenticate"], "cookie needs transport: websocket");
        }
        if self.uses(Method::COOKIE) && self.listener.tls.is_none() {
            self.at(
                &["authenticate"],
                "cookie needs tls: a browser sends __Host-wardgate over nothing else",
            );
        }
        if self.uses(Method::COOKIE) && self.config.admin.is_none() {
            self.at(
                &["authenticate"],
                "cookie needs the section admin, where browsers log in",
            );
        }
    }

    /// The guard looks at the bind address only: who is let through a proxy on loopback gains nothing by it (TRN-13).
    fn exposure(&mut self) {
        if self.listener.bind.ip().is_loopback() || self.listener.allow_insecure {
            return;
        }
        let bind = self.listener.bind;
        if self.uses(Method::ANONYMOUS) {
            let message = format!(
                "{bind} can be reached from other machines and lets in anybody: remove anonymous, bind to 127.0.0.1, or set allow_insecure: true"
            );
            self.at(&["authenticate"], message);
        }
        let credentials = self
            .listener
            .authenticate
            .methods()
            .any(|method| method != Method::ANONYMOUS);
        if credentials && self.listener.tls.is_none() {
            let message = format!(
                "{bind} can be reached from other machines and would carry credentials in clear: add tls, bind to 127.0.0.1, or set allow_insecure: true"
            );
            self.at(&["bind"], message);
        }
    }

    fn web(&mut self) {
        let Some(section) = &self.listener.websocket else {
            return;
        };
        if self.listener.transport != Transport::Websocket {
            self.at(&["websocket"], "has no effect without transport: websocket");
        }
        for (inside, problem) in section.problems() {
            let inside = inside.iter().map(String::as_str);
            let path: Vec<&str> = std::iter::once("websocket").chain(inside).collect();
            self.at(&path, problem);
        }
    }

    fn uses(&self, method: Method) -> bool {
        self.listener
            .authenticate
            .methods()
            .any(|used| used == method)
    }

    fn at(&mut self, path: &[&str], message: impl Into<String>) {
        let path: Vec<&str> = ["listeners", self.name]
            .into_iter()
            .chain(path.iter().copied())
            .collect();
        self.found.at(&path, message);
    }
}

fn tls(found: &mut Findings<'_>, owner: &[&str], section: &TlsConfig) {
    let path = |key| {
        owner
            .iter()
            .copied()
            .chain(["tls", key])
            .collect::<Vec<_>>()
    };
    let verifies = section.client_auth != ClientAuth::Off;
    if verifies && section.client_ca.is_empty() {
        found.at(
            &path("client_auth"),
            "needs client_ca: the authorities whose certificates are accepted",
        );
    }
    if !verifies && !section.client_ca.is_empty() {
        found.at(
            &path("client_ca"),
            "has no effect without client_auth: optional or required",
        );
    }
    if !verifies && !section.crl.is_empty() {
        found.at(
            &path("crl"),
            "has no effect without client_auth: optional or required",
        );
    }
}

/// Who logs in on the web has shown a name and a password; what a login is kept as has no room for a second proof, nor for one that ends by itself.
fn web_logins(found: &mut Findings<'_>, config: &Config, admin: &AdminConfig) {
    let methods = &config.authentication;
    // The default lets in by password where there is a file; a node without one is for tokens and certificates.
    let is_said = found
        .root
        .get("admin")
        .is_some_and(|admin| admin.node.get("authenticate").is_some());
    for (index, step) in admin.authenticate.0.iter().enumerate() {
        let is_repeated = admin
            .authenticate
            .0
            .iter()
            .take(index)
            .any(|earlier| earlier == step);
        let told = match step.0.as_slice() {
            [method @ (Method::PASSWORD | Method::LDAP)] if is_repeated => {
                format!("{method} is listed twice")
            }
            [Method::PASSWORD] if is_said && methods.password.is_none() => {
                "password needs the section authentication.password with its file".to_owned()
            }
            [Method::LDAP] if methods.ldap.is_none() => {
                "ldap needs the section authentication.ldap".to_owned()
            }
            [Method::PASSWORD | Method::LDAP] => continue,
            [other] => {
                format!("{other} proves no name by a password: logins here are by password or ldap")
            }
            _ => "all: is for listeners; a login here is by password or ldap alone".to_owned(),
        };
        found.at(&["admin", "authenticate", &index.to_string()], told);
    }
}

/// No two listeners on one address; a wildcard address is all of them.
fn binds(config: &Config, found: &mut Findings<'_>) {
    let mut taken: BTreeMap<u16, Vec<(&str, SocketAddr)>> = BTreeMap::new();
    let listeners = config
        .listeners
        .iter()
        .map(|(name, listener)| (vec!["listeners", name.as_str(), "bind"], listener.bind));
    let admin = config
        .admin
        .iter()
        .map(|admin| (vec![ADMIN, "bind"], admin.bind));
    let metrics = config
        .admin
        .iter()
        .filter_map(|admin| Some((vec![ADMIN, "metrics_bind"], admin.metrics_bind?)));
    for (path, bind) in listeners.chain(admin).chain(metrics) {
        if bind.port() == 0 {
            continue;
        }
        let name = path.iter().rev().nth(1).copied().unwrap_or(ADMIN);
        let others = taken.entry(bind.port()).or_default();
        if let Some((other, theirs)) = others.iter().find(|(_, other)| collide(*other, bind)) {
            found.at(&path, format!("{bind} is taken by {other} ({theirs})"));
        }
        others.push((name, bind));
    }
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified()
}

/// Names go into logs, metrics, policies and variables of the environment.
fn is_name(name: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'.';
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

const NAME: &str = "1 to 64 letters, digits, `-`, `_` or `.`";
const ADMIN: &str = "admin";
