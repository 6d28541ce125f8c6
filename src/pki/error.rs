//! What can go wrong with certificates and their files.

use std::io;
use std::path::{Path, PathBuf};

use super::device_name::InvalidName;
use crate::identity::CertificateError;
use crate::problem::Problem;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} exists already and is not overwritten", .0.display())]
    Exists(PathBuf),
    #[error("{}: no CA here; `wardgate ca init` makes one", .0.display())]
    NoAuthority(PathBuf),
    #[error("{}: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("the certificate cannot be made: {0}")]
    Generate(#[from] rcgen::Error),
    #[error("{0}")]
    Rules(Problem),
    #[error("{field} {value:?} is not among those that {} permits", rules.display())]
    NotPermitted {
        field: &'static str,
        value: String,
        rules: PathBuf,
    },
    #[error("not a certificate signing request")]
    NotARequest,
    #[error("the request is not signed by its own key: its sender need not hold the key")]
    NoProofOfPossession,
    #[error("the request's key is of a kind that is not signed")]
    KeyRefused,
    #[error("the certificate would not pass our own checks: {0}")]
    Unusable(#[from] CertificateError),
    #[error("a certificate is valid for 1 to {max} days, not {days}")]
    Days { days: u32, max: u32 },
    #[error("the CA certificate itself has expired")]
    AuthorityExpired,
    #[error("nothing issued is called {0:?}")]
    Unknown(String),
    #[error("{0:?} is revoked already")]
    AlreadyRevoked(String),
    #[error("{0:?} is revoked: issue a new certificate instead")]
    Revoked(String),
    #[error("only a key that was made here can be put into a PKCS #12 file")]
    NoKey,
    #[error("the PKCS #12 file cannot be made: {0}")]
    Bundle(String),
    #[error("no randomness from the operating system")]
    NoRandomness,
}

impl PkiError {
    /// For `map_err` on file operations.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| {
            let path = path.to_owned();
            if source.kind() == io::ErrorKind::AlreadyExists {
                Self::Exists(path)
            } else {
                Self::File { path, source }
            }
        }
    }
}
