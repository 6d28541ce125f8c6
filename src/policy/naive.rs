//! The same decisions by the shortest way that can be read: every rule asked in turn, placeholders written into filters. A twin for tests and fuzzing, never asked by the broker.

use super::attribute::{Attribute, Values};
use super::pattern::{Level, Pattern, is_unusable};
use super::policies::Policies;
use super::rule::{Action, Effect, Rule};
use super::who::{Condition, Who};
use super::{Attempt, Compiled};
use crate::identity::{CertificateNames, Identity, Method, Subject};
use crate::mqtt::QoS;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Reads bytes as a policy file and judges a few attempts in both ways. `Err`: they differ.
pub fn differential(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    let files = [(PathBuf::from("fuzz.yaml"), text.to_owned())];
    let Ok((policies, _)) = Policies::parse_untested(&files) else {
        return Ok(());
    };
    let policies = Arc::new(policies);
    for subject in subjects() {
        compare(&policies.compile(&Arc::new(subject)))?;
    }
    Ok(())
}

/// Judges attempts made from the rules' own filters in both ways.
pub(super) fn compare(compiled: &Compiled) -> Result<(), String> {
    let policies = compiled.policies();
    let filters = policies.rules.iter().take(64).map(|rule| &rule.pattern);
    let probes: Vec<_> = filters
        .flat_map(|pattern| probes(pattern, compiled.subject()))
        .chain(["#", "+/#", "+", "a", "$SYS/#", "/"].map(str::to_owned))
        .collect();
    for text in probes {
        for qos in LEVELS {
            if let Ok(subscription) = Attempt::subscription(&text) {
                let attempt = Attempt::Subscribe { subscription, qos };
                judge_twice(compiled, &attempt)?;
            }
            for retain in [false, true] {
                if let Ok(topic) = Attempt::topic(&text) {
                    judge_twice(compiled, &Attempt::Publish { topic, qos, retain })?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn judge_twice(compiled: &Compiled, attempt: &Attempt) -> Result<(), String> {
    let subject = compiled.subject();
    let naive = Naive::new(compiled.policies(), subject);
    let (ours, twin) = match attempt {
        Attempt::Publish { topic, qos, retain } => {
            let ours = compiled
                .permit_publish(topic.clone(), *qos, *retain)
                .is_ok();
            let delivered = compiled.permits_delivery(topic, *qos, *retain, None);
            let twin = naive.publish(topic.as_str(), *qos, *retain);
            let twin_delivered = naive.deliver(topic.as_str(), *qos, *retain, None);
            (
                format!("{ours} delivered {delivered}"),
                format!("{twin} delivered {twin_delivered}"),
            )
        }
        Attempt::Subscribe { subscription, qos } => {
            let ours = compiled.permit_subscribe(subscription, *qos);
            let share = subscription.share.as_ref().map(|share| share.as_str());
            let twin = naive.subscribe(subscription.filter.as_str(), share, *qos);
            (
                format!("{:?}", ours.ok().map(|permit| permit.maximum_qos())),
                format!("{twin:?}"),
            )
        }
    };
    let explained = compiled.explain(attempt).allowed;
    let allowed = compiled.allows(attempt);
    if ours != twin || explained != allowed {
        return Err(format!(
            "{attempt} by {subject:?}: {ours}, the twin says {twin}, explain {explained}"
        ));
    }
    Ok(())
}

/// One subject and every rule.
pub(super) struct Naive<'a> {
    policies: &'a Policies,
    subject: &'a Subject,
    ip: String,
}

impl<'a> Naive<'a> {
    pub(super) fn new(policies: &'a Policies, subject: &'a Subject) -> Self {
        Self {
            policies,
            subject,
            ip: subject.ip.to_canonical().to_string(),
        }
    }

    pub(super) fn publish(&self, topic: &str, qos: QoS, retain: bool) -> bool {
        let matching = |effect| {
            self.rules(Action::Publish, effect).any(|rule| {
                rule.qos.contains(qos)
                    && rule.retain.is_none_or(|wanted| wanted == retain)
                    && self.matches(rule, topic, false)
            })
        };
        matching(Effect::Allow) && !matching(Effect::Deny)
    }

    pub(super) fn subscribe(&self, filter: &str, share: Option<&str>, qos: QoS) -> Option<QoS> {
        let covering = |effect, qos| {
            self.rules(Action::Subscribe, effect).any(|rule| {
                rule.qos.contains(qos)
                    && (effect == Effect::Allow || rule.retain.is_none())
                    && rule.takes_share(share)
                    && self.matches(rule, filter, true)
            })
        };
        LEVELS
            .into_iter()
            .rev()
            .filter(|level| *level <= qos)
            .find(|level| covering(Effect::Allow, *level) && !covering(Effect::Deny, *level))
    }

    pub(super) fn deliver(&self, topic: &str, qos: QoS, retain: bool, share: Option<&str>) -> bool {
        let matching = |effect| {
            self.rules(Action::Subscribe, effect).any(|rule| {
                let at_qos = match effect {
                    Effect::Allow => LEVELS
                        .into_iter()
                        .any(|level| level >= qos && rule.qos.contains(level)),
                    Effect::Deny => rule.qos.contains(qos),
                };
                at_qos
                    && rule.retain.is_none_or(|wanted| wanted == retain)
                    && rule.takes_share(share)
                    && self.matches(rule, topic, false)
            })
        };
        matching(Effect::Allow) && !matching(Effect::Deny)
    }

    /// The filters that a rule comes to for this subject, `#` alone as `+/#`.
    pub(super) fn filters(&self, rule: &Rule) -> Vec<Vec<String>> {
        let filled = self.fillings(&rule.pattern, rule.effect).into_iter();
        let spelled = !matches!(rule.pattern.levels().first(), Some(Level::Value(_)));
        // A placeholder grants no `$`-topic.
        let grants = |filled: &Vec<String>| {
            spelled
                || rule.effect == Effect::Deny
                || !filled.first().is_some_and(|level| level.starts_with('$'))
        };
        filled.filter(grants).collect()
    }

    pub(super) fn rules(&self, action: Action, effect: Effect) -> impl Iterator<Item = &'a Rule> {
        let rules = self.policies.rules.iter();
        rules.filter(move |rule| {
            let who = self.policies.policy(rule.policy).map(|policy| &policy.who);
            let (surely, maybe) = who.map_or((false, true), |who| self.concerns(who));
            let concerned = match effect {
                Effect::Allow => surely,
                Effect::Deny => maybe,
            };
            rule.action == action && rule.effect == effect && !rule.audit && concerned
        })
    }

    /// Whether a `who` surely holds, and whether it may.
    fn concerns(&self, who: &Who) -> (bool, bool) {
        let each = who.0.iter().map(|condition| match condition {
            Condition::Not(inner) if self.misses(inner) => (false, true),
            Condition::Not(inner) => {
                let (surely, _) = self.concerns(inner);
                (!surely, !surely)
            }
            Condition::Any | Condition::Text(..) | Condition::Network(_) => {
                let holds = self.holds(condition);
                (holds, holds)
            }
        });
        each.fold((true, true), |all, one| (all.0 && one.0, all.1 && one.1))
    }

    fn misses(&self, who: &Who) -> bool {
        who.0.iter().any(|condition| match condition {
            Condition::Text(attribute, _) => self.values(attribute).is_empty(),
            Condition::Not(inner) => self.misses(inner),
            Condition::Any | Condition::Network(_) => false,
        })
    }

    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Text(attribute, globs) => self.values(attribute).iter().any(|value| {
                globs
                    .iter()
                    .any(|glob| glob_matches(glob.as_str().as_bytes(), value.as_bytes()))
            }),
            Condition::Any => true,
            Condition::Network(blocks) => {
                blocks.iter().any(|block| block.contains(self.subject.ip))
            }
            Condition::Not(_) => false,
        }
    }

    fn matches(&self, rule: &Rule, asked: &str, filter: bool) -> bool {
        let asked = if filter && asked == "#" { "+/#" } else { asked };
        let asked: Vec<_> = asked.split('/').collect();
        self.fillings(&rule.pattern, rule.effect)
            .iter()
            .any(|filled| {
                let reserved = asked.first().is_some_and(|level| level.starts_with('$'));
                let spelled = matches!(rule.pattern.levels().first(), Some(Level::Literal(_)));
                // A placeholder grants no `$`-topic, whatever its value is; a deny may reach one.
                let reaches = match rule.effect {
                    Effect::Allow => spelled,
                    Effect::Deny => filled.first().is_some_and(|level| level != "+"),
                };
                (!reserved || reaches) && level_by_level(filled, &asked, filter)
            })
    }

    /// The filter's text with each value in turn.
    fn fillings(&self, pattern: &Pattern, effect: Effect) -> Vec<Vec<String>> {
        let mut choices: Vec<BTreeMap<&Attribute, Option<String>>> = vec![BTreeMap::new()];
        for attribute in pattern.attributes() {
            let values: Vec<_> = self.values(attribute).into_iter().map(Some).collect();
            let values = if values.is_empty() {
                vec![None]
            } else {
                values
            };
            choices = choices
                .into_iter()
                .flat_map(|choice| match choice.contains_key(attribute) {
                    true => vec![choice],
                    false => values
                        .iter()
                        .map(|value| {
                            let mut choice = choice.clone();
                            choice.insert(attribute, value.clone());
                            choice
                        })
                        .collect(),
                })
                .collect();
        }
        choices
            .iter()
            .filter_map(|choice| fill(pattern, choice, effect))
            .collect()
    }

    fn values(&self, attribute: &Attribute) -> Vec<String> {
        let of = Values {
            subject: self.subject,
            ip: &self.ip,
        };
        attribute.values(of).map(str::to_owned).collect()
    }
}

fn fill(
    pattern: &Pattern,
    choice: &BTreeMap<&Attribute, Option<String>>,
    effect: Effect,
) -> Option<Vec<String>> {
    let mut levels = Vec::new();
    for level in pattern.levels() {
        levels.push(match level {
            Level::Literal(literal) => literal.to_string(),
            Level::Single => "+".to_owned(),
            Level::Value(template) => {
                let value = choice.get(&template.attribute).cloned().flatten();
                match (value.filter(|value| !is_unusable(value)), effect) {
                    (Some(value), _) => format!("{}{value}{}", template.before, template.after),
                    (None, Effect::Allow) => return None,
                    (None, Effect::Deny) => "+".to_owned(),
                }
            }
        });
    }
    if pattern.is_open() {
        levels.push("#".to_owned());
    }
    Some(levels)
}

pub(super) fn level_by_level(pattern: &[String], asked: &[&str], filter: bool) -> bool {
    match (pattern, asked) {
        ([last], _) if last == "#" => true,
        ([], []) => true,
        ([], _) | (_, []) => false,
        (_, [level, ..]) if filter && *level == "#" => false,
        ([wanted, pattern @ ..], [level, asked @ ..]) => {
            (wanted == "+" || wanted == level && !(filter && *level == "+"))
                && level_by_level(pattern, asked, filter)
        }
    }
}

fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    match (glob, text) {
        ([], []) => true,
        ([b'*', glob @ ..], _) if glob_matches(glob, text) => true,
        ([b'*', ..], [_, text @ ..]) => glob_matches(glob_after_star(glob), text),
        ([wanted, glob @ ..], [byte, text @ ..]) => wanted == byte && glob_matches(glob, text),
        ([], _) | (_, []) => false,
    }
}

/// The star stays for the next byte.
fn glob_after_star(glob: &[u8]) -> &[u8] {
    glob
}

/// Topics and filters that a filter covers, nearly covers and just misses.
fn probes(pattern: &Pattern, subject: &Subject) -> Vec<String> {
    let naive_values = |attribute: &Attribute| {
        let ip = subject.ip.to_string();
        let of = Values { subject, ip: &ip };
        attribute.values(of).next().unwrap_or("x").to_owned()
    };
    let levels: Vec<_> = pattern
        .levels()
        .iter()
        .take(16)
        .map(|level| match level {
            Level::Literal(literal) => literal.to_string(),
            Level::Single => "any".to_owned(),
            Level::Value(template) => {
                let value = naive_values(&template.attribute);
                format!("{}{value}{}", template.before, template.after)
            }
        })
        .collect();
    let topic = levels.join("/");
    vec![
        format!("{topic}/#"),
        format!("{topic}/+"),
        format!("{topic}/more"),
        format!("$share/g/{topic}"),
        format!("x{topic}"),
        pattern.to_string(),
        topic,
    ]
}

/// Somebody ordinary, somebody with nothing, and somebody with strange names.
fn subjects() -> [Subject; 3] {
    let subject = |name: &str, groups: &[&str], certificate: bool| Subject {
        identity: Identity {
            groups: groups.iter().map(|group| (*group).into()).collect(),
            certificate: certificate.then(|| {
                Arc::new(CertificateNames {
                    common_name: vec![name.to_owned()],
                    san_uri: vec!["urn:x/y".to_owned(), "urn:z".to_owned()],
                    ..CertificateNames::default()
                })
            }),
            claims: groups
                .iter()
                .map(|group| ((*group).to_owned(), vec![name.to_owned()]))
                .collect(),
            ..Identity::new(Method::PASSWORD, "password".into(), name.into())
        },
        client_id: name.into(),
        ip: [192, 0, 2, 7].into(),
        listener: "mqtts".into(),
        protocol: "mqtt",
    };
    [
        subject("alice", &["ops", "dev"], true),
        subject("", &[], false),
        subject("+", &["a/b", "$SYS"], true),
    ]
}
