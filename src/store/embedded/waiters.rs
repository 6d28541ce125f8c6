//! Who wakes when a commit is done.

use crate::session::Position;
use ahash::AHashMap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// The last commit that is done, and the tasks that wait for later ones: one waker for each task and commit, however often it asks.
#[derive(Debug)]
pub(super) struct Waiters {
    committed: AtomicU64,
    waiting: Mutex<BTreeMap<u64, Tasks>>,
}

/// By the addresses of a waker, which are its task's.
type Tasks = AHashMap<(usize, usize), Waker>;

impl Waiters {
    pub(super) fn new(committed: u64) -> Self {
        Self {
            committed: AtomicU64::new(committed),
            waiting: Mutex::default(),
        }
    }

    pub(super) fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::Acquire))
    }

    /// False: the waker will be called, once.
    pub(super) fn wait(&self, position: Position, waker: &Waker) -> bool {
        if position <= self.committed() {
            return true;
        }
        let mut waiting = self.waiting.lock();
        // Again under the lock: a commit that was done meanwhile has looked for wakers already.
        if position <= self.committed() {
            return true;
        }
        let task = (
            waker.data().addr(),
            std::ptr::from_ref(waker.vtable()).addr(),
        );
        waiting
            .entry(position.0)
            .or_default()
            .insert(task, waker.clone());
        false
    }

    /// Waits on this thread; false: not within `patience`.
    pub(super) fn block(&self, position: Position, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        while !self.wait(position, &waker) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::park_timeout(left);
        }
        true
    }

    pub(super) fn done(&self, commit: u64) {
        self.committed.fetch_max(commit, Ordering::AcqRel);
        let woken = {
            let mut waiting = self.waiting.lock();
            let later = waiting.split_off(&commit.saturating_add(1));
            std::mem::replace(&mut *waiting, later)
        };
        for waker in woken.into_values().flat_map(Tasks::into_values) {
            waker.wake();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_wakes_once_and_only_when_its_commit_is_done() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let waiters = Waiters::new(4);
        assert!(waiters.wait(Position(4), &waker));
        for _ in 0..1_000 {
            assert!(!waiters.wait(Position(6), &waker));
        }
        waiters.done(5);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        waiters.done(6);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(waiters.wait(Position(6), &waker));
        waiters.done(7);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_thread_waits_until_its_commit_is_done_and_no_longer_than_it_says() {
        let waiters = Waiters::new(4);
        assert!(waiters.block(Position(4), Duration::ZERO));
        assert!(!waiters.block(Position(5), Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| waiters.block(Position(5), Duration::from_secs(60)));
            waiters.done(5);
            assert!(waiting.join().unwrap_or_default());
        });
    }
}
