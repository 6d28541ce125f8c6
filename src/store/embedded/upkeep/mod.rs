//! A store looked at, mended, saved and brought back: but for a running one's export, while nothing runs on it.

mod archive;
mod overlay;
mod repair;
mod rows;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;

pub use self::repair::{Repaired, repair};

use self::archive::{Reader, Writer};
use self::overlay::Untouched;
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
/// What an import puts into one commit: rows, and their bytes.
const IMPORT_STEP: usize = 10_000;
const IMPORT_BYTES: usize = 64 * 1024 * 1024;
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
    let medium = Untouched(&folder);
    let (engine, found) = engine::open(&medium, CACHE).map_err(|refused| refused.told(&medium))?;
    let start = read(&engine).map_err(|error| Refused::Engine(error).told(&medium))?;
    if start.damage.records > 0 {
        return Err(UpkeepError::Open(OpenError::Damaged {
            file: medium.name(),
            damage: start.damage.told(),
        }));
    }
    Ok(contents(&start, found.recovered))
}

/// Writes all of a store into one portable file; gives the number of records.
pub fn export(path: &Path, out: impl Write) -> Result<u64, UpkeepError> {
    let folder = existing(path)?;
    let medium = Untouched(&folder);
    let (engine, _) = engine::open(&medium, CACHE).map_err(|refused| refused.told(&medium))?;
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
        if folder.data_file().exists() {
            std::fs::remove_file(folder.data_file())?;
        }
        folder.forget_note()?;
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
    let (mut store, mut commit) = (found.store, 0);
    let mut is_over = false;
    while !is_over {
        let (mut step, mut bytes) = (Vec::new(), 0);
        while step.len() < IMPORT_STEP && bytes < IMPORT_BYTES {
            let Some((table, key, record)) = reader.row()? else {
                is_over = true;
                break;
            };
            if table == Table::Meta && (key == COMMIT.as_bytes() || key == STORE.as_bytes()) {
                let number = record::take_number(table, &key, &record)
                    .map_err(|why| UpkeepError::Engine(why.to_string()))?;
                if key == COMMIT.as_bytes() {
                    commit = number;
                } else {
                    store = number;
                }
            }
            bytes += key.len() + record.len();
            step.push((table, key, record));
        }
        caught(|| put_all(&engine, &step))?;
    }
    engine.close()?;
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

fn put_all(engine: &Engine, step: &[archive::Taken]) -> Result<(), EngineError> {
    let transaction = engine
        .database()?
        .begin_write()
        .map_err(redb::Error::from)?;
    for (table, key, record) in step {
        rows::insert(&transaction, *table, key, record)?;
    }
    transaction.commit().map_err(redb::Error::from)?;
    Ok(())
}
