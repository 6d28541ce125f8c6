//! Why a store does not open, in words for whoever operates it.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path}: another process uses this store")]
    InUse { path: PathBuf },
    #[error("{path}: is a symbolic link, or no folder")]
    NotAFolder { path: PathBuf },
    #[error(
        "{file}: written by a newer version (format {found}; this version reads up to {known})"
    )]
    Newer {
        file: String,
        found: u64,
        known: u64,
    },
    #[error(
        "{file}: damaged: {}. `wardgate store check` says more, `wardgate store repair` keeps what can be read, `wardgate store import` restores a backup",
        .damage.join("; ")
    )]
    Damaged { file: String, damage: Vec<String> },
    #[error("cannot start a thread of the store")]
    Thread(#[source] io::Error),
}

/// What the engine says when it fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error("{0}")]
    Failed(String),
    /// The file holds what it must not, or lacks what it must have.
    #[error("{0}")]
    Damaged(String),
    #[error("the file is in use by another process")]
    InUse,
}

impl From<redb::Error> for EngineError {
    fn from(error: redb::Error) -> Self {
        use redb::Error;
        let text = error.to_string();
        if matches!(error, Error::DatabaseAlreadyOpen) {
            return Self::InUse;
        }
        let is_damage = if let Error::Io(cause) = &error {
            matches!(
                cause.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
            )
        } else {
            matches!(
                error,
                Error::Corrupted(_) | Error::TableDoesNotExist(_) | Error::TableTypeMismatch { .. }
            )
        };
        if is_damage {
            Self::Damaged(text)
        } else {
            Self::Failed(text)
        }
    }
}
