//! The thread that commits: it takes whatever gathered while its last commit ran. A failing disk is reopened and written anew.

use super::Shared;
use super::batch::Batch;
use super::engine::{self, Refused, caught};
use super::error::EngineError;
use super::note::Note;
use super::seal::{Sealed, Writes, seal};
use super::space::{LOOK, Space};
use super::write::{Reclaim, write};
use crate::store::Durability;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What nobody waits for is written along with what somebody does, or when it has waited this long or become this much.
const LAZY_WAIT: Duration = Duration::from_millis(100);
const LAZY_MAX: usize = 10_000;
/// Messages that wait for a commit that nobody waits for (`durability: interval` or `none`).
const GATHERED_MAX: usize = 64 * 1024 * 1024;
const GATHERED_MESSAGES: usize = 100_000;
/// `durability: none` promises nothing, but does not let a day's work stay in memory.
const NONE_WAIT: Duration = Duration::from_secs(60);
/// Between two tries to write to a disk that fails.
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Between two steps of reclaiming while nothing else is written.
const RECLAIM_WAIT: Duration = Duration::from_millis(10);

pub(super) struct Committer {
    next_message: u64,
    reclaim: Reclaim,
    space: Space,
    /// When the last commit ended.
    rested: Instant,
}

/// Why the thread goes on.
enum Turn {
    Commit(Box<Batch>),
    Idle,
    Stop(Box<Batch>),
}

impl Committer {
    pub(super) fn new(next_message: u64, reclaim: Reclaim, shared: &Shared) -> Self {
        let mut committer = Self {
            next_message,
            reclaim,
            space: Space::new(shared.options.store_free),
            rested: Instant::now(),
        };
        committer.look(shared);
        committer
    }

    fn look(&mut self, shared: &Shared) {
        if let Some(full) = self.space.look(&*shared.medium, Instant::now()) {
            shared.full.store(full, Ordering::Relaxed);
        }
    }

    /// Until the store is closed.
    pub(super) fn run(mut self, shared: &Shared) {
        loop {
            self.look(shared);
            match self.turn(shared) {
                Turn::Idle => {}
                Turn::Commit(batch) => {
                    if !self.commit(*batch, shared) {
                        // A later commit, were it empty, would be taken for the word that this one is on disk.
                        break;
                    }
                }
                Turn::Stop(batch) => {
                    if self.commit(*batch, shared) {
                        // What a commit with nothing else to write has put off.
                        let rest = shared.pending.lock().take();
                        if !rest.is_empty() {
                            self.commit(rest, shared);
                        }
                    }
                    break;
                }
            }
        }
        self.close(shared);
    }

    /// Waits for something to write.
    fn turn(&self, shared: &Shared) -> Turn {
        let mut pending = shared.pending.lock();
        loop {
            let stop = shared.stopping.load(Ordering::Acquire);
            let now = Instant::now();
            let due = self.due(&pending, now, shared);
            if stop || due.is_some_and(|due| due <= now) {
                break;
            }
            let until = due.map_or(now + LOOK, |due| due.min(now + LOOK));
            if shared.work.wait_until(&mut pending, until).timed_out() && due.is_none() {
                return Turn::Idle;
            }
        }
        drop(pending);
        // What one publisher numbered under the gate lands in one batch, whole.
        let _gate = shared.gate.write();
        let batch = Box::new(shared.pending.lock().take());
        shared.overloaded.store(false, Ordering::Relaxed);
        if shared.stopping.load(Ordering::Acquire) {
            return Turn::Stop(batch);
        }
        Turn::Commit(batch)
    }

    fn due(&self, pending: &Batch, now: Instant, shared: &Shared) -> Option<Instant> {
        if pending.forced {
            return Some(now);
        }
        let reclaim = (!self.reclaim.is_empty()).then(|| self.rested + RECLAIM_WAIT);
        let Some(since) = pending.since() else {
            return reclaim;
        };
        let wait = match shared.options.durability {
            Durability::Sync if pending.is_promised() => Duration::ZERO,
            Durability::Sync if pending.lazy.len() >= LAZY_MAX => Duration::ZERO,
            Durability::Sync => LAZY_WAIT,
            Durability::Interval | Durability::None
                if pending.bytes >= GATHERED_MAX
                    || pending.published.len() >= GATHERED_MESSAGES
                    || pending.lazy.len() >= GATHERED_MESSAGES =>
            {
                Duration::ZERO
            }
            Durability::Interval => shared.options.flush_interval,
            Durability::None => NONE_WAIT,
        };
        let due = since.checked_add(wait).unwrap_or(now);
        Some(reclaim.map_or(due, |reclaim| reclaim.min(due)))
    }

    /// False: the store is stopping, and the batch is not on disk; nor is any later one to be called done.
    fn commit(&mut self, batch: Batch, shared: &Shared) -> bool {
        let (number, is_empty) = (batch.number, batch.is_empty());
        if !(is_empty && self.reclaim.is_empty()) {
            match seal(batch, shared.clock, &mut self.next_message) {
                // A reader had it begin, and there is nothing to write.
                Sealed::Write(writes) if writes.is_idle() && self.reclaim.is_empty() => {}
                Sealed::Write(writes) => {
                    if !self.write(&writes, shared) {
                        return false;
                    }
                }
                Sealed::Nothing(lazy, since) => {
                    if lazy.len() > 0 {
                        shared.pending.lock().absorb(lazy, since);
                    }
                }
            }
        }
        self.rested = Instant::now();
        shared.waiters.done(number);
        // Under its lock: a reader that has just looked is asleep by now, and wakes.
        drop(shared.fetches.lock());
        shared.fetch_work.notify_one();
        true
    }

    /// False: the store is stopping and the disk still fails; nothing of the batch was acknowledged.
    fn write(&mut self, writes: &Writes, shared: &Shared) -> bool {
        let mut wait = RETRY;
        loop {
            let error = match self.try_write(writes, shared) {
                Ok(()) => break,
                Err(error) => error,
            };
            if !shared.failing.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    %error,
                    store = shared.medium.name(),
                    "the store cannot be written: what must be stored is refused until it can"
                );
            }
            if shared.stopping.load(Ordering::Acquire) {
                return false;
            }
            // Never the same handle again: what a failed write left of it is not known (STO-1).
            *shared.engine.write() = None;
            std::thread::sleep(wait);
            wait = (wait * 2).min(RETRY_MAX);
            self.look(shared);
        }
        if shared.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(store = shared.medium.name(), "the store is written again");
        }
        true
    }

    fn try_write(&mut self, writes: &Writes, shared: &Shared) -> Result<(), EngineError> {
        if shared.engine.read().is_none() {
            let (engine, found) = engine::open(&*shared.medium, shared.options.cache).map_err(
                |refused| match refused {
                    Refused::Engine(error) => error,
                    Refused::Newer(format) => {
                        EngineError::Failed(format!("its format is now {format}"))
                    }
                },
            )?;
            engine.accept(&*shared.medium, found)?;
            *shared.engine.write() = Some(engine);
        }
        let engine = shared.engine.read();
        let Some(engine) = engine.as_ref() else {
            return Err(EngineError::Failed("it is closed".to_owned()));
        };
        caught(|| write(engine.database()?, writes, &mut self.reclaim).map_err(EngineError::from))?;
        note(shared, writes.number, false);
        Ok(())
    }

    fn close(&self, shared: &Shared) {
        let Some(engine) = shared.engine.write().take() else {
            return;
        };
        let closed = engine.close();
        let written = shared.written.load(Ordering::Relaxed);
        match closed {
            Ok(()) if !shared.failing.load(Ordering::Relaxed) => note(shared, written, true),
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "the store did not close in order"),
        }
    }
}

/// Remembers what was acknowledged. Where it cannot, the next start knows a little less, and loses nothing.
fn note(shared: &Shared, commit: u64, clean: bool) {
    shared.written.store(commit, Ordering::Relaxed);
    let note = Note {
        store: shared.store,
        commit,
        clean,
    };
    if let Err(error) = shared.medium.set_note(&note.to_bytes(), clean) {
        tracing::debug!(%error, "the note beside the store was not written");
    }
}
