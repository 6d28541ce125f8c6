//! What happened as the clients saw it: what was sent, acknowledged, subscribed and received, in the order of one clock.

use std::collections::{BTreeMap, BTreeSet};

/// Counts events; the harness runs on one thread, so of two events one is before the other.
pub type Tick = u64;

/// The place of a client in the round's cast.
pub type ClientId = usize;

#[derive(Default)]
pub struct Model {
    clock: Tick,
    pub messages: Vec<Sent>,
    pub subscriptions: Vec<Subscribed>,
    pub received: Vec<Received>,
    /// What no order of events explains, found while it happened.
    pub violations: Vec<String>,
    /// Retained topics: the numbers of the messages that set or cleared them.
    pub retained: BTreeMap<String, Vec<usize>>,
    pub acknowledged: usize,
    /// Clients that have nothing on its way and all their subscriptions, while the round is drained.
    pub settled: BTreeSet<ClientId>,
}

/// An application message; its number is its place in [`Model::messages`].
pub struct Sent {
    pub publisher: ClientId,
    pub topic: String,
    pub qos: u8,
    pub payload: Vec<u8>,
    pub at: Tick,
    /// The publisher knows that it is kept: PUBACK, PUBREC; of a will: its connection was lost.
    pub acknowledged: Option<Tick>,
    /// It went out once more after a connection was lost.
    pub resent: bool,
    /// A will that its client took back.
    pub forbidden: bool,
}

pub struct Subscribed {
    pub client: ClientId,
    pub share: Option<String>,
    pub filter: String,
    pub maximum_qos: u8,
    pub identifier: Option<u32>,
    pub asked: Option<Tick>,
    pub granted: Option<Tick>,
    pub removing: Option<Tick>,
    pub removed: Option<Tick>,
}

pub struct Received {
    pub client: ClientId,
    pub number: usize,
    pub qos: u8,
    pub identifiers: Vec<u32>,
    pub version_5: bool,
}

impl Model {
    pub fn tick(&mut self) -> Tick {
        self.clock += 1;
        self.clock
    }

    /// A message is about to be sent for the first time; `None`: it clears a retained one.
    pub fn send(
        &mut self,
        publisher: ClientId,
        topic: &str,
        qos: u8,
        padding: Option<usize>,
    ) -> usize {
        let number = self.messages.len();
        let payload = padding.map_or_else(Vec::new, |padding| payload(number, padding));
        let at = self.tick();
        self.messages.push(Sent {
            publisher,
            topic: topic.to_owned(),
            qos,
            payload,
            at,
            acknowledged: None,
            resent: false,
            forbidden: false,
        });
        if topic.starts_with("r/") {
            self.retained
                .entry(topic.to_owned())
                .or_default()
                .push(number);
        }
        number
    }

    pub fn acknowledge(&mut self, number: usize) {
        let at = self.tick();
        let message = &mut self.messages[number];
        if message.acknowledged.is_none() {
            message.acknowledged = Some(at);
            self.acknowledged += 1;
        }
    }

    /// A message has reached the application of a client. Gives its number.
    pub fn receive(
        &mut self,
        client: ClientId,
        name: &str,
        publish: &wardgate::mqtt::Publish,
        version_5: bool,
    ) -> Option<usize> {
        let topic = publish.topic.as_ref().map_or("", |topic| topic.as_str());
        let properties = publish.properties.as_deref();
        let number = match number_of(&publish.payload) {
            Some(number) => Some(number),
            // Clears a retained message: which of them, nobody can say, and its loss shows in what is retained.
            None if publish.payload.is_empty() => return None,
            None => None,
        };
        let genuine = number.filter(|number| {
            self.messages
                .get(*number)
                .is_some_and(|sent| sent.topic == topic && sent.payload == publish.payload)
        });
        let Some(number) = genuine else {
            self.violation(format!(
                "{name}: received on {topic:?} what nobody sent: {:?}",
                String::from_utf8_lossy(&publish.payload[..publish.payload.len().min(40)])
            ));
            return None;
        };
        let identifiers = properties.map_or_else(Vec::new, |properties| {
            properties
                .subscription_identifiers
                .iter()
                .map(|identifier| identifier.get())
                .collect()
        });
        self.tick();
        self.received.push(Received {
            client,
            number,
            qos: publish.qos.bits(),
            identifiers,
            version_5,
        });
        Some(number)
    }

    /// Every will that must be published has reached somebody.
    pub fn wills_are_out(&self) -> bool {
        let due = self.messages.iter().enumerate().filter(|(_, sent)| {
            sent.is_will()
                && sent.acknowledged.is_some()
                && self
                    .subscriptions
                    .iter()
                    .any(|held| held.matches(&sent.topic) && held.surely_holds(sent))
        });
        let came: BTreeSet<usize> = self
            .received
            .iter()
            .map(|received| received.number)
            .collect();
        due.map(|(number, _)| number)
            .all(|number| came.contains(&number))
    }

    pub fn everybody_has(&self, numbers: &[usize], clients: usize) -> bool {
        let last: BTreeSet<(ClientId, usize)> = self
            .received
            .iter()
            .rev()
            .filter(|received| numbers.contains(&received.number))
            .map(|received| (received.client, received.number))
            .collect();
        last.len() >= clients * numbers.len()
    }

    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }
}

impl Sent {
    pub fn is_retained(&self) -> bool {
        self.topic.starts_with("r/") || self.topic.starts_with("m/")
    }

    pub fn is_will(&self) -> bool {
        self.topic.starts_with("w/")
    }

    /// Whether this one is judged by what sessions received: a cleared retained message has no name of its own.
    pub fn is_named(&self) -> bool {
        !self.payload.is_empty()
    }
}

impl Subscribed {
    pub fn wanted(client: ClientId, share: Option<String>, filter: &str, maximum_qos: u8) -> Self {
        Self {
            client,
            share,
            filter: filter.to_owned(),
            maximum_qos,
            identifier: None,
            asked: None,
            granted: None,
            removing: None,
            removed: None,
        }
    }

    /// The same for a session that begins.
    pub fn anew(&self) -> Self {
        Self {
            identifier: self.identifier,
            ..Self::wanted(
                self.client,
                self.share.clone(),
                &self.filter,
                self.maximum_qos,
            )
        }
    }

    pub fn matches(&self, topic: &str) -> bool {
        matches(&self.filter, topic)
    }

    /// Held by the broker from before the message was sent, for good.
    pub fn surely_holds(&self, sent: &Sent) -> bool {
        self.granted.is_some_and(|granted| granted < sent.at) && self.removing.is_none()
    }

    /// The broker may have had it at some time between the message's first sending and its acknowledgement; of a will, whose delay begins when its client is gone, at
    /// any time after.
    pub fn may_hold(&self, sent: &Sent) -> bool {
        let begun = self.asked.is_some_and(|asked| {
            sent.is_will() || sent.acknowledged.is_none_or(|done| asked < done)
        });
        let ended = self.removed.is_some_and(|removed| removed < sent.at);
        begun && !ended
    }
}

/// MQTT 5.0 section 4.7, naively, so that it owes nothing to the broker's own matcher.
pub fn matches(filter: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

/// `number|padding`: every byte follows from the number, so that what comes can be compared whole.
fn payload(number: usize, padding: usize) -> Vec<u8> {
    let mut payload = format!("{number}|").into_bytes();
    payload.extend((0..padding).map(|index| b'a' + u8::try_from((number + index) % 26).unwrap()));
    payload
}

fn number_of(payload: &[u8]) -> Option<usize> {
    let end = payload.iter().position(|byte| *byte == b'|')?;
    std::str::from_utf8(&payload[..end]).ok()?.parse().ok()
}
