//! A store looked at, mended, saved and brought back: but for a running one's export, while nothing runs on it.

mod archive;
mod repair;
mod rows;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;

pub use self::repair::{Repaired, repair};

use self::archive::{Reader, Writer};
use super::clock::Clock;
use super::engine::{self, Engine, Refused, caught};
use super::error::{EngineError, OpenError};
use super::folder::Folder;
use super::medium::Medium;
use super::note::Note;
use super::restore::{self, Start};
use super::tables::{COMMIT, STORE, Table};
use super::{Embedded, record};
use crate::session::Position;
use redb::{ReadTransaction, ReadableDatabase};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Of the file, while a command looks at it.
const CACHE: usize = 64 * 1024 * 1024;
/// What is put into one commit of a store that is being made: rows, and their bytes.
const STEP: usize = 10_000;
const STEP_BYTES: usize = 64 * 1024 * 1024;
/// For what is being written when a running store is asked for an export.
const EXPORT_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{path}: holds a store already; an import wants an empty folder")]
    NotEmpty { path: PathBuf },
    #[error("{path}: no store is there")]
    NoStore { path: PathBuf },
    #[error("this is no export of a store, or one of a newer version")]
    NoArchive,
    #[error("the export is damaged or cut short, after {0} records")]
    ArchiveDamaged(u64),
    #[error("{0}")]
    Engine(String),
}

impl From<EngineError> for UpkeepError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error.to_string())
    }
}

/// What a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    pub sessions: usize,
    pub queued: usize,
    pub retained: usize,
    /// It was not closed in order; the next start recovers it.
    pub recovered: bool,
}

/// Verifies every page and every record, and changes nothing.
pub fn check(path: &Path) -> Result<Contents, UpkeepError> {
    let folder = existing(path)?;
    let (engine, found) = engine::open(&folder, CACHE).map_err(|refused| refused.told(&folder))?;
    let start = read(&engine).map_err(|error| Refused::Engine(error).told(&folder))?;
    if start.damage.records > 0 {
        return Err(UpkeepError::Open(OpenError::Damaged {
            file: folder.name(),
            damage: start.damage.told(),
        }));
    }
    Ok(contents(&start, found.recovered))
}

/// Writes all of a store into one portable file; gives the number of records.
pub fn export(path: &Path, out: impl Write) -> Result<u64, UpkeepError> {
    let folder = existing(path)?;
    let (engine, _) = engine::open(&folder, CACHE).map_err(|refused| refused.told(&folder))?;
    let moment = caught(|| moment(&engine))?;
    archive(&moment, out)
}

/// Reads an export to its end and gives the number of its records: it is as it was written.
pub fn verify(input: impl Read) -> Result<u64, UpkeepError> {
    let mut reader = Reader::begin(input)?;
    let mut records = 0;
    while reader.row()?.is_some() {
        records += 1;
    }
    Ok(records)
}

/// Makes a store of an export, in a folder that has none; gives what it holds.
pub fn import(path: &Path, input: impl Read) -> Result<Contents, UpkeepError> {
    let folder = Folder::open(path)?;
    if folder.data_file().exists() {
        return Err(UpkeepError::NotEmpty {
            path: path.to_owned(),
        });
    }
    let imported = fill(&folder, input);
    if imported.is_err() {
        // Half an import is no store.
        folder.clear()?;
    }
    imported
}

impl Embedded {
    /// Writes all that was told until now into one portable file, while the store is in use; gives the number of records. As slow as `out`: nothing waits for it
    /// meanwhile, a failing disk is let go of and a stop is not held up, and then this ends with an error.
    pub fn export(&self, out: impl Write) -> Result<u64, UpkeepError> {
        self.flush(EXPORT_PATIENCE)?;
        let moment = {
            let engine = self.shared.engine.read();
            let engine = engine.as_ref().ok_or_else(unreadable)?;
            caught(|| moment(engine))?
        };
        archive(&moment, out)
    }

    /// Returns when what was told is on disk, whatever `durability` says.
    fn flush(&self, patience: Duration) -> Result<(), UpkeepError> {
        const LOOK: Duration = Duration::from_millis(200);
        let position = {
            let mut batch = self.shared.pending.lock();
            batch.forced = true;
            Position(batch.number)
        };
        self.shared.work.notify_one();
        let deadline = Instant::now() + patience;
        while !self.shared.waiters.block(position, LOOK) {
            if self.shared.stopping.load(Ordering::Acquire) || Instant::now() >= deadline {
                return Err(unreadable());
            }
        }
        Ok(())
    }
}

fn unreadable() -> UpkeepError {
    UpkeepError::Engine(
        "the store cannot be read now: it is stopping, or its disk fails".to_owned(),
    )
}

fn existing(path: &Path) -> Result<Folder, UpkeepError> {
    let missing = || UpkeepError::NoStore {
        path: path.to_owned(),
    };
    if !path.is_dir() {
        return Err(missing());
    }
    let folder = Folder::open(path)?;
    if !folder.data_file().exists() {
        return Err(missing());
    }
    Ok(folder)
}

fn read(engine: &Engine) -> Result<Start, EngineError> {
    let (now, system) = (Instant::now(), SystemTime::now());
    let clock = Clock::new(now, system);
    caught(|| restore::restore(engine.database()?, clock, now, system))
}

fn contents(start: &Start, recovered: bool) -> Contents {
    Contents {
        sessions: start.restored.sessions.len(),
        queued: start.queued,
        retained: start.restored.retained.len(),
        recovered,
    }
}

/// All rows read in it are of one moment, whatever is committed meanwhile.
fn moment(engine: &Engine) -> Result<ReadTransaction, EngineError> {
    let begun = engine.database()?.begin_read();
    begun.map_err(|error| redb::Error::from(error).into())
}

fn archive(moment: &ReadTransaction, out: impl Write) -> Result<u64, UpkeepError> {
    let mut writer = Writer::begin(out)?;
    let mut failed = None;
    let visited = rows::visit(
        moment,
        &mut |table, key, record| {
            record::open(table, key, record)
                .map_err(|why| EngineError::Damaged(format!("{}: {why}", table.name())))?;
            writer.row(table, key, record).map_err(|error| {
                let told = EngineError::Failed(error.to_string());
                failed = Some(error);
                told
            })
        },
        &mut |_, error| Err(error),
    );
    match (failed, visited) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(())) => writer.end(),
    }
}

fn fill(folder: &Folder, input: impl Read) -> Result<Contents, UpkeepError> {
    let told = |refused: Refused| refused.told(folder);
    let mut reader = Reader::begin(input)?;
    let (engine, found) = engine::open(folder, CACHE).map_err(told)?;
    engine.release()?;
    let (mut store, mut commit) = (found.store, 0);
    let mut filling = Filling::new(&engine);
    while let Some((table, key, record)) = reader.row()? {
        if table == Table::Meta && (key == COMMIT.as_bytes() || key == STORE.as_bytes()) {
            let number = record::take_number(table, &key, &record)
                .map_err(|why| UpkeepError::Engine(why.to_string()))?;
            if key == COMMIT.as_bytes() {
                commit = number;
            } else {
                store = number;
            }
        }
        filling.put(table, &key, &record)?;
    }
    filling.end()?;
    engine.close()?;
    // Half an import is no store, whatever ended it.
    folder.establish()?;
    folder.set_note(
        &Note {
            store,
            commit,
            clean: true,
        }
        .to_bytes(),
        true,
    )?;
    let (engine, _) = engine::open(folder, CACHE).map_err(told)?;
    let start = read(&engine).map_err(|error| told(Refused::Engine(error)))?;
    if start.damage.records > 0 {
        return Err(UpkeepError::Open(OpenError::Damaged {
            file: folder.name(),
            damage: start.damage.told(),
        }));
    }
    Ok(contents(&start, false))
}

/// Rows on their way into a store that is being made, some of them in each commit.
struct Filling<'a> {
    engine: &'a Engine,
    step: Vec<archive::Taken>,
    bytes: usize,
    rows: usize,
}

impl<'a> Filling<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            step: Vec::new(),
            bytes: 0,
            rows: 0,
        }
    }

    fn put(&mut self, table: Table, key: &[u8], record: &[u8]) -> Result<(), EngineError> {
        self.bytes += key.len() + record.len();
        self.rows += 1;
        self.step.push((table, key.to_vec(), record.to_vec()));
        if self.step.len() >= STEP || self.bytes >= STEP_BYTES {
            self.commit()?;
        }
        Ok(())
    }

    /// Gives the number of rows.
    fn end(mut self) -> Result<usize, EngineError> {
        self.commit()?;
        Ok(self.rows)
    }

    fn commit(&mut self) -> Result<(), EngineError> {
        let step = std::mem::take(&mut self.step);
        self.bytes = 0;
        caught(|| {
            let database = self.engine.database()?;
            let transaction = database.begin_write().map_err(redb::Error::from)?;
            for (table, key, record) in &step {
                rows::insert(&transaction, *table, key, record)?;
            }
            transaction.commit().map_err(redb::Error::from)?;
            Ok(())
        })
    }
}
