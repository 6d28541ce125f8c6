//! The last refusals of policies, each with what is needed to explain it. Contract section 5.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::audit::DecisionId;
use crate::identity::Subject;

/// Bounded: the oldest goes.
#[derive(Default)]
pub struct Denials(Mutex<VecDeque<Denial>>);

/// A publish, a subscription or a will that was refused.
#[derive(Clone, Debug)]
pub struct Denial {
    pub at: SystemTime,
    pub decision: DecisionId,
    pub subject: Arc<Subject>,
    /// `publish` or `subscribe`.
    pub action: &'static str,
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    /// `file:line id` of the rule; absent: nothing allowed it.
    pub rule: Option<String>,
    pub reason: String,
}

impl Denials {
    pub fn record(&self, denial: Denial) {
        let mut denials = self.0.lock();
        if denials.len() >= KEPT {
            denials.pop_back();
        }
        denials.push_front(denial);
    }

    /// The newest first.
    pub fn last(&self, limit: usize, of_client: Option<&str>) -> Vec<Denial> {
        let denials = self.0.lock();
        let wanted = |denial: &&Denial| {
            of_client.is_none_or(|client_id| *denial.subject.client_id == *client_id)
        };
        denials.iter().filter(wanted).take(limit).cloned().collect()
    }

    pub fn find(&self, decision: &str) -> Option<Denial> {
        let denials = self.0.lock();
        denials
            .iter()
            .find(|denial| denial.decision.to_string() == decision)
            .cloned()
    }
}

impl Denial {
    pub(super) fn shown(&self) -> Value {
        let since = self
            .at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        json!({
            "time": since.as_secs(),
            "decision": self.decision.to_string(),
            "username": self.subject.identity.username,
            "namespace": self.subject.identity.namespace,
            "client_id": self.subject.client_id,
            "ip": self.subject.ip,
            "listener": self.subject.listener,
            "action": self.action,
            "topic": self.topic,
            "qos": self.qos,
            "retain": self.retain,
            "rule": self.rule,
            "reason": self.reason,
            "suggestion": self.suggestion(),
        })
    }

    /// The least statement that would permit it; nothing helps against a deny but its author.
    fn suggestion(&self) -> Option<String> {
        if self.rule.is_some() {
            return None;
        }
        let topic = self.folded_topic()?;
        Some(format!(
            "allow:\n  - {}: {}",
            self.action,
            serde_json::to_string(&topic).ok()?
        ))
    }

    /// The client's own name as a placeholder, so that the statement serves its neighbours too. A topic that holds `${` itself
    /// cannot be written as a statement.
    fn folded_topic(&self) -> Option<String> {
        if self.topic.contains("${") {
            return None;
        }
        let names = [
            (&*self.subject.client_id, "${client_id}"),
            (&*self.subject.identity.username, "${username}"),
        ];
        let fold = |level: &str| {
            let own = names
                .iter()
                .find(|(name, _)| !name.is_empty() && *name == level);
            own.map_or_else(
                || level.to_owned(),
                |(_, placeholder)| (*placeholder).to_owned(),
            )
        };
        Some(
            self.topic
                .split('/')
                .map(fold)
                .collect::<Vec<_>>()
                .join("/"),
        )
    }
}

const KEPT: usize = 1000;
