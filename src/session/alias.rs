//! Topic aliases, each direction for the life of one network connection. MQTT 5.0 section 3.3.2.3.4

use super::error::ProtocolError;
use crate::mqtt::TopicName;
use ahash::AHashMap;
use std::num::NonZeroU16;

/// What the client's aliases stand for.
#[derive(Debug)]
pub struct IncomingAliases {
    topics: Vec<Option<TopicName>>,
    maximum: u16,
}

impl IncomingAliases {
    pub fn new(maximum: u16) -> Self {
        Self {
            topics: Vec::new(),
            maximum,
        }
    }

    /// The topic a PUBLISH is for: sets the alias when both are there, looks it up when the topic is empty.
    pub fn resolve(
        &mut self,
        topic: Option<TopicName>,
        alias: Option<NonZeroU16>,
    ) -> Result<TopicName, ProtocolError> {
        match (topic, alias) {
            (Some(topic), None) => Ok(topic),
            (None, None) => Err(ProtocolError::TopicNameMissing),
            (topic, Some(alias)) => {
                // An alias above the maximum we granted. [MQTT-3.3.2-9]
                if alias.get() > self.maximum {
                    return Err(ProtocolError::TopicAliasInvalid);
                }
                let index = usize::from(alias.get()) - 1;
                if let Some(topic) = topic {
                    if self.topics.len() <= index {
                        self.topics.resize(index + 1, None);
                    }
                    if let Some(entry) = self.topics.get_mut(index)
                        && entry.as_ref() != Some(&topic)
                    {
                        *entry = Some(topic.detached());
                    }
                    return Ok(topic);
                }
                self.topics
                    .get(index)
                    .cloned()
                    .flatten()
                    .ok_or(ProtocolError::TopicAliasUnknown)
            }
        }
    }
}

/// Aliases we use towards the client: the first topics sent keep theirs until the connection ends.
#[derive(Debug)]
pub struct OutgoingAliases {
    /// None before the first.
    aliases: Option<Box<AHashMap<TopicName, NonZeroU16>>>,
    maximum: u16,
}

/// How a topic goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicForm {
    Plain,
    /// The topic with a new alias.
    Define(NonZeroU16),
    /// The alias alone.
    Alias(NonZeroU16),
}

impl OutgoingAliases {
    /// `maximum`: what the client takes, and no more than we are ready to remember. [MQTT-3.1.2-26] [MQTT-3.1.2-27]
    pub fn new(maximum: u16) -> Self {
        Self {
            aliases: None,
            maximum,
        }
    }

    pub fn form(&self, topic: &TopicName) -> TopicForm {
        if self.maximum == 0 {
            return TopicForm::Plain;
        }
        let aliases = self.aliases.as_ref();
        if let Some(alias) = aliases.and_then(|aliases| aliases.get(topic)) {
            return TopicForm::Alias(*alias);
        }
        let count = aliases.map_or(0, |aliases| aliases.len());
        match u16::try_from(count + 1)
            .ok()
            .filter(|next| *next <= self.maximum)
            .and_then(NonZeroU16::new)
        {
            Some(alias) => TopicForm::Define(alias),
            None => TopicForm::Plain,
        }
    }

    /// Remembers an alias that was really sent.
    pub fn sent(&mut self, topic: &TopicName, alias: NonZeroU16) {
        let aliases = self.aliases.get_or_insert_default();
        aliases.insert(topic.detached(), alias);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::mqtt::{Text, TopicLimits};

    fn topic(name: &str) -> TopicName {
        TopicName::new(Text::try_from(name).unwrap(), TopicLimits::default()).unwrap()
    }

    #[test]
    fn incoming_aliases_are_set_used_and_bound_again() {
        let mut aliases = IncomingAliases::new(2);
        let rows = [
            (None, 1, None),
            (Some("a"), 1, Some("a")),
            (None, 1, Some("a")),
            (Some("b"), 1, Some("b")),
            (None, 1, Some("b")),
            (None, 2, None),
            (Some("c"), 3, None),
            (None, 0, None),
            (Some("d"), 0, Some("d")),
        ];
        for (name, alias, expected) in rows {
            let resolved = aliases
                .resolve(name.map(topic), NonZeroU16::new(alias))
                .ok();
            assert_eq!(resolved, expected.map(topic), "{name:?} {alias}");
        }
    }

    #[test]
    fn lim_05_an_alias_keeps_no_packet() {
        let packet = bytes::Bytes::from(vec![b'x'; 1000]);
        let topic = || {
            let text = Text::new(packet.slice(..10)).unwrap();
            TopicName::new(text, TopicLimits::default()).unwrap()
        };
        let mut incoming = IncomingAliases::new(2);
        assert!(incoming.resolve(Some(topic()), NonZeroU16::new(2)).is_ok());
        let mut outgoing = OutgoingAliases::new(2);
        outgoing.sent(&topic(), NonZeroU16::MIN);
        assert!(packet.is_unique());
    }

    #[test]
    fn outgoing_aliases_stay_within_what_the_client_takes() {
        let mut aliases = OutgoingAliases::new(1);
        let one = NonZeroU16::MIN;
        assert_eq!(aliases.form(&topic("a")), TopicForm::Define(one));
        aliases.sent(&topic("a"), one);
        assert_eq!(aliases.form(&topic("a")), TopicForm::Alias(one));
        assert_eq!(aliases.form(&topic("b")), TopicForm::Plain);
        assert_eq!(OutgoingAliases::new(0).form(&topic("a")), TopicForm::Plain);
    }
}
