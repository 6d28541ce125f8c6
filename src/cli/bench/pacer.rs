//! Says when a message is due: a thread of its own, since the event loop's timer knows milliseconds only.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

/// One publisher's share.
#[derive(Debug, Default)]
pub(super) struct Pace {
    due: AtomicU64,
    publisher: Mutex<Option<Waker>>,
}

impl Pace {
    /// How many messages are due since the beginning; the waker is called at the next one.
    pub(super) fn due(&self, waker: &Waker) -> u64 {
        let mut publisher = self.publisher.lock();
        if publisher
            .as_ref()
            .is_none_or(|known| !known.will_wake(waker))
        {
            *publisher = Some(waker.clone());
        }
        self.due.load(Ordering::Acquire)
    }

    fn tick(&self) {
        self.due.fetch_add(1, Ordering::AcqRel);
        if let Some(publisher) = self.publisher.lock().as_ref() {
            publisher.wake_by_ref();
        }
    }
}

/// Stops its thread when dropped.
#[derive(Debug)]
pub(super) struct Pacer(Arc<AtomicBool>);

impl Pacer {
    /// So many messages a second, each publisher in turn.
    pub(super) fn start(paces: Vec<Arc<Pace>>, rate: u32) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopped);
        std::thread::spawn(move || {
            let start = Instant::now();
            for (number, pace) in (1..).zip(paces.iter().cycle()) {
                let due = Duration::from_secs(1) * number / rate.max(1);
                std::thread::sleep(due.saturating_sub(start.elapsed()));
                if stop.load(Ordering::Acquire) {
                    return;
                }
                pace.tick();
            }
        });
        Self(is_stopped)
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
