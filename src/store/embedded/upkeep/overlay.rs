//! A backend whose writes go nowhere: a file is looked at, and recovered if need be, without a byte of it changing.

use crate::store::embedded::folder::Folder;
use crate::store::embedded::medium::Medium;
use ahash::AHashMap;
use parking_lot::RwLock;
use redb::StorageBackend;
use std::io;

/// A folder that is only looked at.
#[derive(Debug)]
pub(super) struct Untouched<'a>(pub(super) &'a Folder);

impl Medium for Untouched<'_> {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(Overlay::over(self.0.open()?)?))
    }

    fn note(&self) -> io::Result<Option<Vec<u8>>> {
        self.0.note()
    }

    fn set_note(&self, _note: &[u8], _sync: bool) -> io::Result<()> {
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        self.0.free()
    }

    fn name(&self) -> String {
        self.0.name()
    }
}

const BLOCK: usize = 4096;

type Block = Box<[u8; BLOCK]>;

/// Blocks that were written stand before those of the file.
#[derive(Debug)]
struct Overlay {
    file: Box<dyn StorageBackend>,
    file_length: u64,
    written: RwLock<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    blocks: AHashMap<u64, Block>,
}

impl Overlay {
    fn over(file: Box<dyn StorageBackend>) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self {
            file,
            file_length: length,
            written: RwLock::new(Written {
                length,
                blocks: AHashMap::new(),
            }),
        })
    }

    /// What the file has there; zeros behind its end.
    fn of_file(&self, block: u64) -> io::Result<Block> {
        let mut bytes: Block = Box::new([0; BLOCK]);
        let start = block * BLOCK as u64;
        let there = self.file_length.saturating_sub(start).min(BLOCK as u64);
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

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.read().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written.read();
        if offset.saturating_add(out.len() as u64) > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
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
                    from_file = self.of_file(block)?;
                    &from_file
                }
            };
            part.copy_from_slice(bytes.get(from..to).ok_or(io::ErrorKind::UnexpectedEof)?);
            rest = behind;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written.write();
        let shorter = len < written.length;
        written.length = len;
        if shorter {
            let first = len.div_ceil(BLOCK as u64);
            written.blocks.retain(|block, _| *block < first);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut rest = data;
        for (block, from, to) in parts(offset, data.len()) {
            let (part, behind) = rest
                .split_at_checked(to - from)
                .ok_or(io::ErrorKind::InvalidInput)?;
            let mut written = self.written.write();
            if !written.blocks.contains_key(&block) {
                let bytes = self.of_file(block)?;
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
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn what_is_written_is_read_back_and_the_file_stays_as_it_was() {
        let file = InMemoryBackend::new();
        file.set_len(10_000).unwrap();
        file.write(0, &[7; 10_000]).unwrap();
        let overlay = Overlay::over(Box::new(file)).unwrap();
        let mut twin = vec![7_u8; 10_000];
        for (offset, length, value) in [
            (4_000_usize, 200_usize, 1_u8),
            (0, 1, 2),
            (9_999, 1, 3),
            (100, 9_000, 4),
        ] {
            overlay.write(offset as u64, &vec![value; length]).unwrap();
            twin[offset..offset + length].fill(value);
            let mut read = vec![0; 10_000];
            overlay.read(0, &mut read).unwrap();
            assert_eq!(read, twin);
        }
        overlay.set_len(20_000).unwrap();
        let mut read = [9; 100];
        overlay.read(15_000, &mut read).unwrap();
        assert_eq!(read, [0; 100]);
        assert!(overlay.read(19_950, &mut read).is_err());
        let mut untouched = [0; 10_000];
        overlay.file.read(0, &mut untouched).unwrap();
        assert_eq!(untouched, [7; 10_000]);
    }
}
