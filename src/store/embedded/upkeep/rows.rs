//! All rows of a store, as bytes: what export, import and repair have in common.

use crate::store::embedded::engine::caught;
use crate::store::embedded::error::EngineError;
use crate::store::embedded::tables::{
    COUNTS, MESSAGES, META, QUEUE, QueueKey, RECEIVED, REMOVED, RETAINED, ReceivedKey, SENT,
    SESSIONS, SUBSCRIPTIONS, Table,
};
use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

/// Takes table, key and record.
pub(super) type Visit<'v> = dyn FnMut(Table, &[u8], &[u8]) -> Result<(), EngineError> + 'v;

/// Every row of every table; keys as checksums know them. A table that cannot be read to its end is read from its end as well, and what is between is told to `gap`.
pub(super) fn visit(
    transaction: &ReadTransaction,
    visit: &mut Visit<'_>,
    gap: &mut dyn FnMut(Table, EngineError) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let mut rows = Rows {
        transaction,
        visit,
        gap,
    };
    let number = |key: u64| key.to_be_bytes().to_vec();
    rows.table::<&str>(META, Table::Meta, |key| key.as_bytes().to_vec())?;
    rows.table::<u64>(SESSIONS, Table::Sessions, number)?;
    rows.table::<&[u8]>(SUBSCRIPTIONS, Table::Subscriptions, |key| key.to_vec())?;
    rows.table::<&ReceivedKey>(RECEIVED, Table::Received, |key| key.to_vec())?;
    rows.table::<u64>(SENT, Table::Sent, number)?;
    rows.table::<u64>(MESSAGES, Table::Messages, number)?;
    rows.table::<u64>(COUNTS, Table::Counts, number)?;
    rows.table::<&QueueKey>(QUEUE, Table::Queue, |key| key.to_vec())?;
    rows.table::<&str>(RETAINED, Table::Retained, |key| key.as_bytes().to_vec())?;
    rows.table::<u64>(REMOVED, Table::Removed, number)
}

struct Rows<'a, 'v> {
    transaction: &'a ReadTransaction,
    visit: &'a mut Visit<'v>,
    gap: &'a mut dyn FnMut(Table, EngineError) -> Result<(), EngineError>,
}

impl Rows<'_, '_> {
    fn table<K: Key + 'static>(
        &mut self,
        definition: TableDefinition<'_, K, &'static [u8]>,
        name: Table,
        bytes: impl for<'k> Fn(K::SelfType<'k>) -> Vec<u8>,
    ) -> Result<(), EngineError> {
        let mut last = None;
        let forward = caught(|| self.read(definition, name, &bytes, false, &mut last));
        let Err(error) = forward else {
            return Ok(());
        };
        (self.gap)(name, error)?;
        // From the other end, up to the gap or to what was read already.
        let mut first = last;
        caught(|| self.read(definition, name, &bytes, true, &mut first)).or(Ok(()))
    }

    /// Backward: until it meets the row that was read last.
    fn read<K: Key + 'static>(
        &mut self,
        definition: TableDefinition<'_, K, &'static [u8]>,
        name: Table,
        bytes: &impl for<'k> Fn(K::SelfType<'k>) -> Vec<u8>,
        backward: bool,
        last: &mut Option<Vec<u8>>,
    ) -> Result<(), EngineError> {
        let table = self
            .transaction
            .open_table(definition)
            .map_err(redb::Error::from)?;
        let mut rows = table.iter().map_err(redb::Error::from)?;
        loop {
            let row = if backward {
                rows.next_back()
            } else {
                rows.next()
            };
            let Some(row) = row else { return Ok(()) };
            let (key, record) = row.map_err(redb::Error::from)?;
            let key = bytes(key.value());
            if backward && last.as_ref() == Some(&key) {
                return Ok(());
            }
            (self.visit)(name, &key, record.value())?;
            if !backward {
                *last = Some(key);
            }
        }
    }
}

/// Puts one row; its key is as [`visit`] gave it.
pub(super) fn insert(
    transaction: &WriteTransaction,
    table: Table,
    key: &[u8],
    record: &[u8],
) -> Result<(), EngineError> {
    let misshapen = || EngineError::Damaged(format!("{}: a key of another shape", table.name()));
    let number = || {
        key.try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| misshapen())
    };
    let text = || std::str::from_utf8(key).map_err(|_| misshapen());
    let inserted = match table {
        Table::Meta => put(transaction, META, text()?, record),
        Table::Sessions => put(transaction, SESSIONS, number()?, record),
        Table::Subscriptions => put(transaction, SUBSCRIPTIONS, key, record),
        Table::Received => {
            let key: &ReceivedKey = key.try_into().map_err(|_| misshapen())?;
            put(transaction, RECEIVED, key, record)
        }
        Table::Sent => put(transaction, SENT, number()?, record),
        Table::Queue => {
            let key: &QueueKey = key.try_into().map_err(|_| misshapen())?;
            put(transaction, QUEUE, key, record)
        }
        Table::Messages => put(transaction, MESSAGES, number()?, record),
        Table::Counts => put(transaction, COUNTS, number()?, record),
        Table::Retained => put(transaction, RETAINED, text()?, record),
        Table::Removed => put(transaction, REMOVED, number()?, record),
    };
    inserted.map_err(EngineError::from)
}

fn put<'k, K: Key + 'static>(
    transaction: &WriteTransaction,
    definition: TableDefinition<'_, K, &'static [u8]>,
    key: K::SelfType<'k>,
    record: &[u8],
) -> Result<(), redb::Error> {
    transaction.open_table(definition)?.insert(key, record)?;
    Ok(())
}
