//! Acknowledged means stored: a real process is killed in the middle of its traffic, and every session gets what was promised.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod cast;
mod client;
mod damage;
mod disk;
mod judge;
mod ledger;
mod link;
mod model;
mod packets;
mod power;
mod retained;
mod round;
mod wills;
mod world;

use damage::{Originals, Verdict};
use disk::Disk;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use round::{Interruption, Outcome, PATIENCE, run};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const EMBEDDED: &str = "store: { kind: embedded, path: ./data/store, durability: sync }";
const MEMORY: &str = "store: { kind: memory }";

/// STO-1. `CRASH_ROUNDS` sets how many; `CRASH_SEED` repeats one.
#[test]
fn sto_01_a_crash_loses_nothing_that_was_acknowledged() {
    for seed in seeds("CRASH", 20) {
        let outcome = run(seed, EMBEDDED, Interruption::Crash, PATIENCE);
        verdict(seed, &outcome);
    }
}

/// The model knows how a broker behaves that nothing happens to.
#[test]
fn without_a_crash_a_broker_in_memory_keeps_the_promise() {
    for seed in seeds("CRASH", 2) {
        verdict(seed, &run(seed, MEMORY, Interruption::Never, PATIENCE));
    }
}

/// The judge sees what it is there to see: sessions, queues, subscriptions and retained messages that are gone.
#[test]
fn a_crash_of_a_broker_in_memory_is_noticed() {
    let outcome = run(7, MEMORY, Interruption::Crash, Duration::from_secs(1));
    for kind in [
        "LOST the session",
        "LOST subscriber",
        "LOST group",
        "RETAINED",
    ] {
        assert!(
            outcome.faults.iter().any(|fault| fault.starts_with(kind)),
            "nothing about {kind} in {:#?}",
            outcome.faults
        );
    }
}

/// STO-1: of what was not synced anything may remain. `POWER_ROUNDS` sets how many cuts there are times three; `POWER_SEED` repeats them.
#[test]
fn sto_01_a_loss_of_power_loses_nothing_that_was_committed() {
    for seed in seeds("POWER", 20) {
        let faults = power::round(seed, Disk::new());
        println!("POWER_SEED={seed}: {} faults", faults.len());
        assert!(faults.is_empty(), "POWER_SEED={seed}: {faults:#?}");
    }
}

/// A sync that is left out shows: the same on a disk that only says it has synced.
#[test]
fn a_sync_that_is_left_out_is_noticed() {
    let noticed = (0..5).filter(|seed| !power::round(*seed, Disk::new().lying()).is_empty());
    // What the lying disk happens to have kept is chance.
    assert!(noticed.count() > 0);
}

/// STO-2. `DAMAGE_ROUNDS` sets how many; `DAMAGE_SEED` repeats one.
#[test]
fn sto_02_damage_is_named_and_nothing_is_lost_in_silence() {
    let originals = [true, false].map(|gently| Originals::make(EMBEDDED, 11, gently));
    let (mut opened, mut refused, mut served) = (0, 0, 0);
    for seed in seeds("DAMAGE", 200) {
        let mut rng = StdRng::seed_from_u64(seed);
        let originals = &originals[rng.random_range(0..2)];
        let (folder, what) = originals.damaged(&mut rng);
        let case = format!("DAMAGE_SEED={seed}: {what}");
        // The program itself takes longer: a part of them, and all that made the engine give up.
        let to_serve = folder.copy();
        let may_serve = match originals.open(folder.path()) {
            Verdict::Opened => true,
            Verdict::Refused(why) => {
                assert!(
                    why.contains(&folder.path().display().to_string()),
                    "{case}: {why}"
                );
                assert!(why.contains("damaged: "), "{case}: {why}");
                refused += 1;
                false
            }
            Verdict::Silent(lost) => panic!("{case}, and silently: {lost:#?}"),
        };
        opened += u32::from(may_serve);
        if seed % 8 > 0 && !what.contains("page") {
            continue;
        }
        served += 1;
        let (serves, said) = originals.serve(to_serve.path(), EMBEDDED);
        assert_eq!(serves, may_serve, "{case}: {said}");
        assert!(!said.contains("panicked"), "{case}: {said}");
        assert!(serves || said.contains("data/store/"), "{case}: {said}");
    }
    println!(
        "{opened} opened with everything in them, {refused} refused by name; {served} by the program itself"
    );
}

/// As many as asked for, or the one that is to be repeated.
fn seeds(form: &str, rounds: u64) -> Vec<u64> {
    let number = |what: &str| {
        let text = std::env::var(format!("{form}_{what}")).ok()?;
        text.parse().ok()
    };
    if let Some(seed) = number("SEED") {
        return vec![seed];
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first = now.as_secs() * 1000;
    (first..first + number("ROUNDS").unwrap_or(rounds)).collect()
}

fn verdict(seed: u64, outcome: &Outcome) {
    println!("CRASH_SEED={seed}: {}", outcome.summary);
    let shown = &outcome.faults[..outcome.faults.len().min(30)];
    assert!(
        shown.is_empty(),
        "CRASH_SEED={seed}: {}\n{}\n--- the broker said:\n{}",
        outcome.summary,
        shown.join("\n"),
        outcome.broker.stderr()
    );
}
