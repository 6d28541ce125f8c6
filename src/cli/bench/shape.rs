//! Who publishes to whom.

use super::publisher::{DIGITS, Topics};
use clap::{Args, ValueEnum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// Each publisher has a subscriber and a topic of its own
    Pairs,
    /// Every subscriber gets every message
    FanOut,
    /// The subscribers take all topics by one wildcard
    FanIn,
    /// The subscribers share one group
    Shared,
    /// Topics are drawn at random; among all filters, spread over the subscribers, one matches
    Wildcard,
}

#[derive(Args, Clone, Debug)]
pub(super) struct ShapeArguments {
    #[arg(long, value_enum, default_value = "pairs")]
    pub(super) shape: Shape,
    #[arg(long, default_value_t = 10)]
    publishers: u32,
    /// With pairs as many as publishers
    #[arg(long, default_value_t = 10)]
    subscribers: u32,
    /// How many filters of --shape wildcard
    #[arg(long, default_value_t = 100_000)]
    filters: u32,
    /// Of these filters so many get messages; 0: all of them
    #[arg(long, default_value_t = 0)]
    topics: u32,
    /// The first levels of every topic
    #[arg(long, default_value = "bench")]
    topic_prefix: String,
}

/// What each connection is to do.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) publishers: Vec<Topics>,
    /// The filters of each.
    pub(super) subscribers: Vec<Vec<String>>,
    /// How many subscribers get each message.
    pub(super) copies: u64,
}

impl ShapeArguments {
    pub(super) fn plan(&self) -> Plan {
        let prefix = &self.topic_prefix;
        let own = |index: u32| format!("{prefix}/{index}");
        let subscribers = match self.shape {
            Shape::Pairs => (0..self.publishers).map(|index| vec![own(index)]).collect(),
            Shape::FanOut | Shape::FanIn => self.all_take(format!("{prefix}/+")),
            Shape::Shared => self.all_take(format!("$share/bench/{prefix}/+")),
            Shape::Wildcard => (0..self.subscribers)
                .map(|index| self.filters_of(index))
                .collect(),
        };
        Plan {
            publishers: (0..self.publishers)
                .map(|index| self.topics_of(index))
                .collect(),
            copies: match self.shape {
                Shape::Pairs | Shape::Shared | Shape::Wildcard => 1,
                Shape::FanOut | Shape::FanIn => u64::from(self.subscribers),
            },
            subscribers,
        }
    }

    fn all_take(&self, filter: String) -> Vec<Vec<String>> {
        (0..self.subscribers)
            .map(|_| vec![filter.clone()])
            .collect()
    }

    fn filters_of(&self, subscriber: u32) -> Vec<String> {
        let step = usize::try_from(self.subscribers.max(1)).unwrap_or(1);
        let numbers = (subscriber..self.filters).step_by(step);
        let filter = |number| format!("{}/{number:0DIGITS$}/+/value", self.topic_prefix);
        numbers.map(filter).collect()
    }

    fn topics_of(&self, publisher: u32) -> Topics {
        match self.shape {
            Shape::Wildcard => Topics::Drawn {
                prefix: format!("{}/", self.topic_prefix),
                suffix: "/x/value".to_owned(),
                below: match self.topics {
                    0 => self.filters.max(1),
                    topics => topics.min(self.filters).max(1),
                },
                state: 0x9E37_79B9_7F4A_7C15 ^ u64::from(publisher + 1),
            },
            Shape::Pairs | Shape::FanOut | Shape::FanIn | Shape::Shared => {
                Topics::One(format!("{}/{publisher}", self.topic_prefix).into_bytes())
            }
        }
    }
}
