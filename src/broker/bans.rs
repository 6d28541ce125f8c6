//! Bans outlive the process: read at the start, written down when they change. Contract section 6.

use super::kept::Kept;
use crate::limits::{Ban, Limits};
use crate::problem::Problem;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

const INTERVAL: Duration = Duration::from_secs(1);
/// All that the list can hold, with room.
const LONGEST: u64 = 64 * 1024 * 1024;

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("bans.json")
}

/// Takes up what was written down below this folder. A file that is damaged is a problem of the start: going on would let in
/// whom somebody kept out.
pub fn restore_bans(limits: &Limits, data_dir: &Path) -> Result<(), Problem> {
    let path = &file(data_dir);
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

/// The file that they are kept in, once it has been read.
pub(super) fn kept(limits: &Limits, data_dir: &Path) -> Kept {
    let content = |limits: &Limits| {
        let bans = limits.bans(Instant::now(), SystemTime::now());
        serde_json::to_vec(&bans).map_err(io::Error::other)
    };
    let what = ("bans", file(data_dir));
    Kept::new(what, INTERVAL, limits, Limits::bans_generation, content)
}
