//! What waits for one session: a bounded queue behind a short lock, and one wake for many pushes.

use crate::mqtt::{QoS, ReasonCode};
use crate::session::{Delivery, QueueConfig, WhenFull};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::task::Waker;

/// Publishers push, the session's connection takes. Nobody waits for anybody.
#[derive(Debug, Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Delivery>,
    bytes: usize,
    /// Of the connection, from its last look on.
    waker: Option<Waker>,
    /// The connection found nothing: the next push wakes it. One that is held up by its client is woken by its socket.
    armed: bool,
    online: bool,
    ended: bool,
    end: Option<End>,
    rejudge: bool,
}

/// Why a connection is to end, as another part of the broker asks it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub reason_code: ReasonCode,
    /// For the audit log.
    pub reason: String,
}

/// What became of a push.
#[derive(Debug)]
pub enum Pushed {
    Queued,
    /// Queued, and this older one was dropped for it.
    Displaced(Delivery),
    /// Not queued: full, or QoS 0 for a session that is offline or stalled, or the session has ended.
    Dropped(Delivery),
}

/// What a connection finds when it looks.
#[derive(Debug, Default)]
pub struct Taken {
    pub end: Option<End>,
    pub rejudge: bool,
    /// Something is left that did not fit this turn or the client's window.
    pub more: bool,
}

/// How much a connection takes in one turn.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// QoS 1 and 2 messages that the client's window has room for.
    pub window: usize,
    pub bytes: usize,
}

impl Outbox {
    /// Adds a delivery of `bytes`; a sleeping connection's waker goes to `wakes`, for the caller to wake after its whole batch.
    pub fn push(
        &self,
        delivery: Delivery,
        bytes: usize,
        limits: &QueueConfig,
        wakes: &mut Vec<Waker>,
    ) -> Pushed {
        let mut inner = self.inner.lock();
        if inner.ended || (!inner.online && delivery.qos == QoS::AtMostOnce) {
            return Pushed::Dropped(delivery);
        }
        let mut displaced = None;
        let maximum_bytes = usize::try_from(limits.bytes.get()).unwrap_or(usize::MAX);
        if inner.queue.len() >= limits.messages
            || (inner.bytes.saturating_add(bytes) > maximum_bytes && !inner.queue.is_empty())
        {
            match limits.when_full {
                WhenFull::DropNewest => return Pushed::Dropped(delivery),
                WhenFull::DropOldest => {
                    displaced = inner.queue.pop_front();
                    if let Some(old) = &displaced {
                        inner.bytes = inner.bytes.saturating_sub(old.message.queued_bytes());
                    }
                    // One large message may not push out many small ones: it is the one to go.
                    if inner.queue.len() >= limits.messages
                        || inner.bytes.saturating_add(bytes) > maximum_bytes
                    {
                        if let Some(old) = displaced {
                            inner.bytes += old.message.queued_bytes();
                            inner.queue.push_front(old);
                        }
                        return Pushed::Dropped(delivery);
                    }
                }
            }
        }
        inner.bytes += bytes;
        inner.queue.push_back(delivery);
        if inner.armed {
            inner.armed = false;
            wakes.extend(inner.waker.take());
        }
        match displaced {
            Some(old) => Pushed::Displaced(old),
            None => Pushed::Queued,
        }
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
            more: false,
        };
        let (mut window, mut bytes) = (room.window, 0);
        while let Some(next) = inner.queue.front() {
            if next.qos > QoS::AtMostOnce {
                match window.checked_sub(1) {
                    Some(left) => window = left,
                    // Only an acknowledgement makes room: that wakes the connection by itself.
                    None => break,
                }
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
                inner.bytes = inner
                    .queue
                    .iter()
                    .map(|delivery| delivery.message.queued_bytes())
                    .sum();
            }
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
        std::mem::take(&mut inner.queue)
    }

    /// Drops what `keep` does not keep, and gives it back.
    pub fn withdraw(&self, mut keep: impl FnMut(&Delivery) -> bool) -> Vec<Delivery> {
        let mut inner = self.inner.lock();
        let queue = std::mem::take(&mut inner.queue);
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
        inner.bytes = kept
            .iter()
            .map(|delivery| delivery.message.queued_bytes())
            .sum();
        inner.queue = kept;
        withdrawn
    }

    pub fn is_online(&self) -> bool {
        self.inner.lock().online
    }

    /// Messages waiting, and their bytes.
    pub fn load(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.queue.len(), inner.bytes)
    }
}
