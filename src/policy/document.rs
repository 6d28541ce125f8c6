//! The shape of a policy file, each value with its place.

use crate::problem::Problem;
use crate::units::Rate;
use crate::yaml::tree::Node;
use crate::yaml::{self, Spanned, reader, tree};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What could be read of a file, and what is wrong with the rest. A policy or test of which any part could not be read is not there at all: of half a
/// policy nothing true can be said.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) policies: Vec<Spanned<PolicyDocument>>,
    pub(super) tests: Vec<Spanned<AssertionDocument>>,
    pub(super) problems: Vec<Problem>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: Spanned<u32>,
    #[serde(default, deserialize_with = "list")]
    policies: Vec<IgnoredAny>,
    #[serde(default, deserialize_with = "list")]
    tests: Vec<IgnoredAny>,
}

impl Document {
    pub(super) fn read(file: &Path, text: &str) -> Self {
        let root = match tree::parse(file, text, yaml::MAX_BYTES) {
            Ok(root) => root,
            Err(problems) => return Self::of_problems(problems),
        };
        let (head, problems) = reader::read::<Head>(&root);
        let mut document = Self::of_problems(problems);
        match head {
            // What another version means is not known here.
            Some(Head { version, .. }) if version.value != 1 => {
                let message = format!("version {} is not known, only 1", version.value);
                let (line, column) = (version.at.line(), version.at.column());
                let problem = Problem::new(file, line, column, message);
                document.problems.push(problem);
                return document;
            }
            // An empty file is a mistake, not a wish that nobody may do anything (IDN-2).
            Some(head)
                if document.problems.is_empty()
                    && head.policies.is_empty()
                    && head.tests.is_empty() =>
            {
                let problem = Problem::whole(file, "neither policies nor tests");
                document.problems.push(problem);
            }
            Some(_) | None => {}
        }
        document.policies = read_each(&root, "policies", &mut document.problems);
        document.tests = read_each(&root, "tests", &mut document.problems);
        document.problems.sort_by_key(|one| (one.line, one.column));
        document
    }

    fn of_problems(problems: Vec<Problem>) -> Self {
        Self {
            problems,
            ..Self::default()
        }
    }
}

/// The items of a list that could be read whole.
fn read_each<T: DeserializeOwned>(
    root: &Node,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Vec<Spanned<T>> {
    let items = root.get(key).map_or(&[][..], |entry| entry.node.items());
    let mut read = Vec::with_capacity(items.len());
    for item in items {
        match reader::read::<Spanned<T>>(item) {
            (Some(item), found) if found.is_empty() => read.push(item),
            (_, found) => problems.extend(found),
        }
    }
    read
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyDocument {
    pub(super) id: Spanned<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) description: Option<String>,
    pub(super) who: Spanned<WhoDocument>,
    #[serde(default, deserialize_with = "list")]
    pub(super) allow: Vec<Spanned<StatementDocument>>,
    #[serde(default, deserialize_with = "list")]
    pub(super) deny: Vec<Spanned<StatementDocument>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) limits: Option<LimitsDocument>,
    #[serde(default)]
    pub(super) on_deny: OnDeny,
    #[serde(default)]
    pub(super) mode: Mode,
}

/// `limits:` of a policy.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsDocument {
    pub(super) messages: MessageRate,
}

/// How many messages a client may publish where a policy concerns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageRate {
    pub rate: Rate,
    /// As many as `rate` names, unless it says otherwise.
    #[serde(default, deserialize_with = "given")]
    pub burst: Option<std::num::NonZeroU32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnDeny {
    #[default]
    Refuse,
    Disconnect,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    #[default]
    Enforce,
    Audit,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatementDocument {
    #[serde(default, deserialize_with = "given")]
    pub(super) publish: Option<Texts>,
    #[serde(default, deserialize_with = "given")]
    pub(super) subscribe: Option<Texts>,
    #[serde(default, deserialize_with = "given")]
    pub(super) qos: Option<Vec<Spanned<u8>>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) retain: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    pub(super) share: Option<Texts>,
}

/// One assertion of `tests:`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AssertionDocument {
    pub(super) given: GivenDocument,
    #[serde(default, deserialize_with = "list")]
    pub(super) allow: Vec<Spanned<AttemptDocument>>,
    #[serde(default, deserialize_with = "list")]
    pub(super) deny: Vec<Spanned<AttemptDocument>>,
}

/// Who tries. What is not given is missing; the address is then 0.0.0.0.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenDocument {
    #[serde(default, deserialize_with = "given")]
    pub(super) username: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) client_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) ip: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) auth: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) namespace: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) listener: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) protocol: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) group: Option<Texts>,
    #[serde(default, deserialize_with = "given")]
    pub(super) cert: Option<CertificateDocument>,
    #[serde(default)]
    pub(super) claim: BTreeMap<String, Texts>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateDocument {
    #[serde(default, deserialize_with = "given")]
    pub(super) common_name: Option<Texts>,
    #[serde(default, deserialize_with = "given")]
    pub(super) organizational_unit: Option<Texts>,
    #[serde(default, deserialize_with = "given")]
    pub(super) organization: Option<Texts>,
    #[serde(default, deserialize_with = "given")]
    pub(super) san_dns: Option<Texts>,
    #[serde(default, deserialize_with = "given")]
    pub(super) san_uri: Option<Texts>,
    #[serde(default, deserialize_with = "given")]
    pub(super) san_email: Option<Texts>,
    #[serde(default, deserialize_with = "given")]
    pub(super) subject_dn: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) issuer: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) serial: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) fingerprint: Option<String>,
}

/// What is tried: exactly one of `publish` and `subscribe`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttemptDocument {
    #[serde(default, deserialize_with = "given")]
    pub(super) publish: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) subscribe: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) qos: Option<Spanned<u8>>,
    #[serde(default)]
    pub(super) retain: bool,
}

/// A text, or a list of texts.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts(pub(super) Vec<Spanned<String>>);

/// `who:` as it was written.
#[derive(Debug)]
pub(super) struct WhoDocument(pub(super) Vec<(Spanned<String>, WhoValue)>);

#[derive(Debug)]
pub(super) enum WhoValue {
    Flag(bool),
    Not(WhoDocument),
    Texts(Texts),
}

/// A key that stands there has a value: one that was left empty must not read as one that was left out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A list, and not nothing: an empty `deny:` must not read as if nothing were to be denied.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Items<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                items.push(item);
            }
            Ok(items)
        }
    }
    deserializer.deserialize_any(Items(std::marker::PhantomData))
}

impl Texts {
    pub(super) fn into_values(self) -> Vec<String> {
        self.0.into_iter().map(|text| text.value).collect()
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Spanned around the choice, for a choice has no place of its own.
        let read = Spanned::<OneOrMany>::deserialize(deserializer)?;
        Ok(match read.value {
            OneOrMany::One(value) => Self(vec![Spanned { value, at: read.at }]),
            OneOrMany::Many(values) => Self(values),
        })
    }
}

enum OneOrMany {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;
        impl<'de> Visitor<'de> for Choice {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text (in quotes when it looks like a number) or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany::Many(values))
            }
        }
        deserializer.deserialize_any(Choice)
    }
}

impl<'de> Deserialize<'de> for WhoDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Conditions;
        impl<'de> Visitor<'de> for Conditions {
            type Value = WhoDocument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("conditions such as { group: operators }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WhoDocument, A::Error> {
                let mut conditions = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let value = match key.value.as_str() {
                        "any" => WhoValue::Flag(map.next_value()?),
                        "not" => WhoValue::Not(map.next_value()?),
                        _ => WhoValue::Texts(map.next_value()?),
                    };
                    conditions.push((key, value));
                }
                Ok(WhoDocument(conditions))
            }
        }
        deserializer.deserialize_map(Conditions)
    }
}
