//! What the device CA has issued and revoked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::authority::{Authority, Kind};
use super::journal::{Journal, Line, Revocation};
use super::{DeviceNames, InvalidName, PkiError, files};

const FILE: &str = "issued.json";
/// Held while the ledger is changed, by this process or another.
const LOCK: &str = "issued.lock";
/// How long a certificate is on record after its end.
const KEPT: Duration = Duration::from_secs(365 * 86_400);

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub name: String,
    /// Lower-case hexadecimal, as policies and audit lines have it.
    pub serial: String,
    /// SHA-256 over the certificate, lower-case hexadecimal.
    pub fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organizational_unit: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub san_dns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub san_uri: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub issued: OffsetDateTime,
    /// Which command, and for whom.
    pub issued_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub reason: RevocationReason,
}

/// Those of RFC 5280 section 5.3.1 that fit a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationReason {
    #[default]
    Unspecified,
    KeyCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
    PrivilegeWithdrawn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Valid,
    Expired,
    Revoked,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Record {
    pub fn state(&self, now: OffsetDateTime) -> State {
        if self.revoked.is_some() {
            State::Revoked
        } else if self.not_after <= now {
            State::Expired
        } else {
            State::Valid
        }
    }

    pub(super) fn names(&self) -> Result<DeviceNames, InvalidName> {
        DeviceNames::new(
            &self.name,
            self.organizational_unit.as_deref(),
            &self.san_dns,
            &self.san_uri,
        )
    }

    /// By name, serial number or fingerprint; the last two with or without colons and in either case.
    pub fn is_called(&self, key: &str) -> bool {
        let hexadecimal = key.replace(':', "").to_ascii_lowercase();
        self.name == key || self.serial == hexadecimal || self.fingerprint == hexadecimal
    }
}

/// What is on record: to look at, without the CA's key.
pub struct Records {
    folder: PathBuf,
}

impl Records {
    /// Of the CA in `folder`, which has to be there.
    pub fn open(folder: &Path) -> Result<Self, PkiError> {
        Authority::certificate(folder, Kind::Device)?;
        Ok(Self::of(folder))
    }

    pub(super) fn of(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self { folder }
    }

    /// Everything issued, the oldest first.
    pub fn list(&self) -> Result<Vec<Record>, PkiError> {
        Ledger::read(&self.folder)?.all()
    }

    /// What a name, serial number or fingerprint stands for, the oldest first; never nothing.
    pub fn find(&self, key: &str) -> Result<Vec<Record>, PkiError> {
        let found = Ledger::read(&self.folder)?.called(key)?;
        if found.is_empty() {
            return Err(PkiError::Unknown(key.to_owned()));
        }
        Ok(found)
    }

    /// The certificate itself.
    pub fn certificate_of(&self, record: &Record) -> Result<String, PkiError> {
        let path = copy_path(&self.folder, record);
        fs::read_to_string(&path).map_err(PkiError::file(&path))
    }
}

/// The serial number is hexadecimal of our own making.
pub(super) fn copy_path(folder: &Path, record: &Record) -> PathBuf {
    copies(folder).join(format!("{}.pem", record.serial))
}

/// Where the certificates themselves are.
pub(super) fn copies(folder: &Path) -> PathBuf {
    folder.join("issued")
}

/// What was issued and revoked, as it was when this was read.
#[derive(Debug)]
pub(super) struct Ledger {
    journal: Journal,
    /// Of the last revocation list, which only grows. RFC 5280 section 5.2.3
    crl_number: u64,
    /// By serial number.
    revoked: BTreeMap<String, Revocation>,
}

/// A ledger that nobody else changes until this is dropped.
pub(super) struct LockedLedger {
    pub(super) ledger: Ledger,
    folder: PathBuf,
    /// Noted and not yet on disk.
    pending: Vec<Line>,
    _lock: File,
}

impl Ledger {
    pub(super) fn read(folder: &Path) -> Result<Self, PkiError> {
        let path = folder.join(FILE);
        let journal = match Journal::read(&path)? {
            Some(journal) => journal,
            // A CA that has issued nothing has no file. One that has would forget what it revoked (IDN-2).
            None if has_issued(folder) => {
                let reason = "is not there, and certificates were issued: put it back from a copy";
                return Err(PkiError::Damaged {
                    path,
                    reason: reason.to_owned(),
                });
            }
            None => Journal::new(&path),
        };
        let mut ledger = Self {
            crl_number: journal.crl_number(),
            journal,
            revoked: BTreeMap::new(),
        };
        let others: Result<Vec<Line>, PkiError> = ledger.journal.others().collect();
        for line in others? {
            ledger.note(&line);
        }
        Ok(ledger)
    }

    /// Everything issued, the oldest first.
    pub(super) fn all(&self) -> Result<Vec<Record>, PkiError> {
        self.with_revocations(self.journal.issued())
    }

    /// What a name, serial number or fingerprint stands for, the oldest first.
    pub(super) fn called(&self, key: &str) -> Result<Vec<Record>, PkiError> {
        self.with_revocations(self.journal.called(key))
    }

    pub(super) fn is_revoked(&self, serial: &str) -> bool {
        self.revoked.contains_key(serial)
    }

    pub(super) fn revocations(&self) -> impl Iterator<Item = &Revocation> {
        self.revoked.values()
    }

    pub(super) fn crl_number(&self) -> u64 {
        self.crl_number
    }

    fn with_revocations(
        &self,
        records: impl Iterator<Item = Result<Record, PkiError>>,
    ) -> Result<Vec<Record>, PkiError> {
        let with = |record: Record| {
            let revocation = self.revoked.get(&record.serial);
            let revoked = revocation.map(|Revocation { at, reason, .. }| Revoked {
                at: *at,
                reason: *reason,
            });
            Record { revoked, ..record }
        };
        records.map(|record| record.map(with)).collect()
    }

    fn note(&mut self, line: &Line) {
        match line {
            Line::Issued(_) => {}
            Line::Revoked(revocation) => {
                let serial = revocation.serial.clone();
                let revocation = || revocation.clone();
                // What is revoked stays so, since when and why it was first.
                self.revoked.entry(serial).or_insert_with(revocation);
            }
            Line::CrlNumber(number) => self.crl_number = self.crl_number.max(*number),
        }
    }
}

impl LockedLedger {
    pub(super) fn open(folder: &Path) -> Result<Self, PkiError> {
        let path = folder.join(LOCK);
        let lock = files::open_lock(&path).map_err(PkiError::file(&path))?;
        lock.lock().map_err(PkiError::file(&path))?;
        Ok(Self {
            ledger: Ledger::read(folder)?,
            folder: folder.to_owned(),
            pending: Vec::new(),
            _lock: lock,
        })
    }

    pub(super) fn issue(&mut self, record: Record) {
        self.note(Line::Issued(record));
    }

    pub(super) fn revoke(&mut self, record: &Record, revoked: Revoked) {
        self.note(Line::Revoked(Revocation {
            serial: record.serial.clone(),
            at: revoked.at,
            reason: revoked.reason,
            not_after: record.not_after,
        }));
    }

    /// For the list that is made next.
    pub(super) fn count_crl(&mut self) {
        let next = self.ledger.crl_number.saturating_add(1);
        self.note(Line::CrlNumber(next));
    }

    /// Puts on disk what was noted.
    pub(super) fn write(&mut self, now: OffsetDateTime) -> Result<(), PkiError> {
        if self.ledger.journal.wants_rewriting() {
            self.rewrite(now)?;
        }
        let pending = std::mem::take(&mut self.pending);
        self.ledger.journal.append(&pending)
    }

    fn note(&mut self, line: Line) {
        self.ledger.note(&line);
        self.pending.push(line);
    }

    /// Leaves out what ended long ago, with its copies.
    fn rewrite(&mut self, now: OffsetDateTime) -> Result<(), PkiError> {
        let records = self.ledger.all()?;
        // The clock may have jumped ahead: what was on record before it did tells the time too, or a revocation could be forgotten before its certificate has ended.
        let newest = records.iter().map(|record| record.issued).max();
        let now = newest.map_or(now, |newest| newest.min(now));
        let (kept, ended): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| record.not_after > now - KEPT);
        let crl_number = self.ledger.crl_number;
        self.ledger.journal.rewrite(crl_number, kept)?;
        for record in &ended {
            self.ledger.revoked.remove(&record.serial);
            // One that stays is in nobody's way.
            let _ = fs::remove_file(copy_path(&self.folder, record));
        }
        Ok(())
    }
}

fn has_issued(folder: &Path) -> bool {
    fs::read_dir(copies(folder)).is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
