//! `tests:` of a policy file: what must be allowed and what denied, checked on every load.

use super::attribute::Values;
use super::document::{
    AssertionDocument, AttemptDocument, CertificateDocument, GivenDocument, Texts,
};
use super::judge::{Judge, Verdict};
use super::policies::Policies;
use super::rule::Action;
use crate::identity::{CertificateNames, Identity, Method, Subject};
use crate::mqtt::{QoS, Subscription, Text, TopicLimits, TopicName};
use crate::problem::Problem;
use crate::yaml::{Location, Spanned};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Topics in tests may be as long as any configuration allows.
pub(super) const LIMITS: TopicLimits = TopicLimits {
    levels: 128,
    length: 65_535,
};

/// Somebody, and what must come of each attempt.
#[derive(Clone, Debug)]
pub struct Assertion {
    file: PathBuf,
    subject: Arc<Subject>,
    attempts: Vec<(Attempt, bool, Location)>,
}

/// Something that a subject may try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Publish {
        topic: TopicName,
        qos: QoS,
        retain: bool,
    },
    /// Allowed when at least `qos` is granted.
    Subscribe {
        subscription: Subscription,
        qos: QoS,
    },
}

/// An attempt that came out otherwise than asserted.
#[derive(Clone, Debug)]
pub struct Failure {
    pub file: PathBuf,
    pub line: u64,
    pub column: u64,
    pub subject: Arc<Subject>,
    pub attempt: Attempt,
    /// What was asserted.
    pub expected_allow: bool,
    /// The deciding `file:line id`, if a statement decided.
    pub decided_by: Option<super::RuleId>,
}

impl Failure {
    pub(super) fn problem(&self) -> Problem {
        let (expected, found) = match self.expected_allow {
            true => ("allowed", "denied"),
            false => ("denied", "allowed"),
        };
        let by = match &self.decided_by {
            Some(rule) => format!("by {rule}"),
            None => "since no statement allows it".to_owned(),
        };
        let message = format!(
            "test: {} should be {expected}, but is {found} {by}",
            self.attempt
        );
        Problem::new(&self.file, self.line, self.column, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}

impl Assertion {
    pub(super) fn new(
        file: &Path,
        written: Spanned<AssertionDocument>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let at = written.at;
        let AssertionDocument { given, allow, deny } = written.value;
        let mut attempts = Vec::new();
        if allow.is_empty() && deny.is_empty() {
            problems.push(problem(file, at, "a test with neither allow nor deny"));
        }
        for (expected, written) in [(true, allow), (false, deny)] {
            for attempt in written {
                let at = attempt.at;
                match Attempt::read(attempt) {
                    Ok(attempt) => attempts.push((attempt, expected, at)),
                    Err((at, message)) => problems.push(problem(file, at, message)),
                }
            }
        }
        match subject(given) {
            Ok(subject) if problems.is_empty() => Ok(Self {
                file: file.to_owned(),
                subject: Arc::new(subject),
                attempts,
            }),
            Ok(_) => Err(problems),
            Err((at, message)) => {
                problems.push(problem(file, at, message));
                Err(problems)
            }
        }
    }

    /// The attempts that come out otherwise.
    pub fn run(&self, policies: &Policies) -> Vec<Failure> {
        let ip = super::compiled::ip_text(&self.subject);
        let values = Values {
            subject: &self.subject,
            ip: &ip,
        };
        let applicable = policies.applicable(values);
        let judge = Judge {
            policies,
            applicable: &applicable,
            token: None,
            values,
        };
        let mut failures = Vec::new();
        for (attempt, expected_allow, at) in &self.attempts {
            let (allowed, verdict) = attempt.judge(judge);
            if allowed != *expected_allow {
                failures.push(Failure {
                    file: self.file.clone(),
                    line: at.line(),
                    column: at.column(),
                    subject: Arc::clone(&self.subject),
                    attempt: attempt.clone(),
                    expected_allow: *expected_allow,
                    decided_by: verdict
                        .rule()
                        .and_then(|rule| policies.rule(rule))
                        .map(|rule| rule.id.clone()),
                });
            }
        }
        failures
    }

    pub fn attempts(&self) -> usize {
        self.attempts.len()
    }
}

impl Attempt {
    pub fn new(action: Action, topic: &str, qos: QoS, retain: bool) -> Result<Self, String> {
        match action {
            Action::Publish => Self::topic(topic).map(|topic| Self::Publish { topic, qos, retain }),
            Action::Subscribe => {
                Self::subscription(topic).map(|subscription| Self::Subscribe { subscription, qos })
            }
        }
    }

    pub fn action(&self) -> Action {
        match self {
            Self::Publish { .. } => Action::Publish,
            Self::Subscribe { .. } => Action::Subscribe,
        }
    }

    pub(super) fn qos_and_retain(&self) -> (QoS, bool) {
        match self {
            Self::Publish { qos, retain, .. } => (*qos, *retain),
            Self::Subscribe { qos, .. } => (*qos, false),
        }
    }

    /// As the client wrote it.
    pub(super) fn topic_text(&self) -> String {
        match self {
            Self::Publish { topic, .. } => topic.to_string(),
            Self::Subscribe { subscription, .. } => subscription.to_string(),
        }
    }

    /// What is compared with the filters of rules.
    pub(super) fn pattern_text(&self) -> String {
        match self {
            Self::Publish { topic, .. } => topic.to_string(),
            Self::Subscribe { subscription, .. } => subscription.filter.to_string(),
        }
    }

    pub(super) fn judge(&self, judge: Judge<'_>) -> (bool, Verdict) {
        let (verdict, enough) = match self {
            Self::Publish { topic, qos, retain } => {
                (judge.publish(topic.as_str(), *qos, *retain).verdict, true)
            }
            Self::Subscribe { subscription, qos } => {
                let share = subscription.share.as_ref().map(|share| share.as_str());
                let filter = judge.subscribe(subscription.filter.as_str(), share, *qos);
                (filter.judged.verdict, filter.maximum_qos >= *qos)
            }
        };
        match verdict {
            Verdict::Allowed(_) => (enough, verdict),
            Verdict::DeniedBy(_) | Verdict::Narrowed | Verdict::NothingMatched => (false, verdict),
        }
    }

    fn read(written: Spanned<AttemptDocument>) -> Result<Self, (Location, String)> {
        let at = written.at;
        let written = written.value;
        let qos = match written.qos {
            Some(level) => {
                QoS::from_bits(level.value).ok_or((level.at, "qos is 0, 1 or 2".to_owned()))?
            }
            None => QoS::AtMostOnce,
        };
        match (written.publish, written.subscribe) {
            (Some(topic), None) => Ok(Self::Publish {
                topic: Self::topic(&topic.value).map_err(|error| (topic.at, error))?,
                qos,
                retain: written.retain,
            }),
            (None, Some(filter)) => Ok(Self::Subscribe {
                subscription: Self::subscription(&filter.value)
                    .map_err(|error| (filter.at, error))?,
                qos,
            }),
            (Some(_), Some(_)) | (None, None) => Err((
                at,
                "an attempt has exactly one of publish and subscribe".to_owned(),
            )),
        }
    }

    pub fn topic(text: &str) -> Result<TopicName, String> {
        let text = Text::try_from(text).map_err(|error| error.to_string())?;
        TopicName::new(text, LIMITS).map_err(|error| error.to_string())
    }

    pub fn subscription(text: &str) -> Result<Subscription, String> {
        let text = Text::try_from(text).map_err(|error| error.to_string())?;
        Subscription::new(text, LIMITS).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish { topic, qos, retain } => {
                let retain = if *retain { " retain" } else { "" };
                write!(f, "publish {topic} qos {}{retain}", qos.bits())
            }
            Self::Subscribe { subscription, qos } => {
                write!(f, "subscribe {subscription} qos {}", qos.bits())
            }
        }
    }
}

fn problem(file: &Path, at: Location, message: impl Into<String>) -> Problem {
    Problem::new(file, at.line(), at.column(), message)
}

fn subject(given: GivenDocument) -> Result<Subject, (Location, String)> {
    let method = match &given.auth {
        Some(name) => method(&name.value).ok_or_else(|| {
            let message = format!("no method is called {:?}", name.value);
            (name.at, message)
        })?,
        None if given.cert.is_some() => Method::CERTIFICATE,
        None if given.username.is_some() => Method::PASSWORD,
        None => Method::ANONYMOUS,
    };
    let ip = match &given.ip {
        Some(ip) => ip
            .value
            .parse()
            .map_err(|_| (ip.at, format!("no address: {:?}", ip.value)))?,
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let protocol = match &given.protocol {
        Some(name) => protocol(&name.value).ok_or_else(|| {
            let message = format!("no protocol is called {:?}", name.value);
            (name.at, message)
        })?,
        None => "mqtt",
    };
    Ok(Subject {
        identity: Identity {
            groups: given
                .group
                .into_iter()
                .flat_map(Texts::into_values)
                .map(Into::into)
                .collect(),
            certificate: given.cert.map(|cert| Arc::new(certificate(cert))),
            claims: given
                .claim
                .into_iter()
                .map(|(name, values)| (name, values.into_values()))
                .collect(),
            ..Identity::new(
                method,
                given
                    .namespace
                    .unwrap_or_else(|| method.0.to_owned())
                    .into(),
                given.username.unwrap_or_default().into(),
            )
        },
        client_id: given.client_id.unwrap_or_default().into(),
        ip,
        listener: given.listener.unwrap_or_default().into(),
        protocol,
    })
}

pub(super) const PROTOCOLS: [&str; 3] = ["mqtt", "websocket", "http"];

/// The method of this name.
pub fn method(name: &str) -> Option<Method> {
    super::build::METHODS
        .into_iter()
        .find(|method| method.0 == name)
}

/// The protocol of this name.
pub fn protocol(name: &str) -> Option<&'static str> {
    PROTOCOLS.into_iter().find(|known| *known == name)
}

fn certificate(written: CertificateDocument) -> CertificateNames {
    let texts = |texts: Option<Texts>| texts.map(Texts::into_values).unwrap_or_default();
    CertificateNames {
        common_name: texts(written.common_name),
        organizational_unit: texts(written.organizational_unit),
        organization: texts(written.organization),
        san_dns: texts(written.san_dns),
        san_uri: texts(written.san_uri),
        san_email: texts(written.san_email),
        subject_dn: written.subject_dn.unwrap_or_default(),
        issuer: written.issuer.unwrap_or_default(),
        serial: written.serial.unwrap_or_default(),
        fingerprint: written.fingerprint.unwrap_or_default(),
    }
}
