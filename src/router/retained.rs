//! Retained messages: the last one of each topic, replayed to new subscriptions a window at a time. MQTT 5.0 section 3.3.1.3

use super::handle::{Owner, Subscribed};
use super::store::Replaying;
use crate::identity::{Method, Subject};
use crate::limits::{self, Limits, RetainedClaim};
use crate::mqtt::{QoS, Subscription, SubscriptionIdentifier, TopicName};
use crate::policy::{Compiled, Policies};
use crate::session::{Delivery, Message};
use ahash::AHashMap;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Ordered by topic, so that a replay can stop anywhere and go on from there without holding a copy of it all.
#[derive(Default)]
pub struct Retained {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    messages: BTreeMap<TopicName, Entry>,
    expiring: BTreeMap<(Instant, u64), TopicName>,
    bytes: u64,
    /// Counts changes: a replay leaves out what was retained after its SUBSCRIBE, since that comes as a live message.
    version: u64,
}

struct Entry {
    message: Arc<Message>,
    version: u64,
    /// The policy generation under which the author was last judged, and the verdict in the lowest bit.
    judged: AtomicU64,
    /// Its place under `limits.state.retained`; the broker's own messages need none.
    claim: Option<RetainedClaim>,
}

/// Where a new subscription's replay stands. What the subscription was granted is not here: that may change before the replay is over (POL-6).
#[derive(Clone, Debug)]
pub struct Replay {
    subscription: Subscription,
    identifiers: Option<Arc<[SubscriptionIdentifier]>>,
    after: Option<TopicName>,
    as_of: u64,
}

/// A message as a search came upon it.
struct Candidate {
    message: Arc<Message>,
    version: u64,
    judged: u64,
}

/// The rights of those whose messages a step judges: each is compiled once for it. By their place in memory, which rights hold.
#[derive(Default)]
struct Authors(AHashMap<*const Subject, Compiled>);

/// Topics looked at in one step.
const STEP: usize = 2048;
/// Messages that are judged before the step asks whether it was enough, and the authors compiled in it that are: with very many policies that takes its time.
const AUTHORS: usize = 64;

impl Retained {
    /// Keeps the message, or forgets its topic when the payload is empty. [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7]
    /// Over a cap nothing is changed. Gives the number of the change: later ones have higher ones.
    pub fn set(&self, message: &Arc<Message>, limits: &Limits) -> Result<u64, limits::Refusal> {
        let mut inner = self.inner.write();
        inner.version += 1;
        let version = inner.version;
        let mut old = inner.messages.remove(message.topic());
        if message.payload().is_empty() {
            old.map(|entry| inner.forget(entry));
            return Ok(version);
        }
        let claim = match claim(message, old.as_mut(), limits) {
            Ok(claim) => claim,
            Err(refusal) => {
                inner
                    .messages
                    .extend(old.map(|entry| (message.topic().clone(), entry)));
                return Err(refusal);
            }
        };
        old.map(|entry| inner.forget(entry));
        inner.insert(message, version, claim);
        Ok(version)
    }

    /// A message that was kept takes its place again, over the caps or not.
    pub fn restore(&self, message: &Arc<Message>, version: u64, limits: &Limits) {
        let identity = &message.author().identity;
        let claim = limits.adopt_retained(&identity.namespace, &identity.username, cost(message));
        let mut inner = self.inner.write();
        inner.version = inner.version.max(version);
        inner.insert(message, version, claim);
    }

    /// A replay that was not over when the last process ended. Later changes are numbered behind it.
    pub fn restore_replay(
        &self,
        subscription: Subscription,
        subscribed: Subscribed,
        replaying: Replaying,
    ) -> Replay {
        let mut inner = self.inner.write();
        inner.version = inner.version.max(replaying.as_of);
        Replay {
            after: replaying.after,
            ..Replay::new(subscription, subscribed, replaying.as_of)
        }
    }

    /// `None`: nothing is retained that the subscription asks for.
    pub fn replay(&self, subscription: &Subscription, subscribed: Subscribed) -> Option<Replay> {
        let inner = self.inner.read();
        let filter = &subscription.filter;
        let prefix = literal_prefix(filter.as_str());
        let mut near = inner
            .messages
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(topic, _)| topic)
            .take_while(|topic| topic.as_str().starts_with(prefix));
        let is_found = near.by_ref().take(STEP).any(|topic| filter.matches(topic));
        // What is further away is looked for in steps.
        (is_found || near.next().is_some())
            .then(|| Replay::new(subscription.clone(), subscribed, inner.version))
    }

    pub fn find(&self, topic: &TopicName) -> Option<Arc<Message>> {
        self.inner
            .read()
            .messages
            .get(topic)
            .map(|entry| Arc::clone(&entry.message))
    }

    /// Drops what has expired, at most a step at a time; gives what was dropped, with its version.
    pub fn sweep(&self, now: Instant) -> Vec<(Arc<Message>, u64)> {
        let mut swept = Vec::new();
        let mut inner = self.inner.write();
        while swept.len() < STEP
            && let Some(first) = inner.expiring.first_entry()
            && first.key().0 <= now
        {
            let version = first.key().1;
            let topic = first.remove();
            if inner
                .messages
                .get(&topic)
                .is_some_and(|entry| entry.version == version)
                && let Some(entry) = inner.messages.remove(&topic)
            {
                swept.push((inner.forget(entry), version));
            }
        }
        swept
    }

    /// Messages and bytes held.
    pub fn load(&self) -> (usize, u64) {
        let inner = self.inner.read();
        (inner.messages.len(), inner.bytes)
    }

    /// Offers `take` the next matching messages until it has taken `room` of them; false when the replay is over.
    /// `policies` judges each author again when the rules have changed since (POL-7). Nobody else waits for that: the table is free meanwhile.
    pub fn resume(
        &self,
        replay: &mut Replay,
        (room, maximum_qos): (usize, QoS),
        policies: Option<&Arc<Policies>>,
        now: Instant,
        mut take: impl FnMut(Delivery) -> bool,
    ) -> bool {
        let (mut left, mut looked_at) = (room, 0);
        let mut authors = Authors::default();
        loop {
            let (found, goes_on) = self.search(replay, left.min(AUTHORS), &mut looked_at, now);
            for candidate in found {
                if !self.author_may_publish(&candidate, policies, &mut authors) {
                    continue;
                }
                let taken = take(Delivery {
                    qos: candidate.message.qos().min(maximum_qos),
                    message: candidate.message,
                    retain: true, // [MQTT-3.3.1-8]
                    subscription_identifiers: replay.identifiers.clone(),
                    share: None,
                    sequence: 0,
                    ticket: None,
                });
                left = left.saturating_sub(usize::from(taken));
            }
            if !goes_on || left == 0 || looked_at >= STEP || authors.0.len() >= AUTHORS {
                return goes_on;
            }
        }
    }

    /// The next matching messages, `most` of them at the most, and whether there may be more behind them.
    fn search(
        &self,
        replay: &mut Replay,
        most: usize,
        looked_at: &mut usize,
        now: Instant,
    ) -> (Vec<Candidate>, bool) {
        let mut found = Vec::new();
        let inner = self.inner.read();
        let filter = &replay.subscription.filter;
        let prefix = literal_prefix(filter.as_str());
        let start = replay.after.clone();
        let from: Bound<&str> = match &start {
            Some(topic) => Bound::Excluded(topic.as_str()),
            None => Bound::Included(prefix),
        };
        for (topic, entry) in inner
            .messages
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(topic, _)| topic.as_str().starts_with(prefix))
        {
            if *looked_at >= STEP || found.len() >= most {
                return (found, true);
            }
            *looked_at += 1;
            replay.after = Some(topic.clone());
            let fits = entry.version <= replay.as_of
                && filter.matches(topic)
                && !entry.message.is_expired(now);
            if fits {
                found.push(Candidate {
                    message: Arc::clone(&entry.message),
                    version: entry.version,
                    judged: entry.judged.load(Ordering::Relaxed),
                });
            }
        }
        (found, false)
    }

    fn author_may_publish(
        &self,
        candidate: &Candidate,
        policies: Option<&Arc<Policies>>,
        authors: &mut Authors,
    ) -> bool {
        let message = &candidate.message;
        let author = message.author();
        let Some(policies) = policies.filter(|_| author.identity.method != Method::SYSTEM) else {
            return true;
        };
        let generation = policies.generation();
        if candidate.judged >> 1 == generation {
            return candidate.judged & 1 == 1;
        }
        let permitted = authors
            .rights(policies, author)
            .permit_publish(message.topic().clone(), message.qos(), true)
            .is_ok();
        let inner = self.inner.read();
        if let Some(entry) = inner.messages.get(message.topic())
            && entry.version == candidate.version
        {
            entry
                .judged
                .store(generation << 1 | u64::from(permitted), Ordering::Relaxed);
        }
        permitted
    }
}

impl Authors {
    fn rights(&mut self, policies: &Arc<Policies>, author: &Arc<Subject>) -> &Compiled {
        // Each connection has one subject, and all that it retained shares it.
        self.0
            .entry(Arc::as_ptr(author))
            .or_insert_with(|| policies.compile(author))
    }
}

impl Replay {
    fn new(subscription: Subscription, subscribed: Subscribed, as_of: u64) -> Self {
        Self {
            subscription,
            identifiers: subscribed
                .identifier
                .map(|identifier| Arc::from([identifier])),
            after: None,
            as_of,
        }
    }

    /// As the store keeps it.
    pub fn replaying(&self) -> Replaying {
        Replaying {
            as_of: self.as_of,
            after: self.after.clone(),
        }
    }

    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }
}

impl Inner {
    fn insert(&mut self, message: &Arc<Message>, version: u64, claim: Option<RetainedClaim>) {
        if let Some(at) = message.expires_at() {
            self.expiring.insert((at, version), message.topic().clone());
        }
        self.bytes += cost(message);
        // Judged under generation 0, that is: not since it was retained.
        let entry = Entry {
            message: Arc::clone(message),
            version,
            judged: AtomicU64::new(0),
            claim,
        };
        self.messages.insert(message.topic().clone(), entry);
    }

    fn forget(&mut self, entry: Entry) -> Arc<Message> {
        self.bytes = self.bytes.saturating_sub(cost(&entry.message));
        if let Some(at) = entry.message.expires_at() {
            self.expiring.remove(&(at, entry.version));
        }
        entry.message
    }
}

/// The topics of a filter lie together in the order of names as far as it has no wildcard.
fn literal_prefix(filter: &str) -> &str {
    let end = filter.find(['+', '#']).unwrap_or(filter.len());
    let prefix = filter.get(..end).unwrap_or_default();
    // `a/#` matches `a` as well.
    if filter.get(end..) == Some("#") {
        prefix.strip_suffix('/').unwrap_or(prefix)
    } else {
        prefix
    }
}

fn cost(message: &Message) -> u64 {
    u64::try_from(message.queued_bytes()).unwrap_or(u64::MAX)
}

/// An author's next message takes the place of his last; anybody else's needs one of its own. `old` keeps its place when there is no room.
fn claim(
    message: &Message,
    old: Option<&mut Entry>,
    limits: &Limits,
) -> Result<Option<RetainedClaim>, limits::Refusal> {
    let identity = &message.author().identity;
    if identity.method == Method::SYSTEM {
        return Ok(None);
    }
    if let Some(entry) = old
        && Owner::of(entry.message.author()) == Owner::of(message.author())
        && let Some(claim) = &mut entry.claim
    {
        limits.resize_retained(claim, cost(message))?;
        return Ok(entry.claim.take());
    }
    limits
        .claim_retained(&identity.namespace, &identity.username, cost(message))
        .map(Some)
}
