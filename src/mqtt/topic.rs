//! Topic names and topic filters: types that exist only when valid. MQTT 5.0 section 4.7

use super::text::{InvalidText, Text};
use bytes::Bytes;
use std::fmt;

/// How deep and how long a topic may be (`mqtt.max_topic_levels`, `mqtt.max_topic_length`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicLimits {
    pub levels: usize,
    /// In bytes of UTF-8.
    pub length: usize,
}

impl Default for TopicLimits {
    fn default() -> Self {
        Self {
            levels: 64,
            length: 1024,
        }
    }
}

/// Why a text is no topic name or filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    #[error("{0}")]
    Text(#[from] InvalidText),
    #[error("empty topic")]
    Empty,
    #[error("longer than {0} bytes")]
    TooLong(usize),
    #[error("more than {0} levels")]
    TooDeep(usize),
    #[error("a topic name holds a wildcard")]
    Wildcard,
    #[error("a wildcard shares its level, or # is not the last level")]
    MisplacedWildcard,
    #[error("a shared subscription without a share name or without a filter")]
    Share,
}

/// What a message is published under: at least one character, no wildcard. [MQTT-4.7.3-1] [MQTT-3.3.2-2]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Text);

/// What a subscription asks for, without any `$share/NAME/` before it: one matcher for routing, policy and API. [MQTT-4.7.1-1]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Text);

/// The group of a shared subscription: no `/`, `+` or `#`, at least one character. [MQTT-4.8.2-1] [MQTT-4.8.2-2]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareName(Text);

/// A SUBSCRIBE's filter split once, here, so that policy, routing and store see the group and the filter apart (POL-2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscription {
    pub share: Option<ShareName>,
    pub filter: TopicFilter,
}

impl TopicName {
    pub fn new(text: Text, limits: TopicLimits) -> Result<Self, InvalidTopic> {
        check(&text, limits)?;
        if holds_wildcard(&text) {
            return Err(InvalidTopic::Wildcard);
        }
        Ok(Self(text))
    }

    /// The same from bytes: what most topics are made of is told in one look, everything else is judged the long way.
    pub(super) fn from_bytes(bytes: Bytes, limits: TopicLimits) -> Result<Self, InvalidTopic> {
        let is_plain = bytes.iter().fold(!bytes.is_empty(), |all, byte| {
            all & (0x20..0x7f).contains(byte) & !matches!(byte, b'+' | b'#')
        });
        if is_plain && bytes.len() < limits.levels && bytes.len() <= limits.length {
            return Ok(Self(Text::printable_ascii(bytes)?));
        }
        Self::new(Text::new(bytes)?, limits)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same in memory of its own: does not keep the packet that it came in.
    pub fn detached(&self) -> Self {
        Self(self.0.detached())
    }

    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Begins with `$`: kept from filters whose first level is a wildcard. [MQTT-4.7.2-1]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl TopicFilter {
    /// A filter without a share prefix. A text that begins with `$share/` is refused: use [`Subscription::new`].
    pub fn new(text: Text, limits: TopicLimits) -> Result<Self, InvalidTopic> {
        check(&text, limits)?;
        if text.as_str() == "$share" || text.starts_with("$share/") {
            return Err(InvalidTopic::Share);
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            // The multi-level wildcard is alone in its level and the last one. [MQTT-4.7.1-1] The single-level one fills its level. [MQTT-4.7.1-2]
            let misplaced = match level {
                "#" => levels.peek().is_some(),
                "+" => false,
                _ => level.bytes().any(|byte| matches!(byte, b'+' | b'#')),
            };
            if misplaced {
                return Err(InvalidTopic::MisplacedWildcard);
            }
        }
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The same in memory of its own, as [`TopicName::detached`].
    pub fn detached(&self) -> Self {
        Self(self.0.detached())
    }

    pub fn has_wildcard(&self) -> bool {
        holds_wildcard(&self.0)
    }
}

impl ShareName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn detached(&self) -> Self {
        Self(self.0.detached())
    }
}

impl Subscription {
    /// The same in memory of its own: one that is kept does not keep its SUBSCRIBE, user properties and all (LIM-5).
    pub fn detached(&self) -> Self {
        Self {
            share: self.share.as_ref().map(ShareName::detached),
            filter: self.filter.detached(),
        }
    }

    /// Splits `$share/NAME/FILTER`, or takes the whole text as a filter. MQTT 5.0 section 4.8.2
    pub fn new(text: Text, limits: TopicLimits) -> Result<Self, InvalidTopic> {
        let Some(rest) = text.strip_prefix("$share/") else {
            return Ok(Self {
                share: None,
                filter: TopicFilter::new(text, limits)?,
            });
        };
        let (name, filter) = rest.split_once('/').ok_or(InvalidTopic::Share)?;
        if name.is_empty()
            || filter.is_empty()
            || name.bytes().any(|byte| matches!(byte, b'+' | b'#'))
        {
            return Err(InvalidTopic::Share);
        }
        let filter = TopicFilter::new(Text::try_from(filter)?, limits)?;
        Ok(Self {
            share: Some(ShareName(Text::try_from(name)?)),
            filter,
        })
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.share {
            Some(share) => write!(f, "$share/{}/{}", share.as_str(), self.filter.as_str()),
            None => f.write_str(self.filter.as_str()),
        }
    }
}

fn check(text: &Text, limits: TopicLimits) -> Result<(), InvalidTopic> {
    if text.is_empty() {
        return Err(InvalidTopic::Empty);
    }
    if text.len() > limits.length {
        return Err(InvalidTopic::TooLong(limits.length));
    }
    // Fewer bytes than levels cannot be too deep: short topics are not counted.
    if text.len() >= limits.levels
        && text.bytes().filter(|byte| *byte == b'/').count() >= limits.levels
    {
        return Err(InvalidTopic::TooDeep(limits.levels));
    }
    Ok(())
}

/// Without a branch for each byte, so that many are looked at together.
fn holds_wildcard(text: &str) -> bool {
    text.bytes()
        .fold(false, |any, byte| any | matches!(byte, b'+' | b'#'))
}

macro_rules! reads_as_str {
    ($($name:ident),*) => {$(
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
reads_as_str!(TopicName, TopicFilter, ShareName);
