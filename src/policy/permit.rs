//! Decisions as values to hold: without a permit nothing is published and nothing subscribed.

use super::rule::{Action, RuleId};
use crate::identity::Subject;
use crate::mqtt::{QoS, Subscription, TopicName};
use std::fmt;
use std::sync::Arc;

/// This author may publish to this topic with this QoS and RETAIN flag, under the policies of one generation.
#[derive(Clone, Debug)]
pub struct PublishPermit {
    about: Arc<About>,
    qos: QoS,
    retain: bool,
    rule: RuleId,
    audited: Option<RuleId>,
    generation: u64,
}

/// Who says something, and under what topic: shared by all messages of one permit.
#[derive(Clone, Debug)]
pub struct About {
    pub topic: TopicName,
    pub author: Arc<Subject>,
}

/// This subscription is granted, under the policies of one generation.
#[derive(Clone, Debug)]
pub struct SubscribePermit {
    subscription: Subscription,
    maximum_qos: QoS,
    delivery: Delivery,
    subscriber: Arc<Subject>,
    rule: RuleId,
    audited: Option<RuleId>,
    generation: u64,
}

/// Whether a granted subscription's messages must be judged one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// No deny can concern any of them: the permit stands for each while its generation is current (POL-3).
    Unconditional,
    /// Ask [`super::Compiled::permits_delivery`] for each (POL-1).
    Checked,
}

/// A refusal. `Display` is for the operator; the peer learns nothing but a reason code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    action: Action,
    cause: Cause,
    audited: Option<RuleId>,
    disconnects: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    ByRule(RuleId),
    /// A policy allows it, the token's list does not.
    Narrowed(RuleId),
    NothingMatched,
}

impl PublishPermit {
    pub(super) fn new(
        (topic, qos, retain): (TopicName, QoS, bool),
        author: Arc<Subject>,
        rule: RuleId,
        audited: Option<RuleId>,
        generation: u64,
    ) -> Self {
        Self {
            about: Arc::new(About { topic, author }),
            qos,
            retain,
            rule,
            audited,
            generation,
        }
    }

    pub fn topic(&self) -> &TopicName {
        &self.about.topic
    }

    pub fn qos(&self) -> QoS {
        self.qos
    }

    pub fn retain(&self) -> bool {
        self.retain
    }

    pub fn author(&self) -> &Arc<Subject> {
        &self.about.author
    }

    /// What a message keeps of it.
    pub fn about(&self) -> &Arc<About> {
        &self.about
    }

    /// The statement that allowed it.
    pub fn rule(&self) -> &RuleId {
        &self.rule
    }

    /// A deny in audit mode that would have refused it.
    pub fn audited(&self) -> Option<&RuleId> {
        self.audited.as_ref()
    }

    /// Of the policies that were asked.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// To be kept for later messages: does not hold the packet that the first of them came in.
    pub fn with_detached_topic(self) -> Self {
        let about = About {
            topic: self.about.topic.detached(),
            author: Arc::clone(&self.about.author),
        };
        Self {
            about: Arc::new(about),
            ..self
        }
    }
}

impl SubscribePermit {
    pub(super) fn new(
        subscription: Subscription,
        (maximum_qos, delivery): (QoS, Delivery),
        subscriber: Arc<Subject>,
        rule: RuleId,
        audited: Option<RuleId>,
        generation: u64,
    ) -> Self {
        Self {
            subscription,
            maximum_qos,
            delivery,
            subscriber,
            rule,
            audited,
            generation,
        }
    }

    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// What the SUBACK grants: never above what was asked for. [MQTT-3.8.4-8]
    pub fn maximum_qos(&self) -> QoS {
        self.maximum_qos
    }

    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    pub fn subscriber(&self) -> &Arc<Subject> {
        &self.subscriber
    }

    /// The statement that allowed it.
    pub fn rule(&self) -> &RuleId {
        &self.rule
    }

    /// A rule in audit mode that would have granted another QoS or nothing.
    pub fn audited(&self) -> Option<&RuleId> {
        self.audited.as_ref()
    }

    /// Of the policies that were asked.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl Denial {
    pub(super) fn new(
        action: Action,
        by: Option<RuleId>,
        audited: Option<RuleId>,
        disconnects: bool,
    ) -> Self {
        Self {
            action,
            cause: by.map_or(Cause::NothingMatched, Cause::ByRule),
            audited,
            disconnects,
        }
    }

    /// The same for what a policy allows and the token's list does not.
    pub(super) fn narrowed(self, by: Option<RuleId>) -> Self {
        Self {
            cause: by.map_or(Cause::NothingMatched, Cause::Narrowed),
            ..self
        }
    }

    pub fn action(&self) -> Action {
        self.action
    }

    /// The statement, or the token's list, that refused it; `None`: no statement allows it.
    pub fn rule(&self) -> Option<&RuleId> {
        match &self.cause {
            Cause::ByRule(rule) | Cause::Narrowed(rule) => Some(rule),
            Cause::NothingMatched => None,
        }
    }

    /// An allow in audit mode that would have permitted it.
    pub fn audited(&self) -> Option<&RuleId> {
        self.audited.as_ref()
    }

    /// `on_deny: disconnect`: the connection is to be closed.
    pub fn disconnects(&self) -> bool {
        self.disconnects
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::ByRule(rule) => write!(f, "{} denied by {rule}", self.action.name()),
            Cause::Narrowed(list) => {
                write!(
                    f,
                    "the list of {list} allows no such {}",
                    self.action.name()
                )
            }
            Cause::NothingMatched => write!(f, "no policy allows this {}", self.action.name()),
        }
    }
}

impl std::error::Error for Denial {}
