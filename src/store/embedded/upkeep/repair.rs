//! What can be read of a damaged store becomes a new one; the damaged file is kept beside it.

use super::overlay::Untouched;
use super::{CACHE, UpkeepError, existing, rows};
use crate::store::embedded::engine::{self, Engine, caught};
use crate::store::embedded::error::{EngineError, OpenError};
use crate::store::embedded::folder::Folder;
use crate::store::embedded::medium::Medium;
use crate::store::embedded::note::Note;
use crate::store::embedded::record::{self, Row};
use crate::store::embedded::tables::{COMMIT, FORMAT, FORMAT_VERSION, NEXT_SESSION, STORE, Table};
use ahash::{AHashMap, AHashSet};
use redb::ReadableDatabase;
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
    let medium = Untouched(&folder);
    let engine = engine::open_unverified(&medium, CACHE).map_err(|error| {
        UpkeepError::Engine(format!(
            "{}: nothing of it can be read ({error}); it was not changed. `wardgate store import` restores a backup into an empty folder",
            medium.name()
        ))
    })?;
    let mut salvage = Salvage::default();
    salvage.read(&engine)?;
    drop(engine);
    let numbers = salvage.finish(note);
    let (before, kept) = exchange(&folder, &salvage, numbers)?;
    Ok(Repaired {
        kept,
        dropped: salvage.dropped,
        before: Some(before),
    })
}

/// The records that were read, and what is told of the others.
#[derive(Default)]
struct Salvage {
    rows: Vec<(Table, Vec<u8>, Vec<u8>)>,
    dropped: Vec<String>,
    commit: u64,
    next_session: u64,
}

impl Salvage {
    fn read(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let transaction = engine.database()?.begin_read().map_err(redb::Error::from)?;
        let (mut good, mut gaps) = (Vec::new(), Vec::new());
        let mut bad: AHashMap<&'static str, usize> = AHashMap::new();
        rows::visit(
            &transaction,
            &mut |table, key, record| {
                match record::open(table, key, record) {
                    Ok(_) => good.push((table, key.to_vec(), record.to_vec())),
                    Err(_) => *bad.entry(table.name()).or_default() += 1,
                }
                Ok(())
            },
            &mut |table, error| {
                gaps.push(format!("{}: a part cannot be read: {error}", table.name()));
                Ok(())
            },
        )?;
        self.rows = good;
        self.dropped = gaps;
        let mut bad: Vec<_> = bad.into_iter().collect();
        bad.sort_unstable();
        for (table, records) in bad {
            self.dropped.push(format!(
                "{table}: {records} records whose checksum does not match"
            ));
        }
        Ok(())
    }

    /// Rows that lead nowhere go, counts are made anew; gives the numbers of the store and of the commit that the new file is.
    fn finish(&mut self, note: Option<Note>) -> (u64, u64) {
        let messages: AHashSet<u64> = self
            .rows
            .iter()
            .filter(|(table, _, _)| *table == Table::Messages)
            .filter_map(|(_, key, _)| number(key))
            .collect();
        let mut counts: AHashMap<u64, u64> = AHashMap::new();
        let mut dangling = 0_usize;
        for (table, key, record) in &self.rows {
            if matches!(table, Table::Sessions) {
                self.next_session = self
                    .next_session
                    .max(number(key).unwrap_or(0).saturating_add(1));
            }
            if *table == Table::Meta {
                let value = record::take_number(*table, key, record).unwrap_or(0);
                if key == COMMIT.as_bytes() {
                    self.commit = value;
                }
                if key == NEXT_SESSION.as_bytes() {
                    self.next_session = self.next_session.max(value);
                }
            }
            if let Some(message) = reference(*table, key, record) {
                if messages.contains(&message) {
                    *counts.entry(message).or_default() += 1;
                } else {
                    dangling += 1;
                }
            }
        }
        self.rows.retain(|(table, key, record)| match table {
            Table::Meta | Table::Counts => false,
            Table::Messages => number(key).is_some_and(|id| counts.contains_key(&id)),
            Table::Queue => reference(*table, key, record).is_none_or(|id| messages.contains(&id)),
            Table::Sessions
            | Table::Subscriptions
            | Table::Received
            | Table::Sent
            | Table::Retained
            | Table::Removed => true,
        });
        if dangling > 0 {
            self.dropped
                .push(format!("queue: {dangling} entries whose message is gone"));
        }
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
        let counts = counts
            .into_iter()
            .map(|(id, count)| (Table::Counts, id.to_be_bytes().to_vec(), count));
        let store = note.map_or_else(rand::random, |note| note.store);
        let meta = [
            (FORMAT, FORMAT_VERSION),
            (STORE, store),
            (COMMIT, commit),
            (NEXT_SESSION, self.next_session),
        ]
        .map(|(name, value)| (Table::Meta, name.as_bytes().to_vec(), value));
        for (table, key, value) in counts.chain(meta) {
            let record = record::number(table, &key, value).to_vec();
            self.rows.push((table, key, record));
        }
        (store, commit)
    }
}

fn number(key: &[u8]) -> Option<u64> {
    key.try_into().map(u64::from_be_bytes).ok()
}

fn reference(table: Table, key: &[u8], record: &[u8]) -> Option<u64> {
    if table != Table::Queue {
        return None;
    }
    Row::reference(record::open(table, key, record).ok()?)
}

/// The new file takes the place of the damaged one, which keeps another name. Whenever this ends early, either file is whole in its place, or none is and the note
/// refuses a start.
fn exchange(
    folder: &Folder,
    salvage: &Salvage,
    (store, commit): (u64, u64),
) -> Result<(PathBuf, usize), UpkeepError> {
    let data = folder.data_file();
    let work = data.with_extension("repairing");
    if work.exists() {
        std::fs::remove_dir_all(&work)?;
    }
    let made = Folder::open(&work)?;
    let (engine, _) = engine::open(&made, CACHE).map_err(|refused| refused.told(&made))?;
    caught(|| super::put_all(&engine, &salvage.rows))?;
    engine.close()?;
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
    Ok((before, salvage.rows.len()))
}
