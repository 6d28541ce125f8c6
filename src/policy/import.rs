//! Mosquitto's access control lists as policies, with a check that both answer alike.

use super::naive::level_by_level;
use super::pattern::Pattern;
use super::policies::Policies;
use super::{Attempt, Compiled};
use crate::identity::{Identity, Method, Subject};
use crate::mqtt::QoS;
use crate::problem::Problem;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Topics tried for each user.
const MOST_PROBES: usize = 2_000;
const MOST_DIFFERENCES: usize = 20;

/// The policies as YAML, and what Mosquitto answers otherwise.
#[derive(Debug)]
pub struct Imported {
    pub yaml: String,
    pub probes: usize,
    /// At most twenty.
    pub differences: Vec<String>,
}

/// `user NAME`, `topic [read|write|readwrite|deny] FILTER` and `pattern …` with `%u` and `%c`. `methods` are those by which the users prove their names here.
pub fn from_mosquitto(
    file: &Path,
    text: &str,
    methods: &[Method],
) -> Result<Imported, Vec<Problem>> {
    let list = AccessList::read(file, text)?;
    let yaml = list.to_yaml(file, methods);
    let files = [(PathBuf::from("imported.yaml"), yaml.clone())];
    let policies = Arc::new(Policies::parse(&files)?);
    let method = methods.first().copied().unwrap_or(Method::PASSWORD);
    let (probes, differences) = list.compare(&policies, method);
    Ok(Imported {
        yaml,
        probes,
        differences,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    ReadWrite,
    Deny,
}

#[derive(Debug)]
struct Entry {
    access: Access,
    /// With `%u` and `%c` in patterns.
    filter: String,
}

/// Entries of users, those of nobody (`None`: clients without a name), and patterns for all.
#[derive(Debug, Default)]
struct AccessList {
    users: BTreeMap<Option<String>, Vec<Entry>>,
    patterns: Vec<Entry>,
}

impl AccessList {
    fn read(file: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let mut list = Self::default();
        let mut problems = Vec::new();
        let mut user = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            let outcome = match word {
                "user" => username(rest).map(|name| user = Some(name)),
                "topic" => entry(rest, false).map(|entry| {
                    list.users.entry(user.clone()).or_default().push(entry);
                }),
                "pattern" => entry(rest, true).map(|entry| list.patterns.push(entry)),
                other => Err(format!("{other:?} is neither user, topic nor pattern")),
            };
            if let Err(message) = outcome {
                problems.push(Problem::new(file, number, 1, message));
            }
        }
        if list.users.is_empty() && list.patterns.is_empty() {
            problems.push(Problem::whole(file, "no topic and no pattern"));
        }
        if problems.is_empty() {
            Ok(list)
        } else {
            Err(problems)
        }
    }

    fn to_yaml(&self, file: &Path, methods: &[Method]) -> String {
        let names: Vec<_> = methods.iter().map(|method| method.0).collect();
        let methods = names.join(", ");
        let source = file.file_name().unwrap_or_default().display();
        let mut yaml = format!("# Imported from Mosquitto's {source}.\nversion: 1\npolicies:\n");
        for (number, (user, entries)) in (1..).zip(&self.users) {
            let (id, who) = match user {
                Some(name) => (
                    format!("user-{number}-{}", plain(name)),
                    format!("{{ auth: [{methods}], username: {} }}", quoted(name)),
                ),
                None => ("anonymous".to_owned(), "{ auth: anonymous }".to_owned()),
            };
            write_policy(&mut yaml, &id, &who, entries);
        }
        if !self.patterns.is_empty() {
            write_policy(&mut yaml, "patterns", "{ any: true }", &self.patterns);
        }
        yaml
    }

    /// What Mosquitto's `aclfile` does: entries of the user, denies first; when none matches, patterns, denies first.
    fn permits(&self, user: Option<&str>, client_id: &str, topic: &str, write: bool) -> bool {
        let judge = |entries: &[Entry]| {
            let matching = || {
                entries
                    .iter()
                    .filter(|entry| entry.matches(user, client_id, topic))
            };
            if matching().any(|entry| entry.access == Access::Deny) {
                return Some(false);
            }
            matching()
                .any(|entry| entry.access.grants(write))
                .then_some(true)
        };
        let own = self.users.get(&user.map(str::to_owned));
        own.and_then(|entries| judge(entries))
            .or_else(|| judge(&self.patterns))
            .unwrap_or(false)
    }

    fn compare(&self, policies: &Arc<Policies>, method: Method) -> (usize, Vec<String>) {
        let mut probes = 0;
        let mut differences = Vec::new();
        let named = self.users.keys().flatten().map(String::as_str);
        let users = named.map(Some).chain([Some("stranger"), None]);
        for user in users {
            let client_id = "client-1";
            let compiled = policies.compile(&Arc::new(subject(user, client_id, method)));
            let topics = self.topics(user, client_id);
            for topic in topics.iter().filter(|topic| Attempt::topic(topic).is_ok()) {
                for write in [true, false] {
                    let theirs = self.permits(user, client_id, topic, write);
                    probes += 1;
                    if permits(&compiled, topic, write) != theirs
                        && differences.len() < MOST_DIFFERENCES
                    {
                        differences.push(difference(user, topic, write, theirs));
                    }
                }
            }
        }
        (probes, differences)
    }

    /// Topics that the filters match, nearly match and just miss, with each other's levels in place of wildcards.
    fn topics(&self, user: Option<&str>, client_id: &str) -> BTreeSet<String> {
        let entries = self.users.values().flatten().chain(&self.patterns);
        let filters: Vec<String> = entries
            .map(|entry| {
                let filter = entry.filter.replace("%u", user.unwrap_or("nobody"));
                filter.replace("%c", client_id)
            })
            .collect();
        let mut topics = BTreeSet::new();
        for filter in &filters {
            for other in filters.iter().chain([filter]) {
                let others: Vec<_> = other.split('/').filter(|level| *level != "#").collect();
                let levels: Vec<_> = filter
                    .split('/')
                    .enumerate()
                    .filter(|(_, level)| *level != "#")
                    .map(|(index, level)| match (level, others.get(index)) {
                        ("+", Some(literal)) if *literal != "+" => *literal,
                        ("+", _) => "any",
                        (literal, _) => literal,
                    })
                    .collect();
                let below = others.get(levels.len()..).unwrap_or_default().join("/");
                let topic = levels.join("/");
                topics.extend([
                    format!("{topic}/any"),
                    format!("{topic}/{}", below.replace('+', "any")),
                    format!("x{topic}"),
                    topic,
                ]);
                if topics.len() > MOST_PROBES {
                    return topics;
                }
            }
        }
        topics
    }
}

impl Access {
    fn grants(self, write: bool) -> bool {
        match self {
            Self::Read => !write,
            Self::Write => write,
            Self::ReadWrite => true,
            Self::Deny => false,
        }
    }
}

impl Entry {
    fn matches(&self, user: Option<&str>, client_id: &str, topic: &str) -> bool {
        if self.filter.contains("%u") && user.is_none() {
            return false;
        }
        let filter = self.filter.replace("%u", user.unwrap_or_default());
        let filter = filter.replace("%c", client_id);
        let levels: Vec<_> = filter.split('/').map(str::to_owned).collect();
        let asked: Vec<_> = topic.split('/').collect();
        topic.starts_with('$') == filter.starts_with('$') && level_by_level(&levels, &asked, false)
    }
}

fn username(name: &str) -> Result<String, String> {
    match name {
        "" => Err("user without a name".to_owned()),
        name if name.contains('*') => {
            Err(format!("{name:?}: in a policy * stands for any characters"))
        }
        name => Ok(name.to_owned()),
    }
}

/// The access word may be left out; then the whole rest is the filter.
fn entry(rest: &str, pattern: bool) -> Result<Entry, String> {
    let (access, filter) = match rest.split_once(' ') {
        None => (Access::ReadWrite, rest),
        Some((word, filter)) => {
            let access = match word {
                "read" => Access::Read,
                "write" => Access::Write,
                "readwrite" => Access::ReadWrite,
                "deny" => Access::Deny,
                other => return Err(format!("{other:?} is no access")),
            };
            (access, filter.trim())
        }
    };
    if filter.contains("${") {
        return Err(format!("{filter:?}: in a policy ${{ begins a placeholder"));
    }
    let placeholders = if pattern {
        with_placeholders(filter)
    } else {
        filter.to_owned()
    };
    Pattern::parse(&placeholders).map_err(|error| format!("{error}: {filter:?}"))?;
    Ok(Entry {
        access,
        filter: filter.to_owned(),
    })
}

fn with_placeholders(filter: &str) -> String {
    filter
        .replace("%u", "${username}")
        .replace("%c", "${client_id}")
}

fn write_policy(yaml: &mut String, id: &str, who: &str, entries: &[Entry]) {
    let of = |wanted: &[Access]| -> Vec<String> {
        entries
            .iter()
            .filter(|entry| wanted.contains(&entry.access))
            .map(|entry| quoted(&with_placeholders(&entry.filter)))
            .collect()
    };
    let _ = writeln!(yaml, "  - id: {}\n    who: {who}", quoted(id));
    let sections = [
        (
            "allow",
            of(&[Access::Write, Access::ReadWrite]),
            of(&[Access::Read, Access::ReadWrite]),
        ),
        ("deny", of(&[Access::Deny]), of(&[Access::Deny])),
    ];
    for (section, publish, subscribe) in sections {
        if publish.is_empty() && subscribe.is_empty() {
            continue;
        }
        let _ = writeln!(yaml, "    {section}:");
        for (action, filters) in [("publish", publish), ("subscribe", subscribe)] {
            if !filters.is_empty() {
                let _ = writeln!(yaml, "      - {action}: [{}]", filters.join(", "));
            }
        }
    }
}

/// Double-quoted JSON is YAML.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// For an id: without blanks.
pub(super) fn plain(name: &str) -> String {
    let keep = |character: char| match character.is_alphanumeric() {
        true => character,
        false => '-',
    };
    name.chars().take(64).map(keep).collect()
}

fn permits(compiled: &Compiled, topic: &str, write: bool) -> bool {
    let Ok(topic) = Attempt::topic(topic) else {
        return false;
    };
    match write {
        true => compiled
            .permit_publish(topic, QoS::AtMostOnce, false)
            .is_ok(),
        false => compiled.permits_delivery(&topic, QoS::AtMostOnce, false, None),
    }
}

fn difference(user: Option<&str>, topic: &str, write: bool, theirs: bool) -> String {
    let user = user.map_or("a client without a name".to_owned(), |user| {
        format!("user {user:?}")
    });
    let access = if write { "write" } else { "read" };
    let (theirs, ours) = if theirs {
        ("permits", "denies")
    } else {
        ("denies", "permits")
    };
    format!("{user}, {access} {topic}: Mosquitto {theirs} it, the imported policy {ours} it")
}

fn subject(user: Option<&str>, client_id: &str, method: Method) -> Subject {
    let method = if user.is_some() {
        method
    } else {
        Method::ANONYMOUS
    };
    Subject {
        identity: Identity::new(method, method.0.into(), user.unwrap_or_default().into()),
        client_id: client_id.into(),
        ip: [127, 0, 0, 1].into(),
        listener: "".into(),
        protocol: "mqtt",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn import(text: &str) -> Result<Imported, Vec<Problem>> {
        from_mosquitto(Path::new("acl"), text, &[Method::PASSWORD])
    }

    #[test]
    fn both_answer_alike() {
        let rows = [
            "topic read public/#\n",
            "# comment\nuser alice\ntopic readwrite home/#\ntopic deny home/safe/#\n\nuser bob\ntopic write a/+/b\ntopic $SYS/#\n",
            "pattern readwrite devices/%c/#\npattern read users/%u/inbox\n",
            "user alice\ntopic read a b/c\nuser bob smith\ntopic #\nuser alice\ntopic write second/+\n",
            "user alice\ntopic a/%u\npattern write x-%u/+\npattern deny x-%u/secret\n",
        ];
        for text in rows {
            let imported = import(text).unwrap();
            assert_eq!(
                imported.differences,
                Vec::<String>::new(),
                "{text}\n{}",
                imported.yaml
            );
            assert!(imported.probes > 10);
        }
    }

    /// Mosquitto looks at patterns only when no entry of the user matched; here every deny wins.
    #[test]
    fn what_cannot_be_said_is_told() {
        let imported = import("user alice\ntopic home/#\npattern deny home/%u/locked\n").unwrap();
        let expected = "user \"alice\", write home/alice/locked: Mosquitto permits it, the imported policy denies it";
        assert_eq!(imported.differences.first().unwrap(), expected);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let rows = [
            ("", "acl:1:1"),
            ("topic\n", "acl:1:1"),
            ("user\ntopic a\n", "acl:1:1"),
            ("topic a\ntopics b\n", "acl:2:1"),
            ("topic append a\n", "acl:1:1"),
            ("topic read a/#/b\n", "acl:1:1"),
            ("user al*\ntopic a\n", "acl:1:1"),
            ("topic ${username}/a\n", "acl:1:1"),
            ("pattern read a/%u-%c\n", "acl:1:1"),
        ];
        for (text, place) in rows {
            let problems = import(text).unwrap_err();
            let first = problems.first().unwrap().to_string();
            assert!(first.starts_with(place), "{text:?}: {first}");
        }
    }
}
