//! Why: a question about somebody described, a live client, or a decision that was made. Contract sections 5 and 7.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Outcome};
use super::call::Call;
use super::problem::Problem;
use crate::admission::{client, policy_limit};
use crate::identity::jwt::{JwtConfig, Told};
use crate::identity::{CertificateNames, Identity, Method, Subject};
use crate::limits;
use crate::mqtt::{QoS, Subscription, Text, TopicLimits, TopicName};
use crate::policy::{self, Attempt};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Question {
    /// A live client or an offline session, by client identifier.
    client: Option<String>,
    /// A refusal, by its decision id.
    decision: Option<String>,
    username: Option<String>,
    client_id: Option<String>,
    ip: Option<IpAddr>,
    auth: Option<String>,
    namespace: Option<String>,
    group: Vec<String>,
    cert: Option<Certificate>,
    claims: Option<serde_json::Map<String, Value>>,
    listener: Option<String>,
    protocol: Option<String>,
    action: Option<Action>,
    topic: Option<String>,
    #[serde(default)]
    qos: u8,
    retain: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Publish,
    Subscribe,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Certificate {
    common_name: Values,
    organizational_unit: Values,
    organization: Values,
    san_dns: Values,
    san_uri: Values,
    san_email: Values,
    subject_dn: String,
    issuer: String,
    serial: String,
    fingerprint: String,
}

/// One value or several.
#[derive(Clone, Default, Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Several(Vec<String>),
    #[default]
    None,
}

pub(super) fn denials(call: &Call) -> Outcome {
    let denials = call
        .visit
        .shared
        .node
        .denials()
        .last(call.query.limit()?, call.query.text("client_id"));
    let shown: Vec<Value> = denials.iter().map(super::Denial::shown).collect();
    answer::json(&json!({ "denials": shown }))
}

pub(super) fn explain(call: &Call) -> Outcome {
    let question: Question = call.visit.json()?;
    let node = &call.visit.shared.node;
    let (subject, attempt, denial) = match &question.decision {
        Some(decision) => {
            let denial = node
                .denials()
                .find(decision)
                .ok_or(Problem::NotFound("this decision is no longer known"))?;
            let action = if denial.action == "publish" {
                Action::Publish
            } else {
                Action::Subscribe
            };
            let attempt = attempted(action, &denial.topic, denial.qos, denial.retain)?;
            (Arc::clone(&denial.subject), attempt, Some(denial))
        }
        None => {
            let action = question
                .action
                .ok_or_else(|| wanted("action: publish or subscribe"))?;
            let topic = question.topic.as_deref().ok_or_else(|| wanted("topic"))?;
            let attempt = attempted(action, topic, question.qos, question.retain)?;
            let subject = match &question.client {
                Some(client_id) => node
                    .subject(client_id)
                    .ok_or(Problem::NotFound("no client has this identifier"))?,
                None => {
                    let mut subject = question.subject(&node.jwt())?;
                    let own = question.group.is_empty();
                    if let Some(regrouped) =
                        own.then(|| node.regrouped(&subject.identity)).flatten()
                    {
                        subject.identity = regrouped;
                    }
                    Arc::new(subject)
                }
            };
            (subject, attempt, None)
        }
    };
    let compiled = node.policies().compile(&subject);
    let explanation = compiled.explain(&attempt);
    let login = limits::Attempt {
        ip: subject.ip,
        method: subject.identity.method,
        username: Some(&subject.identity.username),
    };
    let mut document = serde_json::to_value(&explanation).map_err(|_| Problem::Internal)?;
    if let Some(members) = document.as_object_mut() {
        members.insert(
            "limits".into(),
            json!(node.limits().explain(
                &login,
                &client(&subject),
                policy_limit(&compiled),
                call.visit.now
            )),
        );
        // Policies may have changed since: what was decided stands beside what would be now.
        members.insert(
            "decided".into(),
            json!(denial.as_ref().map(super::Denial::shown)),
        );
    }
    answer::json(&document)
}

impl Question {
    fn subject(&self, jwt: &JwtConfig) -> Result<Subject, Problem> {
        let told = match &self.claims {
            Some(claims) => told(claims, jwt)?,
            None => Told::default(),
        };
        let certificate = self
            .cert
            .as_ref()
            .map(|certificate| Arc::new(certificate.names()));
        let username = self
            .username
            .clone()
            .or_else(|| certificate.as_ref()?.common_name.first().cloned())
            .or_else(|| told.username.clone());
        let method = match &self.auth {
            Some(name) => policy::method(name)
                .ok_or_else(|| Problem::BadRequest(format!("no method is called {name:?}")))?,
            None if certificate.is_some() => Method::CERTIFICATE,
            None if self.claims.is_some() => Method::JWT,
            None if username.is_none() => Method::ANONYMOUS,
            None => Method::PASSWORD,
        };
        let protocol = self.protocol.as_deref().unwrap_or("mqtt");
        let namespace = match &self.namespace {
            Some(namespace) => namespace.clone(),
            None if method == Method::JWT => jwt.namespace(told.issuer.as_deref()),
            None => method.0.to_owned(),
        };
        Ok(Subject {
            identity: Identity {
                groups: self
                    .group
                    .iter()
                    .map(|group| group.as_str().into())
                    .chain(told.groups)
                    .collect(),
                certificate,
                claims: told.values,
                acl: told.acl.map(Arc::new),
                ..Identity::new(
                    method,
                    namespace.into(),
                    username.unwrap_or_default().into(),
                )
            },
            client_id: self.client_id.as_deref().unwrap_or_default().into(),
            ip: self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            listener: self.listener.as_deref().unwrap_or_default().into(),
            protocol: policy::protocol(protocol).ok_or_else(|| {
                Problem::BadRequest(format!("no protocol is called {protocol:?}"))
            })?,
        })
    }
}

/// As a token's claims are read at a login.
fn told(claims: &serde_json::Map<String, Value>, jwt: &JwtConfig) -> Result<Told, Problem> {
    let refused = |error| Problem::BadRequest(format!("claims: this token is refused: {error}"));
    let told = jwt.rules().told(claims).map_err(refused)?;
    if let Some(acl) = &told.acl {
        policy::read_token(acl).map_err(refused)?;
    }
    Ok(told)
}

impl Certificate {
    fn names(&self) -> CertificateNames {
        CertificateNames {
            common_name: self.common_name.all(),
            organizational_unit: self.organizational_unit.all(),
            organization: self.organization.all(),
            san_dns: self.san_dns.all(),
            san_uri: self.san_uri.all(),
            san_email: self.san_email.all(),
            subject_dn: self.subject_dn.clone(),
            issuer: self.issuer.clone(),
            serial: self.serial.clone(),
            fingerprint: self.fingerprint.clone(),
        }
    }
}

impl Values {
    fn all(&self) -> Vec<String> {
        match self {
            Self::One(value) => vec![value.clone()],
            Self::Several(values) => values.clone(),
            Self::None => Vec::new(),
        }
    }
}

fn attempted(action: Action, topic: &str, qos: u8, retain: bool) -> Result<Attempt, Problem> {
    let qos = QoS::from_bits(qos).ok_or_else(|| wanted("qos: 0, 1 or 2"))?;
    let invalid = |error: &dyn std::fmt::Display| Problem::BadRequest(format!("topic: {error}"));
    let text = Text::try_from(topic).map_err(|error| invalid(&error))?;
    Ok(match action {
        Action::Publish => Attempt::Publish {
            topic: TopicName::new(text, LIMITS).map_err(|error| invalid(&error))?,
            qos,
            retain,
        },
        Action::Subscribe => Attempt::Subscribe {
            subscription: Subscription::new(text, LIMITS).map_err(|error| invalid(&error))?,
            qos,
        },
    })
}

fn wanted(what: &str) -> Problem {
    Problem::BadRequest(format!("needed: {what}"))
}

/// As long as any configuration allows.
const LIMITS: TopicLimits = TopicLimits {
    levels: 128,
    length: 65_535,
};
