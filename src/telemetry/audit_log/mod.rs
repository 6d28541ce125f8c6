//! The audit trail: one JSON line per security decision, chained, bounded, never in the way. Contract section 8.

mod folder;
mod line;
mod read;
mod repeats;
mod tail;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use self::line::Record;
pub use self::read::{Verification, records, verify};
use self::repeats::Repeats;
pub use self::tail::Tail;
use super::Metrics;
use crate::audit::{Event, Outcome, Sink, Unauditable};
use crate::units::ByteSize;

/// `audit`: where the trail goes, how much of it is kept, and what happens when it cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// `audit` inside `data_dir` when absent.
    pub path: Option<PathBuf>,
    /// Of all files together; the oldest eighth goes first.
    pub max_size: ByteSize,
    pub on_failure: OnFailure,
    /// Refusals that get a line of their own in each minute; the others are summed up per address (LOG-2).
    pub refusals_per_minute: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// What cannot be audited is refused: new logins and acts of administrators. Live traffic goes on.
    Deny,
    /// Go on, with an alarm.
    Continue,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            path: None,
            max_size: ByteSize::mib(256),
            on_failure: OnFailure::Deny,
            refusals_per_minute: 60,
        }
    }
}

/// The trail as the rest of the broker sees it. A thread of its own writes; a full queue is counted and told.
pub struct AuditLog {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    on_failure: OnFailure,
    refusals: Mutex<Repeats>,
    permits: Mutex<Repeats>,
    /// The last attempt to write failed.
    failing: AtomicBool,
    closing: AtomicBool,
    /// Events that found the queue full and were no refusals, which are summed up instead.
    lost: AtomicU64,
    metrics: Arc<Metrics>,
}

enum Message {
    Record(Box<Record>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
    Close(SyncSender<()>),
}

impl AuditLog {
    /// Opens the folder, made with mode 0700 when missing, and continues the chain where it ended.
    pub fn open(config: &AuditConfig, folder: &Path, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (queue, receiver) = mpsc::sync_channel(QUEUE);
        let now = Instant::now();
        let refusals = Repeats::of_refusals(config.refusals_per_minute, now);
        let shared = Arc::new(Shared {
            on_failure: config.on_failure,
            refusals: Mutex::new(refusals),
            permits: Mutex::new(Repeats::of_permits(now)),
            failing: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            metrics,
        });
        let writer = writer::Writer::open(folder, config.max_size, receiver, Arc::clone(&shared))?;
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run())?;
        Ok(Self { queue, shared })
    }

    /// Waits until all that was recorded so far is written, or the time is up. True when it is.
    pub fn flush(&self, patience: Duration) -> bool {
        self.ask(Message::Flush, patience)
    }

    /// Writes what is left, the summary of repeated refusals included, and ends the thread.
    pub fn close(&self, patience: Duration) -> bool {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.ask(Message::Close, patience)
    }

    /// False while the trail cannot be written.
    pub fn is_writable(&self) -> bool {
        !self.shared.failing.load(Ordering::Relaxed)
    }

    fn ask(&self, question: fn(SyncSender<()>) -> Message, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let (answer, answered) = mpsc::sync_channel(1);
        let mut message = question(answer);
        loop {
            match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => message = back,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return false,
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        answered.recv_timeout(left).is_ok()
    }
}

impl Sink for AuditLog {
    fn record(&self, event: Event) -> Result<(), Unauditable> {
        match event.outcome {
            Outcome::Refused | Outcome::Failed => self.shared.metrics.refused(event.kind),
            Outcome::Permitted => {}
        }
        if let Some(repeats) = self.shared.repeats(&event)
            && !repeats.lock().takes_a_line(&event)
        {
            self.shared.metrics.audit_summed_up.increment();
            return self.shared.verdict(true);
        }
        let record = Record::new(SystemTime::now(), event, None);
        match self.queue.try_send(Message::Record(Box::new(record))) {
            Ok(()) => self.shared.verdict(true),
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                self.shared.lose(message);
                self.shared.verdict(false)
            }
        }
    }
}

impl Shared {
    fn verdict(&self, taken: bool) -> Result<(), Unauditable> {
        let healthy = taken && !self.failing.load(Ordering::Relaxed);
        match self.on_failure {
            OnFailure::Deny if !healthy => Err(Unauditable),
            OnFailure::Deny | OnFailure::Continue => Ok(()),
        }
    }

    /// What may come again and again: refusals, and what a client does on a connection that was admitted. A login that succeeds always has its line.
    fn repeats(&self, event: &Event) -> Option<&Mutex<Repeats>> {
        match event.outcome {
            Outcome::Refused | Outcome::Failed => Some(&self.refusals),
            Outcome::Permitted => event.action.map(|_| &self.permits),
        }
    }

    fn lose(&self, message: Message) {
        let repeats = match &message {
            Message::Record(record) => self
                .repeats(record.event())
                .map(|repeats| (repeats, record)),
            Message::Flush(_) | Message::Close(_) => None,
        };
        match repeats {
            Some((repeats, record)) => {
                self.metrics.audit_summed_up.increment();
                repeats.lock().sum_up(record.event());
            }
            None => {
                self.metrics.audit_lost.increment();
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Events on their way to the thread that writes.
const QUEUE: usize = 32_768;

#[cfg(test)]
mod tests;
