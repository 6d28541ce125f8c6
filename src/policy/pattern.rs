//! Topic filters with placeholders, compared level by level: a value is never written into a filter's text (POL-4).

use super::attribute::{Attribute, Values};
use super::rule::Effect;
use crate::mqtt::{InvalidText, Text};
use std::fmt;

/// No filter in a policy has more levels, whatever `mqtt.max_topic_levels` says.
const MAX_LEVELS: usize = 128;

/// What a statement speaks of. `#` alone is kept as `+/#`, which matches the same topics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    text: Box<str>,
    levels: Box<[Level]>,
    /// Ends with `/#`: the levels before it, and anything or nothing below.
    open: bool,
    /// An attribute stands in more than one level, and must have the same value in all of them.
    repeats: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Level {
    Literal(Box<str>),
    Single,
    Value(Template),
}

/// A level with a placeholder: what stands before it, whose value, and what stands behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Template {
    pub(super) before: Box<str>,
    pub(super) attribute: Attribute,
    pub(super) after: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPattern {
    #[error("empty topic filter")]
    Empty,
    #[error("{0}")]
    Text(#[from] InvalidText),
    #[error("more than {MAX_LEVELS} levels")]
    TooDeep,
    #[error("a wildcard shares its level, or # is not the last level")]
    MisplacedWildcard,
    #[error("write the filter without $share/NAME/, and `share: [NAME]` beside it")]
    Share,
    #[error("${{ without }}")]
    Unclosed,
    #[error("unknown placeholder ${{{0}}}")]
    UnknownPlaceholder(String),
    #[error("two placeholders in one level could be confused: give each a level of its own")]
    TwoPlaceholders,
    #[error("a first level that begins with $ must be written out, without a placeholder")]
    ReservedPlaceholder,
}

/// A topic name or a topic filter that somebody asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    text: &'a str,
    filter: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn topic(text: &'a str) -> Self {
        Self {
            text,
            filter: false,
        }
    }

    pub(super) fn filter(text: &'a str) -> Self {
        Self {
            text: if text == "#" { "+/#" } else { text },
            filter: true,
        }
    }

    pub(super) fn levels(self) -> impl Iterator<Item = AskedLevel<'a>> + Clone {
        self.text.split('/').map(move |level| match level {
            "+" if self.filter => AskedLevel::Single,
            "#" if self.filter => AskedLevel::Multi,
            literal => AskedLevel::Literal(literal),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskedLevel<'a> {
    Literal(&'a str),
    Single,
    Multi,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidPattern> {
        Text::try_from(text)?;
        let mut levels = Vec::new();
        let mut open = false;
        for part in split(text)? {
            if open {
                return Err(InvalidPattern::MisplacedWildcard);
            }
            match part {
                "#" => open = true,
                "+" => levels.push(Level::Single),
                other => levels.push(Level::parse(other)?),
            }
        }
        if open && levels.is_empty() {
            levels.push(Level::Single);
        }
        if levels.len() > MAX_LEVELS {
            return Err(InvalidPattern::TooDeep);
        }
        match levels.first() {
            Some(Level::Literal(first)) if &**first == "$share" => {
                return Err(InvalidPattern::Share);
            }
            Some(Level::Value(first)) if first.before.starts_with('$') => {
                return Err(InvalidPattern::ReservedPlaceholder);
            }
            Some(Level::Literal(first)) if first.is_empty() && levels.len() == 1 && !open => {
                return Err(InvalidPattern::Empty);
            }
            Some(Level::Literal(_) | Level::Value(_) | Level::Single) | None => {}
        }
        let repeats = {
            let mut attributes: Vec<_> = levels.iter().filter_map(Level::attribute).collect();
            let all = attributes.len();
            attributes.sort_unstable();
            attributes.dedup();
            attributes.len() < all
        };
        Ok(Self {
            text: text.into(),
            levels: levels.into(),
            open,
            repeats,
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.levels.iter().filter_map(Level::attribute)
    }

    /// Whether every topic that is asked for is one of these, for this subject. What cannot be filled in matches nothing in an allow and reads as `+` in a deny.
    pub(super) fn covers(&self, asked: Asked<'_>, of: Values<'_>, effect: Effect) -> bool {
        let mut asked_levels = asked.levels();
        for (index, level) in self.levels.iter().enumerate() {
            let covered = match asked_levels.next() {
                None | Some(AskedLevel::Multi) => false,
                // A leading wildcard never covers a `$`-topic. [MQTT-4.7.2-1]
                Some(AskedLevel::Literal(literal)) => {
                    level.covers_literal(literal, index == 0, of, effect)
                }
                Some(AskedLevel::Single) => match level {
                    Level::Single => true,
                    Level::Literal(_) => false,
                    Level::Value(template) => effect == Effect::Deny && template.is_unusable(of),
                },
            };
            if !covered {
                return false;
            }
        }
        // `a/#` covers `a` as well. MQTT 5.0 section 4.7.1.2
        (self.open || asked_levels.next().is_none())
            && (!self.repeats || self.agrees(asked, of, effect))
    }

    /// Whether a deny may concern a topic that is asked for; `true` when in doubt.
    pub(super) fn may_overlap(&self, asked: Asked<'_>, of: Values<'_>) -> bool {
        let mut asked_levels = asked.levels();
        for (index, level) in self.levels.iter().enumerate() {
            let overlaps = match asked_levels.next() {
                None => false,
                Some(AskedLevel::Multi) => return true,
                Some(AskedLevel::Literal(literal)) => {
                    level.covers_literal(literal, index == 0, of, Effect::Deny)
                }
                Some(AskedLevel::Single) => match level {
                    Level::Literal(literal) => index > 0 || !literal.starts_with('$'),
                    Level::Single | Level::Value(_) => true,
                },
            };
            if !overlaps {
                return false;
            }
        }
        match asked_levels.next() {
            None | Some(AskedLevel::Multi) => true,
            Some(AskedLevel::Literal(_) | AskedLevel::Single) => self.open,
        }
    }

    /// A repeated placeholder stands for one value at a time: every level must have been filled by the same one.
    fn agrees(&self, asked: Asked<'_>, of: Values<'_>, effect: Effect) -> bool {
        self.attributes().all(|attribute| {
            if effect == Effect::Deny && attribute.values(of).any(is_unusable) {
                return true;
            }
            attribute.values(of).any(|value| {
                let pairs = self.levels.iter().zip(asked.levels());
                pairs
                    .into_iter()
                    .all(|(level, asked)| match (level, asked) {
                        (Level::Value(template), AskedLevel::Literal(literal)) => {
                            template.attribute != *attribute
                                || template.is_filled_by(value, literal)
                        }
                        (Level::Value(template), AskedLevel::Single | AskedLevel::Multi) => {
                            template.attribute != *attribute
                        }
                        (Level::Literal(_) | Level::Single, _) => true,
                    })
            }) || (effect == Effect::Deny && attribute.values(of).next().is_none())
        })
    }
}

impl Level {
    fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let Some((before, rest)) = text.split_once("${") else {
            return Ok(Self::Literal(without_wildcard(text)?.into()));
        };
        let (name, after) = rest.split_once('}').ok_or(InvalidPattern::Unclosed)?;
        if after.contains("${") {
            return Err(InvalidPattern::TwoPlaceholders);
        }
        let attribute = Attribute::parse(name)
            .ok_or_else(|| InvalidPattern::UnknownPlaceholder(name.to_owned()))?;
        Ok(Self::Value(Template {
            before: without_wildcard(before)?.into(),
            attribute,
            after: without_wildcard(after)?.into(),
        }))
    }

    fn attribute(&self) -> Option<&Attribute> {
        match self {
            Self::Value(template) => Some(&template.attribute),
            Self::Literal(_) | Self::Single => None,
        }
    }

    pub(super) fn covers_literal(
        &self,
        literal: &str,
        first: bool,
        of: Values<'_>,
        effect: Effect,
    ) -> bool {
        let reserved = first && literal.starts_with('$');
        match self {
            Self::Literal(own) => **own == *literal,
            Self::Single => !reserved,
            Self::Value(template) => match effect {
                // A `$`-topic is granted only by a statement that spells it out (POL-11).
                Effect::Allow => !reserved && template.is_filled(literal, of),
                Effect::Deny => {
                    template.is_filled(literal, of) || (!reserved && template.is_unusable(of))
                }
            },
        }
    }
}

impl Template {
    fn is_filled(&self, literal: &str, of: Values<'_>) -> bool {
        let value = literal
            .strip_prefix(&*self.before)
            .and_then(|rest| rest.strip_suffix(&*self.after));
        value.is_some_and(|value| {
            !is_unusable(value) && self.attribute.values(of).any(|own| own == value)
        })
    }

    fn is_filled_by(&self, value: &str, literal: &str) -> bool {
        literal
            .strip_prefix(&*self.before)
            .and_then(|rest| rest.strip_suffix(&*self.after))
            == Some(value)
    }

    /// Missing, or one of the values is no literal level.
    pub(super) fn is_unusable(&self, of: Values<'_>) -> bool {
        let mut values = self.attribute.values(of).peekable();
        values.peek().is_none() || values.any(is_unusable)
    }
}

/// Whether a value cannot be one literal topic level.
pub(super) fn is_unusable(value: &str) -> bool {
    value.is_empty()
        || value.bytes().any(|byte| matches!(byte, b'/' | b'+' | b'#'))
        || value.chars().any(char::is_control)
}

fn without_wildcard(text: &str) -> Result<&str, InvalidPattern> {
    if text.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(InvalidPattern::MisplacedWildcard);
    }
    Ok(text)
}

/// Splits at `/`, but not inside `${…}`: a claim's name may be a URL.
fn split(text: &str) -> Result<Vec<&str>, InvalidPattern> {
    let mut levels = Vec::new();
    let (mut start, mut position) = (0, 0);
    while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("${") {
            position += rest.find('}').ok_or(InvalidPattern::Unclosed)?;
        } else if rest.starts_with('/') {
            levels.extend(text.get(start..position));
            start = position + 1;
        }
        position += text
            .get(position..)
            .and_then(|rest| rest.chars().next())
            .map_or(1, char::len_utf8);
    }
    levels.extend(text.get(start..));
    Ok(levels)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
