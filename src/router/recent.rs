//! What is remembered about the topics that a client publishes to.

use crate::mqtt::TopicName;
use ahash::AHashMap;

/// A value for each of at most [`Recent::CAPACITY`] topics.
#[derive(Debug)]
pub struct Recent<V> {
    /// None before the first: most connections publish to nothing.
    memory: Option<Box<Memory<V>>>,
}

#[derive(Debug)]
struct Memory<V> {
    values: Vec<(TopicName, V)>,
    places: AHashMap<TopicName, usize>,
    /// Where the last one was: most publishers say several things on one topic before they turn to the next.
    last: usize,
    passed_over: usize,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { memory: None }
    }
}

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            places: AHashMap::new(),
            last: 0,
            passed_over: 0,
        }
    }
}

impl<V> Memory<V> {
    fn last(&self) -> Option<&(TopicName, V)> {
        self.values.get(self.last)
    }
}

impl<V> Recent<V> {
    pub const CAPACITY: usize = 256;
    /// New topics that a full memory lets pass before it starts anew: those that come once cost nothing, and those that come again get in.
    const PATIENCE: usize = 16 * Self::CAPACITY;

    pub fn find(&mut self, topic: &TopicName) -> Option<&V> {
        let memory = self.memory.as_deref_mut()?;
        if memory.last().is_none_or(|(known, _)| known != topic) {
            memory.last = *memory.places.get(topic.as_str())?;
        }
        memory.last().map(|(_, value)| value)
    }

    /// The topic whose name these bytes are, if it is the one of last time or the next in a round of several.
    pub fn expected(&mut self, name: &[u8]) -> Option<&TopicName> {
        let memory = self.memory.as_deref_mut()?;
        let next = (memory.last + 1) % memory.values.len().max(1);
        for place in [memory.last, next] {
            let known = memory.values.get(place).map(|(topic, _)| topic.as_str());
            if known.is_some_and(|known| known.as_bytes() == name) {
                memory.last = place;
                return memory.last().map(|(topic, _)| topic);
            }
        }
        None
    }

    /// Keeps a copy of the topic, for the packet it came in may be large.
    pub fn remember(&mut self, topic: &TopicName, value: impl FnOnce() -> V) {
        let known = self.find(topic).is_some();
        let memory = self.memory.get_or_insert_default();
        if known {
            if let Some((_, known)) = memory.values.get_mut(memory.last) {
                *known = value();
            }
            return;
        }
        if memory.values.len() >= Self::CAPACITY {
            memory.passed_over += 1;
            if memory.passed_over < Self::PATIENCE {
                return;
            }
            **memory = Memory::default();
        }
        let topic = topic.detached();
        memory.last = memory.values.len();
        memory.places.insert(topic.clone(), memory.last);
        memory.values.push((topic, value()));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.values.len())
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

    fn found(recent: &mut Recent<usize>, number: usize) -> Option<usize> {
        recent.find(&topic(number)).copied()
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
            assert_eq!(found(&mut recent, number), Some(number));
        }
        meet(&mut recent, Recent::<usize>::PATIENCE - 1);
        assert_eq!(found(&mut recent, 0), Some(0));
        assert_eq!(recent.len(), Recent::<usize>::CAPACITY);
        // What is known is renewed all the time.
        recent.remember(&topic(0), || 7);
        assert_eq!(found(&mut recent, 0), Some(7));
        meet(&mut recent, 1);
        assert_eq!(found(&mut recent, 0), None);
        assert_eq!(recent.len(), 1);
        meet(&mut recent, 3);
        assert_eq!(recent.len(), 4);
    }

    #[test]
    fn a_round_of_topics_is_expected_and_nothing_else() {
        let mut recent = Recent::default();
        assert_eq!(recent.expected(b"t/0"), None);
        for number in 0..4 {
            recent.remember(&topic(number), || number);
        }
        let mut expected = |number: usize| {
            let asked = topic(number);
            recent.expected(asked.as_str().as_bytes()) == Some(&asked)
        };
        for number in [0, 1, 2, 2, 3, 0] {
            assert!(expected(number), "{number}");
        }
        for number in [2, 3, 4] {
            assert!(!expected(number), "{number}");
        }
        assert_eq!(recent.find(&topic(2)), Some(&2));
        assert_eq!(recent.expected(b"t/3"), Some(&topic(3)));
        assert_eq!(recent.expected(b"t/"), None);
        assert_eq!(recent.expected(b"\xff"), None);
    }
}
