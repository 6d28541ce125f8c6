//! The trail read back: followed, searched, and verified link by link.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{folder, line};
use crate::problem::Problem;

/// One line of the trail and where it stands.
pub struct Entry {
    pub file: PathBuf,
    pub line: u64,
    pub text: String,
}

impl Entry {
    /// The fields of the line, unless it is damaged.
    pub fn fields(&self) -> Option<Value> {
        serde_json::from_str(&self.text).ok()
    }
}

/// What following the chain from its first line to its last has shown.
#[derive(Debug, Default)]
pub struct Verification {
    pub records: u64,
    /// Sequence numbers. A trail that does not begin with 1 was shortened by rotation, or by somebody.
    pub first: Option<u64>,
    pub last: Option<u64>,
    /// SHA-256 of the last line: noted elsewhere, it proves that nothing was cut off at the end.
    pub digest: String,
    pub problems: Vec<Problem>,
}

/// All lines, oldest first.
pub fn records(trail: &Path) -> io::Result<impl Iterator<Item = io::Result<Entry>>> {
    let files = folder::files(trail)?;
    Ok(files
        .into_iter()
        .flat_map(|(_, path)| match File::open(&path) {
            Ok(file) => Lines {
                file: path,
                line: 0,
                reader: Some(BufReader::new(file)),
                failed: None,
            },
            Err(error) => Lines {
                file: path,
                line: 0,
                reader: None,
                failed: Some(error),
            },
        }))
}

/// Follows the chain. Each line must name the digest of the one before it and count on by one.
pub fn verify(trail: &Path) -> io::Result<Verification> {
    let mut result = Verification::default();
    for entry in records(trail)? {
        let entry = entry?;
        result.follow(&entry);
        if result.problems.len() >= PROBLEMS {
            break;
        }
    }
    Ok(result)
}

impl Verification {
    fn follow(&mut self, entry: &Entry) {
        let mut wrong = |message: String| {
            self.problems
                .push(Problem::new(&entry.file, entry.line, 1, message));
        };
        let fields = entry.fields();
        let sequence = fields
            .as_ref()
            .and_then(|fields| fields.get("sequence")?.as_u64());
        let previous = fields
            .as_ref()
            .and_then(|fields| fields.get("previous")?.as_str());
        let (Some(sequence), Some(previous)) = (sequence, previous) else {
            wrong("not a record".into());
            self.digest = line::digest(entry.text.as_bytes());
            return;
        };
        match self.last {
            Some(last) if sequence != last.saturating_add(1) => {
                wrong(format!("record {sequence} follows record {last}"))
            }
            Some(last) if previous != self.digest => wrong(format!(
                "record {last} was changed after record {sequence} was written"
            )),
            None if sequence == 1 && previous != line::BEGINNING => {
                wrong("the first record names one before it".into())
            }
            Some(_) | None => {}
        }
        self.first.get_or_insert(sequence);
        self.last = Some(sequence);
        self.records = self.records.saturating_add(1);
        self.digest = line::digest(entry.text.as_bytes());
    }
}

/// The lines of one file, none longer than the writer makes them.
struct Lines {
    file: PathBuf,
    line: u64,
    reader: Option<BufReader<File>>,
    failed: Option<io::Error>,
}

impl Iterator for Lines {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        let mut bytes = Vec::new();
        let reader = self.reader.as_mut()?;
        match reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes) {
            Ok(0) => None,
            Ok(_) => {
                let whole = bytes.pop() == Some(b'\n');
                if !whole && (bytes.len() as u64).saturating_add(1) < LINE_MAX {
                    // The writer is in the middle of this line.
                    self.reader = None;
                    return None;
                }
                self.line = self.line.saturating_add(1);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                Some(Ok(Entry {
                    file: self.file.clone(),
                    line: self.line,
                    text,
                }))
            }
            Err(error) => {
                self.reader = None;
                Some(Err(error))
            }
        }
    }
}

const LINE_MAX: u64 = 64 * 1024;
const PROBLEMS: usize = 100;
