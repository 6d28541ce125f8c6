//! Statements that cannot make a difference, since the other set has one that says as much.

use super::super::pattern::{Level, Pattern};
use super::super::policies::Policies;
use super::super::rule::{Action, Effect, Rule};
use super::super::who::Who;
use ahash::AHashMap;

/// The enforced rules of one effect, those with equal filters together.
pub(super) struct Contained<'a> {
    policies: &'a Policies,
    by_filter: AHashMap<(Action, &'a str), Vec<&'a Rule>>,
}

impl<'a> Contained<'a> {
    pub(super) fn of(policies: &'a Policies, effect: Effect) -> Self {
        let mut by_filter: AHashMap<_, Vec<_>> = AHashMap::new();
        for rule in &policies.rules {
            if rule.effect == effect && !rule.audit {
                let key = (rule.action, rule.pattern.as_str());
                by_filter.entry(key).or_default().push(rule);
            }
        }
        Self {
            policies,
            by_filter,
        }
    }

    /// Whether one rule here speaks of everybody and everything that this one speaks of. Unchanged rules are found at once.
    pub(super) fn holds(&self, rule: &Rule, who: &Who) -> bool {
        let key = (rule.action, rule.pattern.as_str());
        let same = self.by_filter.get(&key).into_iter().flatten();
        let all = self.by_filter.values().flatten();
        same.chain(all).any(|other| {
            let others_who = self.policies.policy(other.policy).map(|policy| &policy.who);
            contains(other, rule) && others_who.is_some_and(|others| who.implies(others))
        })
    }
}

fn contains(wide: &Rule, narrow: &Rule) -> bool {
    let share = match (&wide.share, &narrow.share) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => narrow
            .iter()
            .all(|group| wide.iter().any(|wide| wide.covers(group))),
    };
    // A retain condition on a subscribe works otherwise at SUBSCRIBE than at delivery, so only equal ones are compared.
    let retain = match narrow.action {
        Action::Publish => wide.retain.is_none() || wide.retain == narrow.retain,
        Action::Subscribe => wide.retain == narrow.retain,
    };
    wide.action == narrow.action
        && share
        && retain
        && narrow.qos.without(wide.qos).is_empty()
        && covers(&wide.pattern, &narrow.pattern)
}

/// Level by level, a placeholder covering only itself.
fn covers(wide: &Pattern, narrow: &Pattern) -> bool {
    let (levels, others) = (wide.levels(), narrow.levels());
    let fits = match (wide.is_open(), narrow.is_open()) {
        (true, _) => levels.len() <= others.len(),
        (false, false) => levels.len() == others.len(),
        (false, true) => false,
    };
    fits && levels
        .iter()
        .zip(others)
        .enumerate()
        .all(|(index, (level, other))| match (level, other) {
            (Level::Single, Level::Literal(literal)) => index > 0 || !literal.starts_with('$'),
            (Level::Single, Level::Single) => true,
            // As the first level its value may begin with `$` in a deny.
            (Level::Single, Level::Value(_)) => index > 0,
            (Level::Literal(_) | Level::Value(_), _) => level == other,
        })
}
