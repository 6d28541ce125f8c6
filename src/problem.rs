//! What is wrong with a file, and where: the line that `check` prints.

use std::fmt;
use std::path::PathBuf;

/// Printed as `file:line:column: message`. Line and column count from 1; 0 stands for "the file as a whole" and prints as 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    pub line: u64,
    pub column: u64,
    pub message: String,
}

impl Problem {
    pub fn new(
        file: impl Into<PathBuf>,
        line: u64,
        column: u64,
        message: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            line,
            column,
            message: message.into(),
        }
    }

    /// A problem with the file as a whole: missing, unreadable, too large.
    pub fn whole(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::new(file, 1, 1, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file.display(),
            self.line.max(1),
            self.column.max(1),
            self.message
        )
    }
}
