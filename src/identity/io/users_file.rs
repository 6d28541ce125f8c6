//! The password file on disk: read whole, replaced whole, watched.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::identity::{User, Users};
use crate::problem::Problem;

/// A hundred thousand users fit; anything larger is not a password file.
const FILE_LENGTH_MAX: u64 = 64 << 20;

pub(super) struct UsersFile {
    path: PathBuf,
    users: ArcSwap<Users>,
    read: Mutex<Option<Stamp>>,
    memory_kib: u64,
}

/// Tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

impl UsersFile {
    /// Whatever is wrong with the file stops the start (IDN-2).
    pub(super) fn open(path: PathBuf, memory_kib: u64) -> Result<Self, Vec<Problem>> {
        let stamp = stamp(&path);
        let users = read(&path, memory_kib)?;
        Ok(Self {
            path,
            users: ArcSwap::from_pointee(users),
            read: Mutex::new(stamp),
            memory_kib,
        })
    }

    pub(super) fn load(&self) -> Arc<Users> {
        self.users.load_full()
    }

    /// All or nothing: a bad file leaves the users as they are.
    pub(super) fn reload(&self) -> Result<(), Vec<Problem>> {
        // Taken before reading: a change in between is seen as a change next time.
        let stamp = stamp(&self.path);
        *self.read.lock() = stamp;
        self.users
            .store(Arc::new(read(&self.path, self.memory_kib)?));
        Ok(())
    }

    /// Whether the file differs from what was read last, be it good or bad.
    pub(super) fn has_changed(&self) -> bool {
        stamp(&self.path) != *self.read.lock()
    }

    pub(super) fn user(&self, name: &str) -> Option<User> {
        self.users.load().get(name).cloned()
    }
}

fn read(path: &Path, memory_kib: u64) -> Result<Users, Vec<Problem>> {
    let whole = |message: String| vec![Problem::whole(path, message)];
    let text = read_text(path).map_err(|error| whole(format!("cannot be read: {error}")))?;
    let users = Users::parse(path, &text)?;
    if u64::from(users.kib_max()) > memory_kib {
        return Err(whole(format!(
            "a hash needs {} KiB of memory, more than `authentication.password.hashing.memory`",
            users.kib_max()
        )));
    }
    Ok(users)
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let length = file.take(FILE_LENGTH_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > FILE_LENGTH_MAX {
        return Err(std::io::Error::other("larger than 64 MiB"));
    }
    Ok(text)
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok()?,
        length: metadata.len(),
        inode: metadata.ino(),
    })
}
