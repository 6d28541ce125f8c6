//! Finds the policies that may concern a subject without asking each: an index over exact conditions of `who`.

use super::attribute::{Attribute, Values};
use super::policies::Policy;
use super::who::{Condition, Who};
use ahash::AHashMap;
use std::collections::BTreeMap;

/// A policy stands under one exact condition that its subjects must meet, or in `others`.
#[derive(Debug, Default)]
pub(super) struct Population {
    by_value: BTreeMap<Attribute, AHashMap<Box<str>, Vec<u32>>>,
    others: Vec<u32>,
}

impl Population {
    pub(super) fn new(policies: &[Policy]) -> Self {
        let mut population = Self::default();
        for (index, policy) in (0..).zip(policies) {
            match most_telling(&policy.who) {
                Some((attribute, values)) => {
                    let known = population.by_value.entry(attribute.clone()).or_default();
                    for value in values {
                        known.entry(value.into()).or_default().push(index);
                    }
                }
                None => population.others.push(index),
            }
        }
        population
    }

    /// Policy numbers, ascending, each once. All that hold for the subject are among them.
    pub(super) fn candidates(&self, of: Values<'_>) -> Vec<u32> {
        let mut found = self.others.clone();
        for (attribute, known) in &self.by_value {
            for value in attribute.values(of) {
                found.extend(known.get(value).into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The condition that fewest subjects meet, going by its kind: a positive one must hold, whatever else does.
fn most_telling(who: &Who) -> Option<(&Attribute, Vec<&str>)> {
    let exact = who.0.iter().filter_map(|condition| match condition {
        Condition::Text(attribute, globs) => {
            let values: Option<Vec<_>> = globs.iter().map(|glob| glob.exact()).collect();
            values.map(|values| (attribute, values))
        }
        Condition::Any | Condition::Network(_) | Condition::Not(_) => None,
    });
    exact.min_by_key(|(attribute, _)| match attribute {
        Attribute::ClientId | Attribute::Username => 0,
        Attribute::Certificate(_) => 1,
        Attribute::Claim(_) => 2,
        Attribute::Group => 3,
        Attribute::Namespace | Attribute::Listener | Attribute::Ip => 4,
        Attribute::Auth | Attribute::Protocol => 5,
    })
}
