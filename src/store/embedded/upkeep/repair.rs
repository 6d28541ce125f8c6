//! What can be read of a damaged store becomes a new one; the damaged file is kept beside it.

use super::{CACHE, Filling, UpkeepError, existing, rows};
use crate::store::embedded::engine::{self, Engine};
use crate::store::embedded::error::{EngineError, OpenError};
use crate::store::embedded::folder::Folder;
use crate::store::embedded::medium::Medium;
use crate::store::embedded::note::Note;
use crate::store::embedded::record::{self, Row};
use crate::store::embedded::tables::{COMMIT, FORMAT, FORMAT_VERSION, NEXT_SESSION, STORE, Table};
use ahash::{AHashMap, AHashSet};
use redb::{ReadTransaction, ReadableDatabase};
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// What a repair has done.
#[derive(Debug)]
pub struct Repaired {
    /// Records that the store holds now.
    pub kept: usize,
    /// What was cut or dropped, line by line; empty: nothing was wrong.
    pub dropped: Vec<String>,
    /// Where the damaged file is now.
    pub before: Option<PathBuf>,
}

/// Keeps every record whose own checksum is right.
pub fn repair(path: &Path) -> Result<Repaired, UpkeepError> {
    match super::check(path) {
        Ok(contents) => {
            return Ok(Repaired {
                kept: contents.queued + contents.sessions + contents.retained,
                dropped: Vec::new(),
                before: None,
            });
        }
        // These a repair is for; a newer version's store, or one in use, it leaves alone.
        Err(UpkeepError::Open(OpenError::Damaged { .. } | OpenError::Io { .. })) => {}
        Err(error) => return Err(error),
    }
    let folder = existing(path)?;
    let note = folder.note()?.and_then(|bytes| Note::from_bytes(&bytes));
    let engine = engine::open_unverified(&folder, CACHE).map_err(|error| {
        UpkeepError::Engine(format!(
            "{}: nothing of it can be read ({error}); it was not changed. `wardgate store import` restores a backup into an empty folder",
            folder.name()
        ))
    })?;
    let transaction = engine
        .database()?
        .begin_read()
        .map_err(redb::Error::from)
        .map_err(EngineError::from)?;
    let mut salvage = Salvage::default();
    salvage.look(&transaction)?;
    let numbers = salvage.numbers(note);
    let (before, kept) = exchange(&folder, &salvage, &transaction, numbers)?;
    Ok(Repaired {
        kept,
        dropped: salvage.dropped,
        before: Some(before),
    })
}

/// What a first look through all rows tells of them; a second one takes them over, so that memory holds no more than numbers.
#[derive(Default)]
struct Salvage {
    dropped: Vec<String>,
    commit: u64,
    next_session: u64,
    /// Shared messages that can be read.
    messages: AHashSet<u64>,
    /// How many rows refer to each.
    counts: AHashMap<u64, u64>,
}

impl Salvage {
    fn look(&mut self, transaction: &ReadTransaction) -> Result<(), EngineError> {
        let (mut gaps, mut dangling) = (Vec::new(), 0_usize);
        let mut bad: AHashMap<&'static str, usize> = AHashMap::new();
        rows::visit(
            transaction,
            &mut |table, key, record| {
                match record::open(table, key, record) {
                    Ok(_) => dangling += usize::from(!self.saw(table, key, record)),
                    Err(_) => *bad.entry(table.name()).or_default() += 1,
                }
                Ok(())
            },
            &mut |table, error| {
                gaps.push(format!("{}: a part cannot be read: {error}", table.name()));
                Ok(())
            },
        )?;
        self.dropped = gaps;
        let mut bad: Vec<_> = bad.into_iter().collect();
        bad.sort_unstable();
        for (table, records) in bad {
            self.dropped.push(format!(
                "{table}: {records} records whose checksum does not match"
            ));
        }
        if dangling > 0 {
            self.dropped
                .push(format!("queue: {dangling} entries whose message is gone"));
        }
        Ok(())
    }

    /// False: an entry of a queue whose message is gone. Messages are visited before queues.
    fn saw(&mut self, table: Table, key: &[u8], record: &[u8]) -> bool {
        match table {
            Table::Meta => {
                let value = record::take_number(table, key, record).unwrap_or(0);
                if key == COMMIT.as_bytes() {
                    self.commit = value;
                } else if key == NEXT_SESSION.as_bytes() {
                    self.next_session = self.next_session.max(value);
                }
            }
            Table::Sessions => {
                let next = number(key).unwrap_or(0).saturating_add(1);
                self.next_session = self.next_session.max(next);
            }
            Table::Messages => self.messages.extend(number(key)),
            Table::Queue => {
                if let Some(message) = reference(record) {
                    if !self.messages.contains(&message) {
                        return false;
                    }
                    *self.counts.entry(message).or_default() += 1;
                }
            }
            Table::Subscriptions
            | Table::Received
            | Table::Sent
            | Table::Counts
            | Table::Retained
            | Table::Removed => {}
        }
        true
    }

    /// Whether a row that can be read goes into the new store as it is: not what leads nowhere, nor what is made anew.
    fn keeps(&self, table: Table, key: &[u8], record: &[u8]) -> bool {
        match table {
            Table::Meta | Table::Counts => false,
            Table::Messages => number(key).is_some_and(|id| self.counts.contains_key(&id)),
            Table::Queue => reference(record).is_none_or(|id| self.messages.contains(&id)),
            Table::Sessions
            | Table::Subscriptions
            | Table::Received
            | Table::Sent
            | Table::Retained
            | Table::Removed => true,
        }
    }

    /// Of the store, and of the commit that the new file is.
    fn numbers(&mut self, note: Option<Note>) -> (u64, u64) {
        if let Some(note) = note
            && note.commit > self.commit
        {
            self.dropped.push(format!(
                "everything after commit {}: commit {} was acknowledged",
                self.commit, note.commit
            ));
        }
        let commit = self
            .commit
            .max(note.map_or(0, |note| note.commit))
            .saturating_add(1);
        let store = note.map_or_else(rand::random, |note| note.store);
        (store, commit)
    }

    /// Takes over all that is kept, and makes counts and numbers anew; gives the number of rows.
    fn fill(
        &self,
        transaction: &ReadTransaction,
        engine: &Engine,
        (store, commit): (u64, u64),
    ) -> Result<usize, EngineError> {
        let mut filling = Filling::new(engine);
        let is_failed = Cell::new(false);
        rows::visit(
            transaction,
            &mut |table, key, record| {
                if record::open(table, key, record).is_err() || !self.keeps(table, key, record) {
                    return Ok(());
                }
                let put = filling.put(table, key, record);
                is_failed.set(put.is_err());
                put
            },
            // Of the damaged file the look has told.
            &mut |_, error| if is_failed.get() { Err(error) } else { Ok(()) },
        )?;
        let counts = self
            .counts
            .iter()
            .map(|(id, count)| (Table::Counts, id.to_be_bytes().to_vec(), *count));
        let meta = [
            (FORMAT, FORMAT_VERSION),
            (STORE, store),
            (COMMIT, commit),
            (NEXT_SESSION, self.next_session),
        ]
        .map(|(name, value)| (Table::Meta, name.as_bytes().to_vec(), value));
        for (table, key, value) in counts.chain(meta) {
            filling.put(table, &key, &record::number(table, &key, value))?;
        }
        filling.end()
    }
}

fn number(key: &[u8]) -> Option<u64> {
    key.try_into().map(u64::from_be_bytes).ok()
}

/// Of a record of a queue whose checksum is right.
fn reference(record: &[u8]) -> Option<u64> {
    let (fields, _checksum) = record.split_last_chunk::<8>()?;
    Row::reference(fields)
}

/// The new file takes the place of the damaged one, which keeps another name. Whenever this ends early, either file is whole in its place, or none is and the note
/// refuses a start.
fn exchange(
    folder: &Folder,
    salvage: &Salvage,
    transaction: &ReadTransaction,
    (store, commit): (u64, u64),
) -> Result<(PathBuf, usize), UpkeepError> {
    let data = folder.data_file();
    let work = data.with_extension("repairing");
    if work.exists() {
        std::fs::remove_dir_all(&work)?;
    }
    let made = Folder::open(&work)?;
    let (engine, _) = engine::open(&made, CACHE).map_err(|refused| refused.told(&made))?;
    engine.release()?;
    let kept = salvage.fill(transaction, &engine, (store, commit))?;
    engine.close()?;
    made.establish()?;
    let before = (1_u32..)
        .map(|number| data.with_extension(format!("damaged-{number}")))
        .find(|path| !path.exists())
        .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::AlreadyExists))?;
    std::fs::rename(&data, &before)?;
    std::fs::rename(made.data_file(), &data)?;
    folder.set_note(
        &Note {
            store,
            commit,
            clean: true,
        }
        .to_bytes(),
        true,
    )?;
    std::fs::File::open(folder.path())?.sync_all()?;
    drop(made);
    std::fs::remove_dir_all(&work)?;
    Ok((before, kept))
}
