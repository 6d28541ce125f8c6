//! The one function that takes a publish in, and the one that puts a message into an outbox (POL-3).

use super::Router;
use super::handle::SessionHandle;
use super::index::Entry;
use super::outbox::{Bounds, Pushed, Wanted};
use super::retained::Replay;
use super::route::{Route, RouteCache};
use super::shared::Group;
use super::store::{Accepted, Fetch, WINDOW_BYTES};
use crate::identity::Method;
use crate::limits;
use crate::mqtt::{QoS, Subscription};
use crate::policy::PublishPermit;
use crate::session::{
    Content, Delivery, Message, Position, QueueConfig, Reach, SessionId, WhenFull,
};
use crate::units::ByteSize;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

/// Messages asked of the store at a time.
const PAGE_MESSAGES: usize = 512;

/// What became of a publish.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Somebody gets it. Otherwise a v5 publisher is told 0x10.
    pub matched: bool,
    /// Whom it was offered to: what it cost.
    pub recipients: u64,
    /// Once this is committed it may be acknowledged.
    pub position: Position,
}

/// Connections to wake once the batch is done: one wake for many messages.
#[derive(Debug, Default)]
pub struct Wakes(pub(super) Vec<Waker>);

impl Wakes {
    pub fn wake(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake();
        }
    }
}

/// Why a permitted message was not taken. It is neither stored nor routed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    #[error("{0}")]
    Quota(#[from] limits::Refusal),
    /// A message that must survive, and a disk that takes none.
    #[error("the store takes nothing: the disk is full or failing")]
    Store,
}

impl Router {
    /// Routes a permitted message; `cache` is the publisher's own. Over the caps of retained messages, or when it could not be kept as promised, it is refused whole:
    /// 0x97, neither stored nor routed.
    pub fn publish(
        &self,
        permit: &PublishPermit,
        content: Content,
        cache: &mut RouteCache,
        now: Instant,
        wakes: &mut Wakes,
    ) -> Result<Published, PublishError> {
        // Told to outboxes and store under one commit.
        let _gate = self.store.gate();
        self.route(permit, content, cache, now, wakes)
    }

    /// The same for a caller that holds the [`Store::gate`].
    pub(super) fn route(
        &self,
        permit: &PublishPermit,
        content: Content,
        cache: &mut RouteCache,
        now: Instant,
        wakes: &mut Wakes,
    ) -> Result<Published, PublishError> {
        let received = content.received;
        let message = Arc::new(Message::new(permit, content, now));
        let publisher = message.publisher();
        // It takes its place before its receivers are looked for: who subscribes in between finds it there, who did before is found below.
        let (mut keeps, mut version) = (false, None);
        if message.retain() {
            keeps = self.keeps(&message, || true)?;
            version = Some(self.retained.set(&message, &self.limits)?);
        }
        let route = cache.route(message.topic(), &self.generations, || {
            Route::find(&self.index.read(), message.topic(), publisher)
        });
        if !message.retain() {
            self.keeps(&message, || route.outlives_connections())?;
        }
        let settings = self.settings.load();
        let bytes = message.queued_bytes();
        let mut kept = Vec::new();
        let mut dropped = 0;
        for target in &route.targets {
            let retain = message.retain() && target.retain_as_published; // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
            let qos = message.qos().min(target.maximum_qos); // [MQTT-3.8.4-8]
            if target.checked && !self.permits(&target.handle, &message, qos, retain, None) {
                continue;
            }
            let delivery = Delivery {
                message: Arc::clone(&message),
                qos,
                retain,
                subscription_identifiers: target.identifiers.clone(),
                share: None,
                sequence: 0,
                ticket: None,
            };
            let pushed = target.handle.outbox().push(
                delivery,
                bytes,
                Bounds {
                    queue: &settings.mqtt.queue,
                    now: Some(now),
                },
                self.stored(&target.handle),
                &mut wakes.0,
            );
            dropped += self.pushed(&target.handle, pushed, &mut kept);
        }
        let shared = Bounds {
            queue: &settings.shared_queue,
            now: Some(now),
        };
        for group in &route.groups {
            if !self.offer(group, &message, bytes, shared, wakes, &mut kept) {
                dropped += 1;
            }
        }
        self.counters.dropped.add(dropped);
        // What the broker says of itself is of this process: the next one says it anew.
        let retain =
            version.filter(|_| keeps && message.author().identity.method != Method::SYSTEM);
        let position = if retain.is_some() || !kept.is_empty() || received.is_some() {
            self.store.publish(Accepted {
                message: &message,
                retain,
                deliveries: kept,
                received: received.map(|identifier| (publisher, identifier)),
            })
        } else {
            Position::default()
        };
        let recipients = route.targets.len().saturating_add(route.groups.len());
        Ok(Published {
            matched: !route.is_empty(),
            recipients: u64::try_from(recipients).unwrap_or(u64::MAX),
            position,
        })
    }

    /// Whether a retained message is written too; an error when the message `must_survive` and cannot. QoS 0 promises nothing and goes on, unless it is to be retained:
    /// after a restart an older one would be back (LIM-8).
    fn keeps(
        &self,
        message: &Message,
        must_survive: impl FnOnce() -> bool,
    ) -> Result<bool, PublishError> {
        if !self.store.keeps() {
            return Ok(false);
        }
        if self.store.accepting() {
            return Ok(true);
        }
        if message.author().identity.method == Method::SYSTEM {
            return Ok(false);
        }
        if (message.retain() || message.qos() > QoS::AtMostOnce) && must_survive() {
            Err(PublishError::Store)
        } else {
            Ok(false)
        }
    }

    /// Whose ticket a delivery to this session needs.
    pub(super) fn stored(&self, handle: &SessionHandle) -> Option<SessionId> {
        (handle.is_durable() && self.store.keeps()).then(|| handle.id())
    }

    /// Sees to what a push left behind; gives how many were dropped.
    fn pushed(&self, handle: &Arc<SessionHandle>, pushed: Pushed, kept: &mut Vec<Delivery>) -> u64 {
        kept.extend(pushed.stored);
        self.expired(&pushed.expired);
        if let Some(wanted) = pushed.wanted {
            self.fetch(handle, wanted);
        }
        let displaced = pushed.displaced.is_some();
        if let Some(ticket) = pushed.displaced.and_then(|old| old.ticket) {
            self.store.settle(&ticket);
        }
        u64::from(displaced) + u64::from(!pushed.accepted)
    }

    /// Of a full queue, dropped before anything else.
    fn expired(&self, expired: &[Delivery]) {
        for delivery in expired {
            self.counters.expired_messages.add(1);
            if let Some(ticket) = &delivery.ticket {
                self.store.settle(ticket);
            }
        }
    }

    /// Asks the store for the next part of a queue; what the session may no longer get is left out.
    pub fn fetch(&self, handle: &Arc<SessionHandle>, wanted: Wanted) {
        let session = Arc::clone(handle);
        let store = Arc::clone(&self.store);
        self.store.fetch(Fetch {
            session: handle.id(),
            after: wanted.after,
            up_to: wanted.up_to,
            messages: PAGE_MESSAGES,
            bytes: WINDOW_BYTES,
            reply: Box::new(move |page| {
                let rights = session.rights();
                let (kept, withheld): (Vec<_>, Vec<_>) =
                    page.deliveries.into_iter().partition(|delivery| {
                        rights.permits_delivery(
                            delivery.message.topic(),
                            delivery.qos,
                            delivery.retain,
                            None,
                        )
                    });
                let last = kept.last().map(|delivery| delivery.sequence);
                for ticket in withheld
                    .iter()
                    .filter_map(|delivery| delivery.ticket.as_ref())
                {
                    store.settle(ticket);
                }
                let last = withheld.last().map(|delivery| delivery.sequence).max(last);
                session
                    .outbox()
                    .refill(wanted, kept, last.filter(|_| page.more));
            }),
        });
    }

    /// Hands deliveries of a member that left for good to the others of its group. MQTT 5.0 section 4.8.2
    pub(super) fn redistribute(
        &self,
        deliveries: impl Iterator<Item = Delivery>,
        wakes: &mut Wakes,
    ) {
        let settings = self.settings.load();
        let bounds = Bounds {
            queue: &settings.shared_queue,
            now: None,
        };
        for delivery in deliveries {
            let Some(group) = delivery
                .share
                .as_deref()
                .and_then(|subscription| self.index.read().group(subscription))
            else {
                continue;
            };
            let message = &delivery.message;
            let bytes = message.queued_bytes();
            let mut kept = Vec::new();
            if !self.offer(&group, message, bytes, bounds, wakes, &mut kept) {
                self.counters.dropped.add(1);
            }
            if !kept.is_empty() {
                self.store.publish(Accepted {
                    message,
                    retain: None,
                    deliveries: kept,
                    received: None,
                });
            }
        }
    }

    /// Whether a member took it.
    fn offer(
        &self,
        group: &Group,
        message: &Arc<Message>,
        bytes: usize,
        bounds: Bounds<'_>,
        wakes: &mut Wakes,
        kept: &mut Vec<Delivery>,
    ) -> bool {
        group.offer(|member: &Entry| {
            let qos = message.qos().min(member.options.maximum_qos);
            let retain = message.retain() && member.options.retain_as_published;
            if member.checked
                && !self.permits(
                    &member.handle,
                    message,
                    qos,
                    retain,
                    Some(group.subscription()),
                )
            {
                return false;
            }
            let delivery = Delivery {
                message: Arc::clone(message),
                qos,
                retain,
                subscription_identifiers: member
                    .identifier
                    .map(|identifier| Arc::from([identifier])),
                share: Some(Arc::clone(group.subscription())),
                sequence: 0,
                ticket: None,
            };
            let pushed = member.handle.outbox().push(
                delivery,
                bytes,
                bounds,
                self.stored(&member.handle),
                &mut wakes.0,
            );
            let accepted = pushed.accepted;
            kept.extend(pushed.stored);
            self.expired(&pushed.expired);
            accepted
        })
    }

    /// Retained messages for a new subscription get their places in the session's order. A durable session's go through its queue and into the store as well, and in the
    /// same commit how far the replay has come; what is left in `taken` may leave at once.
    pub(super) fn number(
        &self,
        handle: &Arc<SessionHandle>,
        taken: &mut Vec<Delivery>,
        replay: &Replay,
        goes_on: bool,
        reach: Reach,
    ) {
        /// The connection asks for no more than its client's window takes.
        const UNLIMITED: QueueConfig = QueueConfig {
            messages: usize::MAX,
            bytes: ByteSize::bytes(u64::MAX),
            when_full: WhenFull::DropNewest,
        };
        let Some(session) = self.stored(handle) else {
            handle.outbox().number(taken, reach);
            return;
        };
        let unlimited = Bounds {
            queue: &UNLIMITED,
            now: None,
        };
        let has_moved = !goes_on || !taken.is_empty();
        let gate = self.store.gate();
        // Its own connection asks: nobody is to be woken.
        let mut nobody = Vec::new();
        for delivery in taken.drain(..) {
            let message = Arc::clone(&delivery.message);
            let bytes = message.queued_bytes();
            let pushed =
                handle
                    .outbox()
                    .push(delivery, bytes, unlimited, Some(session), &mut nobody);
            let mut kept = Vec::new();
            let dropped = self.pushed(handle, pushed, &mut kept);
            self.counters.dropped.add(dropped);
            if !kept.is_empty() {
                self.store.publish(Accepted {
                    message: &message,
                    retain: None,
                    deliveries: kept,
                    received: None,
                });
            }
        }
        if has_moved {
            let state = handle.state.lock();
            let subscription = replay.subscription();
            // It may be gone by now: a policy may have taken it.
            if !state.ended
                && let Some(subscribed) = state.subscriptions.get(subscription)
            {
                let known = goes_on.then(|| replay.replaying());
                self.keep_subscription(session, subscription, *subscribed, known);
            }
        }
        drop(gate);
    }

    /// Whether a session may still have what was on its way to it.
    pub fn still_permits(&self, handle: &SessionHandle, delivery: &Delivery) -> bool {
        let share = delivery.share.as_deref();
        self.permits(
            handle,
            &delivery.message,
            delivery.qos,
            delivery.retain,
            share,
        )
    }

    /// A deny overlaps the subscription: this one message is judged (POL-1).
    pub(super) fn permits(
        &self,
        handle: &SessionHandle,
        message: &Message,
        qos: QoS,
        retain: bool,
        share: Option<&Subscription>,
    ) -> bool {
        let share = share_name(share);
        let permitted = handle
            .rights()
            .permits_delivery(message.topic(), qos, retain, share);
        if !permitted {
            self.withhold_delivery(handle, message, (qos, retain), share);
        }
        permitted
    }
}

impl Content {
    /// What a session publishes.
    pub fn from_session(
        publisher: SessionId,
        payload: bytes::Bytes,
        mut properties: Option<Box<crate::mqtt::PublishProperties>>,
    ) -> Self {
        if let Some(properties) = &mut properties {
            properties
                .user_properties
                .retain(|(name, _)| !name.as_str().starts_with(RESERVED));
        }
        Self {
            payload,
            properties,
            publisher,
            received: None,
        }
    }
}

/// User properties of this beginning are the broker's to write: nobody can forge what it says about a message (RTE-2).
const RESERVED: &str = "wardgate-";

pub(super) fn share_name(subscription: Option<&Subscription>) -> Option<&str> {
    subscription
        .and_then(|subscription| subscription.share.as_ref())
        .map(|share| share.as_str())
}
