//! Files that hold keys or state: never seen half written, never readable by others, never written over by accident.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Only the owner reads and writes.
pub const PRIVATE: u32 = 0o600;
/// Everybody may read: certificates and revocation lists.
pub const PUBLIC: u32 = 0o644;

/// Makes a folder that only its owner can enter, and those above it. One that exists is left as it is.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Like [`create_folder`], each for the owner of the folder that it is made in: an operator may make it for a service that is another user.
pub fn create_folder_inside(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = folder_of(path);
    create_folder_inside(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => give(&open_folder(path)?, &fs::metadata(parent)?),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a file that does not exist yet; neither a file nor a link at its place is followed or overwritten.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    create(path, bytes, mode, |_| Ok(()))
}

/// Like [`create_new`], for the owner of the folder.
pub fn create_inside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = fs::metadata(folder_of(path))?;
    create(path, bytes, mode, |file| give(file, &folder))
}

fn create(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = prepare(&file)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written?;
    sync_folder(path)
}

/// What is in a file; `None` where there is none. A link to nothing is no absence: what it led to may have forbidden something (IDN-2).
pub fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Ok(_) => Err(io::Error::new(
                error.kind(),
                "a link to a file that is not there",
            )),
            Err(_) => Ok(None),
        },
        Err(error) => Err(error),
    }
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

/// Like [`replace`], with the owner and mode of the file that is there, for a service of another user may have to read it; never readable by everybody. A first one is
/// for the owner of the folder.
pub fn rewrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    rewrite_for(path, bytes, PRIVATE)
}

/// The same for a file of this mode, which a group may read besides.
pub fn rewrite_for(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let there = match fs::metadata(path) {
        Ok(there) => Some(there),
        // A link to nothing is a mistake of somebody's, and not ours to mend.
        Err(error) if fs::symlink_metadata(path).is_ok() => return Err(error),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let temporary = beside(path)?;
    create(&temporary, bytes, PRIVATE, |file| {
        let Some(there) = &there else {
            give(file, &fs::metadata(folder_of(path))?)?;
            return file.set_permissions(fs::Permissions::from_mode(mode));
        };
        match hand_over(file, there) {
            // Whoever owns it, everybody reads it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && mode & 0o004 != 0 => {}
            handed_over => handed_over?,
        }
        file.set_permissions(fs::Permissions::from_mode(there.mode() & 0o060 | mode))
    })?;
    let renamed = fs::rename(&temporary, path);
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    renamed?;
    sync_folder(path)
}

/// Opens a file to be locked, and makes it for the owner of the folder where there is none.
pub fn open_lock(path: &Path) -> io::Result<File> {
    match create_inside(path, b"", PRIVATE) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    OpenOptions::new().write(true).open(path)
}

/// Hands over what was just made, to whom the folder belongs. By its descriptor: in the folder of another user its name may lead elsewhere by now. Who may not give
/// away keeps it: he makes files for himself in a folder that he may only write to.
fn give(file: &File, folder: &fs::Metadata) -> io::Result<()> {
    match hand_over(file, folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

/// To whom something else belongs.
fn hand_over(file: &File, other: &fs::Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (other.uid(), other.gid()) {
        return Ok(());
    }
    fchown(file, Some(other.uid()), Some(other.gid()))
}

/// Not through a link.
fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
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
    File::open(folder_of(path))?.sync_all()
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

    /// Only root can give files away; whoever runs this without being root owns the folder and all that is in it.
    #[test]
    fn what_is_made_in_a_folder_is_for_its_owner() {
        let folder =
            std::env::temp_dir().join(format!("wardgate-files-{:x}", rand::random::<u64>()));
        create_folder(&folder).unwrap();
        let _ = std::os::unix::fs::chown(&folder, Some(12_345), Some(12_346));
        let owner = |path: &Path| {
            let metadata = fs::symlink_metadata(path).unwrap();
            (metadata.uid(), metadata.gid())
        };
        let expected = owner(&folder);
        let path = |name: &str| folder.join(name);
        create_folder_inside(&path("a/b")).unwrap();
        create_folder_inside(&path("a/b")).unwrap();
        create_inside(&path("a/b/new"), b"x", PUBLIC).unwrap();
        open_lock(&path("a/lock")).unwrap();
        open_lock(&path("a/lock")).unwrap();
        for bytes in [b"one", b"two"] {
            rewrite(&path("private"), bytes).unwrap();
            rewrite_for(&path("public"), bytes, PUBLIC).unwrap();
        }
        for name in ["a", "a/b", "a/b/new", "a/lock", "private", "public"] {
            assert_eq!(owner(&path(name)), expected, "{name}");
        }
        let mode = |name: &str| fs::metadata(path(name)).unwrap().mode() & 0o777;
        let modes = ["a", "a/b/new", "a/lock", "private", "public"].map(mode);
        assert_eq!(modes, [0o700, 0o644, 0o600, 0o600, 0o644]);
        // A folder that is a link to another's is not given away.
        std::os::unix::fs::symlink(path("a"), path("link")).unwrap();
        assert!(open_folder(&path("link")).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn idn_02_a_link_to_nothing_is_no_absence() {
        let folder =
            std::env::temp_dir().join(format!("wardgate-files-{:x}", rand::random::<u64>()));
        create_folder(&folder).unwrap();
        let path = folder.join("rules");
        assert_eq!(read_if_there(&path).unwrap(), None);
        assert_eq!(read_if_there(&folder.join("no/rules")).unwrap(), None);
        std::os::unix::fs::symlink(folder.join("elsewhere"), &path).unwrap();
        let error = read_if_there(&path).unwrap_err().to_string();
        assert_eq!(error, "a link to a file that is not there");
        fs::write(folder.join("elsewhere"), "x").unwrap();
        assert_eq!(read_if_there(&path).unwrap().unwrap(), b"x");
        fs::remove_dir_all(&folder).unwrap();
    }
}
