//! The revocation list of the device CA. RFC 5280 section 5

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};

use super::authority::whole_seconds;
use super::ledger::Ledger;
use super::{PkiError, RevocationReason};

/// A list that runs out refuses every device (`crl_stale: deny`). Ours is replaced at once when something is revoked, so a far date costs nothing and a near one
/// would lock out who issues seldom.
pub(super) const DAYS: u32 = 365;
const DAYS_MAX: u32 = 3650;
/// A certificate leaves the list a day after it has expired: one list beyond its end names it. RFC 5280 section 3.3
const KEPT: Duration = Duration::from_secs(86_400);

pub(super) fn check_days(days: u32) -> Result<(), PkiError> {
    match days {
        1..=DAYS_MAX => Ok(()),
        _ => Err(PkiError::ListDays {
            days,
            max: DAYS_MAX,
        }),
    }
}

pub(super) fn make(
    ledger: &Ledger,
    issuer: &Issuer<'static, KeyPair>,
    days: u32,
    now: SystemTime,
) -> Result<String, PkiError> {
    check_days(days)?;
    let this_update = whole_seconds(now);
    let revoked = ledger
        .revocations()
        .filter(|revocation| revocation.not_after > this_update - KEPT)
        .map(|revocation| RevokedCertParams {
            serial_number: serial_number(&revocation.serial),
            revocation_time: revocation.at,
            reason_code: reason_code(revocation.reason),
            invalidity_date: None,
        });
    let list = CertificateRevocationListParams {
        this_update,
        next_update: whole_seconds(now + Duration::from_secs(86_400).saturating_mul(days)),
        crl_number: SerialNumber::from_slice(&ledger.crl_number().to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(issuer)?.pem()?)
}

fn serial_number(hexadecimal: &str) -> SerialNumber {
    let bytes: Vec<u8> = hexadecimal
        .as_bytes()
        .chunks(2)
        .filter_map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
        .collect();
    SerialNumber::from_slice(&bytes)
}

/// The absent reason stands for "unspecified". RFC 5280 section 5.3.1
fn reason_code(reason: RevocationReason) -> Option<rcgen::RevocationReason> {
    match reason {
        RevocationReason::Unspecified => None,
        RevocationReason::KeyCompromise => Some(rcgen::RevocationReason::KeyCompromise),
        RevocationReason::AffiliationChanged => Some(rcgen::RevocationReason::AffiliationChanged),
        RevocationReason::Superseded => Some(rcgen::RevocationReason::Superseded),
        RevocationReason::CessationOfOperation => {
            Some(rcgen::RevocationReason::CessationOfOperation)
        }
        RevocationReason::PrivilegeWithdrawn => Some(rcgen::RevocationReason::PrivilegeWithdrawn),
    }
}
