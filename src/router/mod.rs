//! The routing core: what was permitted goes to every session that must get it. Nothing enters without a permit.

mod claim;
mod counters;
mod gate;
mod handle;
mod index;
mod outbox;
mod publish;
mod recent;
mod registry;
mod restore;
mod retained;
mod rights;
mod route;
mod shared;
mod store;
mod subscribe;
mod timers;
mod withheld;

pub use self::claim::{Claim, Departure, Refused};
pub use self::counters::Counters;
pub use self::gate::Gate;
pub use self::handle::{Owner, Parked, SessionHandle, Subscribed};
pub use self::outbox::{End, Outbox, Room, Taken, Wanted};
pub use self::publish::{PublishError, Published, Wakes};
pub use self::recent::Recent;
pub use self::retained::Replay;
pub use self::rights::{Judged, Rights};
pub use self::route::RouteCache;
pub use self::store::{
    Accepted, Fetch, Page, Replaying, Restored, RestoredSession, SessionRecord, Spilled, Store,
    WINDOW_BYTES, WINDOW_MESSAGES,
};
pub use self::subscribe::{Made, SubscribeError};
pub use self::withheld::{Kind as WithheldKind, Withheld};

use self::index::Index;
use self::registry::Registry;
use self::retained::Retained;
use self::route::Generations;
use self::timers::Timers;
use crate::identity::{Identity, Subject};
use crate::limits::Limits;
use crate::policy::{Compiled, Policies};
use crate::session::{MqttConfig, QueueConfig, WhenFull};
use arc_swap::ArcSwap;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// One for each node. Every method takes short locks and returns: no lock is held across an await, and no slow client slows another.
pub struct Router {
    index: RwLock<Index>,
    generations: Generations,
    registry: Registry,
    retained: Retained,
    timers: Timers,
    counters: Counters,
    withheld: withheld::List,
    policies: ArcSwap<Policies>,
    settings: ArcSwap<Settings>,
    store: Arc<dyn Store>,
    limits: Arc<Limits>,
    next_session: AtomicU64,
}

/// What the configuration says, replaced whole on reload.
struct Settings {
    mqtt: MqttConfig,
    /// The queue of a shared subscription's member: a full one is passed over, so nothing is dropped for it.
    shared_queue: QueueConfig,
}

impl Router {
    pub fn new(
        policies: Arc<Policies>,
        mqtt: MqttConfig,
        store: Arc<dyn Store>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            index: RwLock::new(Index::new()),
            generations: Generations::default(),
            registry: Registry::default(),
            retained: Retained::default(),
            timers: Timers::default(),
            counters: Counters::default(),
            withheld: withheld::List::default(),
            policies: ArcSwap::new(policies),
            settings: ArcSwap::from_pointee(Settings::new(mqtt)),
            store,
            limits,
            next_session: AtomicU64::new(1),
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    pub fn retained(&self) -> &Retained {
        &self.retained
    }

    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub fn subscription_count(&self) -> usize {
        self.index.read().len()
    }

    pub fn policies(&self) -> Arc<Policies> {
        self.policies.load_full()
    }

    /// The rights of an identity under the policies in force.
    pub fn rights(&self, subject: &Arc<Subject>) -> Arc<Compiled> {
        Arc::new(self.policies.load().compile(subject))
    }

    /// The same client under a new proof: its rights, its subscriptions and what waits for it are judged again.
    pub fn reidentify(&self, handle: &Arc<SessionHandle>, subject: &Arc<Subject>) {
        handle.set_rights(self.rights(subject));
        self.rejudge(handle);
    }

    /// The same proof with other groups, where `now` gives others.
    pub fn regroup(
        &self,
        handle: &Arc<SessionHandle>,
        now: impl Fn(&Identity) -> Option<Identity>,
    ) {
        if now(&handle.rights().subject().identity).is_none() {
            return;
        }
        handle.update_rights(|rights| match now(&rights.subject().identity) {
            None => Arc::clone(rights),
            Some(identity) => self.rights(&Arc::new(Subject {
                identity,
                ..Subject::clone(rights.subject())
            })),
        });
        self.rejudge(handle);
    }

    /// Puts new policies and settings in force. When this returns every session, connected or not, was judged again: subscriptions no longer allowed are gone, and
    /// what is queued for them is not delivered (POL-6).
    pub fn replace(&self, policies: Arc<Policies>, mqtt: MqttConfig) {
        self.policies.store(policies);
        self.settings.store(Arc::new(Settings::new(mqtt)));
        self.registry.for_each(|handle| self.rejudge(handle));
    }
}

impl Settings {
    fn new(mqtt: MqttConfig) -> Self {
        let shared_queue = QueueConfig {
            when_full: WhenFull::DropNewest,
            ..mqtt.queue.clone()
        };
        Self { mqtt, shared_queue }
    }
}

#[cfg(test)]
mod paper;
#[cfg(test)]
mod tests;
