//! Damaged, cut and exchanged files: refused by name or of no consequence, and never a panic.

use super::*;
use crate::store::embedded::note::Note;

/// A store with some of everything, closed in order.
fn filled() -> Disk {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    fill(&store);
    store.close();
    disk
}

fn told(restored: &Restored) -> String {
    let mut text = String::new();
    for session in &restored.sessions {
        text.push_str(&format!(
            "{:?} {:?} {} {:?}\n",
            session.record.subject,
            session.subscriptions,
            session.last_sequence,
            payloads(&session.window)
        ));
    }
    text.push_str(&format!(
        "{:?}",
        restored
            .retained
            .iter()
            .map(|(message, _)| message.topic().as_str().to_owned())
            .collect::<Vec<_>>()
    ));
    text
}

#[test]
fn sto_02_a_flipped_bit_is_named_or_of_no_consequence() {
    let disk = filled();
    let (bytes, note) = (disk.bytes(), disk.note_bytes());
    let expected = told(&open(&Disk::holding(bytes.clone(), note.clone())).1);
    let mut random = random(2);
    let mut refused = 0;
    // Each page that holds anything, at a random bit.
    for page in 0..bytes.len() / 4096 {
        if bytes[page * 4096..][..4096].iter().all(|byte| *byte == 0) {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[page * 4096 + random(4096)] ^= 1 << random(8);
        match open_with(&Disk::holding(damaged, note.clone()), OPTIONS) {
            Ok((_store, restored)) => assert_eq!(told(&restored), expected, "page {page}"),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("memory"), "page {page}: {error}");
            }
        }
    }
    assert!(refused > 5, "{refused} pages were missed");
}

#[test]
fn sto_02_a_file_that_was_cut_emptied_or_exchanged_is_refused() {
    let disk = filled();
    let (bytes, note) = (disk.bytes(), disk.note_bytes());
    let expected = told(&open(&Disk::holding(bytes.clone(), note.clone())).1);
    for length in [
        0,
        1,
        100,
        4_096,
        4_097,
        bytes.len() / 2,
        bytes.len() - 4_096,
        bytes.len() - 1,
    ] {
        let cut = Disk::holding(bytes[..length].to_vec(), note.clone());
        match open_with(&cut, OPTIONS) {
            Ok((_store, restored)) => assert_eq!(told(&restored), expected, "{length} bytes"),
            Err(error) => assert!(
                error.to_string().contains("memory"),
                "{length} bytes: {error}"
            ),
        }
    }
    let other = Disk::default();
    open(&other).0.close();
    let error = open_with(&Disk::holding(other.bytes(), note), OPTIONS)
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("another store"), "{error}");
}

#[test]
fn a_note_that_was_lost_or_torn_says_nothing() {
    let disk = filled();
    let expected = told(&open(&disk.after_kill()).1);
    for note in [None, Some(vec![0; 32]), Some(Vec::new())] {
        let (_store, restored) = open(&Disk::holding(disk.bytes(), note));
        assert_eq!(told(&restored), expected);
    }
    assert!(Note::from_bytes(&disk.note_bytes().unwrap()).unwrap().clean);
}

#[test]
fn a_first_start_that_ended_early_begins_again() {
    let (store, restored) = open(&Disk::holding(Vec::new(), None));
    assert!(restored.sessions.is_empty());
    settle_down(&store, store.save(record(1)));
}

#[test]
fn sto_02_a_file_that_is_no_store_is_not_taken_for_a_first_start() {
    let disk = filled();
    let mut without_magic = disk.bytes();
    without_magic[..9].fill(0);
    for bytes in [vec![0; 10_000], b"mine".to_vec(), without_magic] {
        for note in [None, disk.note_bytes()] {
            let damaged = Disk::holding(bytes.clone(), note);
            let error = open_with(&damaged, OPTIONS).map(|_| ()).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
            let said = error.to_string();
            assert!(
                said.contains("does not begin as a store does") && said.contains("store repair"),
                "{said}"
            );
            assert!(damaged.bytes() == bytes, "it is as it was found");
        }
    }
}

#[test]
fn sto_02_what_is_refused_is_left_as_it_was_found() {
    // As a crash leaves it, so that the engine would recover it, and as a stop does.
    let crashed = Disk::default();
    let (store, _) = open(&crashed);
    fill(&store);
    let mut random = random(5);
    for disk in [crashed.after_kill(), filled()] {
        let (bytes, note) = (disk.bytes(), disk.note_bytes());
        let mut refused = 0;
        for _ in 0..40 {
            let mut damaged = bytes.clone();
            damaged[random(bytes.len())] ^= 1 << random(8);
            let place = Disk::holding(damaged.clone(), note.clone());
            if open_with(&place, OPTIONS).is_err() {
                refused += 1;
                assert!(place.bytes() == damaged, "the file was changed");
                assert_eq!(place.note_bytes(), note);
                assert_eq!(place.syncs(), 0);
            }
        }
        assert!(refused > 0);
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    use crate::store::embedded::{record as records, tables};
    let disk = Disk::default();
    let (store, _) = open(&disk);
    {
        let engine = store.shared.engine.read();
        let transaction = engine
            .as_ref()
            .unwrap()
            .database()
            .unwrap()
            .begin_write()
            .unwrap();
        let format = records::number(tables::Table::Meta, tables::FORMAT.as_bytes(), 2);
        transaction
            .open_table(tables::META)
            .unwrap()
            .insert(tables::FORMAT, format.as_slice())
            .unwrap();
        transaction.commit().unwrap();
    }
    store.close();
    let error = open_with(&disk, OPTIONS).map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("newer version"), "{error}");
}
