//! The rules that concern a subject: found once for a connection, shared by all connections for which they are the same.

use super::attribute::Values;
use super::policies::Policies;
use super::rule::{Action, Effect};
use super::who::Holds;
use ahash::AHashSet;
use parking_lot::Mutex;
use std::sync::Arc;

/// Rule numbers, ascending. Placeholders are not filled in: their values are read from the subject when a topic is judged.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Applicable {
    publish: Box<[u32]>,
    subscribe: Box<[u32]>,
    /// Those of `subscribe` that deny.
    pub(super) subscribe_denies: Box<[u32]>,
    /// Policies with limits.
    pub(super) limits: Box<[u32]>,
    /// A policy with allow statements and `on_deny: disconnect` is among them.
    pub(super) disconnects: bool,
}

impl Applicable {
    pub(super) fn of(&self, action: Action) -> &[u32] {
        match action {
            Action::Publish => &self.publish,
            Action::Subscribe => &self.subscribe,
        }
    }
}

impl Policies {
    pub(super) fn applicable(&self, of: Values<'_>) -> Applicable {
        let (mut publish, mut subscribe) = (Vec::new(), Vec::new());
        let (mut subscribe_denies, mut limits) = (Vec::new(), Vec::new());
        let mut disconnects = false;
        for number in self.population.candidates(of) {
            let Some(policy) = self.policy(number) else {
                continue;
            };
            let holds = policy.who.holds(of);
            if holds == Holds::No {
                continue;
            }
            // A limit restricts, so that what is unknown counts as a yes, as in a deny.
            if policy.limit.is_some() {
                limits.push(number);
            }
            for rule_number in policy.rules.clone() {
                let (Some(rule), Ok(number)) =
                    (self.rules.get(rule_number), rule_number.try_into())
                else {
                    continue;
                };
                if rule.effect == Effect::Allow {
                    if holds == Holds::Unknown {
                        continue;
                    }
                    disconnects |= policy.disconnect;
                }
                match (rule.action, rule.effect) {
                    (Action::Publish, Effect::Allow | Effect::Deny) => publish.push(number),
                    (Action::Subscribe, Effect::Allow) => subscribe.push(number),
                    (Action::Subscribe, Effect::Deny) => {
                        subscribe.push(number);
                        subscribe_denies.push(number);
                    }
                }
            }
        }
        Applicable {
            publish: publish.into(),
            subscribe: subscribe.into(),
            subscribe_denies: subscribe_denies.into(),
            limits: limits.into(),
            disconnects,
        }
    }
}

/// Ten thousand sensors of one kind share one list. Holds what connections hold, and drops the rest when it has doubled.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    lists: AHashSet<Arc<Applicable>>,
    swept: usize,
}

impl Shared {
    pub(super) fn share(&self, applicable: Applicable) -> Arc<Applicable> {
        let mut known = self.0.lock();
        if let Some(same) = known.lists.get(&applicable) {
            return Arc::clone(same);
        }
        if known.lists.len() >= known.swept.max(512).saturating_mul(2) {
            known.lists.retain(|list| Arc::strong_count(list) > 1);
            known.swept = known.lists.len();
        }
        let applicable = Arc::new(applicable);
        known.lists.insert(Arc::clone(&applicable));
        applicable
    }
}
