//! What a change of policies lets somebody do that they could not do before, and what it takes away.
//!
//! Every changed statement is asked for a *witness*: a subject and a topic that one set allows and the other does not. Topics are not sampled: filters are walked level
//! by level over all letters that can matter (see `words`). Subjects are put together from all values that the conditions and placeholders involved can tell apart (see
//! `cast`). A witness is judged by both sets before it is told. Where there are too many subjects to try, the change is told without one.

mod cast;
mod containment;
mod words;

use self::cast::Cast;
use self::words::{Goal, Words};
use super::Attempt;
use super::attribute::Values;
use super::explain::Described;
use super::judge::{Judge, Verdict};
use super::naive::Naive;
use super::policies::Policies;
use super::rule::{Action, Effect, QosSet, Rule, RuleId};
use super::who::Holds;
use crate::identity::Subject;
use crate::mqtt::QoS;
use serde::Serialize;
use std::fmt;

/// One statement that makes a difference.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub cause: Cause,
    /// `file:line id`, in the set where it stands.
    pub rule: RuleId,
    /// Whom it concerns.
    pub who: String,
    pub action: Action,
    /// The filter with its conditions.
    pub statement: String,
    /// Somebody for whom, and something for which, the two sets differ. `None`: too many to try, so that the change is taken for one.
    pub example: Option<Example>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    NewAllow,
    LostDeny,
    LostAllow,
    NewDeny,
}

#[derive(Clone, Debug, Serialize)]
pub struct Example {
    pub subject: Described,
    /// As `policy explain` takes it; `deliver` is a message on its way to a subscriber.
    pub attempt: String,
}

/// What `new` allows and `old` does not, then what `old` allows and `new` does not.
pub fn diff(old: &Policies, new: &Policies) -> Vec<Change> {
    let mut changes = widenings(old, new, [Cause::NewAllow, Cause::LostDeny]);
    changes.extend(widenings(new, old, [Cause::LostAllow, Cause::NewDeny]));
    changes
}

impl Cause {
    /// Lets somebody do more.
    pub fn widens(self) -> bool {
        match self {
            Self::NewAllow | Self::LostDeny => true,
            Self::LostAllow | Self::NewDeny => false,
        }
    }
}

/// Statements by which `new` allows what `old` does not: an allow that is new, or a deny that is gone.
fn widenings(old: &Policies, new: &Policies, [allow, deny]: [Cause; 2]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (home, other, effect, cause) in [
        (new, old, Effect::Allow, allow),
        (old, new, Effect::Deny, deny),
    ] {
        let contained = containment::Contained::of(other, effect);
        let enforced = |rule: &&Rule| rule.effect == effect && !rule.audit;
        for seed in home.rules.iter().filter(enforced) {
            let Some(policy) = home.policy(seed.policy) else {
                continue;
            };
            if contained.holds(seed, &policy.who) {
                continue;
            }
            let search = Search {
                old,
                new,
                seed,
                home,
            };
            let example = match search.run() {
                Found::Nothing => continue,
                Found::Witness(example) => Some(example),
                Found::TooMany => None,
            };
            changes.push(Change {
                cause,
                rule: seed.id.clone(),
                who: policy.who.to_string(),
                action: seed.action,
                statement: describe(seed),
                example,
            });
        }
    }
    changes
}

/// For a witness that begins with one statement.
struct Search<'a> {
    old: &'a Policies,
    new: &'a Policies,
    seed: &'a Rule,
    /// Where the seed stands: an allow in `new`, a deny in `old`.
    home: &'a Policies,
}

enum Found {
    Nothing,
    Witness(Example),
    TooMany,
}

/// What of an action is asked: to publish, to be granted a filter, to be sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plane {
    Publish,
    Grant,
    Deliver,
}

/// A point of a plane but for its subject and topic.
#[derive(Clone, Copy, Debug)]
struct Terms<'a> {
    plane: Plane,
    qos: QoS,
    retain: bool,
    share: Option<&'a str>,
}

impl Search<'_> {
    fn run(&self) -> Found {
        let cast = Cast::new(self.seed, self.home, [self.old, self.new]);
        let shares = cast.shares();
        for subject in cast.subjects() {
            if !self.concerns(&subject) {
                continue;
            }
            if let Some(attempt) = self.differs_for(&subject, &shares) {
                let subject = Described::new(&subject);
                return Found::Witness(Example { subject, attempt });
            }
        }
        if cast.is_complete() {
            Found::Nothing
        } else {
            Found::TooMany
        }
    }

    fn concerns(&self, subject: &Subject) -> bool {
        let ip = super::compiled::ip_text(subject);
        let values = Values { subject, ip: &ip };
        let policy = self.home.policy(self.seed.policy);
        policy.is_some_and(
            |policy| match (policy.who.holds(values), self.seed.effect) {
                (Holds::Yes, Effect::Allow | Effect::Deny) | (Holds::Unknown, Effect::Deny) => true,
                (Holds::Unknown, Effect::Allow) | (Holds::No, Effect::Allow | Effect::Deny) => {
                    false
                }
            },
        )
    }

    fn differs_for(&self, subject: &Subject, shares: &[Option<String>]) -> Option<String> {
        let planes: &[Plane] = match self.seed.action {
            Action::Publish => &[Plane::Publish],
            Action::Subscribe => &[Plane::Grant, Plane::Deliver],
        };
        for plane in planes {
            for qos in QosSet::ALL.iter() {
                for retain in [false, true] {
                    for share in shares {
                        let terms = Terms {
                            plane: *plane,
                            qos,
                            retain,
                            share: share.as_deref(),
                        };
                        if terms.is_moot() || !terms.take(self.seed) {
                            continue;
                        }
                        if let Some(word) = self.word(subject, terms)
                            && self.is_witness(subject, terms, &word)
                        {
                            return Some(terms.describe(&word));
                        }
                    }
                }
            }
        }
        None
    }

    fn word(&self, subject: &Subject, terms: Terms<'_>) -> Option<String> {
        let filters = |policies: &Policies, effect| {
            let naive = Naive::new(policies, subject);
            let rules = naive.rules(self.seed.action, effect);
            rules
                .filter(|rule| terms.take(rule))
                .flat_map(|rule| naive.filters(rule))
                .collect::<Vec<_>>()
        };
        let seeds = Naive::new(self.home, subject).filters(self.seed);
        let words = Words {
            goal: match self.seed.effect {
                Effect::Allow => Goal::NewAllow,
                Effect::Deny => Goal::LostDeny,
            },
            with_wildcards: terms.plane == Plane::Grant,
            new_allow: filters(self.new, Effect::Allow),
            new_deny: filters(self.new, Effect::Deny),
            old_allow: filters(self.old, Effect::Allow),
            old_deny: filters(self.old, Effect::Deny),
        };
        seeds.iter().find_map(|seed| words.search(seed))
    }

    /// The last word have the judges themselves.
    fn is_witness(&self, subject: &Subject, terms: Terms<'_>, word: &str) -> bool {
        let ip = super::compiled::ip_text(subject);
        let values = Values { subject, ip: &ip };
        let allowed = |policies: &Policies| {
            let applicable = policies.applicable(values);
            let judge = Judge {
                policies,
                applicable: &applicable,
                token: None,
                values,
            };
            terms.allowed(judge, word)
        };
        allowed(self.new) && !allowed(self.old)
    }
}

impl Terms<'_> {
    /// Not all terms exist in every plane; those that do not are tried once.
    fn is_moot(&self) -> bool {
        match self.plane {
            Plane::Publish => self.share.is_some(),
            Plane::Grant => self.retain,
            Plane::Deliver => false,
        }
    }

    fn take(&self, rule: &Rule) -> bool {
        let highest = rule.qos.highest();
        match (self.plane, rule.effect) {
            (Plane::Publish, _) => rule.qos.contains(self.qos) && rule.takes_retain(self.retain),
            (Plane::Grant, Effect::Allow) => {
                rule.qos.contains(self.qos) && rule.takes_share(self.share)
            }
            (Plane::Grant, Effect::Deny) => {
                rule.qos.contains(self.qos) && rule.takes_share(self.share) && rule.retain.is_none()
            }
            (Plane::Deliver, Effect::Allow) => {
                highest >= Some(self.qos)
                    && rule.takes_share(self.share)
                    && rule.takes_retain(self.retain)
            }
            (Plane::Deliver, Effect::Deny) => {
                rule.qos.contains(self.qos)
                    && rule.takes_share(self.share)
                    && rule.takes_retain(self.retain)
            }
        }
    }

    fn allowed(&self, judge: Judge<'_>, word: &str) -> bool {
        let is_allow = |verdict| matches!(verdict, Verdict::Allowed(_));
        match self.plane {
            Plane::Publish => {
                Attempt::topic(word).is_ok()
                    && is_allow(judge.publish(word, self.qos, self.retain).verdict)
            }
            Plane::Grant => {
                let filter = judge.subscribe(word, self.share, self.qos);
                Attempt::subscription(word).is_ok()
                    && is_allow(filter.judged.verdict)
                    && filter.maximum_qos == self.qos
            }
            Plane::Deliver => {
                Attempt::topic(word).is_ok()
                    && matches!(
                        judge.deliver(word, self.qos, self.retain, self.share),
                        Verdict::Allowed(_)
                    )
            }
        }
    }

    fn describe(&self, word: &str) -> String {
        let share = match self.share {
            Some(share) => format!("$share/{share}/"),
            None => String::new(),
        };
        let verb = match self.plane {
            Plane::Publish => "publish",
            Plane::Grant => "subscribe",
            Plane::Deliver => "deliver",
        };
        let retain = if self.retain { " retain" } else { "" };
        format!("{verb} {share}{word} qos {}{retain}", self.qos.bits())
    }
}

fn describe(rule: &Rule) -> String {
    let mut text = rule.pattern.to_string();
    if rule.qos != QosSet::ALL {
        text.push_str(&format!(", qos {}", rule.qos));
    }
    if let Some(retain) = rule.retain {
        text.push_str(&format!(", retain {retain}"));
    }
    if let Some(share) = &rule.share {
        let groups: Vec<_> = share.iter().map(ToString::to_string).collect();
        text.push_str(&format!(", share [{}]", groups.join(", ")));
    }
    text
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.cause.widens() { '+' } else { '-' };
        let cause = match self.cause {
            Cause::NewAllow => "newly allowed",
            Cause::LostDeny => "no longer denied",
            Cause::LostAllow => "no longer allowed",
            Cause::NewDeny => "newly denied",
        };
        let action = self.action.name();
        writeln!(f, "{sign} {cause}: {action} {}", self.statement)?;
        writeln!(f, "    by {} for {}", self.rule, self.who)?;
        match &self.example {
            Some(example) => {
                writeln!(f, "    for example: {}", example.attempt)?;
                write!(f, "        as {}", example.subject)
            }
            None => f.write_str("    not ruled out: too many combinations of conditions to try"),
        }
    }
}
