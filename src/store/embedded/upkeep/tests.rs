//! Checked, damaged, mended, saved and brought back.

use super::*;
use crate::store::embedded::tests::{
    Place, accept, delivery, filled, find, message, open_folder, payloads, settle_down,
};
use std::os::unix::fs::FileExt;

/// Flips a byte wherever the payload stands in the file; gives how often.
fn damage(file: &Path, payload: &str) -> usize {
    let bytes = std::fs::read(file).unwrap();
    let handle = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    let mut found = 0;
    for (at, window) in bytes.windows(payload.len()).enumerate() {
        if window == payload.as_bytes() {
            handle.write_all_at(&[window[0] ^ 1], at as u64).unwrap();
            found += 1;
        }
    }
    found
}

#[test]
fn a_store_that_is_whole_is_told_so_and_stays_as_it_is() {
    let place = Place::new("check");
    let path = place.0.join("store");
    filled(&path);
    let before = std::fs::read(path.join("store.redb")).unwrap();
    let contents = check(&path).unwrap();
    assert_eq!(
        contents,
        Contents {
            sessions: 5,
            queued: 205,
            retained: 50,
            recovered: false
        }
    );
    assert!(repair(&path).unwrap().dropped.is_empty());
    assert_eq!(std::fs::read(path.join("store.redb")).unwrap(), before);
    for missing in [place.0.join("nothing"), place.0.clone()] {
        assert!(matches!(check(&missing), Err(UpkeepError::NoStore { .. })));
    }
}

#[test]
fn sto_02_a_repair_keeps_all_but_what_is_damaged_and_says_what() {
    let place = Place::new("repair");
    let path = place.0.join("store");
    filled(&path);
    let data = path.join("store.redb");
    assert!(damage(&data, "3/17-3/17") > 0);
    let damaged = std::fs::read(&data).unwrap();
    let error = check(&path).unwrap_err().to_string();
    assert!(
        error.contains("damaged") && error.contains("store.redb"),
        "{error}"
    );
    assert!(
        std::fs::read(&data).unwrap() == damaged,
        "a check changes nothing"
    );
    let repaired = repair(&path).unwrap();
    assert!(
        std::fs::read(repaired.before.unwrap()).unwrap() == damaged,
        "the damaged file is kept as it was"
    );
    assert!(
        repaired
            .dropped
            .iter()
            .any(|line| line.contains("queue: 1 records")),
        "{:?}",
        repaired.dropped
    );
    let contents = check(&path).unwrap();
    assert_eq!(
        (contents.sessions, contents.queued, contents.retained),
        (5, 204, 50)
    );
    let (store, restored) = open_folder(&path).unwrap();
    let window = payloads(&find(&restored, 3).window);
    assert_eq!(window.len(), 40);
    assert!(!window.iter().any(|payload| payload.starts_with("3/17-")));
    // And it goes on: the number of the commit did not go back.
    let more = message("more");
    settle_down(&store, accept(&store, &more, vec![delivery(&more, 3, 100)]));
    store.close();
    drop(store);
    assert_eq!(check(&path).unwrap().queued, 205);
}

#[test]
fn sto_02_a_store_that_lost_its_first_bytes_and_its_note_is_refused_and_repaired() {
    let place = Place::new("magic");
    let path = place.0.join("store");
    filled(&path);
    let data = path.join("store.redb");
    let handle = std::fs::OpenOptions::new().write(true).open(&data).unwrap();
    handle.write_all_at(&[0; 9], 0).unwrap();
    std::fs::remove_file(path.join("committed")).unwrap();
    let damaged = std::fs::read(&data).unwrap();
    let error = open_folder(&path).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("store.redb") && error.contains("store repair"),
        "{error}"
    );
    assert!(std::fs::read(&data).unwrap() == damaged);
    let repaired = repair(&path).unwrap();
    assert!(repaired.dropped.is_empty(), "{:?}", repaired.dropped);
    assert!(std::fs::read(repaired.before.unwrap()).unwrap() == damaged);
    let contents = check(&path).unwrap();
    assert_eq!(
        (contents.sessions, contents.queued, contents.retained),
        (5, 205, 50)
    );
}

#[test]
fn a_repair_that_can_read_nothing_changes_nothing() {
    let place = Place::new("hopeless");
    let path = place.0.join("store");
    filled(&path);
    let data = path.join("store.redb");
    std::fs::write(&data, vec![0x55; 100_000]).unwrap();
    assert!(repair(&path).is_err());
    assert_eq!(std::fs::read(&data).unwrap(), vec![0x55; 100_000]);
}

#[test]
fn an_export_is_the_same_store_elsewhere() {
    let place = Place::new("export");
    let (path, other) = (place.0.join("store"), place.0.join("other"));
    filled(&path);
    let mut offline = Vec::new();
    let rows = export(&path, &mut offline).unwrap();
    assert!(rows > 250, "{rows}");
    // The same while it runs.
    let (store, restored) = open_folder(&path).unwrap();
    let mut running = Vec::new();
    store.export(&mut running).unwrap();
    assert_eq!(running.len(), offline.len());
    store.close();
    drop(store);
    let contents = import(&other, running.as_slice()).unwrap();
    assert_eq!(contents, check(&path).unwrap());
    let (_store, again) = open_folder(&other).unwrap();
    assert_eq!(
        format!("{:?}", again.sessions.len()),
        format!("{:?}", restored.sessions.len())
    );
    assert_eq!(
        payloads(&find(&again, 4).window),
        payloads(&find(&restored, 4).window)
    );
    assert_eq!(again.next_session, restored.next_session);
    assert!(matches!(
        import(&path, offline.as_slice()),
        Err(UpkeepError::NotEmpty { .. })
    ));
}

#[test]
fn sto_02_a_damaged_export_leaves_no_store_behind() {
    let place = Place::new("import");
    let path = place.0.join("store");
    filled(&path);
    let mut whole = Vec::new();
    export(&path, &mut whole).unwrap();
    let other = place.0.join("other");
    let step = whole.len() / 20;
    for at in (0..whole.len()).step_by(step) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(import(&other, flipped.as_slice()).is_err(), "byte {at}");
        assert!(import(&other, &whole[..at]).is_err(), "{at} bytes");
        assert!(!other.join("store.redb").exists());
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(import(&other, longer.as_slice()).is_err());
    assert_eq!(import(&other, whole.as_slice()).unwrap().sessions, 5);
}
