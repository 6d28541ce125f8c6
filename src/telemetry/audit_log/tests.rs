//! The writer on real files: modes, chain, rotation, flood and failure.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::audit::Kind;

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of this test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("wardgate-audit-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn trail(&self) -> PathBuf {
        self.0.join("audit")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(trail: &Path, config: &AuditConfig) -> (AuditLog, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    (
        AuditLog::open(config, trail, Arc::clone(&metrics)).unwrap(),
        metrics,
    )
}

fn good_login(name: &str) -> Event {
    let username = Some(name.into());
    Event {
        kind: Kind::Authenticate,
        outcome: Outcome::Permitted,
        username,
        ..Event::default()
    }
}

fn bad_login(name: &str) -> Event {
    let ip = Some([192, 0, 2, 1].into());
    Event {
        outcome: Outcome::Refused,
        ip,
        reason: "wrong password".into(),
        ..good_login(name)
    }
}

fn lines(trail: &Path) -> Vec<serde_json::Value> {
    records(trail)
        .unwrap()
        .map(|entry| entry.unwrap().fields().unwrap())
        .collect()
}

#[test]
fn sto_03_the_trail_is_private() {
    let scratch = Scratch::new("modes");
    let (log, _) = open(&scratch.trail(), &AuditConfig::default());
    log.record(good_login("alice")).unwrap();
    assert!(log.close(PATIENCE));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scratch.trail()), 0o700);
    for (_, file) in folder::files(&scratch.trail()).unwrap() {
        assert_eq!(mode(&file), 0o600);
    }
}

#[test]
fn the_chain_goes_on_over_restarts_and_shows_every_change() {
    let scratch = Scratch::new("chain");
    for round in 0..3 {
        let (log, _) = open(&scratch.trail(), &AuditConfig::default());
        log.record(good_login(&format!("first-{round}"))).unwrap();
        log.record(good_login(&format!("second-{round}"))).unwrap();
        assert!(log.close(PATIENCE));
    }
    let verified = verify(&scratch.trail()).unwrap();
    assert_eq!(
        (verified.records, verified.first, verified.last),
        (6, Some(1), Some(6))
    );
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);

    let file = folder::files(&scratch.trail()).unwrap()[0].1.clone();
    let text = fs::read_to_string(&file).unwrap();
    let all: Vec<&str> = text.lines().collect();
    let without = |gone: usize| {
        let kept = all.iter().enumerate().filter(|(index, _)| *index != gone);
        kept.map(|(_, line)| format!("{line}\n"))
            .collect::<String>()
    };
    let swapped = {
        let mut lines = all.clone();
        lines.swap(2, 3);
        lines.join("\n") + "\n"
    };
    let rows = [
        (
            "a name changed",
            text.replacen("first-1", "first-x", 1),
            Some(4),
        ),
        ("a line dropped", without(2), Some(3)),
        ("two lines swapped", swapped, Some(3)),
        ("no JSON", text.replacen("{\"time\"", "time", 1), Some(1)),
        ("unchanged", text.clone(), None),
    ];
    for (name, changed, expected) in rows {
        fs::write(&file, changed).unwrap();
        let problems = verify(&scratch.trail()).unwrap().problems;
        assert_eq!(
            problems.first().map(|problem| problem.line),
            expected,
            "{name}: {problems:?}"
        );
    }
}

#[test]
fn an_unfinished_line_is_cut_and_told() {
    let scratch = Scratch::new("torn");
    let (log, _) = open(&scratch.trail(), &AuditConfig::default());
    log.record(good_login("alice")).unwrap();
    log.close(PATIENCE);
    let file = folder::files(&scratch.trail()).unwrap()[0].1.clone();
    let mut torn = fs::read_to_string(&file).unwrap();
    torn.push_str("{\"time\":\"20");
    fs::write(&file, torn).unwrap();
    let (log, _) = open(&scratch.trail(), &AuditConfig::default());
    log.record(good_login("bob")).unwrap();
    log.close(PATIENCE);
    assert!(verify(&scratch.trail()).unwrap().problems.is_empty());
    let lines = lines(&scratch.trail());
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[1]["reason"],
        "11 bytes of an unfinished line were cut off"
    );
}

#[test]
fn the_trail_is_rotated_and_bounded() {
    let scratch = Scratch::new("rotation");
    let config = AuditConfig {
        max_size: ByteSize::kib(64),
        ..AuditConfig::default()
    };
    let (log, _) = open(&scratch.trail(), &config);
    for number in 0..2000 {
        log.record(good_login(&format!("user-{number}"))).unwrap();
        if number % 10 == 0 {
            assert!(log.flush(PATIENCE));
        }
    }
    log.close(PATIENCE);
    let files = folder::files(&scratch.trail()).unwrap();
    let total: u64 = files
        .iter()
        .map(|(_, path)| fs::metadata(path).unwrap().len())
        .sum();
    assert!(files.len() > 4, "{} files", files.len());
    assert!(total <= 72 * 1024, "{total} bytes");
    let verified = verify(&scratch.trail()).unwrap();
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
    assert_eq!(verified.last, Some(2000));
    assert!(verified.first > Some(1));
}

#[test]
fn log_02_a_flood_of_refusals_is_summed_up_with_a_true_total() {
    let scratch = Scratch::new("flood");
    let (log, metrics) = open(&scratch.trail(), &AuditConfig::default());
    let begun = Instant::now();
    for number in 0..1_000_000u32 {
        let hostile = if number % 2 == 0 {
            "a\nforged \u{1b}[31m\""
        } else {
            "bob"
        };
        log.record(bad_login(hostile)).unwrap();
    }
    let took = begun.elapsed();
    assert!(log.close(PATIENCE));
    let lines = lines(&scratch.trail());
    assert!(lines.len() <= 100, "{} lines", lines.len());
    let total: u64 = lines
        .iter()
        .map(|line| line["count"].as_u64().unwrap_or(1))
        .sum();
    assert_eq!(total, 1_000_000);
    assert_eq!(metrics.refusals(Kind::Authenticate), 1_000_000);
    assert!(took < Duration::from_secs(120), "{took:?}");
}

#[test]
fn log_02_what_one_user_is_permitted_over_and_over_does_not_turn_the_trail_over() {
    const ASKED: u64 = 20_000;
    let scratch = Scratch::new("permitted");
    let (log, _) = open(&scratch.trail(), &AuditConfig::default());
    let subscribed = |name: &str, topic: String| Event {
        kind: Kind::Subscribe,
        action: Some("subscribe"),
        topic: Some(topic),
        ..good_login(name)
    };
    log.record(good_login("before")).unwrap();
    for number in 0..ASKED {
        log.record(subscribed("loud", format!("t/{number}")))
            .unwrap();
    }
    log.record(subscribed("quiet", "t".into())).unwrap();
    // Logins have lines of their own, however many.
    for _ in 0..2000 {
        log.record(good_login("loud")).unwrap();
    }
    assert!(log.close(PATIENCE));
    let lines = lines(&scratch.trail());
    let of = |name: &str, event: &str| {
        let lines = lines.iter();
        lines
            .filter(|line| line["username"] == name && line["event"] == event)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("before", "authenticate").len(), 1);
    assert_eq!(of("quiet", "subscribe").len(), 1);
    assert_eq!(of("loud", "authenticate").len(), 2000);
    let told: u64 = of("loud", "subscribe")
        .iter()
        .map(|line| line["count"].as_u64().unwrap_or(1))
        .sum();
    assert_eq!(told, ASKED, "each of them is counted");
    // A minute may end in between.
    assert!(of("loud", "subscribe").len() < 10_000);
}

#[test]
fn log_03_a_trail_that_cannot_be_written_is_never_silent() {
    for on_failure in [OnFailure::Deny, OnFailure::Continue] {
        let scratch = Scratch::new(&format!("failure-{on_failure:?}"));
        let config = AuditConfig {
            on_failure,
            ..AuditConfig::default()
        };
        let (log, metrics) = open(&scratch.trail(), &config);
        log.record(good_login("before")).unwrap();
        assert!(log.flush(PATIENCE));

        // The folder is gone and a file stands in its place.
        fs::remove_dir_all(scratch.trail()).unwrap();
        fs::write(scratch.trail(), "in the way").unwrap();
        let _ = log.record(good_login("during"));
        wait(|| !log.is_writable());
        let verdict = log.record(good_login("during"));
        assert_eq!(
            verdict.is_ok(),
            on_failure == OnFailure::Continue,
            "{on_failure:?}"
        );
        assert_eq!(metrics.audit_failing.value(), 1);
        for _ in 0..2 * super::QUEUE {
            let _ = log.record(good_login("many"));
        }
        assert!(metrics.audit_lost.value() > 0);

        // It recovers by itself, and what the queue held is written.
        fs::remove_file(scratch.trail()).unwrap();
        wait(|| log.is_writable());
        // Writable is not yet empty.
        assert!(log.flush(PATIENCE));
        log.record(good_login("after")).unwrap();
        assert!(log.close(PATIENCE));
        let lines = lines(&scratch.trail());
        let sum = |reason: &str| {
            lines
                .iter()
                .filter(|line| line["reason"] == reason)
                .filter_map(|line| line["count"].as_u64())
                .sum::<u64>()
        };
        let lost = sum("events found the queue full and have no line");
        assert_eq!(lost, metrics.audit_lost.value(), "{on_failure:?}");
        assert!(lines.iter().any(|line| line["username"] == "after"));
        assert!(verify(&scratch.trail()).unwrap().problems.is_empty());
    }
}

#[test]
fn log_03_a_removed_folder_is_made_anew() {
    let scratch = Scratch::new("removed");
    let (log, _) = open(&scratch.trail(), &AuditConfig::default());
    log.record(good_login("before")).unwrap();
    assert!(log.flush(PATIENCE));
    fs::remove_dir_all(scratch.trail()).unwrap();
    log.record(good_login("after")).unwrap();
    assert!(log.close(PATIENCE));
    let lines = lines(&scratch.trail());
    // The gap shows: this trail does not begin with record 1.
    assert_eq!((lines.len(), &lines[0]["sequence"]), (1, &2.into()));
}

#[test]
fn the_caller_is_never_held_up() {
    let scratch = Scratch::new("speed");
    let (log, _) = open(
        &scratch.trail(),
        &AuditConfig {
            on_failure: OnFailure::Continue,
            ..AuditConfig::default()
        },
    );
    let begun = Instant::now();
    for _ in 0..100_000 {
        log.record(good_login("alice")).unwrap();
    }
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
}

fn wait(mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !until() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}
