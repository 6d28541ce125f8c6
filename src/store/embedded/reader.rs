//! The thread that reads pages of queues that are only on disk.

use super::Shared;
use super::clock::milliseconds;
use super::engine::{Engine, caught};
use super::error::EngineError;
use super::record::{self, Authors, Body, Row, Unreadable, take_message};
use super::restore;
use super::tables::{MESSAGES, QUEUE, QueueKey, Table, of_queue_key, queue_key};
use super::write::is_handed_over;
use crate::router::{Fetch, Page};
use crate::session::{Delivery, Position};
use bytes::Bytes;
use redb::{ReadableDatabase, ReadableTable};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// A page that is wanted, and the commit that holds the last of it.
pub(super) struct Wanted {
    pub(super) fetch: Fetch,
    pub(super) position: Position,
}

/// Until the store is closed.
pub(super) fn run(shared: &Shared) {
    let mut authors = Authors::default();
    while let Some(wanted) = next(shared) {
        let fetch = wanted.fetch;
        let page = loop {
            let read = match shared.engine.read().as_ref() {
                Some(engine) => page(engine, &fetch, shared, &mut authors),
                None => Err(EngineError::Failed("it is closed".to_owned())),
            };
            match read {
                Ok(page) => break page,
                // The committing thread says what is wrong with the disk, and opens it again.
                Err(error) if !shared.stopping.load(Ordering::Acquire) => {
                    tracing::debug!(%error, "a page of a queue could not be read");
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(_) => break Page::default(),
            }
        };
        (fetch.reply)(page);
    }
}

/// The first one whose commit is done.
fn next(shared: &Shared) -> Option<Wanted> {
    let mut fetches = shared.fetches.lock();
    loop {
        if shared.stopping.load(Ordering::Acquire) {
            return None;
        }
        let committed = shared.waiters.committed();
        if let Some(at) = fetches
            .iter()
            .position(|wanted| wanted.position <= committed)
        {
            return fetches.remove(at);
        }
        shared
            .fetch_work
            .wait_for(&mut fetches, Duration::from_millis(100));
    }
}

fn page(
    engine: &Engine,
    fetch: &Fetch,
    shared: &Shared,
    authors: &mut Authors,
) -> Result<Page, EngineError> {
    let database = engine.database()?;
    let mut read = || -> Result<Page, redb::Error> {
        let transaction = database.begin_read()?;
        let queue = transaction.open_table(QUEUE)?;
        let messages = transaction.open_table(MESSAGES)?;
        let now = milliseconds(SystemTime::now());
        let mut page = Page::default();
        let mut bytes = 0_usize;
        let first = queue_key(fetch.session, fetch.after.saturating_add(1));
        let last = queue_key(fetch.session, fetch.up_to);
        if fetch.after >= fetch.up_to {
            return Ok(page);
        }
        for row in queue.range::<&QueueKey>(&first..=&last)? {
            let (key, record) = row?;
            if page.deliveries.len() >= fetch.messages || bytes >= fetch.bytes {
                page.more = true;
                break;
            }
            match delivery(key.value(), record.value(), &messages, now, shared, authors) {
                Ok(Some(delivery)) => {
                    bytes = bytes.saturating_add(delivery.message.queued_bytes());
                    page.deliveries.push(delivery);
                }
                Ok(None) => {}
                Err(why) => {
                    let (session, sequence) = of_queue_key(key.value());
                    tracing::error!(
                        store = shared.medium.name(),
                        session = session.0,
                        sequence,
                        %why,
                        "a queued message is damaged and cannot be delivered"
                    );
                    page.damaged += 1;
                }
            }
        }
        Ok(page)
    };
    caught(|| read().map_err(EngineError::from))
}

/// `None`: it is in memory already, done with, or its time is over.
fn delivery(
    key: &QueueKey,
    record: &[u8],
    messages: &impl ReadableTable<u64, &'static [u8]>,
    now: u64,
    shared: &Shared,
    authors: &mut Authors,
) -> Result<Option<Delivery>, Unreadable> {
    let row = record::open(Table::Queue, key, record).and_then(Row::take)?;
    let is_expired = row.expires_at != 0 && row.expires_at <= now;
    if is_expired {
        shared.forget(*key);
    }
    if is_expired || row.is_shared() || is_handed_over(&row) {
        return Ok(None);
    }
    let message = match row.body {
        Body::Inline(bytes) => take_message(Bytes::copy_from_slice(bytes), shared.clock, authors)?,
        Body::Reference(id) => restore::shared(messages, id, shared.clock, authors)?,
        Body::HandedOver => return Ok(None),
    };
    let (session, sequence) = of_queue_key(key);
    row.delivery(session, sequence, Arc::new(message)).map(Some)
}
