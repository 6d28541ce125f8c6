//! `wardgate policy explain`: ALLOW or DENY, the deciding statement, what every other one lacked, and each limit on the way.

use super::recorded::{self, Recorded};
use super::source::Source;
use super::subject::Somebody;
use super::{REFUSED, complain, refuse, say};
use crate::admission::{client, policy_limit};
use crate::broker::{limits_as_kept, restore_bans};
use crate::config::Config;
use crate::identity::Subject;
use crate::limits::{self, Explained, MessageLimit};
use crate::mqtt::QoS;
use crate::policy::{Action, Attempt, Explanation};
use crate::problem::Problem;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wardgate policy explain --config wardgate.yaml --cert pump-7.pem --client-id pump-7 publish telemetry/pump-7/pressure --qos 1\n  wardgate policy explain --config wardgate.yaml --decision 0123456789abcdef\n\nExit code 0: allowed. 1: denied."
)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    somebody: Somebody,
    /// A decision by its id, as the audit log recorded it; needs --config
    #[arg(long, value_name = "ID", conflicts_with_all = ["action", "policies"])]
    decision: Option<String>,
    #[arg(required_unless_present = "decision")]
    action: Option<ActionName>,
    /// A topic name to publish to, or a topic filter to subscribe to ($share/NAME/FILTER too)
    #[arg(required_unless_present = "decision")]
    topic: Option<String>,
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// With the RETAIN flag
    #[arg(long)]
    retain: bool,
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ActionName {
    Publish,
    Subscribe,
}

/// Who wanted what, and what was decided of it where it was recorded.
struct Question {
    subject: Arc<Subject>,
    attempt: Attempt,
    recorded: Option<Recorded>,
}

pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    match explain(args) {
        Ok(code) => code,
        Err(Failure::Problems(problems)) => refuse(&problems),
        Err(Failure::Message(message)) => {
            complain(message);
            ExitCode::from(REFUSED)
        }
    }
}

enum Failure {
    Problems(Vec<Problem>),
    Message(String),
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Problems(problems)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

fn explain(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let policies = args.source.load()?;
    // Policies alone know nothing of limits.
    let config = match args.source.config() {
        Some(file) => match Config::load(file, std::env::vars_os()) {
            Ok(config) => Some(config),
            Err(problems) if args.decision.is_some() => return Err(problems.into()),
            // A question about policies alone does not need the other sections.
            Err(_) => {
                complain(
                    "the limits are not shown: wardgate check tells what is wrong with the configuration",
                );
                None
            }
        },
        None => None,
    };
    let question = match args.question(config.as_ref())? {
        Asked::Topic(question) => question,
        Asked::Other(recorded) => {
            return Ok(tell_other(&recorded, args.json));
        }
    };
    let Question {
        subject,
        attempt,
        recorded,
    } = *question;
    let compiled = policies.compile(&subject);
    let explanation = compiled.explain(&attempt);
    let limits = config
        .map(|config| standing(&config, &subject, policy_limit(&compiled)))
        .transpose()?
        .unwrap_or_default();
    if args.json {
        say(document(&explanation, &limits, recorded.as_ref()));
    } else {
        say(text(&explanation, &limits, recorded.as_ref()).trim_end());
    }
    Ok(match explanation.allowed {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(REFUSED),
    })
}

enum Asked {
    Topic(Box<Question>),
    /// A decision that no policy made: a login, a limit, a ban.
    Other(Recorded),
}

impl ExplainArgs {
    fn question(&self, config: Option<&Config>) -> Result<Asked, Failure> {
        let jwt = config.and_then(|config| config.authentication.jwt.clone());
        let jwt = jwt.unwrap_or_default();
        let Some(decision) = &self.decision else {
            let mut subject = self.somebody.subject(&jwt)?;
            if let Some(config) = config {
                subject = self.somebody.after_login(subject, config)?;
            }
            return Ok(Asked::Topic(Box::new(Question {
                subject: Arc::new(subject),
                attempt: self.attempt()?,
                recorded: None,
            })));
        };
        let config = config.ok_or("--decision needs --config".to_owned())?;
        let mut recorded = recorded::find(&config.audit_folder(), decision)?;
        if let Some(observation) = &recorded.observation
            && observation.is_of_token()
            && !self.somebody.has_claims()
        {
            complain(
                "the list of a token decided, which the audit log does not have: --claims FILE brings it back",
            );
        }
        Ok(match recorded.observation.take() {
            Some(observation) => Asked::Topic(Box::new(Question {
                subject: self.somebody.completing(&observation.subject, &jwt)?,
                attempt: observation.attempt,
                recorded: Some(recorded),
            })),
            None => Asked::Other(recorded),
        })
    }

    fn attempt(&self) -> Result<Attempt, String> {
        let action = match self.action {
            Some(ActionName::Publish) | None => Action::Publish,
            Some(ActionName::Subscribe) => Action::Subscribe,
        };
        let qos = QoS::from_bits(self.qos).unwrap_or_default();
        let topic = self.topic.as_deref().unwrap_or_default();
        Attempt::new(action, topic, qos, self.retain).map_err(|error| format!("{topic:?}: {error}"))
    }
}

/// Each limit as it stands for a node that just started: bans and good logins are those written down, what was spent only the node knows.
fn standing(
    config: &Config,
    subject: &Subject,
    policy: Option<MessageLimit>,
) -> Result<Vec<Explained>, Vec<Problem>> {
    let now = Instant::now();
    let limits = limits_as_kept(&config.limits, &config.data_dir, now);
    restore_bans(&limits, &config.data_dir).map_err(|problem| vec![problem])?;
    let login = limits::Attempt {
        ip: subject.ip,
        method: subject.identity.method,
        username: Some(&subject.identity.username),
    };
    Ok(limits.explain(&login, &client(subject), policy, now))
}

fn document(
    explanation: &Explanation,
    limits: &[Explained],
    recorded: Option<&Recorded>,
) -> serde_json::Value {
    let mut document = json!(explanation);
    if let Some(members) = document.as_object_mut() {
        members.insert("limits".into(), json!(limits));
        members.insert(
            "decided".into(),
            json!(recorded.map(|recorded| &recorded.fields)),
        );
    }
    document
}

fn text(explanation: &Explanation, limits: &[Explained], recorded: Option<&Recorded>) -> String {
    let mut text = explanation.to_string();
    if !limits.is_empty() {
        text.push_str("  limits on the way:\n");
    }
    for limit in limits {
        let verdict = if limit.permits { "permits" } else { "refuses" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {} {verdict}: {}", limit.limit, limit.standing);
    }
    if let Some(recorded) = recorded {
        let _ = writeln!(text, "  decided then: {}", decided(recorded));
    }
    text
}

fn decided(recorded: &Recorded) -> String {
    let rule = match recorded.text("rule") {
        "" => String::new(),
        rule => format!(" ({rule})"),
    };
    format!(
        "{} at {}: {}{rule}",
        recorded.text("outcome"),
        recorded.text("time"),
        recorded.text("reason")
    )
}

fn tell_other(recorded: &Recorded, as_json: bool) -> ExitCode {
    if as_json {
        say(json!({ "allowed": false, "decided": recorded.fields }));
    } else {
        say(format_args!(
            "{} {}\n  username {:?}, client identifier {:?}, ip {}, listener {:?}",
            recorded.text("event"),
            decided(recorded),
            recorded.text("username"),
            recorded.text("client_id"),
            recorded.text("ip"),
            recorded.text("listener")
        ));
    }
    ExitCode::from(REFUSED)
}
