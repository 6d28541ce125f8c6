//! A client identifier is claimed at CONNECT, taken over, parked at disconnect, and given up when the session ends. MQTT 5.0 section 3.1.4

use super::handle::{Owner, Parked, SessionHandle, State};
use super::outbox::End;
use super::publish::Wakes;
use super::store::SessionRecord;
use super::withheld::{Kind, Withheld};
use super::{RouteCache, Router};
use crate::limits;
use crate::mqtt::{ReasonCode, Will};
use crate::policy::Compiled;
use crate::session::{Content, SessionId};
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What a CONNECT meets under its client identifier.
pub enum Claim {
    New(Arc<SessionHandle>),
    /// Session Present. [MQTT-3.2.2-3]
    Resumed(Arc<SessionHandle>, Box<Parked>),
    /// Its earlier connection was told to go; ask again when this resolves.
    Wait(oneshot::Receiver<()>),
    Refused(Refused),
}

/// Why a client identifier could not be claimed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    #[error("the client identifier belongs to {:?} of {:?}", .0.username, .0.namespace)]
    Owned(Owner),
    #[error("{0}")]
    Quota(#[from] limits::Refusal),
    #[error("too many connections wait to take this client identifier over")]
    Contended,
}

/// How a connection left its session.
pub struct Departure {
    pub parked: Parked,
    /// In seconds; 0: the session ends now, `u32::MAX`: never. [MQTT-3.1.2-23]
    pub session_expiry_interval: u32,
    /// Not there after a DISCONNECT that says so. [MQTT-3.1.2-10]
    pub will: Option<Will>,
}

impl Router {
    /// Claims the identifier for an admitted client. The owner is compared before anything else is looked at (SES-1).
    pub fn claim(
        &self,
        rights: &Arc<Compiled>,
        clean_start: bool,
        session_expiry_interval: u32,
        now: Instant,
    ) -> Claim {
        let subject = rights.subject();
        let Some(mut shard) = self.registry.shard(&subject.client_id) else {
            return Claim::Refused(Refused::Contended);
        };
        if let Some(handle) = shard.get(&subject.client_id).cloned() {
            if *handle.owner() != Owner::of(subject) {
                return Claim::Refused(Refused::Owned(handle.owner().clone()));
            }
            let mut state = handle.state.lock();
            if state.attached {
                return self.take_over(&handle, &mut state);
            }
            if !clean_start {
                let parked = state.parked.take().unwrap_or_default();
                self.cancel_timer(&handle, &mut state);
                state.attached = true;
                // Under the same lock: an end asked for from here on is meant for the new connection.
                handle.outbox().forget_end();
                state.will = None; // Back before its delay had passed: not sent. [MQTT-3.1.3-9]
                // What was stored keeps its order with what comes, even where the session is to end with this connection.
                handle.set_durable(session_expiry_interval > 0 || handle.is_kept());
                drop(state);
                drop(shard);
                // Rights before the queue opens: what it may no longer get it does not get (POL-6).
                handle.set_rights(Arc::clone(rights));
                self.rejudge(&handle);
                handle.outbox().set_online(true);
                return Claim::Resumed(handle, parked);
            }
            drop(state);
            shard.remove(&subject.client_id);
            drop(shard);
            self.finish(&handle, now); // [MQTT-3.1.2-4]
            let Some(relocked) = self.registry.shard(&subject.client_id) else {
                return Claim::Refused(Refused::Contended);
            };
            shard = relocked;
            if shard.contains_key(&subject.client_id) {
                return Claim::Refused(Refused::Contended);
            }
        }
        let id = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        // Admitted under policies that a reload has replaced since: whoever is not in the registry yet was not judged again with the others (POL-6).
        let rights = if rights.generation() == self.policies.load().generation() {
            Arc::clone(rights)
        } else {
            self.rights(subject)
        };
        let claim = match self
            .limits
            .claim_session(&subject.identity.namespace, &subject.identity.username)
        {
            Ok(claim) => claim,
            Err(refusal) => return Claim::Refused(Refused::Quota(refusal)),
        };
        let handle = Arc::new(SessionHandle::new(id, subject, rights, Some(claim)));
        handle.set_durable(session_expiry_interval > 0);
        handle.outbox().set_online(true);
        shard.insert(Arc::clone(&subject.client_id), Arc::clone(&handle));
        Claim::New(handle)
    }

    /// The store has, from here on, what must outlive the connection of a claimed session: the session itself, and its will.
    pub fn keep(&self, handle: &SessionHandle, session_expiry_interval: u32, will: Option<&Will>) {
        let is_owed = handle.is_durable() || will.is_some() || handle.is_kept();
        if !is_owed || !self.store.keeps() {
            return;
        }
        handle.set_kept();
        self.store.save(SessionRecord {
            id: handle.id(),
            subject: Arc::clone(handle.rights().subject()),
            session_expiry_interval,
            connected: true,
            expires_at: None,
            will: will.cloned().map(Box::new),
            will_at: None,
        });
    }

    /// The record of a session without a connection.
    pub(super) fn save_parked(&self, handle: &SessionHandle, state: &State) {
        if !handle.is_kept() {
            return;
        }
        self.store.save(SessionRecord {
            id: handle.id(),
            subject: Arc::clone(handle.rights().subject()),
            session_expiry_interval: state.session_expiry_interval,
            connected: false,
            expires_at: state.expires_at,
            will: state.will.clone(),
            will_at: state.will_at,
        });
    }

    fn take_over(&self, handle: &SessionHandle, state: &mut MutexGuard<'_, State>) -> Claim {
        state.waiters.retain(|waiter| !waiter.is_closed());
        if state.waiters.len() >= SessionHandle::MAX_WAITERS {
            return Claim::Refused(Refused::Contended);
        }
        let (sender, receiver) = oneshot::channel();
        state.waiters.push(sender);
        handle.end(End {
            reason_code: ReasonCode::SessionTakenOver,
            reason: "taken over by a new connection".into(),
        }); // [MQTT-3.1.4-3]
        Claim::Wait(receiver)
    }

    /// The connection is gone: parks the session, or ends it when nothing is to be kept.
    pub fn depart(&self, handle: &Arc<SessionHandle>, departure: Departure, now: Instant) {
        let Departure {
            parked,
            session_expiry_interval,
            will,
        } = departure;
        handle.outbox().set_online(false);
        let mut wakes = Wakes::default();
        if session_expiry_interval == 0 {
            self.forget(handle);
            let mut state = handle.state.lock();
            state.will = will.map(Box::new);
            state.parked = Some(Box::new(parked));
            drop(state);
            self.finish(handle, now);
            return;
        }
        let (due_now, waiters) = {
            let mut state = handle.state.lock();
            state.parked = Some(Box::new(parked));
            state.attached = false;
            state.expires_at = (session_expiry_interval < u32::MAX)
                .then(|| now.checked_add(Duration::from_secs(u64::from(session_expiry_interval))))
                .flatten();
            let delay = will
                .as_ref()
                .map(|will| will.will_delay_interval.unwrap_or(0));
            let due_now = if delay == Some(0) { will.clone() } else { None };
            if due_now.is_none() {
                state.will_at = delay
                    .and_then(|seconds| now.checked_add(Duration::from_secs(u64::from(seconds))));
                state.will = will.map(Box::new);
            }
            state.session_expiry_interval = session_expiry_interval;
            handle.set_durable(true);
            self.set_timer(handle, &state);
            // A will that is due now is taken back only when it was published: a crash in between publishes it.
            if due_now.is_none() {
                self.save_parked(handle, &state);
            }
            (due_now, std::mem::take(&mut state.waiters))
        };
        if let Some(will) = due_now {
            self.send_will(handle, will, now, &mut wakes);
        }
        wakes.wake();
        for waiter in waiters {
            let _ = waiter.send(());
        }
    }

    /// Does what is due: wills and expired sessions. Gives the time of the next event.
    pub fn handle_timeout(&self, now: Instant) -> Option<Instant> {
        const STEP: usize = 1024;
        let mut wakes = Wakes::default();
        for handle in self.timers.take_due(now, STEP) {
            let Some(mut shard) = self.registry.shard(handle.client_id()) else {
                continue;
            };
            let mut state = handle.state.lock();
            if state.attached || state.ended {
                continue;
            }
            if state.expires_at.is_some_and(|at| at <= now) {
                drop(state);
                // Only its own entry: the identifier may be somebody else's by now (SES-5).
                if shard
                    .get(handle.client_id())
                    .is_some_and(|current| current.id() == handle.id())
                {
                    shard.remove(handle.client_id());
                }
                drop(shard);
                self.counters.expired_sessions.add(1);
                self.finish(&handle, now);
                continue;
            }
            let due = if state.will_at.is_some_and(|at| at <= now) {
                state.will_at = None;
                state.will.take()
            } else {
                None
            };
            self.set_timer(&handle, &state);
            drop(state);
            drop(shard);
            if let Some(will) = due {
                self.send_will(&handle, *will, now, &mut wakes);
            }
        }
        wakes.wake();
        self.sweep(now);
        self.timers.next()
    }

    /// Retained messages whose time has passed.
    fn sweep(&self, now: Instant) {
        let gate = self.store.gate();
        let swept = self.retained.sweep(now);
        if self.store.keeps() {
            for (message, version) in &swept {
                self.store.forget_retained(message.topic(), *version);
            }
        }
        drop(gate);
        self.counters
            .expired_messages
            .add(u64::try_from(swept.len()).unwrap_or(u64::MAX));
    }

    /// Ends a session for good, whoever it belongs to; its connection, if any, is asked to go first and ends it.
    pub fn discard(&self, handle: &Arc<SessionHandle>, now: Instant) {
        if !handle.state.lock().attached {
            self.forget(handle);
            self.finish(handle, now);
        }
    }

    fn forget(&self, handle: &SessionHandle) {
        if let Some(mut shard) = self.registry.shard(handle.client_id())
            && shard
                .get(handle.client_id())
                .is_some_and(|current| current.id() == handle.id())
        {
            shard.remove(handle.client_id());
        }
    }

    /// The session has ended: its will is sent whatever its delay, its subscriptions go, and what it had of shared ones moves on. [MQTT-3.1.2-8]
    fn finish(&self, handle: &Arc<SessionHandle>, now: Instant) {
        let (claim, subscriptions, will, parked, waiters) = {
            let mut state = handle.state.lock();
            if std::mem::replace(&mut state.ended, true) {
                return;
            }
            state.attached = false;
            self.cancel_timer(handle, &mut state);
            (
                state.claim.take(),
                std::mem::take(&mut state.subscriptions),
                state.will.take(),
                state.parked.take(),
                std::mem::take(&mut state.waiters),
            )
        };
        drop(claim);
        for subscription in subscriptions.keys() {
            self.remove(subscription, handle.id());
        }
        let mut wakes = Wakes::default();
        // One commit: what moves to others leaves this session in the same moment.
        let gate = self.store.gate();
        if let Some(will) = will {
            self.publish_will(handle, *will, now, &mut wakes);
        }
        let inflight = parked
            .map(|parked| parked.carried.inflight)
            .unwrap_or_default()
            .into_deliveries();
        self.redistribute(inflight.chain(handle.outbox().close()), &mut wakes);
        if handle.is_kept() {
            self.store.remove(handle.id());
        }
        drop(gate);
        wakes.wake();
        for waiter in waiters {
            let _ = waiter.send(());
        }
    }

    /// The will of a session that goes on: published and taken back in one commit.
    fn send_will(&self, handle: &SessionHandle, will: Will, now: Instant, wakes: &mut Wakes) {
        let gate = self.store.gate();
        self.publish_will(handle, will, now, wakes);
        {
            let state = handle.state.lock();
            // Its client may have come back, or the session ended, while the will went its way: the record is theirs then.
            if !state.attached && !state.ended {
                self.save_parked(handle, &state);
            }
        }
        drop(gate);
    }

    /// A will is judged again when it is sent, as the identity then is (POL-8). The caller holds the store's gate.
    fn publish_will(&self, handle: &SessionHandle, will: Will, now: Instant, wakes: &mut Wakes) {
        let rights = handle.rights();
        let judged = rights.permit_publish(will.topic.clone(), will.qos, will.retain);
        let permit = match judged {
            Ok(permit) => permit,
            Err(denial) => {
                return self.note_withheld(handle, || {
                    Some(Withheld {
                        subject: Arc::clone(rights.subject()),
                        of: Kind::Will,
                        topic: will.topic,
                        qos: will.qos,
                        retain: will.retain,
                        denial,
                    })
                });
            }
        };
        let content = Content::from_session(handle.id(), will.payload, will.properties);
        let published = self.route(&permit, content, &mut RouteCache::default(), now, wakes);
        self.counters.dropped.add(u64::from(published.is_err()));
        self.counters.wills_sent.add(u64::from(published.is_ok()));
    }

    pub(super) fn set_timer(&self, handle: &Arc<SessionHandle>, state: &State) {
        if let Some(at) = [state.expires_at, state.will_at]
            .into_iter()
            .flatten()
            .min()
        {
            self.timers.set(at, handle);
        }
    }

    fn cancel_timer(&self, handle: &SessionHandle, state: &mut State) {
        for at in [state.expires_at.take(), state.will_at.take()]
            .into_iter()
            .flatten()
        {
            self.timers.clear(at, handle.id());
        }
    }
}
