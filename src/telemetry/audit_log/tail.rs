//! The trail as it grows: each look reads only what was written since the last one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::folder;

/// A reader at the end of the trail.
pub struct Tail {
    trail: PathBuf,
    /// The file it stands in, by its number; none while there is none.
    file: Option<u64>,
    offset: u64,
}

impl Tail {
    /// Stands behind what is there now.
    pub fn at_end(trail: &Path) -> io::Result<Self> {
        let last = folder::files(trail)?.pop();
        let offset = match &last {
            Some((_, path)) => std::fs::metadata(path)?.len(),
            None => 0,
        };
        Ok(Self {
            trail: trail.to_owned(),
            file: last.map(|(number, _)| number),
            offset,
        })
    }

    /// The whole lines since the last look, oldest first, `most` of them; the rest is for the next look.
    pub fn read(&mut self, most: usize) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for (number, path) in folder::files(&self.trail)? {
            if self.file.is_some_and(|file| number < file) {
                continue;
            }
            if self.file != Some(number) {
                (self.file, self.offset) = (Some(number), 0);
            }
            let mut reader = BufReader::new(File::open(path)?);
            reader.seek(SeekFrom::Start(self.offset))?;
            while lines.len() < most {
                let mut line = String::new();
                let length = reader.read_line(&mut line)?;
                // The writer is in the middle of a line that has no end yet.
                let Some(whole) = line.strip_suffix('\n') else {
                    break;
                };
                self.offset = self.offset.saturating_add(length as u64);
                lines.push(whole.to_owned());
            }
            if lines.len() >= most {
                break;
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn reads_each_whole_line_once_across_files() {
        let trail =
            std::env::temp_dir().join(format!("wardgate-tail-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&trail).unwrap();
        let append = |name: &str, text: &str| {
            let file = File::options()
                .create(true)
                .append(true)
                .open(trail.join(name));
            file.unwrap().write_all(text.as_bytes()).unwrap();
        };
        append("audit-0000000000000001.jsonl", "old\n");
        let mut tail = Tail::at_end(&trail).unwrap();
        let mut expect = |most, lines: &[&str]| assert_eq!(tail.read(most).unwrap(), lines);
        expect(10, &[]);
        append("audit-0000000000000001.jsonl", "a\nb\nhal");
        expect(10, &["a", "b"]);
        append("audit-0000000000000001.jsonl", "f\n");
        append("audit-0000000000000005.jsonl", "c\nd\n");
        expect(2, &["half", "c"]);
        expect(2, &["d"]);
        expect(2, &[]);
        std::fs::remove_dir_all(trail).unwrap();
    }
}
