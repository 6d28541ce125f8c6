//! The ledger's file: a head, then a line of JSON for each thing that happened, the oldest first.
//!
//! A line is on disk before anybody learns of what it says, so that a last line without its end was promised to nobody and is cut off. Every other line that
//! cannot be read is damage. Most lines say `issued`, and are read when they are asked for: of a hundred thousand certificates a request concerns one.

use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::ledger::{Record, RevocationReason, Revoked};
use super::{PkiError, files};

const VERSION: u32 = 2;
/// What has grown to twice its size since it was last written whole is looked through for what can go.
const GROWN_MIN: usize = 1 << 20;
/// As the line of a certificate begins, when nobody but us has written it.
const ISSUED: &str = "{\"issued\":{\"name\":";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    Issued(Record),
    Revoked(Revocation),
    CrlNumber(u64),
}

/// Says all that a revocation list has to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    pub(super) serial: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) at: OffsetDateTime,
    pub(super) reason: RevocationReason,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) not_after: OffsetDateTime,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    ledger: u32,
    /// Of the last revocation list when this was written.
    crl_number: u64,
    /// How long the file was then.
    size: usize,
}

/// As the first version wrote it, whole each time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    crl_number: u64,
    certificates: Vec<Record>,
}

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    head: Head,
    /// Whole lines, with the head.
    text: String,
    /// Whether `text` is what the file holds, up to a last line without its end.
    is_on_disk: bool,
}

impl Journal {
    /// `None`: there is no file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, PkiError> {
        let read = files::read_if_there(path).map_err(PkiError::file(path))?;
        let Some(mut bytes) = read else {
            return Ok(None);
        };
        if !bytes.starts_with(b"{\"ledger\":") {
            return Self::first(path, &bytes).map(Some);
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |end| end.saturating_add(1)));
        let text = String::from_utf8(bytes).map_err(|_| damaged(path, 1, "not UTF-8 text"))?;
        let head = text.lines().next().unwrap_or_default();
        let head: Head = serde_json::from_str(head).map_err(|error| damaged(path, 1, error))?;
        if head.ledger != VERSION {
            return Err(damaged(path, 1, "written by another version"));
        }
        Ok(Some(Self {
            path: path.to_owned(),
            head,
            text,
            is_on_disk: true,
        }))
    }

    /// Of a CA that has issued nothing.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            head: Head {
                ledger: VERSION,
                crl_number: 0,
                size: 0,
            },
            text: String::new(),
            is_on_disk: false,
        }
    }

    fn first(path: &Path, bytes: &[u8]) -> Result<Self, PkiError> {
        let first: First =
            serde_json::from_slice(bytes).map_err(|error| damaged(path, error.line(), error))?;
        Self::of(path, first.crl_number, first.certificates)
    }

    fn of(path: &Path, crl_number: u64, records: Vec<Record>) -> Result<Self, PkiError> {
        let written = || {
            let mut lines = String::new();
            for record in records {
                push_record(&mut lines, record)?;
            }
            let head = Head {
                ledger: VERSION,
                crl_number,
                size: lines.len(),
            };
            let mut text = String::new();
            push(&mut text, &head)?;
            text.push_str(&lines);
            Ok((head, text))
        };
        let (head, text) = written().map_err(PkiError::file(path))?;
        Ok(Self {
            path: path.to_owned(),
            head,
            text,
            is_on_disk: false,
        })
    }

    pub(super) fn crl_number(&self) -> u64 {
        self.head.crl_number
    }

    /// Everything but the certificates: revocations and numbers of lists, the oldest first.
    pub(super) fn others(&self) -> impl Iterator<Item = Result<Line, PkiError>> {
        self.numbered()
            .filter(|(_, line)| !line.starts_with(ISSUED))
            .map(|(number, line)| self.parse(number, line))
    }

    /// Every certificate, the oldest first, as it was issued.
    pub(super) fn issued(&self) -> impl Iterator<Item = Result<Record, PkiError>> {
        self.certificates(|_| true)
    }

    /// Those that `key` is the name, serial number or fingerprint of.
    pub(super) fn called(&self, key: &str) -> impl Iterator<Item = Result<Record, PkiError>> {
        let named = format!("{},", serde_json::Value::from(key));
        let hexadecimal = key.replace(':', "").to_ascii_lowercase();
        let is_number = hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_number.then(|| format!("\"{hexadecimal}\""));
        let key = key.to_owned();
        let may_be = move |line: &str| match line.strip_prefix(ISSUED) {
            Some(rest) => {
                rest.starts_with(&named)
                    || number.as_ref().is_some_and(|number| rest.contains(number))
            }
            None => true,
        };
        self.certificates(may_be).filter(move |record| {
            record
                .as_ref()
                .map_or(true, |record| record.is_called(&key))
        })
    }

    fn certificates(
        &self,
        may_be: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = Result<Record, PkiError>> {
        self.numbered()
            .filter(move |(_, line)| may_be(line))
            .filter_map(|(number, line)| match self.parse(number, line) {
                Ok(Line::Issued(record)) => Some(Ok(record)),
                Ok(Line::Revoked(_) | Line::CrlNumber(_)) => None,
                Err(error) => Some(Err(error)),
            })
    }

    /// Without the head.
    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().skip(1)
    }

    fn parse(&self, number: usize, line: &str) -> Result<Line, PkiError> {
        serde_json::from_str(line)
            .map_err(|error| damaged(&self.path, number.saturating_add(1), error))
    }

    pub(super) fn wants_rewriting(&self) -> bool {
        let grown = self.head.size.saturating_mul(2).max(GROWN_MIN);
        !self.is_on_disk || self.text.len() > grown
    }

    /// Puts these in the place of everything; after a crash the old or the new is there.
    pub(super) fn rewrite(
        &mut self,
        crl_number: u64,
        records: Vec<Record>,
    ) -> Result<(), PkiError> {
        let new = Self::of(&self.path, crl_number, records)?;
        files::rewrite(&self.path, new.text.as_bytes()).map_err(PkiError::file(&self.path))?;
        *self = Self {
            is_on_disk: true,
            ..new
        };
        Ok(())
    }

    /// On disk when it returns.
    pub(super) fn append(&mut self, lines: &[Line]) -> Result<(), PkiError> {
        let added = || {
            let mut more = String::new();
            for line in lines {
                push(&mut more, line)?;
            }
            append(&self.path, self.text.len(), more.as_bytes())?;
            Ok(more)
        };
        let more = added().map_err(PkiError::file(&self.path))?;
        self.text.push_str(&more);
        Ok(())
    }
}

/// Behind the `length` bytes that are whole lines: what a crash has left behind them goes.
fn append(path: &Path, length: usize, more: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = u64::try_from(length).map_err(io::Error::other)?;
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length))?;
    let written = file.write_all(more).and_then(|()| file.sync_all());
    if written.is_err() {
        // Should this fail too, the line has no end, or says what nobody was told.
        let _ = file.set_len(length);
    }
    written
}

/// What became of it has a line of its own.
fn push_record(text: &mut String, mut record: Record) -> io::Result<()> {
    let revoked = record.revoked.take();
    let revocation = revoked.map(|Revoked { at, reason }| Revocation {
        serial: record.serial.clone(),
        at,
        reason,
        not_after: record.not_after,
    });
    push(text, &Line::Issued(record))?;
    match revocation {
        Some(revocation) => push(text, &Line::Revoked(revocation)),
        None => Ok(()),
    }
}

fn push(text: &mut String, line: &impl Serialize) -> io::Result<()> {
    text.push_str(&serde_json::to_string(line)?);
    text.push('\n');
    Ok(())
}

fn damaged(path: &Path, line: usize, reason: impl std::fmt::Display) -> PkiError {
    PkiError::Damaged {
        path: path.to_owned(),
        reason: format!("line {line}: {reason}"),
    }
}
