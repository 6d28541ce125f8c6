//! The one function that takes a publish in, and the one that puts a message into an outbox (POL-3).

use super::Router;
use super::handle::SessionHandle;
use super::index::Entry;
use super::route::{Route, RouteCache};
use super::shared::Group;
use crate::limits;
use crate::mqtt::{QoS, Subscription};
use crate::policy::PublishPermit;
use crate::session::{Content, Delivery, Message, Position, QueueConfig, SessionId};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

/// What became of a publish.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Somebody gets it. Otherwise a v5 publisher is told 0x10.
    pub matched: bool,
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

impl Router {
    /// Routes a permitted message; `cache` is the publisher's own. A retained message over its caps is refused whole: 0x97, neither stored nor routed.
    pub fn publish(
        &self,
        permit: PublishPermit,
        content: Content,
        cache: &mut RouteCache,
        now: Instant,
        wakes: &mut Wakes,
    ) -> Result<Published, limits::Refusal> {
        let message = Arc::new(Message::new(permit, content, now));
        let position = Position::default();
        if message.retain() {
            self.retained.set(&message, &self.limits)?;
        }
        let publisher = message.publisher();
        let route = cache.route(message.topic(), &self.generations, || {
            Route::find(&self.index.read(), message.topic(), publisher)
        });
        if route.is_empty() {
            return Ok(Published {
                matched: false,
                position,
            });
        }
        let settings = self.settings.load();
        let bytes = message.queued_bytes();
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
            dropped += target
                .handle
                .outbox()
                .push(delivery, bytes, &settings.mqtt.queue, &mut wakes.0)
                .dropped();
        }
        for group in &route.groups {
            if self
                .offer(group, &message, bytes, &settings.shared_queue, wakes)
                .is_none()
            {
                dropped += 1;
            }
        }
        self.counters.dropped.add(dropped);
        Ok(Published {
            matched: true,
            position,
        })
    }

    /// Hands deliveries of a member that left for good to the others of its group. MQTT 5.0 section 4.8.2
    pub(super) fn redistribute(
        &self,
        deliveries: impl Iterator<Item = Delivery>,
        wakes: &mut Wakes,
    ) {
        let settings = self.settings.load();
        for delivery in deliveries {
            let Some(group) = delivery
                .share
                .as_deref()
                .and_then(|subscription| self.index.read().group(subscription))
            else {
                continue;
            };
            let bytes = delivery.message.queued_bytes();
            if self
                .offer(
                    &group,
                    &delivery.message,
                    bytes,
                    &settings.shared_queue,
                    wakes,
                )
                .is_none()
            {
                self.counters.dropped.add(1);
            }
        }
    }

    fn offer(
        &self,
        group: &Group,
        message: &Arc<Message>,
        bytes: usize,
        queue: &QueueConfig,
        wakes: &mut Wakes,
    ) -> Option<Arc<SessionHandle>> {
        let mut taken_by = None;
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
            let accepted = member
                .handle
                .outbox()
                .push(delivery, bytes, queue, &mut wakes.0)
                .dropped()
                == 0;
            if accepted {
                taken_by = Some(Arc::clone(&member.handle));
            }
            accepted
        });
        taken_by
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
        self.counters.withheld.add(u64::from(!permitted));
        permitted
    }
}

impl super::outbox::Pushed {
    fn dropped(&self) -> u64 {
        match self {
            Self::Queued => 0,
            Self::Displaced(_) | Self::Dropped(_) => 1,
        }
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
