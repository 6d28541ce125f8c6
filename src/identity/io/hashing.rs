//! The pool that checks passwords: bounded in number, memory and time, fair between addresses, off the I/O threads (IDN-12).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::fair_queue::{Asker, FairQueue, QueueFull};
use crate::identity::HashingConfig;
use crate::identity::password_hash::StoredHash;
use crate::secret::Secret;

pub(super) struct Hashing {
    shared: Arc<Shared>,
    timeout: Duration,
    memory_kib: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashingError {
    /// Too many checks wait for this address.
    AddressFull,
    /// Too many checks wait.
    Full,
    /// The deadline passed.
    Late,
    /// The check ended without a verdict.
    Stopped,
}

/// What has become of the checks asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashingCounters {
    pub checked: u64,
    pub refused_full: u64,
    pub refused_address_full: u64,
    pub refused_late: u64,
    /// Now.
    pub waiting: usize,
}

struct Shared {
    state: Mutex<State>,
    /// A check was queued, memory was given back, or the pool ends.
    changed: Condvar,
    checked: AtomicU64,
    full: AtomicU64,
    address_full: AtomicU64,
    late: AtomicU64,
}

struct State {
    queue: FairQueue<Job>,
    kib_in_use: u64,
    stopped: bool,
}

struct Job {
    hash: StoredHash,
    password: Arc<Secret>,
    deadline: Instant,
    verdict: oneshot::Sender<bool>,
}

impl Hashing {
    /// Starts the threads.
    pub(super) fn start(config: &HashingConfig) -> std::io::Result<Self> {
        let length = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: FairQueue::new(length(config.queue), length(config.queue_per_ip)),
                kib_in_use: 0,
                stopped: false,
            }),
            changed: Condvar::new(),
            checked: AtomicU64::new(0),
            full: AtomicU64::new(0),
            address_full: AtomicU64::new(0),
            late: AtomicU64::new(0),
        });
        let memory_kib = config.memory.get() / 1024;
        let pool = Self {
            shared,
            timeout: config.timeout.get(),
            memory_kib,
        };
        for number in 0..threads(config.concurrent) {
            let shared = pool.shared.clone();
            thread::Builder::new()
                .name(format!("hashing-{number}"))
                .spawn(move || work(&shared, memory_kib))?;
        }
        Ok(pool)
    }

    /// No check may need more memory than the pool has.
    pub(super) fn memory_kib(&self) -> u64 {
        self.memory_kib
    }

    /// Waits for a turn and for the verdict, but never past the deadline.
    pub(super) async fn verify(
        &self,
        hash: StoredHash,
        password: Arc<Secret>,
        asker: Asker,
    ) -> Result<bool, HashingError> {
        let deadline = Instant::now() + self.timeout;
        let (verdict, answer) = oneshot::channel();
        let job = Job {
            hash,
            password,
            deadline,
            verdict,
        };
        self.shared.push(asker, job)?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(verdict)) => Ok(verdict),
            Ok(Err(_)) if Instant::now() >= deadline => Err(self.shared.count_late()),
            Ok(Err(_)) => Err(HashingError::Stopped),
            Err(_) => Err(self.shared.count_late()),
        }
    }

    pub(super) fn counters(&self) -> HashingCounters {
        let waiting = self.shared.state.lock().queue.len();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HashingCounters {
            checked: read(&self.shared.checked),
            refused_full: read(&self.shared.full),
            refused_address_full: read(&self.shared.address_full),
            refused_late: read(&self.shared.late),
            waiting,
        }
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.shared.state.lock().stopped = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn push(&self, asker: Asker, job: Job) -> Result<(), HashingError> {
        let pushed = self.state.lock().queue.push(asker, job);
        match pushed {
            Ok(()) => {
                self.changed.notify_one();
                Ok(())
            }
            Err(QueueFull::All) => {
                self.full.fetch_add(1, Ordering::Relaxed);
                Err(HashingError::Full)
            }
            Err(QueueFull::Origin) => {
                self.address_full.fetch_add(1, Ordering::Relaxed);
                Err(HashingError::AddressFull)
            }
        }
    }

    fn count_late(&self) -> HashingError {
        self.late.fetch_add(1, Ordering::Relaxed);
        HashingError::Late
    }

    /// The next check whose memory is there, and that memory; `None` once the pool ends.
    fn next(&self, memory_kib: u64) -> Option<(Job, Reserved<'_>)> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            let kib = state.queue.peek().map(|job| u64::from(job.hash.cost().kib));
            if let Some(kib) = kib
                && (state.kib_in_use == 0 || state.kib_in_use.saturating_add(kib) <= memory_kib)
                && let Some(job) = state.queue.pop()
            {
                state.kib_in_use = state.kib_in_use.saturating_add(kib);
                return Some((job, Reserved { shared: self, kib }));
            }
            self.changed.wait(&mut state);
        }
    }
}

/// Memory of a running check; given back even when the check panics.
struct Reserved<'a> {
    shared: &'a Shared,
    kib: u64,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.kib_in_use = state.kib_in_use.saturating_sub(self.kib);
        drop(state);
        // Memory that came free may serve any of the waiting.
        self.shared.changed.notify_all();
    }
}

/// A check takes its thread for many milliseconds: whoever is connected goes first where both want a core.
const NICENESS: i32 = 10;

fn work(shared: &Shared, memory_kib: u64) {
    // On Linux this is of the calling thread alone. (setpriority(2))
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "password checks have the priority of everything else");
    }
    while let Some((job, reserved)) = shared.next(memory_kib) {
        // Nobody waits any more: the client is gone or was told that it is late.
        if job.verdict.is_closed() || Instant::now() >= job.deadline {
            continue;
        }
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            job.hash.verify(job.password.expose())
        }));
        drop(reserved);
        shared.checked.fetch_add(1, Ordering::Relaxed);
        // A check that panicked drops its sender: the client is refused, the thread lives on (TRN-15).
        if let Ok(verdict) = checked {
            let _ = job.verdict.send(verdict);
        }
    }
}

fn threads(configured: u16) -> usize {
    match usize::from(configured) {
        0 => thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2)),
        count => count,
    }
}

#[cfg(test)]
#[path = "hashing_tests.rs"]
mod tests;
