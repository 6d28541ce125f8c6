//! The password file on disk: read whole, replaced whole, watched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::watched::{Seen, read_file};
use arc_swap::ArcSwap;

use crate::identity::{User, Users};
use crate::problem::Problem;

/// A hundred thousand users fit; anything larger is not a password file.
const FILE_LENGTH_MAX: u64 = 64 << 20;

pub(super) struct UsersFile {
    path: PathBuf,
    users: ArcSwap<Users>,
    seen: Seen,
    memory_kib: u64,
}

impl UsersFile {
    /// Whatever is wrong with the file stops the start (IDN-2).
    pub(super) fn open(path: PathBuf, memory_kib: u64) -> Result<Self, Vec<Problem>> {
        let seen = Seen::now(path.clone());
        let users = read(&path, memory_kib)?;
        Ok(Self {
            path,
            users: ArcSwap::from_pointee(users),
            seen,
            memory_kib,
        })
    }

    pub(super) fn load(&self) -> Arc<Users> {
        self.users.load_full()
    }

    /// Reads the file again without putting it in place; a bad file leaves the users as they are.
    pub(super) fn read_again(&self) -> Result<Users, Vec<Problem>> {
        self.seen.note();
        read(&self.path, self.memory_kib)
    }

    pub(super) fn replace(&self, users: Users) {
        self.users.store(Arc::new(users));
    }

    /// Whether the file differs from what was read last, be it good or bad.
    pub(super) fn has_changed(&self) -> bool {
        self.seen.has_changed()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn user(&self, name: &str) -> Option<User> {
        self.users.load().get(name).cloned()
    }
}

fn read(path: &Path, memory_kib: u64) -> Result<Users, Vec<Problem>> {
    let whole = |message: String| vec![Problem::whole(path, message)];
    let bytes = read_file(path, FILE_LENGTH_MAX).map_err(|error| whole(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| whole("not UTF-8".to_owned()))?;
    let users = Users::parse(path, &text)?;
    if u64::from(users.kib_max()) > memory_kib {
        return Err(whole(format!(
            "a hash needs {} KiB of memory, more than `authentication.password.hashing.memory`",
            users.kib_max()
        )));
    }
    Ok(users)
}
