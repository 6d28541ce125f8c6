//! After a start: what the store kept becomes sessions without connections, and retained messages.

use super::Router;
use super::handle::{Parked, SessionHandle};
use super::store::{Restored, RestoredSession};
use crate::mqtt::QoS;
use crate::session::{Carried, Delivery, Inflight, Outgoing};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

impl Router {
    /// Takes over what the last process left; called before any connection is let in. Everything is judged under the policies of now.
    pub fn restore(&self, restored: Restored, now: Instant) {
        self.next_session
            .fetch_max(restored.next_session.max(1), Ordering::Relaxed);
        for (message, version) in &restored.retained {
            self.retained.restore(message, *version, &self.limits);
        }
        let sessions = restored.sessions.into_iter();
        let handles: Vec<_> = sessions
            .map(|session| self.restore_session(session, now))
            .collect();
        // When all are there: what one may not have any more of a shared subscription another may. Puts the subscriptions that still stand into the index.
        for handle in &handles {
            self.rejudge(handle);
        }
    }

    fn restore_session(&self, session: RestoredSession, now: Instant) -> Arc<SessionHandle> {
        let RestoredSession {
            record,
            subscriptions,
            replaying,
            received,
            handed_over,
            sent,
            window,
            spilled,
            last_sequence,
        } = session;
        let subject = &record.subject;
        let claim = self
            .limits
            .adopt_session(&subject.identity.namespace, &subject.identity.username);
        let handle = Arc::new(SessionHandle::new(
            record.id,
            subject,
            self.rights(subject),
            claim,
        ));
        handle.set_durable(record.session_expiry_interval > 0);
        handle.set_kept();
        let (inflight, waiting) = flight(window, sent, &handed_over);
        handle
            .outbox()
            .restore(waiting, spilled, sent, last_sequence);
        {
            let mut state = handle.state.lock();
            state.attached = false;
            state.subscriptions = subscriptions.into_iter().collect();
            for (subscription, subscribed) in &state.subscriptions {
                if subscription.share.is_some() {
                    self.insert(&handle, subscription, *subscribed);
                }
            }
            let replays = replaying
                .into_iter()
                .filter_map(|(subscription, replaying)| {
                    let subscribed = *state.subscriptions.get(&subscription)?;
                    let retained = &self.retained;
                    Some(retained.restore_replay(subscription, subscribed, replaying))
                });
            let carried = Carried::restore(inflight, &received);
            state.parked = Some(Box::new(Parked::new(carried, replays.collect())));
            state.session_expiry_interval = record.session_expiry_interval;
            state.will = record.will;
            // It was connected when the process ended: its time without a connection begins now.
            (state.expires_at, state.will_at) = if record.connected {
                let delay = state
                    .will
                    .as_ref()
                    .map(|will| seconds(now, will.will_delay_interval.unwrap_or(0)));
                let expires_at = match record.session_expiry_interval {
                    u32::MAX => None,
                    interval => seconds(now, interval),
                };
                (expires_at, delay.flatten())
            } else {
                (record.expires_at, record.will_at)
            };
            self.set_timer(&handle, &state);
            if record.connected && record.session_expiry_interval > 0 {
                self.save_parked(&handle, &state);
            }
        }
        if let Some(mut shard) = self.registry.shard(handle.client_id()) {
            shard.insert(Arc::clone(handle.client_id()), Arc::clone(&handle));
        }
        handle
    }
}

/// What may have reached the client is in flight again; the rest waits.
fn flight(
    window: Vec<Delivery>,
    sent: u64,
    handed_over: &[Arc<crate::session::Ticket>],
) -> (Inflight, Vec<Delivery>) {
    let mut inflight = Inflight::default();
    for ticket in handed_over {
        inflight.insert(
            ticket.sequence(),
            Outgoing::PubComp(Some(Arc::clone(ticket))),
        );
    }
    let mut waiting = Vec::with_capacity(window.len());
    for delivery in window {
        if delivery.sequence > sent {
            waiting.push(delivery);
            continue;
        }
        let kept = delivery.clone();
        let outgoing = if delivery.qos == QoS::ExactlyOnce {
            Outgoing::PubRec(kept)
        } else {
            Outgoing::PubAck(kept)
        };
        if inflight.insert(delivery.sequence, outgoing).is_none() {
            waiting.push(delivery);
        }
    }
    (inflight, waiting)
}

fn seconds(now: Instant, seconds: u32) -> Option<Instant> {
    now.checked_add(Duration::from_secs(u64::from(seconds)))
}
