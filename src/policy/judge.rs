//! The decision: deny by default, any matching deny wins, otherwise any matching allow. The order of rules never matters.

use super::applicable::Applicable;
use super::attribute::Values;
use super::pattern::Asked;
use super::policies::Policies;
use super::rule::{Action, Effect, QosSet, Rule};
use super::token::TokenRules;
use crate::identity::jwt::AclMode;
use crate::mqtt::QoS;

/// Up to here asking each rule is quicker than the index.
const FEW: usize = 24;

/// Policies and a subject, for one decision.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) policies: &'a Policies,
    pub(super) applicable: &'a Applicable,
    pub(super) token: Option<&'a TokenRules>,
    pub(super) values: Values<'a>,
}

/// Rule numbers, those of the token's list behind those of the policies; always the lowest, so that the answer does not depend on how they were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed(u32),
    DeniedBy(u32),
    /// The policies allow it, the token's list does not.
    Narrowed,
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

impl<'a> Judge<'a> {
    pub(super) fn publish(&self, topic: &str, qos: QoS, retain: bool) -> Judged {
        let asked = Asked::topic(topic);
        let (mut enforced, mut watched) = (Hits::default(), Hits::default());
        let mut disconnects = false;
        let matches = |rule: &Rule| rule.qos.contains(qos) && rule.takes_retain(retain);
        self.for_each_covering(Action::Publish, asked, |number, rule| {
            if !matches(rule) {
                return;
            }
            let hits = if rule.audit {
                &mut watched
            } else {
                &mut enforced
            };
            hits.note(rule.effect, number);
            disconnects |= rule.effect == Effect::Deny && self.policy_disconnects(rule);
        });
        let mut of_token = Hits::default();
        self.for_each_of_token(Action::Publish, asked, |number, rule| {
            if matches(rule) {
                of_token.note(rule.effect, number);
            }
        });
        let verdict = self.verdict(enforced, of_token);
        let audited = match verdict {
            Verdict::Allowed(_) => watched.deny,
            Verdict::NothingMatched => match self.verdict(watched, of_token) {
                Verdict::Allowed(rule) => Some(rule),
                Verdict::DeniedBy(_) | Verdict::Narrowed | Verdict::NothingMatched => None,
            },
            Verdict::Narrowed | Verdict::DeniedBy(_) => None,
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
        let (mut of_policies, mut watched) = (Cover::default(), Cover::default());
        let mut disconnects = false;
        self.for_each_covering(Action::Subscribe, asked, |number, rule| {
            if !rule.takes_share(share) {
                return;
            }
            let cover = if rule.audit {
                &mut watched
            } else {
                &mut of_policies
            };
            let denies = cover.note(rule, wanted, number);
            disconnects |= denies && !rule.audit && self.policy_disconnects(rule);
        });
        let mut of_token = Cover::default();
        self.for_each_of_token(Action::Subscribe, asked, |number, rule| {
            if rule.takes_share(share) {
                of_token.note(rule, wanted, number);
            }
        });
        let enforced = self.cover(of_policies, of_token);
        let granted = enforced.granted(wanted);
        let verdict = match granted.and_then(|qos| enforced.allow.at(qos)) {
            Some(allow) => Verdict::Allowed(allow),
            None => match enforced.deny.first() {
                Some(deny) => Verdict::DeniedBy(deny),
                None if of_policies.granted(wanted).is_some() => Verdict::Narrowed,
                None => Verdict::NothingMatched,
            },
        };
        let maximum_qos = granted.unwrap_or_default();
        let certain = enforced.whatever_retain.at(maximum_qos).is_some();
        let would = self
            .cover(of_policies.or(watched), of_token)
            .granted(wanted);
        JudgedFilter {
            judged: Judged {
                verdict,
                audited: audited_filter(granted, would, watched),
                disconnects: self.closes(verdict, disconnects),
            },
            maximum_qos,
            checked: !certain || self.may_be_withheld(asked, share, maximum_qos),
        }
    }

    /// Whether a message is delivered: `qos` and `retain` as they stand in the PUBLISH that would be sent.
    pub(super) fn deliver(
        &self,
        topic: &str,
        qos: QoS,
        retain: bool,
        share: Option<&str>,
    ) -> Verdict {
        let asked = Asked::topic(topic);
        let matches = |rule: &Rule| {
            let at_qos = match rule.effect {
                // `qos` of an allow caps: what was published with less comes with less.
                Effect::Allow => rule.qos.highest() >= Some(qos),
                Effect::Deny => rule.qos.contains(qos),
            };
            at_qos && !rule.audit && rule.takes_share(share) && rule.takes_retain(retain)
        };
        let (mut of_policies, mut of_token) = (Hits::default(), Hits::default());
        self.for_each_covering(Action::Subscribe, asked, |number, rule| {
            if matches(rule) {
                of_policies.note(rule.effect, number);
            }
        });
        self.for_each_of_token(Action::Subscribe, asked, |number, rule| {
            if matches(rule) {
                of_token.note(rule.effect, number);
            }
        });
        self.verdict(of_policies, of_token)
    }

    /// The statement of this number, of a policy or of the token's list.
    pub(super) fn rule(&self, number: u32) -> Option<&'a Rule> {
        let number = usize::try_from(number).ok()?;
        let in_token = || {
            let place = number.checked_sub(self.policies.rules.len())?;
            self.token?.rules().get(place)
        };
        self.policies.rules.get(number).or_else(in_token)
    }

    /// Any deny wins. The token's list then takes away from what the policies allow, or adds to it.
    fn verdict(&self, policies: Hits, of_token: Hits) -> Verdict {
        if let Some(deny) = policies.deny.or(of_token.deny) {
            return Verdict::DeniedBy(deny);
        }
        let allow = match (self.mode(), policies.allow, of_token.allow) {
            (Some(AclMode::Narrow), Some(_), None) => return Verdict::Narrowed,
            (Some(AclMode::Narrow) | None, allow, _) => allow,
            (Some(AclMode::Grant), allow, added) => allow.or(added),
        };
        allow.map_or(Verdict::NothingMatched, Verdict::Allowed)
    }

    /// The same for each QoS level of a filter.
    fn cover(&self, policies: Cover, of_token: Cover) -> Cover {
        let (allow, whatever_retain) = match self.mode() {
            None => (policies.allow, policies.whatever_retain),
            Some(AclMode::Narrow) => (
                policies.allow.and(of_token.allow),
                policies.whatever_retain.and(of_token.whatever_retain),
            ),
            Some(AclMode::Grant) => (
                policies.allow.or(of_token.allow),
                policies.whatever_retain.or(of_token.whatever_retain),
            ),
        };
        Cover {
            allow,
            deny: policies.deny.or(of_token.deny),
            whatever_retain,
        }
    }

    fn mode(&self) -> Option<AclMode> {
        self.token.map(|token| token.mode)
    }

    /// Whether a deny can concern a message of a granted subscription.
    fn may_be_withheld(&self, asked: Asked<'_>, share: Option<&str>, granted: QoS) -> bool {
        let possible = QosSet::up_to(granted);
        let denies = self.applicable.subscribe_denies.iter();
        let of_token = self.token.into_iter().flat_map(TokenRules::rules);
        let of_token =
            of_token.filter(|rule| rule.action == Action::Subscribe && rule.effect == Effect::Deny);
        denies
            .filter_map(|number| self.policies.rule(*number))
            .chain(of_token)
            .any(|rule| {
                !rule.audit
                    && !rule.qos.and(possible).is_empty()
                    && rule.takes_share(share)
                    && rule.pattern.may_overlap(asked, self.values)
            })
    }

    /// Calls with every rule of the token's list that covers what is asked for.
    fn for_each_of_token(
        &self,
        action: Action,
        asked: Asked<'_>,
        mut each: impl FnMut(u32, &Rule),
    ) {
        let Some(token) = self.token else {
            return;
        };
        let first = self.policies.rules.len();
        for (place, rule) in token.of(action) {
            if token.may_count(rule, asked)
                && rule.pattern.covers(asked, self.values, rule.effect)
                && let Ok(number) = u32::try_from(first.saturating_add(place))
            {
                each(number, rule);
            }
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
            Verdict::Narrowed | Verdict::NothingMatched => self.applicable.disconnects,
        }
    }
}

impl Verdict {
    /// The statement that decided.
    pub(super) fn rule(self) -> Option<u32> {
        match self {
            Self::Allowed(rule) | Self::DeniedBy(rule) => Some(rule),
            Self::Narrowed | Self::NothingMatched => None,
        }
    }
}

impl Hits {
    fn note(&mut self, effect: Effect, number: u32) {
        match effect {
            Effect::Allow => lowest(&mut self.allow, number),
            Effect::Deny => lowest(&mut self.deny, number),
        }
    }
}

impl Cover {
    /// Whether it denies some of what is wanted.
    fn note(&mut self, rule: &Rule, wanted: QosSet, number: u32) -> bool {
        match rule.effect {
            Effect::Allow => {
                self.allow.note(rule.qos, number);
                if rule.retain.is_none() {
                    self.whatever_retain.note(rule.qos, number);
                }
                false
            }
            // A deny of retained messages only is for delivery to enforce.
            Effect::Deny if rule.retain.is_some() => false,
            Effect::Deny => {
                self.deny.note(rule.qos.and(wanted), number);
                !rule.qos.and(wanted).is_empty()
            }
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            allow: self.allow.or(other.allow),
            deny: self.deny.or(other.deny),
            whatever_retain: self.whatever_retain.or(other.whatever_retain),
        }
    }

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

    /// The own number where both have one.
    fn and(self, other: Self) -> Self {
        let mut both = self;
        for (slot, other) in both.0.iter_mut().zip(other.0) {
            *slot = slot.filter(|_| other.is_some());
        }
        both
    }

    fn or(self, other: Self) -> Self {
        let mut both = self;
        for (slot, other) in both.0.iter_mut().zip(other.0) {
            *slot = slot.or(other);
        }
        both
    }
}

/// What rules in audit mode would have changed: `would` is what is granted with them.
fn audited_filter(granted: Option<QoS>, would: Option<QoS>, watched: Cover) -> Option<u32> {
    match granted {
        _ if would == granted => None,
        Some(qos) if would < granted => watched.deny.at(qos),
        Some(_) | None => would.and_then(|qos| watched.allow.at(qos)),
    }
}

fn lowest(slot: &mut Option<u32>, number: u32) {
    *slot = Some(slot.map_or(number, |known| known.min(number)));
}
