//! Decisions as the audit log recorded them: what learning and replaying start from.

use super::Attempt;
use super::assertion::{method, protocol};
use super::rule::{Action, OF_TOKEN};
use crate::identity::{CertificateNames, Identity, Method, Subject};
use crate::mqtt::QoS;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Somebody tried something.
#[derive(Clone, Debug)]
pub struct Observation {
    pub subject: Arc<Subject>,
    pub attempt: Attempt,
    pub permitted: bool,
    /// Leads to the line in the log.
    pub decision: Option<String>,
    /// The rule that decided then.
    pub rule: Option<String>,
}

/// The fields of [`crate::audit::Event`] that matter here.
#[derive(Deserialize)]
struct Line {
    outcome: String,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    username: String,
    namespace: Option<String>,
    ip: Option<IpAddr>,
    #[serde(default)]
    listener: String,
    protocol: Option<String>,
    method: Option<String>,
    #[serde(default)]
    groups: Vec<Arc<str>>,
    rule: Option<String>,
    action: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
    decision: Option<String>,
}

impl Observation {
    /// `None`: a line about something else. Claims and all of a certificate but its name are not in the log, and are missing here.
    pub fn read(line: &str) -> Result<Option<Self>, String> {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let action = match line.action.as_deref() {
            Some("publish") => Action::Publish,
            Some("subscribe") => Action::Subscribe,
            Some(_) | None => return Ok(None),
        };
        let permitted = match line.outcome.as_str() {
            "permitted" => true,
            "refused" => false,
            _ => return Ok(None),
        };
        let Some(topic) = &line.topic else {
            return Ok(None);
        };
        let qos = QoS::from_bits(line.qos).ok_or("qos is 0, 1 or 2")?;
        let attempt = Attempt::new(action, topic, qos, line.retain)?;
        let (decision, rule) = (line.decision.clone(), line.rule.clone());
        Ok(Some(Self {
            subject: Arc::new(line.subject()?),
            attempt,
            permitted,
            decision,
            rule,
        }))
    }
}

impl Observation {
    /// A statement of the token's own list decided, or its lack of one.
    pub fn is_of_token(&self) -> bool {
        self.rule
            .as_deref()
            .is_some_and(|rule| rule.starts_with(OF_TOKEN))
    }
}

impl Line {
    fn subject(self) -> Result<Subject, String> {
        let method = match &self.method {
            Some(name) => method(name).ok_or(format!("no method is called {name:?}"))?,
            None => Method::ANONYMOUS,
        };
        let spoken = match &self.protocol {
            Some(name) => protocol(name).ok_or(format!("no protocol is called {name:?}"))?,
            None => "mqtt",
        };
        // A certificate names its bearer, by default in its common name.
        let certificate = (method == Method::CERTIFICATE).then(|| {
            Arc::new(CertificateNames {
                common_name: vec![self.username.clone()],
                ..CertificateNames::default()
            })
        });
        Ok(Subject {
            identity: Identity {
                groups: self.groups,
                certificate,
                ..Identity::new(
                    method,
                    self.namespace.unwrap_or_else(|| method.0.to_owned()).into(),
                    self.username.into(),
                )
            },
            client_id: self.client_id.into(),
            ip: self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            listener: self.listener.into(),
            protocol: spoken,
        })
    }
}
