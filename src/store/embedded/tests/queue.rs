//! Queues: what is written, what never has to be, what is only on disk, and what is given back.

use super::*;
use crate::router::{WINDOW_BYTES, WINDOW_MESSAGES};
use crate::store::embedded::tables;
use redb::ReadableDatabase;
use redb::ReadableTableMetadata;

/// Rows in the queue, and messages that several rows share.
fn rows(store: &Embedded) -> (u64, u64, u64) {
    let engine = store.shared.engine.read();
    let transaction = engine
        .as_ref()
        .unwrap()
        .database()
        .unwrap()
        .begin_read()
        .unwrap();
    (
        transaction
            .open_table(tables::QUEUE)
            .unwrap()
            .len()
            .unwrap(),
        transaction
            .open_table(tables::MESSAGES)
            .unwrap()
            .len()
            .unwrap(),
        transaction
            .open_table(tables::COUNTS)
            .unwrap()
            .len()
            .unwrap(),
    )
}

#[test]
fn what_is_settled_before_its_commit_is_never_written_and_costs_no_sync() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    settle_down(&store, store.save(record(1)));
    let syncs = disk.syncs();
    // While the gate is held no commit begins: the client is quicker than the disk.
    let gate = store.gate();
    let positions: Vec<_> = (1..=100)
        .map(|sequence| {
            let (ticket, position) = publish_under(&gate, &store, "quick", 1, sequence);
            store.settle(&ticket);
            position
        })
        .collect();
    drop(gate);
    for position in positions {
        settle_down(&store, position);
    }
    assert_eq!(disk.syncs(), syncs, "nothing was left to write");
    assert_eq!(rows(&store), (0, 0, 0));
}

#[test]
fn what_is_settled_later_is_taken_back_with_the_next_commit_or_soon() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    store.save(record(1));
    let (ticket, position) = publish(&store, "slow", 1, 1);
    settle_down(&store, position);
    assert!(ticket.is_committed(store.committed()));
    assert_eq!(rows(&store).0, 1);
    store.settle(&ticket);
    assert_eq!(
        store.current(),
        store.committed(),
        "nobody waits for a settlement"
    );
    let until = Instant::now() + PATIENCE;
    while rows(&store).0 > 0 {
        assert!(Instant::now() < until, "the entry was not taken back");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_payload_is_written_once_and_goes_with_its_last_receiver() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    (1..=50).for_each(|id| _ = store.save(record(id)));
    let large = message(&"x".repeat(100_000));
    let deliveries: Vec<_> = (1..=50).map(|id| delivery(&large, id, 1)).collect();
    let tickets: Vec<_> = deliveries
        .iter()
        .filter_map(|delivery| delivery.ticket.clone())
        .collect();
    // One of them is quick: its row is not written, the others share.
    let gate = store.gate();
    let position = accept_under(&gate, &store, &large, deliveries);
    store.settle(&tickets[0]);
    drop(gate);
    settle_down(&store, position);
    assert_eq!(rows(&store), (49, 1, 1));
    store.close();

    let (store, restored) = open(&disk);
    assert_eq!(
        restored
            .sessions
            .iter()
            .map(|session| session.window.len())
            .sum::<usize>(),
        49
    );
    let first = &find(&restored, 2).window[0].message;
    assert!(
        Arc::ptr_eq(first, &find(&restored, 50).window[0].message),
        "in memory it is one as well"
    );
    let tickets: Vec<_> = restored
        .sessions
        .iter()
        .flat_map(|session| &session.window)
        .filter_map(|delivery| delivery.ticket.clone())
        .collect();
    // PUBREC keeps the identifier and lets the message go.
    store.hand_over(&tickets[0]);
    for ticket in &tickets[1..48] {
        store.settle(ticket);
    }
    flush(&store);
    assert_eq!(rows(&store), (2, 1, 1));
    store.settle(&tickets[48]);
    flush(&store);
    assert_eq!(rows(&store), (1, 0, 0));
    store.settle(&tickets[0]);
    flush(&store);
    assert_eq!(rows(&store), (0, 0, 0));
}

#[test]
fn a_message_that_was_handed_over_keeps_its_identifier_alone() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    store.save(record(1));
    let tickets: Vec<_> = (1..=3)
        .map(|sequence| publish(&store, "twice", 1, sequence).0)
        .collect();
    flush(&store);
    settle_down(&store, store.hand_over(&tickets[0]));
    settle_down(&store, store.hand_over(&tickets[1]));
    store.settle(&tickets[1]);
    store.sent(SessionId(1), 3);
    flush(&store);
    let disk = disk.after_kill();
    let (store, restored) = open(&disk);
    let session = find(&restored, 1);
    let handed: Vec<_> = session
        .handed_over
        .iter()
        .map(|ticket| ticket.sequence())
        .collect();
    assert_eq!(handed, [1]);
    let window: Vec<_> = session
        .window
        .iter()
        .map(|delivery| delivery.sequence)
        .collect();
    assert_eq!(window, [3]);
    store.settle(&session.handed_over[0]);
    store.close();
    assert!(find(&open(&disk).1, 1).handed_over.is_empty());
}

#[test]
fn behind_the_window_a_queue_is_only_on_disk_and_is_read_in_pages() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    store.save(record(1));
    let total = 1_000_u64;
    for sequence in 1..=total {
        let message = message(&sequence.to_string());
        let mut delivery = delivery(&message, 1, sequence);
        // Drawn for a group: always in memory.
        delivery.share = (sequence == 900).then(|| Arc::new(filter("$share/g/a/#")));
        accept(&store, &message, vec![delivery]);
    }
    store.sent(SessionId(1), 10);
    flush(&store);
    store.close();

    let (store, restored) = open(&disk);
    let session = find(&restored, 1);
    let window: Vec<_> = session
        .window
        .iter()
        .map(|delivery| delivery.sequence)
        .collect();
    let in_order = WINDOW_MESSAGES as u64 + 10;
    let expected: Vec<_> = (1..=in_order).chain([900]).collect();
    assert_eq!(window, expected);
    let one = message("999").queued_bytes();
    assert_eq!(session.spilled.messages as u64, total - in_order - 1);
    assert!(session.spilled.bytes <= session.spilled.messages * (one + 1));
    assert_eq!(session.last_sequence, total);

    let mut after = in_order;
    let mut read = Vec::new();
    loop {
        let page = fetch(&store, 1, after, total, 100);
        assert_eq!(page.damaged, 0);
        after = page.deliveries.last().unwrap().sequence;
        read.extend(payloads(&page.deliveries));
        if !page.more {
            break;
        }
        assert_eq!(page.deliveries.len(), 100);
    }
    let expected: Vec<_> = (in_order + 1..=total)
        .filter(|sequence| *sequence != 900)
        .map(|sequence| sequence.to_string())
        .collect();
    assert_eq!(read, expected);
    assert!(fetch(&store, 1, total, total, 100).deliveries.is_empty());
    assert!(fetch(&store, 2, 0, total, 100).deliveries.is_empty());
}

#[test]
fn a_page_holds_what_was_told_just_before_it_was_asked_for() {
    for durability in [Durability::Sync, Durability::Interval, Durability::None] {
        let disk = Disk::default();
        let options = Options {
            durability,
            flush_interval: Duration::from_secs(3_600),
            ..OPTIONS
        };
        let (store, _) = open_with(&disk, options).unwrap();
        store.save(record(1));
        for sequence in 1..=20 {
            publish(&store, &sequence.to_string(), 1, sequence);
        }
        let page = fetch(&store, 1, 5, 20, 100);
        assert_eq!(page.deliveries.len(), 15, "{durability:?}");
        assert!(!page.more);
    }
}

#[test]
fn a_window_is_bounded_in_bytes_and_takes_one_message_of_any_size() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    store.save(record(1));
    let huge = "x".repeat(WINDOW_BYTES + 1);
    for sequence in 1..=3 {
        publish(&store, &huge, 1, sequence);
    }
    flush(&store);
    store.close();
    let (_store, restored) = open(&disk);
    assert_eq!(find(&restored, 1).window.len(), 1);
    assert_eq!(find(&restored, 1).spilled.messages, 2);
}

#[test]
fn a_session_that_ends_takes_its_queue_along_in_steps() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    let shared = message("for two");
    (1..=2).for_each(|id| _ = store.save(record(id)));
    for sequence in 1..=15_000 {
        publish(&store, "queued", 1, sequence);
    }
    accept(
        &store,
        &shared,
        vec![delivery(&shared, 1, 15_001), delivery(&shared, 2, 1)],
    );
    store.subscribe(SessionId(1), &filter("a/#"), subscribed(QoS::AtLeastOnce));
    store.sent(SessionId(1), 3);
    flush(&store);
    settle_down(&store, store.remove(SessionId(1)));
    // A crash right after: the session is gone, and its rows are found and go.
    let (after, restored) = open(&disk.after_kill());
    for (store, left) in [(&store, 1), (&after, 1)] {
        let until = Instant::now() + PATIENCE;
        while rows(store).0 > left {
            assert!(Instant::now() < until, "rows were left");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(rows(store), (1, 1, 1));
    }
    assert_eq!(restored.sessions.len(), 1);
    assert_eq!(payloads(&find(&restored, 2).window), ["for two"]);
    assert_eq!(restored.next_session, 3);
}

#[test]
fn a_position_wakes_whoever_waits_for_it() {
    use std::sync::mpsc::SyncSender;
    struct Bell(SyncSender<()>);
    impl std::task::Wake for Bell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.try_send(());
        }
    }
    let (store, _) = open(&Disk::default());
    let gate = store.gate();
    let position = store.save(record(1));
    let (send, receive) = sync_channel(1);
    assert!(!store.wait(position, &Waker::from(Arc::new(Bell(send)))));
    assert_eq!(store.current(), position);
    assert!(store.committed() < position);
    drop(gate);
    receive.recv_timeout(PATIENCE).unwrap();
    assert_eq!(store.committed(), position);
    assert_eq!(store.current(), position);
}

#[test]
fn without_a_promise_nobody_waits_and_a_graceful_stop_writes_it_all() {
    for durability in [Durability::Interval, Durability::None] {
        let disk = Disk::default();
        let options = Options {
            durability,
            flush_interval: Duration::from_secs(3_600),
            ..OPTIONS
        };
        let (store, _) = open_with(&disk, options).unwrap();
        let syncs = disk.syncs();
        assert_eq!(store.save(record(1)), Position(0));
        let (ticket, position) = publish(&store, "kept", 1, 1);
        assert!(ticket.is_committed(store.committed()));
        assert!(store.wait(position, Waker::noop()));
        assert_eq!(disk.syncs(), syncs, "{durability:?}");
        store.close();
        assert_eq!(
            payloads(&find(&open(&disk).1, 1).window),
            ["kept"],
            "{durability:?}"
        );
    }
}
