//! The least policy that permits what was observed.

use super::Attempt;
use super::import::{plain, quoted};
use super::observation::Observation;
use super::pattern::is_unusable;
use super::policies::Policies;
use super::rule::{Action, QosSet};
use crate::mqtt::QoS;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

/// Distinct observations; a log of more than these is learned from in parts.
const MOST: usize = 200_000;

/// What was seen, each thing once.
#[derive(Debug, Default)]
pub struct Learner {
    seen: BTreeMap<Person, BTreeMap<Client, Seen>>,
    distinct: usize,
    skipped: Vec<String>,
}

/// Whom a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Person {
    method: &'static str,
    namespace: String,
    username: String,
}

type Client = String;

#[derive(Debug, Default)]
struct Seen {
    permitted: BTreeSet<Deed>,
    refused: BTreeSet<Deed>,
}

/// An attempt in an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deed {
    action: Action,
    topic: String,
    qos: QoS,
    retain: bool,
}

/// Filters with the person's names folded into placeholders.
type Statements = BTreeMap<(Action, String, Option<String>), Terms>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Terms {
    qos: BTreeSet<QoS>,
    retain: BTreeSet<bool>,
}

#[derive(Debug)]
pub struct Learned {
    pub yaml: String,
    /// What could not be put into a policy or a test, and why.
    pub skipped: Vec<String>,
}

impl Learner {
    pub fn observe(&mut self, observation: &Observation) -> Result<(), String> {
        // It was the issuer's to permit, and goes with the token.
        if observation.is_of_token() {
            return Ok(());
        }
        let identity = &observation.subject.identity;
        let person = Person {
            method: identity.method.0,
            namespace: identity.namespace.to_string(),
            username: identity.username.to_string(),
        };
        let deed = Deed::of(&observation.attempt);
        if person.username.contains('*') || deed.topic.contains("${") {
            let skipped = format!(
                "{} by {:?}: cannot be written in a policy",
                deed.topic, person.username
            );
            if self.skipped.len() < 100 {
                self.skipped.push(skipped);
            }
            return Ok(());
        }
        let clients = self.seen.entry(person).or_default();
        let seen = clients
            .entry(observation.subject.client_id.to_string())
            .or_default();
        let deeds = if observation.permitted {
            &mut seen.permitted
        } else {
            &mut seen.refused
        };
        if deeds.insert(deed) {
            self.distinct = self.distinct.saturating_add(1);
        }
        if self.distinct > MOST {
            return Err(format!(
                "more than {MOST} different observations: learn from a shorter time"
            ));
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// The policy and its tests, tried before they are told. Names are folded into placeholders unless that would permit what was refused.
    pub fn learn(mut self) -> Learned {
        for fold_client_id in [true, false] {
            let yaml = self.yaml(fold_client_id);
            if Policies::parse(&[(PathBuf::from("learned.yaml"), yaml.clone())]).is_ok() {
                return Learned {
                    yaml,
                    skipped: self.skipped,
                };
            }
        }
        // What was refused once and permitted another time, or by a limit and not a policy, is no test.
        for seen in self.seen.values_mut().flat_map(BTreeMap::values_mut) {
            let refused = std::mem::take(&mut seen.refused);
            let notes = refused
                .iter()
                .map(|deed| format!("{} was refused", deed.topic));
            self.skipped.extend(notes.take(100));
        }
        Learned {
            yaml: self.yaml(false),
            skipped: self.skipped,
        }
    }

    fn yaml(&self, fold_client_id: bool) -> String {
        // Persons who do the same share a policy.
        let mut alike: BTreeMap<_, Vec<&Person>> = BTreeMap::new();
        for (person, clients) in &self.seen {
            let statements = statements(person, clients, fold_client_id);
            if !statements.is_empty() {
                let key = (person.method, &person.namespace, statements);
                alike.entry(key).or_default().push(person);
            }
        }
        let mut yaml = String::from(
            "# Learned from the audit log: permits what was permitted, to those who did it.\nversion: 1\n",
        );
        if !alike.is_empty() {
            yaml.push_str("policies:\n");
        }
        for (number, ((method, namespace, statements), persons)) in (1..).zip(&alike) {
            let name = persons.first().map_or("", |person| &person.username);
            let id = format!("learned-{number}-{}", plain(name));
            let _ = writeln!(yaml, "  - id: {}", quoted(&id));
            let who = who(method, namespace, persons);
            let _ = writeln!(yaml, "    who: {who}\n    allow:");
            for ((action, filter, share), terms) in statements {
                let _ = writeln!(
                    yaml,
                    "      - {}",
                    statement(*action, filter, share.as_deref(), terms)
                );
            }
        }
        self.write_tests(&mut yaml);
        yaml
    }

    fn write_tests(&self, yaml: &mut String) {
        yaml.push_str("tests:\n");
        for (person, clients) in &self.seen {
            for (client_id, seen) in clients {
                let _ = writeln!(yaml, "  - given: {}", given(person, client_id));
                // What was refused and permitted in turn says nothing.
                let refused = seen.refused.difference(&seen.permitted);
                let sections = [
                    ("allow", seen.permitted.iter().collect::<Vec<_>>()),
                    ("deny", refused.collect()),
                ];
                for (section, deeds) in sections {
                    if !deeds.is_empty() {
                        let _ = writeln!(yaml, "    {section}:");
                    }
                    for deed in deeds {
                        let _ = writeln!(yaml, "      - {}", deed.assertion());
                    }
                }
            }
        }
    }
}

impl Deed {
    fn of(attempt: &Attempt) -> Self {
        let (qos, retain) = attempt.qos_and_retain();
        Self {
            action: attempt.action(),
            topic: attempt.topic_text(),
            qos,
            retain,
        }
    }

    fn assertion(&self) -> String {
        let retain = if self.retain { ", retain: true" } else { "" };
        format!(
            "{{ {}: {}, qos: {}{retain} }}",
            self.action.name(),
            quoted(&self.topic),
            self.qos.bits()
        )
    }
}

fn statements(
    person: &Person,
    clients: &BTreeMap<Client, Seen>,
    fold_client_id: bool,
) -> Statements {
    let mut statements = Statements::new();
    for (client_id, seen) in clients {
        let client_id = if fold_client_id { client_id } else { "" };
        for deed in &seen.permitted {
            let (share, filter) = match Attempt::subscription(&deed.topic) {
                Ok(subscription) => (
                    subscription.share.map(|share| share.to_string()),
                    subscription.filter.to_string(),
                ),
                Err(_) => (None, deed.topic.clone()),
            };
            let filter = fold(&filter, &person.username, client_id);
            let terms = statements.entry((deed.action, filter, share)).or_default();
            match deed.action {
                Action::Publish => {
                    terms.qos.insert(deed.qos);
                    terms.retain.insert(deed.retain);
                }
                // Whoever was granted much may be granted less.
                Action::Subscribe => terms.qos.extend(QosSet::up_to(deed.qos).iter()),
            }
        }
    }
    statements
}

/// Levels that are the person's own name, or the client's.
fn fold(filter: &str, username: &str, client_id: &str) -> String {
    let levels = filter.split('/').map(|level| match level {
        "" | "+" | "#" => level,
        level if is_unusable(level) || level.starts_with('$') => level,
        level if level == username => "${username}",
        level if level == client_id => "${client_id}",
        level => level,
    });
    levels.collect::<Vec<_>>().join("/")
}

fn who(method: &str, namespace: &str, persons: &[&Person]) -> String {
    let mut conditions = vec![format!("auth: {method}")];
    if namespace != method {
        conditions.push(format!("namespace: {}", quoted(namespace)));
    }
    let names: Vec<_> = persons
        .iter()
        .filter(|person| !person.username.is_empty())
        .map(|person| quoted(&person.username))
        .collect();
    if !names.is_empty() {
        conditions.push(format!("username: [{}]", names.join(", ")));
    }
    format!("{{ {} }}", conditions.join(", "))
}

fn statement(action: Action, filter: &str, share: Option<&str>, terms: &Terms) -> String {
    let mut text = format!("{{ {}: {}", action.name(), quoted(filter));
    if terms.qos.len() < 3 {
        let levels: Vec<_> = terms.qos.iter().map(|qos| qos.bits().to_string()).collect();
        let _ = write!(text, ", qos: [{}]", levels.join(", "));
    }
    if let (Some(retain), 1) = (terms.retain.first(), terms.retain.len()) {
        let _ = write!(text, ", retain: {retain}");
    }
    if let Some(share) = share {
        let _ = write!(text, ", share: [{}]", quoted(share));
    }
    text.push_str(" }");
    text
}

fn given(person: &Person, client_id: &str) -> String {
    let mut fields = vec![format!("auth: {}", person.method)];
    if person.namespace != person.method {
        fields.push(format!("namespace: {}", quoted(&person.namespace)));
    }
    for (key, value) in [
        ("username", person.username.as_str()),
        ("client_id", client_id),
    ] {
        if !value.is_empty() {
            fields.push(format!("{key}: {}", quoted(value)));
        }
    }
    format!("{{ {} }}", fields.join(", "))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn learn(lines: &[&str]) -> Learned {
        let mut learner = Learner::default();
        for line in lines {
            let observation = Observation::read(line).unwrap().unwrap();
            learner.observe(&observation).unwrap();
        }
        learner.learn()
    }

    fn line(
        outcome: &str,
        name: &str,
        client_id: &str,
        action: &str,
        topic: &str,
        more: &str,
    ) -> String {
        format!(
            r#"{{"time":"t","event":"{action}","outcome":"{outcome}","client_id":"{client_id}","username":"{name}","namespace":"certificate","ip":"192.0.2.7","method":"certificate","action":"{action}","topic":"{topic}"{more}}}"#
        )
    }

    #[test]
    fn people_who_do_the_same_under_their_own_names_share_a_policy() {
        let lines = [
            line(
                "permitted",
                "p1",
                "p1",
                "publish",
                "t/p1/x",
                r#","qos":1,"retain":false"#,
            ),
            line(
                "permitted",
                "p2",
                "p2",
                "publish",
                "t/p2/x",
                r#","qos":1,"retain":false"#,
            ),
            line(
                "permitted",
                "p1",
                "p1",
                "publish",
                "t/p1/x",
                r#","qos":0,"retain":false"#,
            ),
            line(
                "permitted",
                "p2",
                "p2",
                "publish",
                "t/p2/x",
                r#","qos":0,"retain":false"#,
            ),
            line("refused", "p1", "p1", "publish", "t/p2/x", ""),
            line(
                "permitted",
                "p3",
                "c3",
                "subscribe",
                "$share/g/c/c3/+",
                r#","qos":1"#,
            ),
        ];
        let learned = learn(&lines.each_ref().map(String::as_str));
        assert_eq!(learned.skipped, Vec::<String>::new());
        for expected in [
            "who: { auth: certificate, username: [\"p1\", \"p2\"] }",
            "- { publish: \"t/${username}/x\", qos: [0, 1], retain: false }",
            "- { subscribe: \"c/${client_id}/+\", qos: [0, 1], share: [\"g\"] }",
            "    deny:\n      - { publish: \"t/p2/x\", qos: 0 }",
        ] {
            assert!(
                learned.yaml.contains(expected),
                "{expected}\n{}",
                learned.yaml
            );
        }
        Policies::parse(&[(PathBuf::from("l.yaml"), learned.yaml)]).unwrap();
    }

    /// One client of a user was refused what another of the same user may: its name is not folded.
    #[test]
    fn folding_never_permits_what_was_refused() {
        let lines = [
            line("permitted", "u", "c1", "publish", "x/c1", ""),
            line("refused", "u", "c2", "publish", "x/c2", ""),
        ];
        let learned = learn(&lines.each_ref().map(String::as_str));
        assert!(
            learned.yaml.contains("publish: \"x/c1\""),
            "{}",
            learned.yaml
        );
        Policies::parse(&[(PathBuf::from("l.yaml"), learned.yaml)]).unwrap();
    }

    #[test]
    fn what_is_no_decision_about_a_topic_is_passed_over() {
        for line in [
            r#"{"event":"authenticate","outcome":"permitted","username":"a"}"#,
            r#"{"event":"publish","outcome":"failed","action":"publish","topic":"a"}"#,
        ] {
            assert!(Observation::read(line).unwrap().is_none(), "{line}");
        }
        for line in [
            "",
            "{",
            r#"{"outcome":"permitted","action":"publish","topic":"a/#"}"#,
        ] {
            assert!(Observation::read(line).is_err(), "{line}");
        }
    }
}
