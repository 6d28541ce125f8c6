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
    #[error("the request's key is too weak: RSA with {0} bits, of which 2048 are the least")]
    WeakKey(usize),
    #[error("the request's key is of a kind that is not signed")]
    KeyRefused,
    #[error("the certificate would not pass our own checks: {0}")]
    Unusable(#[from] CertificateError),
    #[error("the CA's own certificate does not permit it: {}", not_believed(.0))]
    NotBelieved(webpki::Error),
    #[error("{domain:?} is no domain to permit: {reason}")]
    Domain {
        domain: String,
        reason: &'static str,
    },
    #[error("a certificate is valid for 1 to {max} days, not {days}")]
    Days { days: u32, max: u32 },
    #[error("a revocation list is valid for 1 to {max} days, not {days}")]
    ListDays { days: u32, max: u32 },
    #[error("{} permits {max} days at most, not {days}", rules.display())]
    DaysPermitted { days: u32, max: u32, rules: PathBuf },
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
    #[error("the CA's key has a passphrase, and none was given")]
    PassphraseNeeded,
    #[error("{}: the passphrase does not open it", .0.display())]
    WrongPassphrase(PathBuf),
    #[error("the passphrase cannot be had: {0}")]
    Passphrase(String),
    #[error("the key cannot be encrypted")]
    Encryption,
    #[error("an enrolment token is valid for 1s to 30d")]
    TokenLifetime,
    #[error("there are {0} enrolment tokens: wait for some to be used or to expire")]
    TooManyTokens(usize),
    #[error("{0:?} cannot have a token: HTTP's user names end at a colon. RFC 7617 section 2")]
    ColonInName(String),
}

fn not_believed(error: &webpki::Error) -> String {
    match *error == webpki::Error::NameConstraintViolation {
        true => "a DNS name lies outside the domains that it was made for".to_owned(),
        false => error.to_string(),
    }
}

impl PkiError {
    /// Whether another request could be granted, rather than the same one later.
    pub(super) fn is_of_request(&self) -> bool {
        match self {
            Self::NotARequest
            | Self::NoProofOfPossession
            | Self::WeakKey(_)
            | Self::KeyRefused
            | Self::Unusable(_)
            | Self::NotBelieved(_)
            | Self::Name(_)
            | Self::NotPermitted { .. } => true,
            Self::File { .. }
            | Self::Exists(_)
            | Self::NoAuthority(_)
            | Self::Damaged { .. }
            | Self::Generate(_)
            | Self::Rules(_)
            | Self::Domain { .. }
            | Self::Days { .. }
            | Self::ListDays { .. }
            | Self::DaysPermitted { .. }
            | Self::AuthorityExpired
            | Self::Unknown(_)
            | Self::AlreadyRevoked(_)
            | Self::Revoked(_)
            | Self::NoKey
            | Self::Bundle(_)
            | Self::NoRandomness
            | Self::PassphraseNeeded
            | Self::WrongPassphrase(_)
            | Self::Passphrase(_)
            | Self::Encryption
            | Self::TokenLifetime
            | Self::TooManyTokens(_)
            | Self::ColonInName(_) => false,
        }
    }

    /// A file of a CA that could not be opened: one that is not there is no CA.
    pub(super) fn unopened(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            Self::NoAuthority(path)
        } else {
            Self::File { path, source }
        }
    }

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
