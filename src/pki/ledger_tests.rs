//! What is promised of the ledger, as tables.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use time::Duration as Span;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

/// The folder of a CA that is gone when the test ends.
struct Lab(PathBuf);

impl Lab {
    fn new() -> Self {
        let name = format!("wardgate-ledger-{:032x}", rand::random::<u128>());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join(FILE)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.path(), text).unwrap();
    }

    fn issue(&self, record: &Record) {
        let mut locked = LockedLedger::open(&self.0).unwrap();
        locked.issue(record.clone());
        locked.write(NOW).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let records = Ledger::read(&self.0).unwrap().all().unwrap();
        records.into_iter().map(|record| record.name).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate of 90 days that ends so many days from now.
fn record(name: &str, number: u128, ends_in_days: i64) -> Record {
    let not_after = NOW + Span::days(ends_in_days);
    Record {
        name: name.to_owned(),
        serial: format!("{number:032x}"),
        fingerprint: format!("{number:064x}"),
        organizational_unit: None,
        san_dns: Vec::new(),
        san_uri: Vec::new(),
        not_before: not_after - Span::days(90),
        not_after,
        issued: not_after - Span::days(90),
        issued_by: "test".to_owned(),
        revoked: None,
    }
}

fn revoked(record: Record) -> Record {
    let at = record.issued + Span::days(1);
    let reason = RevocationReason::KeyCompromise;
    Record {
        revoked: Some(Revoked { at, reason }),
        ..record
    }
}

fn first_version(crl_number: u64, certificates: &[Record]) -> String {
    let written = serde_json::json!({ "crl_number": crl_number, "certificates": certificates });
    format!("{written:#}\n")
}

#[test]
fn a_last_line_without_its_end_was_promised_to_nobody() {
    let lab = Lab::new();
    lab.issue(&record("a", 1, 30));
    let before = lab.text();
    lab.issue(&record("b", 2, 30));
    let after = lab.text();
    assert!(after.starts_with(&before), "added at the end");
    for length in before.len()..after.len() {
        lab.write(&after[..length]);
        assert_eq!(lab.names(), ["a"], "{length}");
        lab.issue(&record("c", 3, 30));
        assert_eq!(lab.names(), ["a", "c"], "{length}");
        assert!(lab.text().starts_with(&before), "{length}");
    }
    // As a disk may leave it that lost its power.
    lab.write([after.as_bytes(), &[0; 700]].concat());
    assert_eq!(lab.names(), ["a", "b"]);
    lab.issue(&record("c", 3, 30));
    assert_eq!(lab.names(), ["a", "b", "c"]);
    assert!(!lab.text().contains('\0'));
}

#[test]
fn idn_02_any_other_line_that_cannot_be_read_is_damage() {
    let lab = Lab::new();
    for (number, name) in [(1, "a"), (2, "b")] {
        lab.issue(&record(name, number, 30));
    }
    let mut locked = LockedLedger::open(&lab.0).unwrap();
    locked.revoke(
        &record("a", 1, 30),
        Revoked {
            at: NOW,
            reason: RevocationReason::Superseded,
        },
    );
    locked.count_crl();
    locked.write(NOW).unwrap();
    drop(locked);
    let text = lab.text();
    let rows = [
        ("{\"ledger\":2", "{\"ledger\":3", "line 1: "),
        ("{\"ledger\":2", "{\"ledger\":x", "line 1: "),
        (
            "{\"issued\":{\"name\":\"a\",",
            "{\"issued\":{\"name\":\"a\"",
            "line 2: ",
        ),
        ("{\"issued\":{\"name\":\"b\",", "\"b\"", "line 3: "),
        ("{\"revoked\":{", "{\"revokes\":{", "line 4: "),
        (
            "\"reason\":\"superseded\"",
            "\"reason\":\"none\"",
            "line 4: ",
        ),
        ("{\"crl_number\":1}", "{\"crl_number\":-1}", "line 5: "),
    ];
    for (good, bad, place) in rows {
        let damaged = text.replacen(good, bad, 1);
        assert_ne!(damaged, text, "{good}");
        lab.write(damaged);
        let read = Ledger::read(&lab.0).and_then(|ledger| ledger.all());
        let error = read.map(drop).unwrap_err().to_string();
        assert!(error.contains(place), "{bad}: {error}");
    }
    lab.write(text);
    assert_eq!(lab.names(), ["a", "b"]);
}

#[test]
fn idn_02_records_that_are_gone_are_not_none() {
    let lab = Lab::new();
    assert!(lab.names().is_empty(), "nothing was issued");
    fs::create_dir(copies(&lab.0)).unwrap();
    assert!(lab.names().is_empty(), "nothing was issued");
    fs::write(copies(&lab.0).join("01.pem"), "").unwrap();
    let error = Ledger::read(&lab.0).map(drop).unwrap_err().to_string();
    assert!(error.contains("put it back from a copy"), "{error}");
    assert!(LockedLedger::open(&lab.0).is_err());
}

#[test]
fn what_the_first_version_wrote_is_taken_over() {
    let lab = Lab::new();
    let records = [record("a", 1, 30), revoked(record("b", 2, 30))];
    lab.write(first_version(7, &records));
    let ledger = Ledger::read(&lab.0).unwrap();
    assert_eq!(ledger.all().unwrap(), records);
    assert_eq!(ledger.crl_number(), 7);
    let mut locked = LockedLedger::open(&lab.0).unwrap();
    locked.issue(record("c", 3, 30));
    locked.count_crl();
    locked.write(NOW).unwrap();
    drop(locked);
    assert!(lab.text().starts_with("{\"ledger\":2,"));
    let ledger = Ledger::read(&lab.0).unwrap();
    let [a, b] = records;
    assert_eq!(ledger.all().unwrap(), [a, b, record("c", 3, 30)]);
    assert_eq!(ledger.crl_number(), 8);
    assert!(ledger.is_revoked(&record("b", 2, 30).serial));
}

#[test]
fn a_key_stands_for_its_own_certificates_alone() {
    let lab = Lab::new();
    let names = [
        "pump-1",
        "pump-10",
        "1",
        "say \"hi\"",
        "Pumpe ü",
        "00ff",
        "pump-1",
    ];
    for (number, name) in (0x10u128..).zip(names) {
        lab.issue(&record(name, number, 30));
    }
    // Somebody has looked at it with an editor of his own.
    let edited = serde_json::to_string(&record("edited", 0x99, 30)).unwrap();
    let edited = format!("{{ \"issued\": {} }}\n", edited.replace("\":", "\": "));
    lab.write(lab.text() + &edited);
    let (serial, fingerprint) = (format!("{:032X}", 0x11), format!("{:064x}", 0x15));
    let colons: Vec<&str> = (0..16).map(|at| &serial[2 * at..2 * at + 2]).collect();
    let colons = colons.join(":");
    let rows: [(&str, &[u8]); 15] = [
        ("pump-1", &[0x10, 0x16]),
        ("pump-10", &[0x11]),
        ("pump", &[]),
        ("1", &[0x12]),
        ("say \"hi\"", &[0x13]),
        ("Pumpe ü", &[0x14]),
        ("pumpe ü", &[]),
        ("00ff", &[0x15]),
        ("edited", &[0x99]),
        (&serial, &[0x11]),
        (&colons, &[0x11]),
        (&fingerprint, &[0x15]),
        (&fingerprint[1..], &[]),
        ("test", &[]),
        ("", &[]),
    ];
    let ledger = Ledger::read(&lab.0).unwrap();
    for (key, expected) in rows {
        let found = ledger.called(key).unwrap();
        let found: Vec<String> = found.into_iter().map(|record| record.serial).collect();
        let expected: Vec<String> = expected.iter().map(|of| format!("{of:032x}")).collect();
        assert_eq!(found, expected, "{key:?}");
    }
}

#[test]
fn what_is_revoked_stays_so_as_it_first_was() {
    let lab = Lab::new();
    let pump = record("pump", 1, 30);
    lab.issue(&pump);
    for reason in [
        RevocationReason::KeyCompromise,
        RevocationReason::Superseded,
    ] {
        let mut locked = LockedLedger::open(&lab.0).unwrap();
        locked.revoke(&pump, Revoked { at: NOW, reason });
        locked.write(NOW).unwrap();
    }
    let found = Ledger::read(&lab.0).unwrap().called("pump").unwrap();
    let reason = found[0].revoked.as_ref().unwrap().reason;
    assert_eq!(reason, RevocationReason::KeyCompromise);
}

#[test]
fn what_ended_long_ago_goes_when_the_file_is_written_whole() {
    let lab = Lab::new();
    let records = [
        record("long ago", 1, -366),
        revoked(record("long ago, revoked", 2, -366)),
        record("a year ago", 3, -364),
        revoked(record("lately, revoked", 4, -1)),
        revoked(record("good, revoked", 5, 89)),
        record("good", 6, 89),
    ];
    fs::create_dir(copies(&lab.0)).unwrap();
    for record in &records {
        fs::write(copy_path(&lab.0, record), "").unwrap();
    }
    let copies = || fs::read_dir(copies(&lab.0)).unwrap().count();
    let text = first_version(7, &records);
    let kept = [
        "a year ago",
        "lately, revoked",
        "good, revoked",
        "good",
        "new",
    ];
    // A clock that is ten years ahead forgets nothing that the record before it would not.
    for ahead in [0, 3650] {
        lab.write(&text);
        let mut locked = LockedLedger::open(&lab.0).unwrap();
        let now = NOW + Span::days(ahead);
        locked.issue(record("new", 7, 90 + ahead));
        locked.count_crl();
        locked.write(now).unwrap();
        drop(locked);
        assert_eq!(lab.names(), kept, "{ahead} days ahead");
        assert_eq!(copies(), 4);
        let ledger = Ledger::read(&lab.0).unwrap();
        let listed: Vec<&str> = ledger
            .revocations()
            .map(|one| one.serial.as_str())
            .collect();
        assert_eq!(listed, [4, 5].map(|number: u8| format!("{number:032x}")));
        assert_eq!(ledger.crl_number(), 8);
    }
}

#[test]
fn the_file_is_written_whole_when_it_has_grown_to_twice_its_size() {
    let lab = Lab::new();
    let line = |name: &str, number, days| {
        let issued = serde_json::to_string(&record(name, number, days)).unwrap();
        format!("{{\"issued\":{issued}}}\n")
    };
    let mut text = "{\"ledger\":2,\"crl_number\":3,\"size\":1000}\n".to_owned();
    for number in 1..6000 {
        text += &line("old", number, -400);
    }
    text += &line("good", 6000, 89);
    assert!(text.len() > 1 << 20);
    lab.write(&text);
    lab.issue(&record("new", 6001, 90));
    assert_eq!(lab.names(), ["good", "new"]);
    assert!(lab.text().len() < 1000);
    // What has not grown is left as it is.
    let size = text.len() - 1000;
    lab.write(text.replacen("\"size\":1000", &format!("\"size\":{size}"), 1));
    lab.issue(&record("new", 6001, 90));
    assert_eq!(lab.names().len(), 6001);
}
