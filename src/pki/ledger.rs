//! What the device CA has issued and revoked, in one file that is replaced whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::authority::{Authority, Kind};
use super::{DeviceNames, InvalidName, PkiError, files};

const FILE: &str = "issued.json";
/// Held while the ledger is changed, by this process or another.
const LOCK: &str = "issued.lock";

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
        Ok(Ledger::read(&self.folder)?.certificates)
    }

    /// What a name, serial number or fingerprint stands for, the oldest first; never nothing.
    pub fn find(&self, key: &str) -> Result<Vec<Record>, PkiError> {
        let mut found = self.list()?;
        found.retain(|record| record.is_called(key));
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

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    /// Of the last revocation list, which only grows. RFC 5280 section 5.2.3
    pub(super) crl_number: u64,
    pub(super) certificates: Vec<Record>,
}

/// A ledger that nobody else changes until this is dropped.
pub(super) struct LockedLedger {
    pub(super) ledger: Ledger,
    path: PathBuf,
    _lock: File,
}

impl Ledger {
    /// A CA that has issued nothing has no file.
    pub(super) fn read(folder: &Path) -> Result<Self, PkiError> {
        let path = folder.join(FILE);
        let Some(text) = files::read_if_there(&path).map_err(PkiError::file(&path))? else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&text).map_err(|error| PkiError::Damaged {
            path,
            reason: error.to_string(),
        })
    }
}

impl LockedLedger {
    pub(super) fn open(folder: &Path) -> Result<Self, PkiError> {
        let path = folder.join(LOCK);
        let lock = files::open_lock(&path).map_err(PkiError::file(&path))?;
        lock.lock().map_err(PkiError::file(&path))?;
        Ok(Self {
            ledger: Ledger::read(folder)?,
            path: folder.join(FILE),
            _lock: lock,
        })
    }

    pub(super) fn write(&self) -> Result<(), PkiError> {
        let mut text =
            serde_json::to_vec_pretty(&self.ledger).map_err(|error| PkiError::Damaged {
                path: self.path.clone(),
                reason: error.to_string(),
            })?;
        text.push(b'\n');
        files::rewrite(&self.path, &text).map_err(PkiError::file(&self.path))
    }
}
