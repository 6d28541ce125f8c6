//! A file that is looked at before it is touched: what the engine writes is held back until the file was found good.

use ahash::AHashMap;
use parking_lot::RwLock;
use redb::StorageBackend;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by the engine and by whoever releases it. What is never released never happened.
#[derive(Clone, Debug)]
pub(super) struct Held(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Box<dyn StorageBackend>,
    is_released: AtomicBool,
    written: RwLock<Written>,
}

/// As much as a recovery writes, which is little: the engine's own books, not its pages.
#[derive(Debug, Default)]
struct Written {
    length: u64,
    /// How much of the file still shows: what was cut off once reads as zeros when there is room again.
    shown: u64,
    /// They stand before those of the file.
    blocks: AHashMap<u64, Block>,
    /// In the order in which they are to reach the disk.
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write(u64, Box<[u8]>),
    Length(u64),
    Sync,
}

const BLOCK: usize = 4096;

type Block = Box<[u8; BLOCK]>;

impl Held {
    pub(super) fn new(file: Box<dyn StorageBackend>) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self(Arc::new(Inner {
            file,
            is_released: AtomicBool::new(false),
            written: RwLock::new(Written {
                length,
                shown: length,
                ..Written::default()
            }),
        })))
    }

    /// Does what was held back, synced where the engine had it synced; later writes go straight to the file. A crash meanwhile is as one in the engine's own recovery.
    pub(super) fn release(&self) -> io::Result<()> {
        let Inner {
            file,
            is_released,
            written,
            ..
        } = &*self.0;
        let mut written = written.write();
        for change in std::mem::take(&mut written.changes) {
            match change {
                Change::Write(offset, data) => file.write(offset, &data)?,
                Change::Length(length) => file.set_len(length)?,
                Change::Sync => file.sync_data()?,
            }
        }
        written.blocks = AHashMap::new();
        is_released.store(true, Ordering::Release);
        Ok(())
    }

    fn is_released(&self) -> bool {
        self.0.is_released.load(Ordering::Acquire)
    }
}

impl Inner {
    /// What the file shows there; zeros behind that.
    fn of_file(&self, block: u64, shown: u64) -> io::Result<Block> {
        let mut bytes: Block = Box::new([0; BLOCK]);
        let start = block * BLOCK as u64;
        let there = shown.saturating_sub(start).min(BLOCK as u64);
        let there = usize::try_from(there).unwrap_or(BLOCK);
        if let Some(part) = bytes.get_mut(..there).filter(|part| !part.is_empty()) {
            self.file.read(start, part)?;
        }
        Ok(bytes)
    }
}

/// The parts of a range, block by block: its number, and where in it the part begins and ends.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    let end = offset.saturating_add(length as u64);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let block = at / BLOCK as u64;
        let from = usize::try_from(at % BLOCK as u64).unwrap_or(0);
        let to = usize::try_from((end - block * BLOCK as u64).min(BLOCK as u64)).unwrap_or(BLOCK);
        at = block * BLOCK as u64 + to as u64;
        Some((block, from, to))
    })
}

impl StorageBackend for Held {
    fn len(&self) -> io::Result<u64> {
        if self.is_released() {
            return self.0.file.len();
        }
        Ok(self.0.written.read().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let file = &self.0.file;
        if self.is_released() {
            return file.read(offset, out);
        }
        let written = self.0.written.read();
        let end = offset.saturating_add(out.len() as u64);
        if end > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let is_held =
            parts(offset, out.len()).any(|(block, _, _)| written.blocks.contains_key(&block));
        if !is_held && end <= written.shown {
            return file.read(offset, out);
        }
        let mut rest = out;
        for (block, from, to) in parts(offset, rest.len()) {
            let (part, behind) = std::mem::take(&mut rest)
                .split_at_mut_checked(to - from)
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            let from_file;
            let bytes = match written.blocks.get(&block) {
                Some(bytes) => bytes,
                None => {
                    from_file = self.0.of_file(block, written.shown)?;
                    &from_file
                }
            };
            part.copy_from_slice(bytes.get(from..to).ok_or(io::ErrorKind::UnexpectedEof)?);
            rest = behind;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.is_released() {
            return self.0.file.set_len(len);
        }
        let mut written = self.0.written.write();
        if len < written.length {
            written.shown = written.shown.min(len);
            let last = len / BLOCK as u64;
            written.blocks.retain(|block, _| *block <= last);
            if let Some(bytes) = written.blocks.get_mut(&last) {
                let kept = usize::try_from(len % BLOCK as u64).unwrap_or(0);
                bytes.iter_mut().skip(kept).for_each(|byte| *byte = 0);
            }
        }
        written.length = len;
        written.changes.push(Change::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is_released() {
            return self.0.file.sync_data();
        }
        self.0.written.write().changes.push(Change::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.is_released() {
            return self.0.file.write(offset, data);
        }
        let mut written = self.0.written.write();
        let mut rest = data;
        for (block, from, to) in parts(offset, data.len()) {
            let (part, behind) = rest
                .split_at_checked(to - from)
                .ok_or(io::ErrorKind::InvalidInput)?;
            if !written.blocks.contains_key(&block) {
                let bytes = self.0.of_file(block, written.shown)?;
                written.blocks.insert(block, bytes);
            }
            let place = written
                .blocks
                .get_mut(&block)
                .and_then(|bytes| bytes.get_mut(from..to))
                .ok_or(io::ErrorKind::InvalidInput)?;
            place.copy_from_slice(part);
            rest = behind;
        }
        written.changes.push(Change::Write(offset, data.into()));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    fn bytes(backend: &dyn StorageBackend) -> Vec<u8> {
        let mut read = vec![0; usize::try_from(backend.len().unwrap()).unwrap()];
        backend.read(0, &mut read).unwrap();
        read
    }

    #[test]
    fn what_is_held_is_read_back_and_reaches_the_file_when_it_is_released() {
        let file = InMemoryBackend::new();
        file.set_len(10_000).unwrap();
        file.write(0, &[7; 10_000]).unwrap();
        let held = Held::new(Box::new(file)).unwrap();
        let mut twin = vec![7_u8; 10_000];
        for (offset, length, value) in [
            (4_000_usize, 200_usize, 1_u8),
            (0, 1, 2),
            (9_999, 1, 3),
            (100, 9_000, 4),
        ] {
            held.write(offset as u64, &vec![value; length]).unwrap();
            twin[offset..offset + length].fill(value);
            assert_eq!(bytes(&held), twin);
            assert_eq!(bytes(&*held.0.file), [7; 10_000], "untouched");
        }
        for length in [20_000, 5_000, 4_096, 9_000, 100, 30_000] {
            held.set_len(length as u64).unwrap();
            twin.resize(length, 0);
            assert_eq!(bytes(&held), twin, "{length}");
            assert!(held.read(length as u64 - 1, &mut [0; 2]).is_err());
        }
        held.write(29_000, &[5; 500]).unwrap();
        twin[29_000..29_500].fill(5);
        held.sync_data().unwrap();
        assert_eq!(bytes(&*held.0.file), [7; 10_000], "untouched");
        held.release().unwrap();
        assert_eq!(bytes(&*held.0.file), twin);
        held.write(10, &[9; 10]).unwrap();
        twin[10..20].fill(9);
        assert_eq!(bytes(&held), twin);
        assert_eq!(bytes(&*held.0.file), twin);
    }
}
