//! `store.kind: embedded`: what is acknowledged is in one file of a maintained engine, written by one thread in groups.

mod batch;
mod clock;
mod commit;
mod engine;
mod error;
mod folder;
mod held;
mod medium;
mod note;
mod reader;
mod record;
mod restore;
mod seal;
mod space;
mod tables;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
pub mod upkeep;
mod verbs;
mod waiters;
mod write;

pub use self::error::OpenError;
pub use self::folder::Folder;
pub use self::medium::Medium;

use self::batch::Batch;
use self::clock::Clock;
use self::commit::Committer;
use self::engine::{Engine, Refused, caught};
use self::reader::Wanted;
use self::restore::Start;
use self::waiters::Waiters;
use self::write::Reclaim;
use super::Durability;
use crate::router::Restored;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// How a store is kept.
#[derive(Clone, Debug)]
pub struct Options {
    pub durability: Durability,
    /// With [`Durability::Interval`].
    pub flush_interval: Duration,
    /// Bytes of the file that are kept in memory.
    pub cache: usize,
    /// `limits.state.store_free` in bytes: with less, nothing more is promised.
    pub store_free: u64,
}

/// One process's hold on a store; its threads end with [`Embedded::close`].
pub struct Embedded {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    options: Options,
    clock: Clock,
    medium: Arc<dyn Medium>,
    gate: RwLock<()>,
    pending: Mutex<Batch>,
    /// Rings when there is something to write.
    work: Condvar,
    waiters: Waiters,
    /// `None` while a failing disk is let go of.
    engine: RwLock<Option<Engine>>,
    fetches: Mutex<VecDeque<Wanted>>,
    fetch_work: Condvar,
    failing: AtomicBool,
    full: AtomicBool,
    overloaded: AtomicBool,
    stopping: AtomicBool,
    /// The store's own number.
    store: u64,
    /// The number of the last commit that wrote anything.
    written: AtomicU64,
}

impl Embedded {
    /// Opens the store in a folder, which is made when there is none.
    pub fn open(
        path: PathBuf,
        options: Options,
        now: Instant,
        system: SystemTime,
    ) -> Result<(Arc<Self>, Restored), OpenError> {
        let folder = Folder::open(&path)?;
        Self::open_on(Arc::new(folder), options, now, system)
    }

    /// Opens the store on whatever medium holds it.
    pub fn open_on(
        medium: Arc<dyn Medium>,
        options: Options,
        now: Instant,
        system: SystemTime,
    ) -> Result<(Arc<Self>, Restored), OpenError> {
        let clock = Clock::new(now, system);
        let (engine, found) =
            engine::open(&*medium, options.cache).map_err(|refused| refused.told(&*medium))?;
        let start = caught(|| restore::restore(engine.database()?, clock, now, system))
            .map_err(|error| Refused::Engine(error).told(&*medium))?;
        if start.damage.records > 0 {
            return Err(OpenError::Damaged {
                file: medium.name(),
                damage: start.damage.told(),
            });
        }
        engine
            .accept(&*medium, found)
            .map_err(|error| Refused::Engine(error).told(&*medium))?;
        start.say(found, &*medium);
        let Start {
            restored,
            expired,
            expired_retained,
            ended,
            expired_sessions,
            next_message,
            ..
        } = start;
        let mut pending = Batch::new(found.commit.saturating_add(1));
        for key in expired {
            pending.settle(key, now);
        }
        for topic in expired_retained {
            pending.expired(topic, 0, now);
        }
        for session in expired_sessions {
            pending.remove(session);
            pending.promise(now);
        }
        let shared = Arc::new(Shared {
            clock,
            gate: RwLock::new(()),
            pending: Mutex::new(pending),
            work: Condvar::new(),
            waiters: Waiters::new(found.commit),
            engine: RwLock::new(Some(engine)),
            fetches: Mutex::default(),
            fetch_work: Condvar::new(),
            failing: AtomicBool::new(false),
            full: AtomicBool::new(false),
            overloaded: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            store: found.store,
            written: AtomicU64::new(found.commit),
            medium,
            options,
        });
        let committer = Committer::new(next_message, Reclaim::new(ended), &shared);
        let threads = vec![
            spawn("store-commit", &shared, move |shared| committer.run(shared))?,
            spawn("store-read", &shared, reader::run)?,
        ];
        let store = Self {
            shared,
            threads: Mutex::new(threads),
        };
        Ok((Arc::new(store), restored))
    }

    /// Writes all that was told and closes the file in order. Later words are not kept, none of them: what is told together is kept together or not at all, as
    /// before a crash.
    pub fn close(&self) {
        {
            // Whoever holds the gate tells all he has to: a will that was published goes from its session's record in the same commit.
            let _gate = self.shared.gate.write();
            // Under the lock, so that a thread that is about to sleep sees it.
            let _pending = self.shared.pending.lock();
            self.shared.stopping.store(true, Ordering::Release);
        }
        self.shared.work.notify_all();
        self.shared.fetch_work.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store has panicked");
            }
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// A row whose time is over goes with the next commit.
    fn forget(&self, key: tables::QueueKey) {
        self.pending.lock().settle(key, Instant::now());
    }
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    run: impl FnOnce(&Shared) + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run(&shared))
        .map_err(OpenError::Thread)
}

impl Refused {
    fn told(self, medium: &dyn Medium) -> OpenError {
        let file = medium.name();
        match self {
            Self::Newer(found) => OpenError::Newer {
                file,
                found,
                known: tables::FORMAT_VERSION,
            },
            Self::Engine(error::EngineError::Damaged(what)) => OpenError::Damaged {
                file,
                damage: vec![what],
            },
            Self::Engine(error::EngineError::InUse) => OpenError::InUse { path: file.into() },
            Self::Engine(error::EngineError::Failed(what)) => OpenError::Io {
                path: file.into(),
                source: io::Error::other(what),
            },
        }
    }
}

impl Start {
    fn say(&self, found: engine::Found, medium: &dyn Medium) {
        let store = medium.name();
        if found.cut {
            tracing::warn!(
                store,
                commit = found.commit,
                "the end of the store was torn by a crash and was cut: nobody had been told that it was kept"
            );
        } else if found.recovered {
            tracing::info!(
                store,
                "the store was not closed in order, and was recovered"
            );
        }
        let (messages, sessions) = (self.expired.len(), self.expired_sessions.len());
        let retained = self.expired_retained.len();
        if messages + sessions + retained > 0 {
            tracing::info!(
                messages,
                retained,
                sessions,
                "expired while the broker was away, and dropped"
            );
        }
        tracing::info!(
            store,
            sessions = self.restored.sessions.len(),
            queued = self.queued,
            retained = self.restored.retained.len(),
            "store opened"
        );
    }
}
