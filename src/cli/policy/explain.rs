//! `wardgate policy explain`: ALLOW or DENY, the deciding statement, and what every other one lacked.

use super::source::Source;
use super::subject::Somebody;
use super::{REFUSED, complain, refuse, say};
use crate::mqtt::QoS;
use crate::policy::{Action, Attempt};
use clap::{Args, ValueEnum};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardgate policy explain --config wardgate.yaml --cert pump-7.pem --client-id pump-7 publish telemetry/pump-7/pressure --qos 1\n\nExit code 0: allowed. 1: denied."
)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    somebody: Somebody,
    action: ActionName,
    /// A topic name to publish to, or a topic filter to subscribe to ($share/NAME/FILTER too)
    topic: String,
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

pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    let policies = match args.source.load() {
        Ok(policies) => policies,
        Err(problems) => return refuse(&problems),
    };
    let (subject, attempt) = match (args.somebody.subject(), args.attempt()) {
        (Ok(subject), Ok(attempt)) => (Arc::new(subject), attempt),
        (Err(message), _) | (_, Err(message)) => {
            complain(message);
            return ExitCode::from(REFUSED);
        }
    };
    let explanation = policies.compile(&subject).explain(&attempt);
    if args.json {
        say(serde_json::json!(explanation));
    } else {
        say(explanation.to_string().trim_end());
    }
    match explanation.allowed {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(REFUSED),
    }
}

impl ExplainArgs {
    fn attempt(&self) -> Result<Attempt, String> {
        let action = match self.action {
            ActionName::Publish => Action::Publish,
            ActionName::Subscribe => Action::Subscribe,
        };
        let qos = QoS::from_bits(self.qos).unwrap_or_default();
        Attempt::new(action, &self.topic, qos, self.retain)
            .map_err(|error| format!("{:?}: {error}", self.topic))
    }
}
