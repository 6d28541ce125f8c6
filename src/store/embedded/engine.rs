//! The engine under the store: opened, checked and closed, with damage as an error and never as a panic.

use super::error::EngineError;
use super::medium::{Medium, Traced};
use super::note::Note;
use super::record;
use super::tables::{
    COMMIT, COUNTS, FORMAT, FORMAT_VERSION, MESSAGES, META, QUEUE, RECEIVED, REMOVED, RETAINED,
    SENT, SESSIONS, STORE, SUBSCRIPTIONS, Table,
};
use redb::{Database, ReadableDatabase};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An open database. One that is damaged may panic even while it closes, so it closes under guard.
pub(super) struct Engine(Option<Database>);

impl Engine {
    pub(super) fn database(&self) -> Result<&Database, EngineError> {
        self.0.as_ref().ok_or_else(closed)
    }

    /// True: every page is as it was written.
    fn verify(&mut self) -> Result<bool, EngineError> {
        let database = self.0.as_mut().ok_or_else(closed)?;
        database
            .check_integrity()
            .map_err(|error| redb::Error::from(error).into())
    }

    /// Tells why it did not close in order.
    pub(super) fn close(mut self) -> Result<(), EngineError> {
        let database = self.0.take();
        caught(|| {
            drop(database);
            Ok(())
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let database = self.0.take();
        if let Err(error) = caught(|| {
            drop(database);
            Ok(())
        }) {
            tracing::debug!(%error, "a damaged store did not close in order");
        }
    }
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
}

/// Opens the file, makes its tables when it is new, and verifies every page of it.
pub(super) fn open(medium: &dyn Medium, cache: usize) -> Result<(Engine, Found), Refused> {
    let note = medium.note().map_err(Refused::failed)?;
    // Written once the tables are there: without it nothing was ever kept.
    let is_begun = note.is_some();
    let note = note.and_then(|bytes| Note::from_bytes(&bytes));
    let backend = medium.open().map_err(Refused::failed)?;
    let length = backend.len().map_err(Refused::failed)?;
    if length == 0 && is_begun {
        return Err(Refused::damaged("it is empty, and it was not".to_owned()));
    }
    if length > 0 && !is_begun && !has_magic(&*backend).map_err(Refused::failed)? {
        // The very first start ended before the engine had made its file.
        backend.set_len(0).map_err(Refused::failed)?;
    }
    let (traced, last_read) = Traced::new(backend);
    let place = |error| match error {
        EngineError::Damaged(what) => EngineError::Damaged(format!(
            "{what}, near byte {}",
            last_read.load(Ordering::Relaxed)
        )),
        other @ (EngineError::Failed(_) | EngineError::InUse) => other,
    };
    let (recovered, cut) = (Flag::default(), Flag::default());
    let mut engine = caught(|| database(traced, cache, &recovered, &cut))
        .map_err(place)
        .map_err(Refused::Engine)?;
    let recovered = recovered.load(Ordering::Relaxed);
    if !recovered && is_begun {
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
        Some(_) => {}
        None => {
            let begun = Note {
                store,
                commit,
                clean: false,
            };
            medium
                .set_note(&begun.to_bytes(), true)
                .map_err(Refused::failed)?;
        }
    }
    let found = Found {
        store,
        commit,
        recovered,
        cut: cut.load(Ordering::Relaxed),
    };
    Ok((engine, found))
}

/// For a repair: what is damaged stays open as far as it goes.
pub(super) fn open_unverified(medium: &dyn Medium, cache: usize) -> Result<Engine, EngineError> {
    let backend = medium
        .open()
        .map_err(|error| EngineError::Failed(error.to_string()))?;
    let (traced, _) = Traced::new(backend);
    caught(|| database(traced, cache, &Flag::default(), &Flag::default()))
}

type Flag = Arc<AtomicBool>;

fn database(
    backend: Traced,
    cache: usize,
    recovered: &Flag,
    cut: &Flag,
) -> Result<Engine, EngineError> {
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
        .create_with_backend(backend)
        .map(|database| Engine(Some(database)))
        .map_err(|error| redb::Error::from(error).into())
}

/// The engine writes it last when it makes a file.
fn has_magic(backend: &dyn redb::StorageBackend) -> std::io::Result<bool> {
    const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";
    let mut first = [0; 9];
    if backend.len()? < 9 {
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
