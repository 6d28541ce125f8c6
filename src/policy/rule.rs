//! One filter of one statement: the smallest thing that can decide, with the name by which operators find it.

use super::glob::Glob;
use super::pattern::Pattern;
use crate::mqtt::QoS;
use std::fmt;
use std::sync::Arc;

/// Where a deciding statement stands: rendered as `file:line id`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(Arc<str>);

impl RuleId {
    pub(super) fn new(file: &std::path::Path, line: u64, policy: &str) -> Self {
        Self(format!("{}:{line} {policy}", file.display()).into())
    }

    /// A statement of a token's list, by its place: `token acl[2]`.
    pub(super) fn of_token(place: &str) -> Self {
        Self(format!("{OF_TOKEN}{place}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text, as [`crate::audit::Event::rule`] takes it.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// How the name of a token's own statement begins; a file's has a line.
pub(super) const OF_TOKEN: &str = "token ";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// What a subject wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    Publish,
    Subscribe,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }
}

/// Quality of Service levels of a `qos:` list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct QosSet(u8);

impl QosSet {
    pub(super) const ALL: Self = Self(0b111);
    pub(super) const NONE: Self = Self(0);

    pub(super) fn of(levels: impl IntoIterator<Item = QoS>) -> Self {
        levels
            .into_iter()
            .fold(Self::NONE, |set, qos| Self(set.0 | 1 << qos.bits()))
    }

    /// Everything up to this level.
    pub(super) fn up_to(qos: QoS) -> Self {
        Self::of(LEVELS.into_iter().filter(|level| *level <= qos))
    }

    pub(super) fn contains(self, qos: QoS) -> bool {
        self.0 & (1 << qos.bits()) != 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn highest(self) -> Option<QoS> {
        LEVELS.into_iter().rev().find(|qos| self.contains(*qos))
    }

    pub(super) fn iter(self) -> impl Iterator<Item = QoS> {
        LEVELS.into_iter().filter(move |qos| self.contains(*qos))
    }
}

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

impl fmt::Display for QosSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels: Vec<_> = self.iter().map(|qos| qos.bits().to_string()).collect();
        write!(f, "[{}]", levels.join(", "))
    }
}

/// A statement with one of its filters.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) id: RuleId,
    /// Index of its policy.
    pub(super) policy: u32,
    pub(super) effect: Effect,
    pub(super) action: Action,
    pub(super) pattern: Pattern,
    pub(super) qos: QosSet,
    pub(super) retain: Option<bool>,
    /// Groups of shared subscriptions; `None`: shared or not.
    pub(super) share: Option<Box<[Glob]>>,
    /// Judged and told, never enforced (`mode: audit`).
    pub(super) audit: bool,
}

impl Rule {
    pub(super) fn takes_share(&self, share: Option<&str>) -> bool {
        match (&self.share, share) {
            (None, _) => true,
            (Some(groups), Some(share)) => groups.iter().any(|group| group.matches(share)),
            (Some(_), None) => false,
        }
    }

    pub(super) fn takes_retain(&self, retain: bool) -> bool {
        self.retain.is_none_or(|wanted| wanted == retain)
    }
}
