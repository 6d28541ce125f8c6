//! The store's folder: readable for its owner only, used by one process at a time (STO-3).

use super::error::OpenError;
use super::medium::Medium;
use super::note::Note;
use redb::StorageBackend;
use redb::backends::FileBackend;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Locked while this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    note: File,
    _lock: File,
}

const DATA: &str = "store.redb";
/// A data file that is being made.
const NEW: &str = "store.new";
const NOTE: &str = "committed";
const LOCK: &str = "lock";

impl Folder {
    /// Makes the folder when there is none, and takes its lock.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            // A link may lead anywhere, a device or a socket nowhere.
            Ok(_) => {
                return Err(OpenError::NotAFolder {
                    path: path.to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(failed)?,
            Err(error) => return Err(failed(error)),
        }
        // Whatever the umask was when it was made, and whoever loosened it since.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).map_err(failed)?;
        let lock = private_file(&path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let note = private_file(&path.join(NOTE)).map_err(failed)?;
        // The names of new files are on disk as well (STO-1).
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            note,
            _lock: lock,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As if nothing had ever been kept.
    pub(super) fn clear(&self) -> io::Result<()> {
        for file in [self.path.join(NEW), self.data_file()] {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.note.set_len(0)?;
        self.note.sync_all()
    }

    /// Where the data is.
    pub fn data_file(&self) -> PathBuf {
        self.path.join(DATA)
    }
}

impl Medium for Folder {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = if self.data_file().symlink_metadata().is_ok() {
            private_file(&self.data_file())?
        } else {
            // A start that ended before its file was a store has left nothing that anybody was told of.
            let file = private_file(&self.path.join(NEW))?;
            file.set_len(0)?;
            file
        };
        // After a failed write the system may hold pages that it calls clean and the disk never got: they are read again.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        File::open(&self.path)?.sync_all()?;
        let backend =
            FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(backend))
    }

    fn establish(&self) -> io::Result<()> {
        if self.data_file().symlink_metadata().is_ok() {
            return Ok(());
        }
        std::fs::rename(self.path.join(NEW), self.data_file())?;
        File::open(&self.path)?.sync_all()
    }

    fn note(&self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = [0; Note::LENGTH];
        match self.note.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Some(bytes.to_vec())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn set_note(&self, note: &[u8], sync: bool) -> io::Result<()> {
        self.note.write_all_at(note, 0)?;
        if sync {
            self.note.sync_data()?;
        }
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.path)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn name(&self) -> String {
        self.data_file().display().to_string()
    }
}

/// Never through a symbolic link, and never readable for others, whatever the umask.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(NO_FOLLOW);
    let file = match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path)?,
        made => made?,
    };
    file.set_permissions(PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// As the system's headers have it.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
