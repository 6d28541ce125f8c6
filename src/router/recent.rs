//! What is remembered about the topics that a client publishes to.

use crate::mqtt::TopicName;
use ahash::AHashMap;

/// A value for each of at most [`Recent::CAPACITY`] topics.
#[derive(Debug)]
pub struct Recent<V> {
    /// None before the first: most connections publish to nothing.
    values: Option<Box<AHashMap<TopicName, V>>>,
    passed_over: usize,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self {
            values: None,
            passed_over: 0,
        }
    }
}

impl<V> Recent<V> {
    pub const CAPACITY: usize = 256;
    /// New topics that a full memory lets pass before it starts anew: those that come once cost nothing, and those that come again get in.
    const PATIENCE: usize = 16 * Self::CAPACITY;

    pub fn find(&self, topic: &TopicName) -> Option<&V> {
        self.values.as_ref()?.get(topic)
    }

    /// Keeps a copy of the topic, for the packet it came in may be large.
    pub fn remember(&mut self, topic: &TopicName, value: impl FnOnce() -> V) {
        let values = self.values.get_or_insert_default();
        if values.len() >= Self::CAPACITY {
            if let Some(known) = values.get_mut(topic) {
                *known = value();
                return;
            }
            self.passed_over += 1;
            if self.passed_over < Self::PATIENCE {
                return;
            }
            values.clear();
            self.passed_over = 0;
        }
        values.insert(topic.detached(), value());
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.values.as_ref().map_or(0, |values| values.len())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::mqtt::{Text, TopicLimits};

    fn topic(number: usize) -> TopicName {
        let text = Text::try_from(format!("t/{number}").as_str()).unwrap();
        TopicName::new(text, TopicLimits::default()).unwrap()
    }

    #[test]
    fn topics_that_come_once_do_not_drive_out_the_others_until_there_are_many() {
        let mut recent = Recent::default();
        let mut number = 0;
        let mut meet = |recent: &mut Recent<usize>, count: usize| {
            for number in number..number + count {
                recent.remember(&topic(number), || number);
            }
            number += count;
        };
        meet(&mut recent, Recent::<usize>::CAPACITY);
        for number in 0..Recent::<usize>::CAPACITY {
            assert_eq!(recent.find(&topic(number)), Some(&number));
        }
        meet(&mut recent, Recent::<usize>::PATIENCE - 1);
        assert_eq!(recent.find(&topic(0)), Some(&0));
        assert_eq!(recent.len(), Recent::<usize>::CAPACITY);
        // What is known is renewed all the time.
        recent.remember(&topic(0), || 7);
        assert_eq!(recent.find(&topic(0)), Some(&7));
        meet(&mut recent, 1);
        assert_eq!(recent.find(&topic(0)), None);
        assert_eq!(recent.len(), 1);
        meet(&mut recent, 3);
        assert_eq!(recent.len(), 4);
    }
}
