//! `check`, `repair`, `export` and `import` on a folder: exit codes, messages, a damaged file.

use super::{away, publish, publisher, setup, store, waiting};
use crate::support::Broker;
use crate::support::broker::wardgate;
use std::fs;
use std::path::PathBuf;

const MESSAGES: u32 = 100;

/// A node that has stopped, with a session and its queue.
fn stopped() -> (Broker, PathBuf) {
    let mut broker = setup("").start();
    away(broker.dial("lab"), "one");
    let mut wire = publisher(broker.dial("lab"));
    for number in 0..MESSAGES {
        publish(&mut wire, number);
    }
    drop(wire);
    let folder = broker.path().join("data/store");
    let refused = store(&folder, &["check"]).unwrap_err();
    assert!(refused.contains("another process"), "{refused}");
    broker.signal("TERM");
    broker.await_end();
    (broker, folder)
}

#[test]
fn a_store_is_checked_saved_and_brought_back() {
    let (mut broker, folder) = stopped();
    let told = store(&folder, &["check"]).unwrap();
    assert_eq!(
        told,
        "whole: 1 sessions, 100 queued messages, 0 retained messages\n"
    );
    let backup = broker.path().join("backup");
    let backup = backup.to_str().unwrap();
    // The folder that a relative path to a configuration leads to is the same.
    let name = PathBuf::from(broker.path().file_name().unwrap());
    let by_configuration = wardgate()
        .current_dir(broker.path().parent().unwrap())
        .args(["store", "check", "--config"])
        .arg(name.join("wardgate.yaml"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&by_configuration.stdout),
        told,
        "{by_configuration:?}"
    );
    store(&folder, &["export", backup]).unwrap();
    let refused = store(&folder, &["import", backup]).unwrap_err();
    assert!(refused.contains("empty folder"), "{refused}");
    let other = broker.path().join("other");
    let imported = store(&other, &["import", backup]).unwrap();
    assert!(imported.starts_with("imported: 1 sessions, 100 queued"));
    for command in ["check", "repair"] {
        let refused = store(&broker.path().join("nothing"), &[command]).unwrap_err();
        assert!(refused.contains("no store is there"), "{refused}");
    }
    broker.start_again();
    waiting(broker.dial("lab"), "one", MESSAGES);
}

#[test]
fn sto_02_a_damaged_store_refuses_the_start_and_is_repaired() {
    let (mut broker, folder) = stopped();
    let data = folder.join("store.redb");
    let mut bytes = fs::read(&data).unwrap();
    let wanted = b"message 42";
    let places: Vec<usize> = bytes
        .windows(wanted.len())
        .enumerate()
        .filter_map(|(at, window)| (window == wanted).then_some(at))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&data, &bytes).unwrap();
    let refused = store(&folder, &["check"]).unwrap_err();
    assert!(
        refused.contains("store.redb: damaged: ") && !refused.contains("panicked"),
        "{refused}"
    );
    let said = store(&folder, &["repair"]).unwrap();
    assert!(
        said.contains("dropped: ") && said.contains("damaged-1"),
        "{said}"
    );
    assert!(fs::read(folder.join("store.damaged-1")).unwrap() == bytes);
    assert!(
        store(&folder, &["check"])
            .unwrap()
            .starts_with("whole: 1 sessions")
    );
    broker.start_again();
    waiting(broker.dial("lab"), "one", 42);
}
