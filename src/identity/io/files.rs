//! Files that hold keys or state: never seen half written, never readable by others, never written over by accident.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Only the owner reads and writes.
pub const PRIVATE: u32 = 0o600;
/// Everybody may read: certificates and revocation lists.
pub const PUBLIC: u32 = 0o644;

/// Makes a folder that only its owner can enter, and those above it. One that exists is left as it is.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that does not exist yet; neither a file nor a link at its place is followed or overwritten.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written?;
    sync_folder(path)
}

/// Puts a whole file in the place of another at once: after a crash the old or the new one is there.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = beside(path)?;
    create_new(&temporary, bytes, mode)?;
    let renamed = fs::rename(&temporary, path);
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    renamed?;
    sync_folder(path)
}

/// Like [`replace`], with the owner and mode of the file that is there, for a service of another user may have to read it; never readable by everybody.
pub fn rewrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let there = match fs::metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return create_new(path, bytes, PRIVATE);
        }
        Err(error) => return Err(error),
    };
    let temporary = beside(path)?;
    create_new(&temporary, bytes, PRIVATE)?;
    let rewritten = take_over(&temporary, &there).and_then(|()| fs::rename(&temporary, path));
    if rewritten.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    rewritten?;
    sync_folder(path)
}

fn take_over(path: &Path, there: &fs::Metadata) -> io::Result<()> {
    let own = fs::metadata(path)?;
    if (own.uid(), own.gid()) != (there.uid(), there.gid()) {
        chown(path, Some(there.uid()), Some(there.gid()))?;
    }
    fs::set_permissions(
        path,
        fs::Permissions::from_mode(there.mode() & 0o660 | PRIVATE),
    )
}

/// A name that nobody guesses, in the same folder, so that the rename stays on one file system.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{:016x}.tmp", rand::random::<u64>()));
    Ok(path.with_file_name(temporary))
}

/// The rename itself survives a crash only when the folder is written too.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_private_whole_and_never_overwritten_by_accident() {
        let folder =
            std::env::temp_dir().join(format!("wardgate-files-{:x}", rand::random::<u64>()));
        create_folder(&folder.join("ca")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.join("ca")), 0o700);
        let path = folder.join("ca/key");
        create_new(&path, b"one", PRIVATE).unwrap();
        assert_eq!(mode(&path), 0o600);
        let again = create_new(&path, b"two", PRIVATE).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"three", PRIVATE).unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), mode(&path)),
            (b"three".to_vec(), 0o600)
        );
        assert_eq!(
            fs::read_dir(folder.join("ca")).unwrap().count(),
            1,
            "nothing temporary is left"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        rewrite(&path, b"four").unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), mode(&path)),
            (b"four".to_vec(), 0o640)
        );
        let link = folder.join("ca/link");
        std::os::unix::fs::symlink(folder.join("ca/elsewhere"), &link).unwrap();
        assert!(create_new(&link, b"x", PRIVATE).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
