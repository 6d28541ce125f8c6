//! Subscriptions come and go, and are judged again when the rules change. MQTT 5.0 sections 3.8 and 3.10

use super::handle::{SessionHandle, Subscribed};
use super::index::Entry;
use super::publish::{Wakes, share_name};
use super::retained::Replay;
use super::store::Replaying;
use super::{Parked, Router};
use crate::mqtt::{QoS, RetainHandling, Subscription, SubscriptionIdentifier, SubscriptionOptions};
use crate::policy::{self, Denial, SubscribePermit};
use crate::session::{Delivery, Position, Reach, SessionId};
use std::collections::btree_map;
use std::sync::Arc;
use std::time::Instant;

/// Why a permitted subscription was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The rights changed since it was permitted, and do not permit it now.
    #[error("{0}")]
    Denied(Denial),
    #[error("more than {0} subscriptions")]
    TooMany(usize),
    #[error("the session has ended")]
    Ended,
    #[error("the store takes nothing: the disk is full or failing")]
    Store,
}

/// A subscription that was made.
pub struct Made {
    /// What it was made by: the one given, or one of newer rights.
    pub permit: SubscribePermit,
    pub granted: QoS,
    /// Retained messages that it asks for.
    pub replay: Option<Replay>,
    /// Once this is committed the client may be told.
    pub position: Position,
}

impl Router {
    /// Makes or replaces a subscription with what the permit grants; gives the replay of retained messages that it asks for, if any. [MQTT-3.3.1-9] to [MQTT-3.3.1-11]
    pub fn subscribe(
        &self,
        handle: &Arc<SessionHandle>,
        permit: SubscribePermit,
        options: SubscriptionOptions,
        identifier: Option<SubscriptionIdentifier>,
    ) -> Result<Made, SubscribeError> {
        let subscription = permit.subscription().detached();
        let mut position = Position::default();
        if self.stored(handle).is_some() && !self.store.accepting() {
            return Err(SubscribeError::Store);
        }
        let (permit, granted, replay) = {
            let mut state = handle.state.lock();
            if state.ended {
                return Err(SubscribeError::Ended);
            }
            // Under the lock that a new judgement of the session takes after its rights have changed: either it finds this subscription, or we find those rights (POL-6).
            let permit = handle
                .rights()
                .renew(permit, options.maximum_qos)
                .map_err(SubscribeError::Denied)?;
            let options = SubscriptionOptions {
                maximum_qos: options.maximum_qos.min(permit.maximum_qos()),
                ..options
            };
            let subscribed = Subscribed {
                options,
                identifier,
                checked: permit.delivery() == policy::Delivery::Checked,
            };
            let maximum = self.settings.load().mqtt.max_subscriptions_per_client;
            let count = state.subscriptions.len();
            let is_new = match state.subscriptions.entry(subscription.clone()) {
                btree_map::Entry::Occupied(mut known) => {
                    known.insert(subscribed);
                    false
                }
                btree_map::Entry::Vacant(_) if count >= maximum => {
                    return Err(SubscribeError::TooMany(maximum));
                }
                btree_map::Entry::Vacant(place) => {
                    place.insert(subscribed);
                    true
                }
            };
            // In the index before the lock goes: an end of the session in between would leave an orphan.
            self.insert(handle, &subscription, subscribed);
            let replays = match options.retain_handling {
                RetainHandling::SendAtSubscribe => true,
                RetainHandling::SendIfNew => is_new,
                RetainHandling::DoNotSend => false,
            };
            // A shared subscription gets no retained messages when it is made. MQTT 5.0 section 4.8.2
            let replay = (replays && subscription.share.is_none())
                .then(|| self.retained.replay(&subscription, subscribed))
                .flatten();
            if let Some(session) = self.stored(handle) {
                let known = replay.as_ref().map(Replay::replaying);
                position = self.keep_subscription(session, &subscription, subscribed, known);
            }
            (permit, options.maximum_qos, replay)
        };
        Ok(Made {
            permit,
            granted,
            replay,
            position,
        })
    }

    /// Where the store has it that the subscription is gone, if there was one. [MQTT-3.10.4-1]
    pub fn unsubscribe(
        &self,
        handle: &Arc<SessionHandle>,
        subscription: &Subscription,
    ) -> Option<Position> {
        let mut state = handle.state.lock();
        state.subscriptions.remove(subscription)?;
        self.remove(subscription, handle.id());
        Some(match self.stored(handle) {
            Some(session) => self.store.unsubscribe(session, subscription),
            None => Position::default(),
        })
    }

    /// The next retained messages of a replay, as many as `room` says and `reach` has identifiers for; false when it is over.
    pub fn replay(
        &self,
        handle: &Arc<SessionHandle>,
        replay: &mut Replay,
        (room, reach): (usize, Reach),
        now: Instant,
        taken: &mut Vec<Delivery>,
    ) -> bool {
        let policies = self
            .settings
            .load()
            .mqtt
            .retained
            .check_author
            .then(|| self.policies.load_full());
        if room == 0 {
            return true;
        }
        let judged = handle.judged();
        // As it is now: a reload may have narrowed it, or taken it, since the replay began (POL-6).
        let subscribed = {
            let state = handle.state.lock();
            state.subscriptions.get(replay.subscription()).copied()
        };
        let Some(Subscribed {
            options, checked, ..
        }) = subscribed
        else {
            return false;
        };
        let (window, policies) = ((room, options.maximum_qos), policies.as_ref());
        let goes_on = self
            .retained
            .resume(replay, window, policies, now, |delivery| {
                let permitted =
                    !checked || self.permits(handle, &delivery.message, delivery.qos, true, None);
                taken.extend(permitted.then_some(delivery));
                permitted
            });
        self.number(handle, taken, replay, goes_on, reach);
        if handle.judged() != judged {
            taken.retain(|delivery| {
                self.permits(handle, &delivery.message, delivery.qos, true, None)
            });
            self.withhold(handle);
        }
        goes_on
    }

    /// With how far its retained messages have come, where they have not all.
    pub(super) fn keep_subscription(
        &self,
        session: SessionId,
        subscription: &Subscription,
        subscribed: Subscribed,
        replaying: Option<Replaying>,
    ) -> Position {
        match replaying {
            Some(replaying) => {
                self.store
                    .subscribe_replaying(session, subscription, subscribed, replaying)
            }
            None => self.store.subscribe(session, subscription, subscribed),
        }
    }

    /// Judges a session again under the policies in force: its subscriptions, its queue, its replays, and then its connection's own memory (POL-6).
    pub(super) fn rejudge(&self, handle: &Arc<SessionHandle>) {
        handle.update_rights(|rights| self.rights(rights.subject()));
        let rights = Arc::clone(&handle.rights());
        {
            let mut state = handle.state.lock();
            let subscriptions = std::mem::take(&mut state.subscriptions);
            for (subscription, mut subscribed) in subscriptions {
                match rights.permit_subscribe(&subscription, subscribed.options.maximum_qos) {
                    Ok(permit) => {
                        subscribed.options.maximum_qos =
                            subscribed.options.maximum_qos.min(permit.maximum_qos());
                        subscribed.checked = permit.delivery() == policy::Delivery::Checked;
                        self.insert(handle, &subscription, subscribed);
                        state.subscriptions.insert(subscription, subscribed);
                    }
                    Err(_) => {
                        self.remove(&subscription, handle.id());
                        if let Some(session) = self.stored(handle) {
                            self.store.unsubscribe(session, &subscription);
                        }
                    }
                }
            }
            let state = &mut *state;
            if let Some(parked) = &mut state.parked {
                parked
                    .replays
                    .retain(|replay| state.subscriptions.contains_key(replay.subscription()));
            }
        }
        handle.advance_judged();
        self.withhold(handle);
        handle.outbox().rejudge();
    }

    /// What waits for a session and may not reach it any more goes.
    fn withhold(&self, handle: &SessionHandle) {
        let rights = handle.rights();
        let refused = handle.outbox().withdraw(|delivery| {
            let share = share_name(delivery.share.as_deref());
            rights.permits_delivery(
                delivery.message.topic(),
                delivery.qos,
                delivery.retain,
                share,
            )
        });
        if refused.is_empty() {
            return;
        }
        let mut wakes = Wakes::default();
        // One commit: what moves to others leaves this session in the same moment.
        let gate = self.store.gate();
        for ticket in refused
            .iter()
            .filter_map(|delivery| delivery.ticket.as_ref())
        {
            self.store.settle(ticket);
        }
        // What it had of shared subscriptions is the other members' to have. MQTT 5.0 section 4.8.2
        let (shared, own): (Vec<_>, Vec<_>) = refused
            .into_iter()
            .partition(|delivery| delivery.share.is_some());
        self.counters
            .withheld
            .add(u64::try_from(own.len()).unwrap_or(u64::MAX));
        self.redistribute(shared.into_iter(), &mut wakes);
        drop(gate);
        wakes.wake();
    }

    pub(super) fn insert(
        &self,
        handle: &Arc<SessionHandle>,
        subscription: &Subscription,
        subscribed: Subscribed,
    ) {
        let Subscribed {
            options,
            identifier,
            checked,
        } = subscribed;
        self.index.write().insert(
            subscription,
            Entry {
                handle: Arc::clone(handle),
                options,
                identifier,
                checked,
            },
        );
        self.generations.advance(subscription.filter.as_str());
    }

    pub(super) fn remove(&self, subscription: &Subscription, session: SessionId) {
        self.index.write().remove(subscription, session);
        self.generations.advance(subscription.filter.as_str());
    }
}

impl Parked {
    pub fn new(carried: crate::session::Carried, replays: Vec<Replay>) -> Self {
        Self { carried, replays }
    }
}
