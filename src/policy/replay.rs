//! Recorded decisions, judged again by other policies.

use super::observation::Observation;
use super::policies::Policies;
use super::who::{Condition, Who};
use super::{Compiled, Explanation};
use crate::identity::Subject;
use crate::policy::attribute::Attribute;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Compiled subjects kept at a time.
const MOST: usize = 4_096;

/// Judges one observation after the other.
pub struct Replay {
    policies: Arc<Policies>,
    compiled: BTreeMap<Key, Compiled>,
}

type Key = (String, String, String, String, String);

/// A decision that would come out otherwise.
#[derive(Debug)]
pub struct Reversal {
    pub observation: Observation,
    pub explanation: Explanation,
}

impl Replay {
    pub fn new(policies: Arc<Policies>) -> Self {
        Self {
            policies,
            compiled: BTreeMap::new(),
        }
    }

    /// Not for what a token's list decided, which the log does not have.
    pub fn judge(&mut self, observation: Observation) -> Option<Reversal> {
        if self.compiled.len() >= MOST {
            self.compiled.clear();
        }
        let compiled = self
            .compiled
            .entry(key(&observation.subject))
            .or_insert_with(|| self.policies.compile(&observation.subject));
        if compiled.allows(&observation.attempt) == observation.permitted {
            return None;
        }
        let explanation = compiled.explain(&observation.attempt);
        Some(Reversal {
            observation,
            explanation,
        })
    }
}

impl Policies {
    /// What these policies ask for and audit lines do not tell, so that a replay takes it for missing.
    pub fn asks_beyond_audit(&self) -> Vec<String> {
        let mut asked = BTreeSet::new();
        for policy in &self.policies {
            gather(&policy.who, &mut asked);
        }
        for rule in &self.rules {
            asked.extend(rule.pattern.attributes());
        }
        let untold = asked.into_iter().filter(|attribute| match attribute {
            Attribute::Certificate(_) | Attribute::Claim(_) => true,
            Attribute::Username
            | Attribute::ClientId
            | Attribute::Ip
            | Attribute::Listener
            | Attribute::Auth
            | Attribute::Namespace
            | Attribute::Group
            | Attribute::Protocol => false,
        });
        untold.map(ToString::to_string).collect()
    }
}

fn gather<'a>(who: &'a Who, asked: &mut BTreeSet<&'a Attribute>) {
    for condition in &who.0 {
        match condition {
            Condition::Text(attribute, _) => {
                asked.insert(attribute);
            }
            Condition::Not(inner) => gather(inner, asked),
            Condition::Any | Condition::Network(_) => {}
        }
    }
}

fn key(subject: &Subject) -> Key {
    let identity = &subject.identity;
    (
        format!(
            "{} {} {} {:?}",
            identity.method.0, subject.protocol, identity.namespace, identity.groups
        ),
        identity.username.to_string(),
        subject.client_id.to_string(),
        subject.ip.to_string(),
        subject.listener.to_string(),
    )
}
