//! Whether the certificates that a listener shows are in their time.

use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::files;
use crate::net::config::TlsConfig;
use crate::problem::Problem;

/// Every leaf that no client would believe at `now`. What cannot be read is for [`super::ServerTls::build`] to tell.
pub fn out_of_date(config: &TlsConfig, base: &Path, now: SystemTime) -> Vec<Problem> {
    std::iter::once(&config.certificate)
        .chain(config.sni.values().map(|pair| &pair.certificate))
        .filter_map(|file| judge(&base.join(file), now))
        .collect()
}

/// The leaf alone: a chain may carry an old root for old clients, who do not mind.
fn judge(file: &Path, now: SystemTime) -> Option<Problem> {
    let leaf = terms(file).into_iter().next()?;
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let now = ASN1Time::from_timestamp(i64::try_from(seconds).ok()?).ok()?;
    let message = if now > leaf.not_after {
        format!(
            "the certificate ended on {}: no client would believe it",
            leaf.not_after
        )
    } else if now < leaf.not_before {
        format!(
            "the certificate is not valid before {}: no client would believe it yet",
            leaf.not_before
        )
    } else {
        return None;
    };
    Some(Problem::whole(file, message))
}

/// When a certificate is valid.
pub struct Term {
    pub subject: String,
    pub not_before: ASN1Time,
    pub not_after: ASN1Time,
}

/// Of every certificate in a file, the leaf first; of one that cannot be read, nothing.
pub fn terms(file: &Path) -> Vec<Term> {
    let chain = files::certificates(file).unwrap_or_default();
    let term = |der: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(Term {
            subject: certificate.subject().to_string(),
            not_before: validity.not_before,
            not_after: validity.not_after,
        })
    };
    chain.iter().filter_map(term).collect()
}
