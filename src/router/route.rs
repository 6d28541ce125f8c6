//! Where a topic's messages go: found in the index once, remembered by each publisher while the subscriptions stand.

use super::handle::SessionHandle;
use super::index::{Entry, Index, Subscribers};
use super::recent::Recent;
use super::shared::Group;
use crate::mqtt::{QoS, SubscriptionIdentifier, TopicName};
use crate::session::SessionId;
use ahash::AHashMap;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who gets the messages of one topic from one publisher.
pub struct Route {
    pub targets: SmallVec<[Target; 1]>,
    pub groups: Vec<Arc<Group>>,
}

/// One session, with its matching subscriptions folded into one copy. MQTT 5.0 section 3.3.4
#[derive(Clone)]
pub struct Target {
    pub handle: Arc<SessionHandle>,
    /// The highest that any of them was granted. [MQTT-3.3.4-2]
    pub maximum_qos: QoS,
    pub retain_as_published: bool,
    pub checked: bool,
    pub identifiers: Option<Arc<[SubscriptionIdentifier]>>,
}

impl Route {
    /// What `publisher` reaches: its own No Local subscriptions are left out. [MQTT-3.8.3-3]
    pub fn find(index: &Index, topic: &TopicName, publisher: SessionId) -> Self {
        let mut lists: SmallVec<[&Subscribers; 8]> = SmallVec::new();
        index.matching(topic, |subscribers| lists.push(subscribers));
        let mut route = Self {
            targets: SmallVec::with_capacity(lists.iter().map(|list| list.plain_len()).sum()),
            groups: Vec::new(),
        };
        // One filter alone names each session once: only several can overlap.
        let mut places: Option<AHashMap<SessionId, usize>> = (lists.len() > 1).then(AHashMap::new);
        for list in lists {
            route.groups.extend(list.groups().cloned());
            for entry in list.plain() {
                if entry.options.no_local && entry.handle.id() == publisher {
                    continue;
                }
                let known = places.as_mut().and_then(|places| {
                    let next = route.targets.len();
                    let place = *places.entry(entry.handle.id()).or_insert(next);
                    (place != next).then_some(place)
                });
                match known.and_then(|place| route.targets.get_mut(place)) {
                    Some(target) => target.fold(entry),
                    None => route.targets.push(Target::from(entry)),
                }
            }
        }
        route
    }

    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.groups.is_empty()
    }

    /// Somebody is to get it even if the process ends.
    pub fn outlives_connections(&self) -> bool {
        let mut targets = self.targets.iter();
        !self.groups.is_empty() || targets.any(|target| target.handle.is_durable())
    }
}

impl Target {
    fn fold(&mut self, entry: &Entry) {
        self.maximum_qos = self.maximum_qos.max(entry.options.maximum_qos);
        self.retain_as_published |= entry.options.retain_as_published;
        self.checked |= entry.checked;
        if let Some(identifier) = entry.identifier {
            // All that match, on the one copy. [MQTT-3.3.4-4]
            let all = self
                .identifiers
                .iter()
                .flat_map(|identifiers| identifiers.iter().copied())
                .chain([identifier]);
            self.identifiers = Some(all.collect());
        }
    }
}

impl From<&Entry> for Target {
    fn from(entry: &Entry) -> Self {
        Self {
            handle: Arc::clone(&entry.handle),
            maximum_qos: entry.options.maximum_qos,
            retain_as_published: entry.options.retain_as_published,
            checked: entry.checked,
            identifiers: entry.identifier.map(|identifier| Arc::from([identifier])),
        }
    }
}

/// Counts changes of the index, apart for each first level, so that one client's SUBSCRIBE does not make every publisher look again.
pub struct Generations {
    /// Filters that begin with a wildcard concern every topic.
    any: AtomicU64,
    first_levels: [AtomicU64; SHARDS],
}

const SHARDS: usize = 256;

impl Default for Generations {
    fn default() -> Self {
        Self {
            any: AtomicU64::new(0),
            first_levels: [const { AtomicU64::new(0) }; SHARDS],
        }
    }
}

impl Generations {
    pub fn advance(&self, filter: &str) {
        let first = first_level(filter);
        if matches!(first, "+" | "#") {
            self.any.fetch_add(1, Ordering::Release);
        } else if let Some(generation) = self.first_levels.get(shard(first)) {
            generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Both counters only grow: their sum stands still exactly while both do.
    fn stamp(&self, shard: usize) -> u64 {
        self.first_levels
            .get(shard)
            .map_or(0, |generation| generation.load(Ordering::Acquire))
            + self.any.load(Ordering::Acquire)
    }
}

fn first_level(topic: &str) -> &str {
    topic.split('/').next().unwrap_or(topic)
}

/// FNV-1a: spreads, and need not withstand anybody: a collision only makes a publisher look again.
fn shard(level: &str) -> usize {
    let hash = level.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from((hash ^ (hash >> 32)) & 0xff).unwrap_or(0)
}

/// A publisher's routes by topic.
#[derive(Default)]
pub struct RouteCache {
    routes: Recent<Cached>,
}

struct Cached {
    shard: usize,
    stamp: u64,
    route: Arc<Route>,
}

impl RouteCache {
    /// The route, from memory while the index has not changed under this topic's first level.
    pub fn route(
        &mut self,
        topic: &TopicName,
        generations: &Generations,
        find: impl FnOnce() -> Route,
    ) -> Arc<Route> {
        if let Some(cached) = self.routes.find(topic)
            && cached.stamp == generations.stamp(cached.shard)
        {
            return Arc::clone(&cached.route);
        }
        let shard = shard(first_level(topic.as_str()));
        // Read before the search: a change in between makes the next look-up search again.
        let stamp = generations.stamp(shard);
        let route = Arc::new(find());
        self.routes.remember(topic, || Cached {
            shard,
            stamp,
            route: Arc::clone(&route),
        });
        route
    }
}
