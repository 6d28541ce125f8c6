//! The engine under the store: opened, checked and closed, with damage as an error and never as a panic.

use super::error::EngineError;
use super::held::Held;
use super::medium::{Medium, Traced};
use super::note::Note;
use super::record;
use super::tables::{
    COMMIT, COUNTS, FORMAT, FORMAT_VERSION, MESSAGES, META, QUEUE, RECEIVED, REMOVED, RETAINED,
    SENT, SESSIONS, STORE, SUBSCRIPTIONS, Table,
};
use redb::{Database, ReadableDatabase, StorageBackend};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An open database. One that is damaged may panic even while it closes, so it closes under guard.
pub(super) struct Engine {
    database: Option<Database>,
    held: Held,
}

impl Engine {
    pub(super) fn database(&self) -> Result<&Database, EngineError> {
        self.database.as_ref().ok_or_else(closed)
    }

    /// The file is good, and may be written: until this is said it stays as it was found, byte for byte.
    pub(super) fn accept(&self, medium: &dyn Medium, found: Found) -> Result<(), EngineError> {
        self.release()?;
        let establish = || -> std::io::Result<()> {
            medium.establish()?;
            if found.has_note {
                return Ok(());
            }
            let begun = Note {
                store: found.store,
                commit: found.commit,
                clean: false,
            };
            medium.set_note(&begun.to_bytes(), true)
        };
        establish().map_err(failed)
    }

    /// The same for what is only being made: it takes its place when it is whole.
    pub(super) fn release(&self) -> Result<(), EngineError> {
        self.held.release().map_err(failed)
    }

    /// True: every page is as it was written.
    fn verify(&mut self) -> Result<bool, EngineError> {
        let database = self.database.as_mut().ok_or_else(closed)?;
        database
            .check_integrity()
            .map_err(|error| redb::Error::from(error).into())
    }

    /// Tells why it did not close in order.
    pub(super) fn close(mut self) -> Result<(), EngineError> {
        let database = self.database.take();
        caught(|| {
            drop(database);
            Ok(())
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let database = self.database.take();
        if let Err(error) = caught(|| {
            drop(database);
            Ok(())
        }) {
            tracing::debug!(%error, "a damaged store did not close in order");
        }
    }
}

fn failed(error: std::io::Error) -> EngineError {
    EngineError::Failed(error.to_string())
}

fn closed() -> EngineError {
    EngineError::Failed("it is closed".to_owned())
}

/// How the file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// What [`Note::store`] must say.
    pub(super) store: u64,
    pub(super) commit: u64,
    /// It was not closed in order.
    pub(super) recovered: bool,
    /// The last write was torn; nobody had been told of it.
    pub(super) cut: bool,
    /// Beside it is a note that can be read.
    has_note: bool,
}

/// Opens the file, makes its tables when it is new, and verifies every page of it. Nothing is written before [`Engine::accept`].
pub(super) fn open(medium: &dyn Medium, cache: usize) -> Result<(Engine, Found), Refused> {
    let note = medium.note().map_err(Refused::failed)?;
    // Written once the tables are there: without it nothing was ever kept.
    let is_begun = note.is_some();
    let note = note.and_then(|bytes| Note::from_bytes(&bytes));
    let backend = medium.open().map_err(Refused::failed)?;
    let length = backend.len().map_err(Refused::failed)?;
    if length == 0 && is_begun {
        return Err(Refused::damaged(
            "it is gone or empty, and held a store before".to_owned(),
        ));
    }
    // The engine makes a new file of one that does not begin as its own do.
    if length > 0 && !has_magic(&*backend).map_err(Refused::failed)? {
        return Err(Refused::damaged(
            "it does not begin as a store does (byte 0)".to_owned(),
        ));
    }
    let (traced, last_read) = Traced::new(backend);
    let held = Held::new(Box::new(traced)).map_err(Refused::failed)?;
    let place = |error| match error {
        EngineError::Damaged(what) => EngineError::Damaged(format!(
            "{what}, near byte {}",
            last_read.load(Ordering::Relaxed)
        )),
        other @ (EngineError::Failed(_) | EngineError::InUse) => other,
    };
    let (recovered, cut) = (Flag::default(), Flag::default());
    let mut engine = caught(|| database(held, cache, &recovered, &cut))
        .map_err(place)
        .map_err(Refused::Engine)?;
    let recovered = recovered.load(Ordering::Relaxed);
    if !recovered && length > 0 {
        // What was closed in order is opened without looking at it: look (STO-2).
        if !caught(|| engine.verify())
            .map_err(place)
            .map_err(Refused::Engine)?
        {
            cut.store(true, Ordering::Relaxed);
        }
    }
    let (store, commit) = caught(|| prepare(engine.database()?, is_begun))
        .map_err(place)
        .map_err(Refused::Engine)??;
    let has_note = note.is_some();
    match note {
        Some(note) if note.store != store => {
            return Err(Refused::damaged(
                "it is the data file of another store".to_owned(),
            ));
        }
        Some(note) if note.commit > commit => {
            return Err(Refused::damaged(format!(
                "commit {} was acknowledged, and the file ends with commit {commit}",
                note.commit
            )));
        }
        Some(_) | None => {}
    }
    let found = Found {
        store,
        commit,
        recovered,
        cut: cut.load(Ordering::Relaxed),
        has_note,
    };
    Ok((engine, found))
}

/// For a repair, which writes nothing there: what is damaged stays open as far as it goes.
pub(super) fn open_unverified(medium: &dyn Medium, cache: usize) -> Result<Engine, EngineError> {
    let (traced, _) = Traced::new(medium.open().map_err(failed)?);
    let held = Held::new(Box::new(traced)).map_err(failed)?;
    // They say what the file is, which whoever repairs it has decided.
    held.write(0, &MAGIC).map_err(failed)?;
    caught(|| database(held, cache, &Flag::default(), &Flag::default()))
}

type Flag = Arc<AtomicBool>;

fn database(held: Held, cache: usize, recovered: &Flag, cut: &Flag) -> Result<Engine, EngineError> {
    let (recovered, cut) = (Arc::clone(recovered), Arc::clone(cut));
    Database::builder()
        .set_cache_size(cache)
        .set_repair_callback(move |session| {
            recovered.store(true, Ordering::Relaxed);
            // This far it comes only when the newest of the two commit slots does not verify.
            if (0.2..0.5).contains(&session.progress()) {
                cut.store(true, Ordering::Relaxed);
            }
        })
        .create_with_backend(held.clone())
        .map(|database| Engine {
            database: Some(database),
            held,
        })
        .map_err(|error| redb::Error::from(error).into())
}

const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

fn has_magic(backend: &dyn StorageBackend) -> std::io::Result<bool> {
    let mut first = MAGIC;
    if backend.len()? < first.len() as u64 {
        return Ok(false);
    }
    backend.read(0, &mut first)?;
    Ok(first == MAGIC)
}

#[derive(Debug)]
pub(super) enum Refused {
    Engine(EngineError),
    Newer(u64),
}

impl Refused {
    fn failed(error: std::io::Error) -> Self {
        Self::Engine(EngineError::Failed(error.to_string()))
    }

    fn damaged(what: String) -> Self {
        Self::Engine(EngineError::Damaged(what))
    }
}

/// Runs what reads or writes pages: one that is damaged in a way that the engine did not foresee is damage, not the end of the process.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Err(EngineError::Damaged(format!("the engine stopped: {what}")))
    })
}

/// Gives the store's own number and the last commit's.
fn prepare(
    database: &Database,
    is_begun: bool,
) -> Result<Result<(u64, u64), Refused>, EngineError> {
    if !is_begun && !has_tables(database)? {
        create(database)?;
    }
    let meta = database
        .begin_read()
        .map_err(redb::Error::from)?
        .open_table(META)
        .map_err(redb::Error::from)?;
    let number = |name: &str| -> Result<u64, EngineError> {
        let record = meta
            .get(name)
            .map_err(redb::Error::from)?
            .ok_or_else(|| EngineError::Damaged(format!("meta: {name} is missing")))?;
        record::take_number(Table::Meta, name.as_bytes(), record.value())
            .map_err(|why| EngineError::Damaged(format!("meta: {name}: {why}")))
    };
    let format = number(FORMAT)?;
    if format > FORMAT_VERSION {
        return Ok(Err(Refused::Newer(format)));
    }
    Ok(Ok((number(STORE)?, number(COMMIT)?)))
}

fn has_tables(database: &Database) -> Result<bool, EngineError> {
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    let mut tables = transaction.list_tables().map_err(redb::Error::from)?;
    Ok(tables.next().is_some())
}

/// All tables are there from the first commit on, so that reading never has to ask.
fn create(database: &Database) -> Result<(), EngineError> {
    let create = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            let store = rand::random();
            for (name, value) in [(FORMAT, FORMAT_VERSION), (STORE, store), (COMMIT, 0)] {
                let record = record::number(Table::Meta, name.as_bytes(), value);
                meta.insert(name, record.as_slice())?;
            }
            transaction.open_table(SESSIONS)?;
            transaction.open_table(SUBSCRIPTIONS)?;
            transaction.open_table(RECEIVED)?;
            transaction.open_table(SENT)?;
            transaction.open_table(QUEUE)?;
            transaction.open_table(MESSAGES)?;
            transaction.open_table(COUNTS)?;
            transaction.open_table(RETAINED)?;
            transaction.open_table(REMOVED)?;
        }
        transaction.commit()?;
        Ok(())
    };
    create().map_err(EngineError::from)
}
