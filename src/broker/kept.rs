//! What the limits know and a restart must not lose: files of their own, written when they change and at the stop.

use super::node::Node;
use crate::limits::Limits;
use crate::pki::files;
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One such file.
pub struct Kept {
    what: &'static str,
    path: PathBuf,
    interval: Duration,
    generation: fn(&Limits) -> u64,
    content: fn(&Limits) -> io::Result<Vec<u8>>,
    /// The generation that the file holds; one writer at a time, so that an old state is never written over a newer one.
    written: Mutex<u64>,
}

impl Kept {
    /// To be made when the file has been read: what the limits know then is what it holds.
    pub(super) fn new(
        (what, path): (&'static str, PathBuf),
        interval: Duration,
        limits: &Limits,
        generation: fn(&Limits) -> u64,
        content: fn(&Limits) -> io::Result<Vec<u8>>,
    ) -> Self {
        Self {
            what,
            path,
            interval,
            generation,
            content,
            written: Mutex::new(generation(limits)),
        }
    }

    /// Writes the file unless it holds what there is. A failure is told, and tried again.
    pub(super) fn write(&self, limits: &Limits) {
        if let Err(error) = self.try_write(limits) {
            tracing::error!(what = self.what, %error, "could not be written down");
        }
    }

    /// What was changed before is on disk when this returns. For a thread that may wait.
    pub(super) fn try_write(&self, limits: &Limits) -> io::Result<()> {
        let mut written = self.written.lock();
        // Before the content: what changes meanwhile is written again.
        let generation = (self.generation)(limits);
        if generation == *written {
            return Ok(());
        }
        let content = (self.content)(limits)?;
        files::rewrite(&self.path, &content)?;
        *written = generation;
        Ok(())
    }
}

/// Writes one of the files within its interval after each change.
pub(super) async fn keep(node: Arc<Node>, kept: Arc<Kept>) {
    loop {
        tokio::time::sleep(kept.interval).await;
        let (limits, kept) = (Arc::clone(&node.limits), Arc::clone(&kept));
        let done = tokio::task::spawn_blocking(move || kept.write(&limits)).await;
        if let Err(error) = done {
            tracing::error!(%error, "what the limits know could not be written down");
        }
    }
}
