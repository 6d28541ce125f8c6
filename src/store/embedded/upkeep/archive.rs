//! A backup: all rows of one moment in one portable file, each with its checksum, and a checksum over the whole.

use super::UpkeepError;
use crate::store::embedded::record;
use crate::store::embedded::tables::Table;
use std::io::{Read, Write};
use xxhash_rust::xxh3::Xxh3;

/// Says what the file is and which form it has.
const MAGIC: &[u8; 16] = b"wardgate store 1";
/// In the place of a table: the rows are over; their number and the checksum of all before follow.
const END: u8 = 0;
/// No key and no record is longer: topics end at 64 KiB, packets at 256 MiB.
const KEY_MAX: u32 = 128 * 1024;
const RECORD_MAX: u32 = 512 * 1024 * 1024;

/// Writes rows; what is not ended is no backup.
pub(super) struct Writer<W> {
    out: W,
    sum: Xxh3,
    rows: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(out: W) -> Result<Self, UpkeepError> {
        let mut writer = Self {
            out,
            sum: Xxh3::new(),
            rows: 0,
        };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    pub(super) fn row(
        &mut self,
        table: Table,
        key: &[u8],
        record: &[u8],
    ) -> Result<(), UpkeepError> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.rows += 1;
        self.put(&[table as u8])?;
        self.put(&length(key))?;
        self.put(&length(record))?;
        self.put(key)?;
        self.put(record)
    }

    /// Gives the number of rows.
    pub(super) fn end(mut self) -> Result<u64, UpkeepError> {
        self.put(&[END])?;
        self.put(&self.rows.to_be_bytes())?;
        let sum = self.sum.digest();
        self.out.write_all(&sum.to_be_bytes())?;
        self.out.flush()?;
        Ok(self.rows)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), UpkeepError> {
        self.sum.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }
}

/// Reads rows, each judged by its own checksum before it is given out.
pub(super) struct Reader<R> {
    input: R,
    sum: Xxh3,
    rows: u64,
}

pub(super) type Taken = (Table, Vec<u8>, Vec<u8>);

impl<R: Read> Reader<R> {
    pub(super) fn begin(input: R) -> Result<Self, UpkeepError> {
        let mut reader = Self {
            input,
            sum: Xxh3::new(),
            rows: 0,
        };
        if &reader.array::<16>()? != MAGIC {
            return Err(UpkeepError::NoArchive);
        }
        Ok(reader)
    }

    /// `None`: all were read, and the whole is as it was written.
    pub(super) fn row(&mut self) -> Result<Option<Taken>, UpkeepError> {
        let [table] = self.array()?;
        if table == END {
            return self.end();
        }
        let at = self.rows;
        let table = Table::of(table).ok_or(UpkeepError::ArchiveDamaged(at))?;
        let key = u32::from_be_bytes(self.array()?);
        let record = u32::from_be_bytes(self.array()?);
        if key > KEY_MAX || record > RECORD_MAX {
            return Err(UpkeepError::ArchiveDamaged(at));
        }
        let key = self.bytes(key)?;
        let record = self.bytes(record)?;
        record::open(table, &key, &record).map_err(|_| UpkeepError::ArchiveDamaged(at))?;
        self.rows += 1;
        Ok(Some((table, key, record)))
    }

    fn end(&mut self) -> Result<Option<Taken>, UpkeepError> {
        let rows = u64::from_be_bytes(self.array()?);
        let expected = self.sum.digest();
        let mut sum = [0; 8];
        self.input.read_exact(&mut sum)?;
        if rows != self.rows || u64::from_be_bytes(sum) != expected {
            return Err(UpkeepError::ArchiveDamaged(self.rows));
        }
        if self.input.read(&mut [0])? != 0 {
            return Err(UpkeepError::ArchiveDamaged(self.rows));
        }
        Ok(None)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], UpkeepError> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.sum.update(&bytes);
        Ok(bytes)
    }

    /// Grows as bytes come: a length that lies makes no room.
    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, UpkeepError> {
        let mut bytes = Vec::new();
        let read = self
            .input
            .by_ref()
            .take(u64::from(length))
            .read_to_end(&mut bytes)?;
        if u32::try_from(read) != Ok(length) {
            return Err(UpkeepError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.sum.update(&bytes);
        Ok(bytes)
    }
}
