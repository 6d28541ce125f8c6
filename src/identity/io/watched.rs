//! Files that are read whole, within a bound, and looked at for changes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;

/// The state of a file when it was read last, be it good or bad.
pub(super) struct Seen {
    path: PathBuf,
    stamp: Mutex<Option<Stamp>>,
}

/// Tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

impl Seen {
    /// To be called before the file is read: a change in between is then seen as a change.
    pub(super) fn now(path: PathBuf) -> Self {
        let stamp = Mutex::new(stamp(&path));
        Self { path, stamp }
    }

    pub(super) fn note(&self) {
        *self.stamp.lock() = stamp(&self.path);
    }

    pub(super) fn has_changed(&self) -> bool {
        stamp(&self.path) != *self.stamp.lock()
    }
}

pub(super) fn read_file(path: &Path, length_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = File::open(path)?
        .take(length_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > length_max {
        return Err(io::Error::other(format!("longer than {length_max} bytes")));
    }
    Ok(bytes)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok()?,
        length: metadata.len(),
        inode: metadata.ino(),
    })
}
