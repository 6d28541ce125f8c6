//! Topic aliases of one connection, both ways. MQTT 5.0 section 3.3.2.3.4

use super::ProtocolError;
use crate::mqtt::{Publish, TopicName};
use std::collections::BTreeMap;
use std::num::NonZeroU16;

/// Aliases this side gives out: the first topics get them, up to the peer's Topic Alias Maximum. [MQTT-3.3.2-9]
#[derive(Debug, Default)]
pub(super) struct OutboundAliases {
    maximum: u16,
    given: BTreeMap<TopicName, NonZeroU16>,
}

impl OutboundAliases {
    pub(super) fn new(maximum: u16) -> Self {
        Self {
            maximum,
            given: BTreeMap::new(),
        }
    }

    /// Replaces the topic by its alias, or introduces one along with the topic.
    pub(super) fn apply(&mut self, publish: &mut Publish) {
        let Some(topic) = &publish.topic else { return };
        if let Some(alias) = self.given.get(topic) {
            publish.properties.get_or_insert_default().topic_alias = Some(*alias);
            publish.topic = None;
        } else if let Some(alias) = self.free() {
            self.given.insert(topic.clone(), alias);
            publish.properties.get_or_insert_default().topic_alias = Some(alias);
        }
    }

    fn free(&self) -> Option<NonZeroU16> {
        let next = u16::try_from(self.given.len()).ok()?.checked_add(1)?;
        NonZeroU16::new(next).filter(|next| next.get() <= self.maximum)
    }
}

/// Aliases the server gave, up to the Topic Alias Maximum of our CONNECT.
#[derive(Debug, Default)]
pub(super) struct InboundAliases {
    maximum: u16,
    known: BTreeMap<NonZeroU16, TopicName>,
}

impl InboundAliases {
    pub(super) fn new(maximum: u16) -> Self {
        Self {
            maximum,
            known: BTreeMap::new(),
        }
    }

    /// Puts the topic back and takes the alias, which means nothing to anybody else, away.
    pub(super) fn resolve(&mut self, publish: &mut Publish) -> Result<(), ProtocolError> {
        let alias = publish
            .properties
            .as_mut()
            .and_then(|properties| properties.topic_alias.take());
        match (alias, &publish.topic) {
            (None, Some(_)) => Ok(()),
            (Some(alias), _) if alias.get() > self.maximum => {
                Err(ProtocolError::TopicAlias(alias.get()))
            }
            (Some(alias), Some(topic)) => {
                self.known.insert(alias, topic.clone());
                Ok(())
            }
            (Some(alias), None) => {
                let known = self.known.get(&alias);
                publish.topic = Some(known.ok_or(ProtocolError::TopicAlias(alias.get()))?.clone());
                Ok(())
            }
            (None, None) => Err(ProtocolError::Unexpected {
                packet: "PUBLISH",
                when: "without a topic",
            }),
        }
    }
}
