//! The decision: deny by default, any matching deny wins, otherwise any matching allow. The order of rules never matters.

use super::applicable::Applicable;
use super::attribute::Values;
use super::pattern::Asked;
use super::policies::Policies;
use super::rule::{Action, Effect, QosSet, Rule};
use crate::mqtt::QoS;

/// Up to here asking each rule is quicker than the index.
const FEW: usize = 24;

/// Policies and a subject, for one decision.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) policies: &'a Policies,
    pub(super) applicable: &'a Applicable,
    pub(super) values: Values<'a>,
}

/// Rule numbers; always the lowest, so that the answer does not depend on how they were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed(u32),
    DeniedBy(u32),
    NothingMatched,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// What rules in audit mode would have changed it to, and the first of them.
    pub(super) audited: Option<u32>,
    /// A refusal closes the connection.
    pub(super) disconnects: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JudgedFilter {
    pub(super) judged: Judged,
    /// What is granted, when it is allowed.
    pub(super) maximum_qos: QoS,
    /// Each message must be judged again when it is delivered.
    pub(super) checked: bool,
}

#[derive(Clone, Copy, Default)]
struct Hits {
    allow: Option<u32>,
    deny: Option<u32>,
}

/// The lowest rule for each QoS level.
#[derive(Clone, Copy, Default)]
struct Cover {
    allow: Levels,
    deny: Levels,
    /// Levels that some allow grants whatever the RETAIN flag of a message is.
    whatever_retain: Levels,
}

#[derive(Clone, Copy, Default)]
struct Levels([Option<u32>; 3]);

impl Judge<'_> {
    pub(super) fn publish(&self, topic: &str, qos: QoS, retain: bool) -> Judged {
        let (mut enforced, mut watched) = (Hits::default(), Hits::default());
        let mut disconnects = false;
        self.for_each_covering(Action::Publish, Asked::topic(topic), |number, rule| {
            if !rule.qos.contains(qos) || !rule.takes_retain(retain) {
                return;
            }
            let hits = if rule.audit {
                &mut watched
            } else {
                &mut enforced
            };
            match rule.effect {
                Effect::Allow => lowest(&mut hits.allow, number),
                Effect::Deny => {
                    lowest(&mut hits.deny, number);
                    disconnects |= self.policy_disconnects(rule);
                }
            }
        });
        let verdict = verdict(enforced.deny, enforced.allow);
        let audited = match verdict {
            Verdict::Allowed(_) => watched.deny,
            Verdict::NothingMatched if watched.deny.is_none() => watched.allow,
            Verdict::NothingMatched | Verdict::DeniedBy(_) => None,
        };
        Judged {
            verdict,
            audited,
            disconnects: self.closes(verdict, disconnects),
        }
    }

    /// One allow must cover all of the filter. Each QoS level up to the one asked for is judged on its own, and the highest that remains is granted.
    pub(super) fn subscribe(&self, filter: &str, share: Option<&str>, qos: QoS) -> JudgedFilter {
        let asked = Asked::filter(filter);
        let wanted = QosSet::up_to(qos);
        let (mut enforced, mut watched) = (Cover::default(), Cover::default());
        let mut disconnects = false;
        self.for_each_covering(Action::Subscribe, asked, |number, rule| {
            if !rule.takes_share(share) {
                return;
            }
            let cover = if rule.audit {
                &mut watched
            } else {
                &mut enforced
            };
            match rule.effect {
                Effect::Allow => {
                    cover.allow.note(rule.qos, number);
                    if rule.retain.is_none() {
                        cover.whatever_retain.note(rule.qos, number);
                    }
                }
                // A deny of retained messages only is for delivery to enforce.
                Effect::Deny if rule.retain.is_some() => {}
                Effect::Deny => {
                    cover.deny.note(rule.qos.and(wanted), number);
                    disconnects |= !rule.audit
                        && !rule.qos.and(wanted).is_empty()
                        && self.policy_disconnects(rule);
                }
            }
        });
        let granted = enforced.granted(wanted);
        let verdict = match granted.and_then(|qos| enforced.allow.at(qos)) {
            Some(allow) => Verdict::Allowed(allow),
            None => verdict(enforced.deny.first(), None),
        };
        let maximum_qos = granted.unwrap_or_default();
        let certain = enforced.whatever_retain.at(maximum_qos).is_some();
        JudgedFilter {
            judged: Judged {
                verdict,
                audited: self.audited_filter(wanted, granted, enforced, watched),
                disconnects: self.closes(verdict, disconnects),
            },
            maximum_qos,
            checked: !certain || self.may_be_withheld(asked, share, maximum_qos),
        }
    }

    /// Whether a message may be delivered: `qos` and `retain` as they stand in the PUBLISH that would be sent.
    pub(super) fn deliver(&self, topic: &str, qos: QoS, retain: bool, share: Option<&str>) -> bool {
        let mut hits = Hits::default();
        self.for_each_covering(Action::Subscribe, Asked::topic(topic), |number, rule| {
            if rule.audit || !rule.takes_share(share) || !rule.takes_retain(retain) {
                return;
            }
            match rule.effect {
                // `qos` of an allow caps: what was published with less comes with less.
                Effect::Allow if rule.qos.highest() >= Some(qos) => lowest(&mut hits.allow, number),
                Effect::Deny if rule.qos.contains(qos) => lowest(&mut hits.deny, number),
                Effect::Allow | Effect::Deny => {}
            }
        });
        matches!(verdict(hits.deny, hits.allow), Verdict::Allowed(_))
    }

    /// Whether a deny can concern a message of a granted subscription.
    fn may_be_withheld(&self, asked: Asked<'_>, share: Option<&str>, granted: QoS) -> bool {
        let possible = QosSet::up_to(granted);
        let denies = self.applicable.subscribe_denies.iter();
        denies
            .filter_map(|number| self.policies.rule(*number))
            .any(|rule| {
                !rule.audit
                    && !rule.qos.and(possible).is_empty()
                    && rule.takes_share(share)
                    && rule.pattern.may_overlap(asked, self.values)
            })
    }

    fn audited_filter(
        &self,
        wanted: QosSet,
        granted: Option<QoS>,
        enforced: Cover,
        watched: Cover,
    ) -> Option<u32> {
        let both = Cover {
            allow: enforced.allow.or(watched.allow),
            deny: enforced.deny.or(watched.deny),
            whatever_retain: Levels::default(),
        };
        let would = both.granted(wanted);
        match granted {
            _ if would == granted => None,
            Some(qos) if would < granted => watched.deny.at(qos),
            Some(_) | None => would.and_then(|qos| watched.allow.at(qos)),
        }
    }

    /// Calls with every applicable rule that covers what is asked for, in no order.
    fn for_each_covering(
        &self,
        action: Action,
        asked: Asked<'_>,
        mut each: impl FnMut(u32, &Rule),
    ) {
        let own = self.applicable.of(action);
        let mut judge = |number: u32| {
            if let Some(rule) = self.policies.rule(number)
                && rule.pattern.covers(asked, self.values, rule.effect)
            {
                each(number, rule);
            }
        };
        if own.len() <= FEW {
            return own.iter().copied().for_each(judge);
        }
        let index = match action {
            Action::Publish => &self.policies.publish,
            Action::Subscribe => &self.policies.subscribe,
        };
        for found in index.candidates(asked) {
            let (few, many) = if found.len() < own.len() {
                (found, own)
            } else {
                (own, found)
            };
            for number in few {
                if many.binary_search(number).is_ok() {
                    judge(*number);
                }
            }
        }
    }

    fn policy_disconnects(&self, rule: &Rule) -> bool {
        self.policies
            .policy(rule.policy)
            .is_some_and(|policy| policy.disconnect)
    }

    fn closes(&self, verdict: Verdict, by_deny: bool) -> bool {
        match verdict {
            Verdict::Allowed(_) => false,
            Verdict::DeniedBy(_) => by_deny,
            Verdict::NothingMatched => self.applicable.disconnects,
        }
    }
}

impl Cover {
    fn granted(&self, wanted: QosSet) -> Option<QoS> {
        self.allow
            .set()
            .without(self.deny.set())
            .and(wanted)
            .highest()
    }
}

impl Levels {
    fn note(&mut self, levels: QosSet, number: u32) {
        for qos in levels.iter() {
            if let Some(slot) = self.0.get_mut(usize::from(qos.bits())) {
                lowest(slot, number);
            }
        }
    }

    fn at(self, qos: QoS) -> Option<u32> {
        self.0.get(usize::from(qos.bits())).copied().flatten()
    }

    fn set(self) -> QosSet {
        QosSet::of(QosSet::ALL.iter().filter(|qos| self.at(*qos).is_some()))
    }

    fn first(self) -> Option<u32> {
        self.0.into_iter().flatten().min()
    }

    fn or(self, other: Self) -> Self {
        let mut both = self;
        for (slot, other) in both.0.iter_mut().zip(other.0) {
            *slot = slot.or(other);
        }
        both
    }
}

fn verdict(deny: Option<u32>, allow: Option<u32>) -> Verdict {
    match (deny, allow) {
        (Some(rule), _) => Verdict::DeniedBy(rule),
        (None, Some(rule)) => Verdict::Allowed(rule),
        (None, None) => Verdict::NothingMatched,
    }
}

fn lowest(slot: &mut Option<u32>, number: u32) {
    *slot = Some(slot.map_or(number, |known| known.min(number)));
}
