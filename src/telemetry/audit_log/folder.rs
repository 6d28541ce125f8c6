//! The files of the trail: private, rotated by size, bounded together (STO-3).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::line;

/// Where the trail ended when it was opened.
pub(super) struct Tail {
    /// Of the last whole line; 0 before the first.
    pub(super) sequence: u64,
    pub(super) digest: String,
    /// Bytes of an unfinished line, left by a crash and cut off.
    pub(super) cut: u64,
}

/// The folder and the file in it that grows.
pub(super) struct Folder {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    file_max: u64,
    total_max: u64,
}

impl Folder {
    pub(super) fn open(path: &Path, total_max: u64) -> io::Result<(Self, Tail)> {
        let mut folder = Self {
            path: path.to_path_buf(),
            file: None,
            length: 0,
            file_max: (total_max / 8).max(1),
            total_max,
        };
        folder.make()?;
        let tail = match files(path)?.last() {
            Some((_, last)) => folder.continue_file(last)?,
            None => Tail {
                sequence: 0,
                digest: line::BEGINNING.into(),
                cut: 0,
            },
        };
        Ok((folder, tail))
    }

    /// Takes as much as the disk does, as `write` does.
    pub(super) fn append(&mut self, bytes: &[u8], first_sequence: u64) -> io::Result<usize> {
        if self.file.is_none() {
            self.begin_file(first_sequence)?;
        }
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let written = file.write(bytes)?;
        self.length = self.length.saturating_add(written as u64);
        if written == 0 {
            Err(io::ErrorKind::WriteZero.into())
        } else {
            Ok(written)
        }
    }

    /// Whether the next line belongs into a new file.
    pub(super) fn is_full(&self) -> bool {
        self.length >= self.file_max
    }

    /// Whether somebody removed the file under us: writing to it would go nowhere, and without an error.
    pub(super) fn is_removed(&self) -> bool {
        let file = self.file.as_ref();
        file.is_some_and(|file| {
            file.metadata()
                .map_or(true, |metadata| metadata.nlink() == 0)
        })
    }

    pub(super) fn leave_file(&mut self) {
        self.file = None;
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    fn make(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700))
    }

    fn begin_file(&mut self, first_sequence: u64) -> io::Result<()> {
        self.make()?;
        let path = self
            .path
            .join(format!("{PREFIX}{first_sequence:016}{SUFFIX}"));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        self.file = Some(file);
        self.length = 0;
        self.drop_oldest()
    }

    /// Keeps room for the file just begun.
    fn drop_oldest(&self) -> io::Result<()> {
        let files = files(&self.path)?;
        let sizes: Vec<u64> = files
            .iter()
            .map(|(_, path)| fs::metadata(path).map_or(0, |metadata| metadata.len()))
            .collect();
        let mut total: u64 = sizes.iter().sum();
        let older = files.len().saturating_sub(1);
        for ((_, path), size) in files.iter().zip(sizes).take(older) {
            if total.saturating_add(self.file_max) <= self.total_max {
                break;
            }
            fs::remove_file(path)?;
            total = total.saturating_sub(size);
        }
        Ok(())
    }

    fn continue_file(&mut self, path: &Path) -> io::Result<Tail> {
        if !fs::symlink_metadata(path)?.is_file() {
            let message = format!("{} is not a regular file", path.display());
            return Err(io::Error::other(message));
        }
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(TAIL);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        (&file).take(TAIL).read_to_end(&mut tail)?;
        let whole = tail
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end.saturating_add(1));
        let cut = tail.len().saturating_sub(whole) as u64;
        file.set_len(length.saturating_sub(cut))?;
        let last = tail.get(..whole.saturating_sub(1)).unwrap_or_default();
        let last = last
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        self.file = Some(file);
        self.length = length.saturating_sub(cut);
        Ok(Tail {
            sequence: sequence_of(last, path)?,
            digest: digest_of(last),
            cut,
        })
    }
}

/// The number of the last line; of an empty file, the one before its first, which its name tells.
fn sequence_of(last: &[u8], path: &Path) -> io::Result<u64> {
    if last.is_empty() {
        return Ok(number(path).unwrap_or(1).saturating_sub(1));
    }
    let line: Option<serde_json::Value> = serde_json::from_slice(last).ok();
    let sequence = line
        .as_ref()
        .and_then(|line| line.get("sequence")?.as_u64());
    sequence.ok_or_else(|| {
        io::Error::other(format!(
            "the last line of {} is damaged; move the file away",
            path.display()
        ))
    })
}

fn digest_of(last: &[u8]) -> String {
    if last.is_empty() {
        line::BEGINNING.into()
    } else {
        line::digest(last)
    }
}

/// The files of the trail, oldest first, each with the number of its first line.
pub(super) fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(number) = number(&path) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    digits.parse().ok()
}

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";
/// More than the longest line: twenty fields of a KiB.
const TAIL: u64 = 64 * 1024;
