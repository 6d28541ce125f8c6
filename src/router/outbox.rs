//! What waits for one session: a bounded queue behind a short lock, and one wake for many pushes.

use super::store::{Spilled, WINDOW_BYTES, WINDOW_MESSAGES};
use crate::mqtt::{QoS, ReasonCode};
use crate::session::{Delivery, Position, QueueConfig, Reach, SessionId, Ticket, WhenFull};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

/// Publishers push, the session's connection takes. Nobody waits for anybody.
#[derive(Debug, Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Delivery>,
    bytes: usize,
    /// Nothing in memory expires before.
    expires: Option<Instant>,
    /// The last one given to a delivery of QoS 1 or 2.
    sequence: u64,
    /// What is only in the store, behind the queue.
    spill: Option<Box<Spill>>,
    /// Of the connection, from its last look on.
    waker: Option<Waker>,
    /// The connection found nothing: the next push wakes it. One that is held up by its client is woken by its socket.
    armed: bool,
    online: bool,
    ended: bool,
    end: Option<End>,
    rejudge: bool,
}

/// The part of a durable session's queue that memory is not spent on.
#[derive(Debug, Default)]
struct Spill {
    held: Spilled,
    /// Everything up to this sequence is in the queue or was.
    after: u64,
    fetching: bool,
}

/// The part of the queue that is wanted from the store next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub after: u64,
    pub up_to: u64,
}

/// Why a connection is to end, as another part of the broker asks it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub reason_code: ReasonCode,
    /// For the audit log.
    pub reason: String,
}

/// What became of a push.
#[derive(Debug, Default)]
pub struct Pushed {
    /// It is queued, or will be delivered from the store. Otherwise it was dropped: full, or QoS 0 for a session that is offline or behind, or the session has ended.
    pub accepted: bool,
    /// What the store must be told, of a durable session.
    pub stored: Option<Delivery>,
    /// An older one that was dropped for it.
    pub displaced: Option<Delivery>,
    /// Those whose time had passed, dropped to make room.
    pub expired: Vec<Delivery>,
    /// The window has run empty while the store holds more.
    pub wanted: Option<Wanted>,
}

/// What a connection finds when it looks.
#[derive(Debug, Default)]
pub struct Taken {
    pub end: Option<End>,
    pub rejudge: bool,
    /// Something is left that did not fit this turn or the client's window.
    pub more: bool,
    /// The next one may leave once this is committed.
    pub awaits: Option<Position>,
    /// To be fetched from the store.
    pub wanted: Option<Wanted>,
}

/// What a queue may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    pub queue: &'a QueueConfig,
    /// What has expired by then makes room when it is full. `None`: nothing does.
    pub now: Option<Instant>,
}

/// How much a connection takes in one turn.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// QoS 1 and 2 messages that the client's window has room for.
    pub window: usize,
    pub bytes: usize,
    /// The sequences whose identifiers are free.
    pub reach: Reach,
    /// A QoS 2 message leaves only when it is on disk: its identifier must mean the same after a crash.
    pub committed: Position,
}

/// A connected session's window: it is emptied as fast as its client takes.
const ONLINE_MESSAGES: usize = 4096;
const ONLINE_BYTES: usize = 4 * 1024 * 1024;
/// The store is asked for more when the window is as low as this.
const LOW: usize = WINDOW_MESSAGES / 2;

impl Outbox {
    /// Adds a delivery of `bytes`, with a ticket when it is `stored`; a sleeping connection's waker goes to `wakes`, for the caller to wake after its whole batch.
    pub fn push(
        &self,
        mut delivery: Delivery,
        bytes: usize,
        bounds: Bounds<'_>,
        stored: Option<SessionId>,
        wakes: &mut Vec<Waker>,
    ) -> Pushed {
        let limits = bounds.queue;
        let mut inner = self.inner.lock();
        let mut pushed = Pushed::default();
        let at_most_once = delivery.qos == QoS::AtMostOnce;
        let stored = stored.filter(|_| !at_most_once);
        // QoS 0 may not overtake what is still in the store, and is not worth a place there.
        if inner.ended || (at_most_once && (!inner.online || inner.spill.is_some())) {
            return pushed;
        }
        if inner.is_full(bytes, limits) {
            pushed.expired = inner.drop_expired(bounds.now);
        }
        if inner.is_full(bytes, limits) {
            match limits.when_full {
                WhenFull::DropNewest => {
                    // What has expired in the store makes room when it is read.
                    if delivery.share.is_none() {
                        pushed.wanted = inner.want();
                    }
                    return pushed;
                }
                WhenFull::DropOldest => {
                    if !inner.displace(bytes, limits, &mut pushed) {
                        return pushed;
                    }
                }
            }
        }
        inner.number(&mut delivery, stored);
        pushed.accepted = true;
        if stored.is_some() {
            pushed.stored = Some(delivery.clone());
            if delivery.share.is_none() && inner.is_past_window() {
                let after = delivery.sequence.saturating_sub(1);
                inner.spill(after, bytes);
                return pushed;
            }
        }
        inner.bytes += bytes;
        inner.expires_at(delivery.message.expires_at());
        inner.queue.push_back(delivery);
        if inner.armed {
            inner.armed = false;
            wakes.extend(inner.waker.take());
        }
        pushed
    }

    /// Moves what there is room for into `taken_into`. With nothing to do the waker is kept for the next push.
    pub fn take(
        &self,
        room: Room,
        limit: usize,
        taken_into: &mut Vec<Delivery>,
        waker: &Waker,
    ) -> Taken {
        let mut inner = self.inner.lock();
        let mut taken = Taken {
            end: inner.end.take(),
            rejudge: std::mem::take(&mut inner.rejudge),
            ..Taken::default()
        };
        // Judged first, and asked to go first: what waits stays here for whoever may have it.
        if taken.end.is_some() || taken.rejudge {
            taken.more = true;
            return taken;
        }
        let (mut window, mut bytes, mut reach) = (room.window, 0, room.reach);
        // What is only in the store keeps its place: what the store is told was sent is then all that was, and in the order of the session.
        let next_to_fetch = inner.spill.as_ref().map_or(u64::MAX, |spill| spill.after);
        while let Some(next) = inner.queue.front() {
            if next.qos > QoS::AtMostOnce {
                if next.sequence > next_to_fetch || !reach.contains(next.sequence) {
                    break;
                }
                if let Some(position) = next.awaits(room.committed) {
                    taken.awaits = Some(position);
                    break;
                }
                match window.checked_sub(1) {
                    Some(left) => window = left,
                    // Only an acknowledgement makes room: that wakes the connection by itself.
                    None => break,
                }
                reach.narrow(next.sequence);
            }
            if bytes >= room.bytes || taken_into.len() >= limit {
                taken.more = true;
                break;
            }
            let size = next.message.queued_bytes();
            bytes += size;
            inner.bytes = inner.bytes.saturating_sub(size);
            taken_into.extend(inner.queue.pop_front());
        }
        if inner.queue.is_empty() && inner.queue.capacity() > 64 {
            inner.queue.shrink_to(0);
        }
        inner.armed = inner.queue.is_empty();
        if inner.spill.is_some() {
            taken.wanted = inner.want();
        }
        if !inner
            .waker
            .as_ref()
            .is_some_and(|kept| kept.will_wake(waker))
        {
            inner.waker = Some(waker.clone());
        }
        taken
    }

    /// A connection took the session over: QoS 0 is queued too from now on.
    pub fn set_online(&self, online: bool) {
        let mut inner = self.inner.lock();
        inner.online = online;
        if !online {
            inner.waker = None;
            inner.armed = false;
            // QoS 0 is for those who are there.
            let before = inner.queue.len();
            inner
                .queue
                .retain(|delivery| delivery.qos > QoS::AtMostOnce);
            if inner.queue.len() != before {
                inner.count_bytes();
            }
            inner.trim();
        }
    }

    /// What a page of the store's brings; `last` was looked at, and there is more behind it.
    pub(super) fn refill(&self, wanted: Wanted, deliveries: Vec<Delivery>, last: Option<u64>) {
        let mut inner = self.inner.lock();
        if inner.ended {
            return;
        }
        // Its connection went meanwhile and the window shrank: what was asked for is not what comes next.
        let is_next = inner
            .spill
            .as_ref()
            .is_some_and(|spill| spill.after == wanted.after);
        if !is_next {
            if let Some(spill) = &mut inner.spill {
                spill.fetching = false;
            }
            // Whoever came since and emptied the window found that somebody asks already: now he may.
            let waker = inner.waker.take();
            drop(inner);
            if let Some(waker) = waker {
                waker.wake();
            }
            return;
        }
        let mut brought = Spilled::default();
        for delivery in &deliveries {
            brought.messages += 1;
            brought.bytes += delivery.message.queued_bytes();
            inner.expires_at(delivery.message.expires_at());
        }
        // Those of shared subscriptions are always here: the page goes in between.
        let behind = |queued: &Delivery| queued.sequence > wanted.after;
        let place = inner.queue.partition_point(|queued| !behind(queued));
        let mut next = Vec::from(inner.queue.split_off(place));
        next.extend(deliveries);
        next.sort_by_key(|delivery| delivery.sequence);
        inner.queue.extend(next);
        inner.bytes += brought.bytes;
        let sequence = inner.sequence;
        if let Some(spill) = &mut inner.spill {
            spill.fetching = false;
            spill.held.messages = spill.held.messages.saturating_sub(brought.messages);
            spill.held.bytes = spill.held.bytes.saturating_sub(brought.bytes);
            spill.after = last.unwrap_or(wanted.up_to);
            if last.is_none() && sequence == wanted.up_to {
                inner.spill = None;
            }
        }
        inner.armed = false;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Gives deliveries that did not come through the queue their places in the order. Those whose identifiers are not free wait in the queue.
    pub(super) fn number(&self, deliveries: &mut Vec<Delivery>, mut reach: Reach) {
        let mut inner = self.inner.lock();
        for mut delivery in std::mem::take(deliveries) {
            inner.number(&mut delivery, None);
            if delivery.qos == QoS::AtMostOnce {
                deliveries.push(delivery);
            } else if reach.contains(delivery.sequence) {
                reach.narrow(delivery.sequence);
                deliveries.push(delivery);
            } else {
                inner.bytes += delivery.message.queued_bytes();
                inner.expires_at(delivery.message.expires_at());
                inner.queue.push_back(delivery);
            }
        }
    }

    /// What a session that was kept begins with; everything up to `sent` is in `window`, or in flight.
    pub(super) fn restore(
        &self,
        window: Vec<Delivery>,
        spilled: Spilled,
        sent: u64,
        last_sequence: u64,
    ) {
        let mut inner = self.inner.lock();
        inner.sequence = last_sequence;
        let after = window
            .iter()
            .filter(|delivery| delivery.share.is_none())
            .map(|delivery| delivery.sequence)
            .fold(sent, u64::max);
        for delivery in &window {
            inner.expires_at(delivery.message.expires_at());
        }
        inner.queue = window.into();
        inner.count_bytes();
        if spilled.messages > 0 {
            inner.spill = Some(Box::new(Spill {
                held: spilled,
                after,
                fetching: false,
            }));
        }
    }

    /// Asks the connection to end; the first reason given stays.
    pub fn end(&self, end: End) {
        let mut inner = self.inner.lock();
        inner.end.get_or_insert(end);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A new connection begins: what the last one was asked is over.
    pub(super) fn forget_end(&self) {
        self.inner.lock().end = None;
    }

    /// Asks the connection to judge what it is doing again.
    pub fn rejudge(&self) {
        let mut inner = self.inner.lock();
        inner.rejudge = true;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes a sleeping connection.
    pub fn wake(&self) {
        let waker = self.inner.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The session is over for good: takes what is left and refuses more.
    pub fn close(&self) -> VecDeque<Delivery> {
        let mut inner = self.inner.lock();
        inner.ended = true;
        inner.bytes = 0;
        inner.spill = None;
        std::mem::take(&mut inner.queue)
    }

    /// Drops what `keep` does not keep, and gives it back.
    pub fn withdraw(&self, keep: impl FnMut(&Delivery) -> bool) -> Vec<Delivery> {
        self.inner.lock().withdraw(keep)
    }

    pub fn is_online(&self) -> bool {
        self.inner.lock().online
    }

    /// Messages in memory.
    pub fn held(&self) -> usize {
        self.inner.lock().queue.len()
    }

    /// Messages waiting, and their bytes, in memory or not.
    pub fn load(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        let spilled = inner.spilled();
        (
            inner.queue.len() + spilled.messages,
            inner.bytes + spilled.bytes,
        )
    }
}

impl Inner {
    fn spilled(&self) -> Spilled {
        self.spill
            .as_ref()
            .map(|spill| spill.held)
            .unwrap_or_default()
    }

    fn is_full(&self, bytes: usize, limits: &QueueConfig) -> bool {
        let spilled = self.spilled();
        let messages = self.queue.len() + spilled.messages;
        let maximum = usize::try_from(limits.bytes.get()).unwrap_or(usize::MAX);
        messages >= limits.messages
            || (self.bytes + spilled.bytes).saturating_add(bytes) > maximum && messages > 0
    }

    fn withdraw(&mut self, mut keep: impl FnMut(&Delivery) -> bool) -> Vec<Delivery> {
        let queue = std::mem::take(&mut self.queue);
        let (kept, withdrawn): (VecDeque<_>, Vec<_>) = {
            let mut kept = VecDeque::with_capacity(queue.len());
            let mut withdrawn = Vec::new();
            for delivery in queue {
                if keep(&delivery) {
                    kept.push_back(delivery)
                } else {
                    withdrawn.push(delivery)
                }
            }
            (kept, withdrawn)
        };
        self.queue = kept;
        self.count_bytes();
        withdrawn
    }

    fn expires_at(&mut self, at: Option<Instant>) {
        if let Some(at) = at {
            self.expires = Some(self.expires.map_or(at, |known| known.min(at)));
        }
    }

    /// What nobody would get any more holds no place; a queue in which nothing can have expired is not searched. [MQTT-3.3.2-5]
    fn drop_expired(&mut self, now: Option<Instant>) -> Vec<Delivery> {
        let Some(now) = now.filter(|now| self.expires.is_some_and(|expires| expires <= *now))
        else {
            return Vec::new();
        };
        let expired = self.withdraw(|delivery| !delivery.message.is_expired(now));
        let left = self.queue.iter();
        self.expires = left
            .filter_map(|delivery| delivery.message.expires_at())
            .min();
        expired
    }

    /// Drops the oldest for a new one; false when that one is the one to go.
    fn displace(&mut self, bytes: usize, limits: &QueueConfig, pushed: &mut Pushed) -> bool {
        let Some(old) = self.queue.pop_front() else {
            // The oldest are in the store and on their way here: for that moment a window more is held.
            pushed.wanted = self.want();
            let spilled = self.spilled();
            return spilled.messages < limits.messages.saturating_add(WINDOW_MESSAGES);
        };
        let size = old.message.queued_bytes();
        self.bytes = self.bytes.saturating_sub(size);
        // One large message may not push out many small ones: it is the one to go.
        if self.is_full(bytes, limits) {
            self.bytes += size;
            self.queue.push_front(old);
            return false;
        }
        pushed.displaced = Some(old);
        if self.spill.is_some() {
            pushed.wanted = self.want();
        }
        true
    }

    fn number(&mut self, delivery: &mut Delivery, stored: Option<SessionId>) {
        if delivery.qos == QoS::AtMostOnce {
            return;
        }
        self.sequence += 1;
        delivery.sequence = self.sequence;
        delivery.ticket = stored.map(|session| Arc::new(Ticket::new(session, self.sequence)));
    }

    fn is_past_window(&self) -> bool {
        let (messages, bytes) = if self.online {
            (ONLINE_MESSAGES, ONLINE_BYTES)
        } else {
            (WINDOW_MESSAGES, WINDOW_BYTES)
        };
        self.spill.is_some() || self.queue.len() >= messages || self.bytes >= bytes
    }

    fn spill(&mut self, after: u64, bytes: usize) {
        let spill = self.spill.get_or_insert_with(|| {
            Box::new(Spill {
                after,
                ..Spill::default()
            })
        });
        spill.held.messages += 1;
        spill.held.bytes += bytes;
    }

    /// A session without a connection keeps its oldest; the others are in the store.
    fn trim(&mut self) {
        let (mut kept, mut kept_bytes) = (0, 0);
        let mut trimmed = Spilled::default();
        let mut first = None;
        self.queue.retain(|delivery| {
            let size = delivery.message.queued_bytes();
            if delivery.ticket.is_none() || delivery.share.is_some() {
                return true;
            }
            if first.is_none() && kept < WINDOW_MESSAGES && kept_bytes < WINDOW_BYTES {
                kept += 1;
                kept_bytes += size;
                return true;
            }
            first.get_or_insert(delivery.sequence);
            trimmed.messages += 1;
            trimmed.bytes += size;
            false
        });
        let Some(first) = first else { return };
        self.count_bytes();
        self.queue.shrink_to_fit();
        let spill = self.spill.get_or_insert_default();
        spill.held.messages += trimmed.messages;
        spill.held.bytes += trimmed.bytes;
        spill.after = first.saturating_sub(1);
    }

    fn want(&mut self) -> Option<Wanted> {
        let (length, up_to) = (self.queue.len(), self.sequence);
        let first = self.queue.front().map_or(0, |first| first.sequence);
        // What is behind the spill waits for it, however much that is.
        let is_low = |spill: &Spill| length < LOW || first > spill.after;
        let spill = self
            .spill
            .as_mut()
            .filter(|spill| is_low(spill) && !spill.fetching)?;
        spill.fetching = true;
        Some(Wanted {
            after: spill.after,
            up_to,
        })
    }

    fn count_bytes(&mut self) {
        self.bytes = self
            .queue
            .iter()
            .map(|delivery| delivery.message.queued_bytes())
            .sum();
    }
}
