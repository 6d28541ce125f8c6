//! A session as the rest of the broker sees it: who owns it, what waits for it, what it subscribed to.

use super::outbox::{End, Outbox};
use super::retained::Replay;
use crate::identity::Subject;
use crate::limits::SessionClaim;
use crate::mqtt::{Subscription, SubscriptionIdentifier, SubscriptionOptions, Will};
use crate::policy::Compiled;
use crate::session::{Carried, SessionId};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::oneshot;

/// Lives from CONNECT until the session ends for good; its connection comes and goes.
pub struct SessionHandle {
    id: SessionId,
    client_id: Arc<str>,
    owner: Owner,
    outbox: Outbox,
    /// The owner's rights as they are now; replaced when policies or the identity change.
    rights: ArcSwap<Compiled>,
    /// How often it was judged again.
    judged: AtomicU64,
    /// The last look at what was withheld that something of this session was put down for.
    withheld_at: AtomicU64,
    durable: AtomicBool,
    /// The store has a record of it.
    kept: AtomicBool,
    pub(super) state: Mutex<State>,
}

/// A session belongs to (name space, username, client identifier): compared before anything of it is read, resumed or discarded (SES-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub namespace: Arc<str>,
    pub username: Arc<str>,
}

#[derive(Default)]
pub(super) struct State {
    pub attached: bool,
    pub ended: bool,
    /// Its place under `limits.state`, until it has ended: publishers remember handles for longer.
    pub claim: Option<SessionClaim>,
    pub subscriptions: BTreeMap<Subscription, Subscribed>,
    pub parked: Option<Box<Parked>>,
    /// Connections that want to take over, at most [`SessionHandle::MAX_WAITERS`].
    pub waiters: Vec<oneshot::Sender<()>>,
    pub will: Option<Box<Will>>,
    pub will_at: Option<Instant>,
    pub expires_at: Option<Instant>,
    /// In seconds, as it was agreed when the last connection ended.
    pub session_expiry_interval: u32,
}

/// What a session without a connection keeps.
#[derive(Default)]
pub struct Parked {
    pub carried: Carried,
    pub replays: Vec<Replay>,
}

/// A subscription as its session knows it.
#[derive(Clone, Copy, Debug)]
pub struct Subscribed {
    pub options: SubscriptionOptions,
    pub identifier: Option<SubscriptionIdentifier>,
    pub checked: bool,
}

impl SessionHandle {
    /// More that wait for one client identifier are refused as busy.
    pub const MAX_WAITERS: usize = 16;

    pub(super) fn new(
        id: SessionId,
        subject: &Subject,
        rights: Arc<Compiled>,
        claim: Option<SessionClaim>,
    ) -> Self {
        Self {
            id,
            client_id: Arc::clone(&subject.client_id),
            owner: Owner::of(subject),
            outbox: Outbox::default(),
            rights: ArcSwap::new(rights),
            judged: AtomicU64::new(0),
            withheld_at: AtomicU64::new(0),
            durable: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            state: Mutex::new(State {
                attached: true,
                claim,
                ..State::default()
            }),
        }
    }

    pub fn id(&self) -> SessionId {
        self.id
    }

    pub fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    /// Whether something was put down for this look before.
    pub(super) fn told_withheld(&self, look: u64) -> bool {
        self.withheld_at.swap(look, Ordering::Relaxed) == look
    }

    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub fn rights(&self) -> arc_swap::Guard<Arc<Compiled>> {
        self.rights.load()
    }

    pub(super) fn set_rights(&self, rights: Arc<Compiled>) {
        self.rights.store(rights);
    }

    /// Rights made from those of now, whoever else changes them at the same moment.
    pub(super) fn update_rights(&self, update: impl FnMut(&Arc<Compiled>) -> Arc<Compiled>) {
        self.rights.rcu(update);
    }

    /// Moves on once its rights and its subscriptions are those of a new judgement, and before what waits for it is judged: whoever reads the same before and after
    /// some work did it by rights that stand, or the judgement finds what came of it.
    pub fn judged(&self) -> u64 {
        self.judged.load(Ordering::Acquire)
    }

    pub(super) fn advance_judged(&self) {
        self.judged.fetch_add(1, Ordering::Release);
    }

    /// Outlives its connection: what it must get is stored before it is acknowledged.
    pub fn is_durable(&self) -> bool {
        self.durable.load(Ordering::Relaxed)
    }

    pub(super) fn set_durable(&self, durable: bool) {
        self.durable.store(durable, Ordering::Relaxed);
    }

    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    pub(super) fn set_kept(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    pub fn subscription_count(&self) -> usize {
        self.state.lock().subscriptions.len()
    }

    pub fn is_subscribed(&self, subscription: &Subscription) -> bool {
        self.state.lock().subscriptions.contains_key(subscription)
    }

    pub fn subscriptions(&self) -> Vec<(Subscription, Subscribed)> {
        self.state
            .lock()
            .subscriptions
            .iter()
            .map(|(subscription, subscribed)| (subscription.clone(), *subscribed))
            .collect()
    }

    /// Asks its connection, if any, to end.
    pub fn end(&self, end: End) {
        self.outbox.end(end);
    }
}

impl Owner {
    pub fn of(subject: &Subject) -> Self {
        Self {
            namespace: Arc::clone(&subject.identity.namespace),
            username: Arc::clone(&subject.identity.username),
        }
    }
}
