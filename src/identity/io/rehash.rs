//! A user's old hash becomes an argon2id one at the next good login, in the file and at once.

use std::fs::File;
use std::io;
use std::path::Path;

use super::files;
use crate::identity::UsersDocument;
use crate::identity::password_hash::{StoredHash, hash};
use crate::secret::Secret;

/// Whoever changes the file holds this, a command as well as the server: the folder can be locked without a file of its own.
pub fn lock(file: &Path) -> io::Result<File> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let folder = File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

/// Blocks for a hash and a write. The password has just been verified against what the file said; should the file say something else by now, it stays.
pub(super) fn rehash(file: &Path, username: &str, password: &Secret) -> io::Result<()> {
    let _lock = lock(file)?;
    let text = std::fs::read_to_string(file)?;
    let problem = |problems: Vec<crate::problem::Problem>| {
        io::Error::other(
            problems
                .first()
                .map_or_else(String::new, ToString::to_string),
        )
    };
    let mut document = UsersDocument::parse(file, &text).map_err(problem)?;
    let Some(entry) = document.users.get_mut(username) else {
        return Ok(());
    };
    let stored = StoredHash::parse(&entry.hash).map_err(io::Error::other)?;
    if !stored.is_outdated() || !stored.verify(password.expose()) {
        return Ok(());
    }
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| io::Error::other("no randomness"))?;
    entry.hash = hash(password.expose(), &salt).map_err(io::Error::other)?;
    files::rewrite(file, document.to_text(file).map_err(problem)?.as_bytes())
}
