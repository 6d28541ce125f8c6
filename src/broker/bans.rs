//! Bans outlive the process: read at the start, written down when they change. Contract section 6.

use super::node::Node;
use crate::limits::{Ban, Limits};
use crate::pki::files;
use crate::problem::Problem;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const INTERVAL: Duration = Duration::from_secs(1);
/// All that the list can hold, with room.
const LONGEST: u64 = 64 * 1024 * 1024;

pub(super) fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("bans.json")
}

/// What was written down below this folder.
pub fn restore_bans(limits: &Limits, data_dir: &Path) -> Result<(), Problem> {
    restore(limits, &file(data_dir))
}

/// A file that is damaged is a problem of the start: going on would let in whom somebody kept out.
pub(super) fn restore(limits: &Limits, path: &Path) -> Result<(), Problem> {
    let wrong = |error: io::Error| Problem::whole(path, format!("bans: {error}"));
    let text = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > LONGEST => {
            return Err(Problem::whole(path, "bans: the file is too long"));
        }
        Ok(_) => std::fs::read(path).map_err(wrong)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(wrong(error)),
    };
    let bans: Vec<Ban> = serde_json::from_slice(&text).map_err(|error| wrong(error.into()))?;
    limits.restore_bans(bans, Instant::now(), SystemTime::now());
    Ok(())
}

/// Writes the list within a second of each change.
pub(super) async fn keep(node: Arc<Node>, path: PathBuf) {
    let mut written = node.limits.bans_generation();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let generation = node.limits.bans_generation();
        if generation == written {
            continue;
        }
        let (limits, path) = (Arc::clone(&node.limits), path.clone());
        let result = tokio::task::spawn_blocking(move || {
            let bans = limits.bans(Instant::now(), SystemTime::now());
            let text = serde_json::to_vec(&bans).map_err(io::Error::other)?;
            files::rewrite(&path, &text)
        });
        match result.await {
            Ok(Ok(())) => written = generation,
            Ok(Err(error)) => tracing::error!(%error, "the bans could not be written down"),
            Err(error) => tracing::error!(%error, "the bans could not be written down"),
        }
    }
}
