//! Whether the certificates that a listener shows are in their time.

use std::path::Path;
use std::time::SystemTime;

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
    let chain = files::certificates(file).ok()?;
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let now = ASN1Time::from_timestamp(i64::try_from(seconds).ok()?).ok()?;
    let validity = leaf.validity();
    let message = if now > validity.not_after {
        format!(
            "the certificate ended on {}: no client would believe it",
            validity.not_after
        )
    } else if now < validity.not_before {
        format!(
            "the certificate is not valid before {}: no client would believe it yet",
            validity.not_before
        )
    } else {
        return None;
    };
    Some(Problem::whole(file, message))
}
