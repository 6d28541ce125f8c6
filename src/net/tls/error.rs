//! Why a TLS handshake failed, in the words of the audit log.

use std::io;
use std::sync::Arc;

use rustls::{CertificateError, OtherError};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Broken or ended by the peer; a port scan looks like this.
    #[error("the connection ended during the TLS handshake: {0}")]
    Ended(#[source] io::Error),
    #[error("client certificate refused: {0}")]
    Certificate(#[from] CertificateRefused),
    #[error("the client showed no certificate, and this listener requires one")]
    NoCertificate,
    /// Versions, suites, ALPN, or not TLS at all.
    #[error("TLS handshake: {0}")]
    Handshake(#[source] rustls::Error),
}

/// Why a client's certificate chain is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefused {
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    NotValidYet,
    #[error("revoked")]
    Revoked,
    #[error("unknown issuer")]
    UnknownIssuer,
    #[error("an issuer of the chain has no revocation list that applies")]
    RevocationUnknown,
    #[error("the issuer's revocation list is stale")]
    RevocationListStale,
    #[error("the issuer's revocation list is not signed by the issuer")]
    RevocationListUntrusted,
    #[error("not meant for client authentication")]
    Purpose,
    #[error("key is too weak")]
    WeakKey,
    #[error("chain of more than {0} certificates")]
    ChainTooLong(usize),
    #[error("bad signature")]
    BadSignature,
    #[error("unknown critical extension")]
    CriticalExtension,
    #[error("malformed")]
    Malformed,
    #[error("this listener asks for no certificates any more")]
    NotAskedFor,
    #[error("{0}")]
    Other(String),
}

impl CertificateRefused {
    /// Whether a failed login is to be counted: not for a list or a setting of ours that could not be used.
    pub fn is_failure_of_client(&self) -> bool {
        match self {
            Self::RevocationUnknown
            | Self::RevocationListStale
            | Self::RevocationListUntrusted
            | Self::NotAskedFor => false,
            Self::Expired
            | Self::NotValidYet
            | Self::Revoked
            | Self::UnknownIssuer
            | Self::Purpose
            | Self::WeakKey
            | Self::ChainTooLong(_)
            | Self::BadSignature
            | Self::CriticalExtension
            | Self::Malformed
            | Self::Other(_) => true,
        }
    }
}

impl From<webpki::Error> for CertificateRefused {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "webpki::Error is non-exhaustive; what is not named here is refused with webpki's own words"
    )]
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::CertExpired { .. } | E::InvalidCertValidity => Self::Expired,
            E::CertNotValidYet { .. } => Self::NotValidYet,
            E::CertRevoked => Self::Revoked,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::UnknownRevocationStatus => Self::RevocationUnknown,
            E::CrlExpired { .. } => Self::RevocationListStale,
            E::InvalidCrlSignatureForPublicKey
            | E::IssuerNotCrlSigner
            | E::UnsupportedCrlSignatureAlgorithmContext(_)
            | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
                Self::RevocationListUntrusted
            }
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Self::Purpose,
            E::InvalidSignatureForPublicKey
            | E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::BadSignature,
            E::UnsupportedCriticalExtension => Self::CriticalExtension,
            E::BadDer | E::BadDerTime | E::TrailingData(_) => Self::Malformed,
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<CertificateRefused> for rustls::Error {
    /// So that the peer gets the alert that TLS has for it. The reason itself travels inside where TLS has no name for it.
    fn from(refused: CertificateRefused) -> Self {
        use CertificateRefused as R;
        Self::InvalidCertificate(match refused {
            R::Expired => CertificateError::Expired,
            R::NotValidYet => CertificateError::NotValidYet,
            R::Revoked => CertificateError::Revoked,
            R::UnknownIssuer => CertificateError::UnknownIssuer,
            R::RevocationUnknown => CertificateError::UnknownRevocationStatus,
            R::RevocationListStale => CertificateError::ExpiredRevocationList,
            R::Purpose => CertificateError::InvalidPurpose,
            R::BadSignature => CertificateError::BadSignature,
            R::CriticalExtension => CertificateError::UnhandledCriticalExtension,
            R::Malformed => CertificateError::BadEncoding,
            R::RevocationListUntrusted
            | R::WeakKey
            | R::ChainTooLong(_)
            | R::NotAskedFor
            | R::Other(_) => CertificateError::Other(OtherError(Arc::new(refused))),
        })
    }
}

impl From<CertificateError> for CertificateRefused {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "CertificateError is non-exhaustive; what is not named here keeps rustls' own words"
    )]
    fn from(error: CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotValidYet,
            E::Revoked => Self::Revoked,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::UnknownRevocationStatus => Self::RevocationUnknown,
            E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
                Self::RevocationListStale
            }
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::Purpose,
            E::BadSignature => Self::BadSignature,
            E::UnhandledCriticalExtension => Self::CriticalExtension,
            E::BadEncoding => Self::Malformed,
            E::Other(ref other) => other
                .0
                .downcast_ref::<Self>()
                .cloned()
                .unwrap_or_else(|| Self::Other(error.to_string())),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(rustls::Error::InvalidCertificate(certificate)) => {
                Self::Certificate(certificate.into())
            }
            Ok(rustls::Error::NoCertificatesPresented) => Self::NoCertificate,
            Ok(error) => Self::Handshake(error),
            Err(error) => Self::Ended(error),
        }
    }
}
