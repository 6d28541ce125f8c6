//! Where a store's bytes live: a folder, or what a test puts in its place.

use redb::StorageBackend;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a store needs of the world. [`super::Folder`] is the real one; a test can lose what was not synced, flip bits or run full.
pub trait Medium: Debug + Send + Sync {
    /// The data file; when there is none an empty one, which is not it yet. Called again after a failure, when what the file holds must be read from the disk and
    /// not from a cache.
    fn open(&self) -> io::Result<Box<dyn StorageBackend>>;

    /// What was made of the empty file is the data file from now on, on disk when this returns; else the next [`Medium::open`] begins again.
    fn establish(&self) -> io::Result<()>;

    /// The last note, if there is one.
    fn note(&self) -> io::Result<Option<Vec<u8>>>;

    /// Replaces the note, on disk at once when `sync`.
    fn set_note(&self, note: &[u8], sync: bool) -> io::Result<()>;

    /// Bytes that can still be written.
    fn free(&self) -> io::Result<u64>;

    /// What errors call the data file.
    fn name(&self) -> String;
}

/// A backend that remembers what was read last: the engine says that a page is damaged, and this where it is.
#[derive(Debug)]
pub(super) struct Traced {
    backend: Box<dyn StorageBackend>,
    last_read: Arc<AtomicU64>,
}

impl Traced {
    pub(super) fn new(backend: Box<dyn StorageBackend>) -> (Self, Arc<AtomicU64>) {
        let last_read = Arc::new(AtomicU64::new(0));
        let traced = Self {
            backend,
            last_read: Arc::clone(&last_read),
        };
        (traced, last_read)
    }
}

impl StorageBackend for Traced {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.last_read.store(offset, Ordering::Relaxed);
        self.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }
}
