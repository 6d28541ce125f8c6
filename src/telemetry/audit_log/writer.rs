//! The one thread that writes the trail, and waits for a disk that does not take it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use super::folder::Folder;
use super::line::{self, Record};
use super::repeats::Repeats;
use super::{Message, Shared};
use crate::audit::{Event, Kind, Outcome};
use crate::units::ByteSize;
use parking_lot::Mutex;

pub(super) struct Writer {
    receiver: Receiver<Message>,
    shared: Arc<Shared>,
    folder: Folder,
    /// Of the line last made.
    sequence: u64,
    digest: String,
    /// Lines made but not wholly written; kept through a failure.
    pending: Vec<u8>,
    /// How much of `pending` the disk has taken.
    written: usize,
    /// Number of the first line in `pending`, and of the one that `written` stands in.
    first_pending: u64,
    told_lost: u64,
    synced: Instant,
    dirty: bool,
    /// Who waits for what is pending.
    waiting: Vec<SyncSender<()>>,
    closed: bool,
}

impl Writer {
    pub(super) fn open(
        path: &Path,
        max_size: ByteSize,
        receiver: Receiver<Message>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let (folder, tail) = Folder::open(path, max_size.get())?;
        let mut writer = Self {
            receiver,
            shared,
            folder,
            sequence: tail.sequence,
            digest: tail.digest,
            pending: Vec::new(),
            written: 0,
            first_pending: tail.sequence.saturating_add(1),
            told_lost: 0,
            synced: Instant::now(),
            dirty: false,
            waiting: Vec::new(),
            closed: false,
        };
        if tail.cut > 0 {
            let reason = format!("{} bytes of an unfinished line were cut off", tail.cut);
            writer.tell(reason, None);
        }
        writer.flush()?;
        Ok(writer)
    }

    pub(super) fn run(mut self) {
        while !self.closed {
            let caught_up = match self.receiver.recv_timeout(TICK) {
                Ok(message) => self.gather(message),
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => {
                    self.closed = true;
                    false
                }
            };
            self.sum_up();
            let at_once = self.write_out();
            // Behind a disk that failed the queue may be full.
            if caught_up && at_once && !self.closed {
                std::thread::sleep(BREATH);
            }
        }
    }

    /// Takes what has queued up, as far as one write should go; whether that was all.
    fn gather(&mut self, first: Message) -> bool {
        self.take(first);
        while self.pending.len() < BATCH && !self.closed {
            match self.receiver.try_recv() {
                Ok(message) => self.take(message),
                Err(_) => return true,
            }
        }
        false
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Record(record) => self.push(&record),
            Message::Flush(answer) => self.waiting.push(answer),
            Message::Close(answer) => {
                self.waiting.push(answer);
                self.closed = true;
            }
        }
    }

    fn push(&mut self, record: &Record) {
        self.sequence = self.sequence.saturating_add(1);
        let line = record.to_line(self.sequence, &self.digest);
        self.digest = line::digest(line.as_bytes());
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
        self.shared.metrics.audit_lines.increment();
    }

    fn sum_up(&mut self) {
        let closed = self.closed;
        let due = |repeats: &Mutex<Repeats>| {
            let mut repeats = repeats.lock();
            if closed {
                repeats.drain()
            } else {
                repeats.due(Instant::now())
            }
        };
        let mut summaries = due(&self.shared.refusals);
        summaries.extend(due(&self.shared.permits));
        for (event, count) in summaries {
            self.push(&Record::new(SystemTime::now(), event, Some(count)));
        }
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let news = lost.saturating_sub(self.told_lost);
        // Told once a second at most: the queue is full, and this is one line more.
        if news > 0 && (self.closed || self.synced.elapsed() >= SYNC) {
            self.told_lost = lost;
            self.tell(
                "events found the queue full and have no line".into(),
                Some(news),
            );
        }
    }

    /// A line about the trail itself.
    fn tell(&mut self, reason: String, count: Option<u64>) {
        let event = Event {
            kind: Kind::Audit,
            outcome: Outcome::Failed,
            reason,
            ..Event::default()
        };
        self.push(&Record::new(SystemTime::now(), event, count));
    }

    /// Writes until nothing is pending; whether the first attempt did. While it fails the queue fills up behind us, and `record` tells its callers.
    fn write_out(&mut self) -> bool {
        let mut at_once = true;
        while let Err(error) = self.flush() {
            at_once = false;
            if !self.shared.failing.swap(true, Ordering::Relaxed) {
                self.shared.metrics.audit_failing.set(1);
                tracing::error!(%error, "the audit log cannot be written");
            }
            if self.shared.closing.load(Ordering::Relaxed) {
                tracing::error!(
                    bytes = self.pending.len(),
                    "audit lines were not written before the end"
                );
                return false;
            }
            std::thread::sleep(RETRY);
        }
        if self.shared.failing.swap(false, Ordering::Relaxed) {
            self.shared.metrics.audit_failing.set(0);
            tracing::warn!("the audit log can be written again");
        }
        for answer in self.waiting.drain(..) {
            let _ = answer.try_send(());
        }
        at_once
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.folder.is_removed() {
            self.begin_line_anew();
            self.folder.leave_file();
            tracing::warn!("the audit file was removed; a new one begins");
        }
        while self.written < self.pending.len() {
            let rest = self.pending.get(self.written..).unwrap_or_default();
            let first = self
                .first_pending
                .saturating_add(lines(self.pending.get(..self.written)));
            self.written = self
                .written
                .saturating_add(self.folder.append(rest, first)?);
            self.dirty = true;
        }
        self.first_pending = self.sequence.saturating_add(1);
        self.pending.clear();
        self.written = 0;
        self.sync()?;
        if self.folder.is_full() {
            self.folder.sync()?;
            self.folder.leave_file();
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.dirty && (self.closed || self.synced.elapsed() >= SYNC) {
            self.folder.sync()?;
            self.synced = Instant::now();
            self.dirty = false;
        }
        Ok(())
    }

    /// A line that began in a file now gone has to be whole in the next.
    fn begin_line_anew(&mut self) {
        let taken = self.pending.get(..self.written).unwrap_or_default();
        let end = taken.iter().rposition(|byte| *byte == b'\n');
        self.written = end.map_or(0, |end| end.saturating_add(1));
    }
}

fn lines(bytes: Option<&[u8]>) -> u64 {
    let bytes = bytes.unwrap_or_default();
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// How often the summary and the lost events are looked at while nothing arrives.
const TICK: Duration = Duration::from_millis(500);
/// After a write: what comes meanwhile is written together, and nobody has to wake this thread for it. A lone event waits for nothing.
const BREATH: Duration = Duration::from_millis(2);
const RETRY: Duration = Duration::from_millis(100);
const SYNC: Duration = Duration::from_secs(1);
const BATCH: usize = 256 * 1024;
