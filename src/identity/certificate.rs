//! What a client certificate says: its names, its validity and whether it may log a client in at all. RFC 5280

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use bytes::Bytes;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

use super::distinguished_name::{to_text, validated, values};
use super::{CertificateNames, hexadecimal};
use crate::mqtt::InvalidText;

/// RSA keys below this are refused: NIST SP 800-57 part 1, 112 bits of strength.
pub const RSA_BITS_MIN: usize = 2048;

/// Everything Wardgate ever asks of a certificate, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    pub names: CertificateNames,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// Why a certificate names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("not a DER certificate")]
    Malformed,
    #[error("bytes after the certificate")]
    TrailingBytes,
    #[error("{field}: {source}")]
    Text {
        field: &'static str,
        source: InvalidText,
    },
    #[error("{0} is not a readable string")]
    NotAString(&'static str),
    #[error("an extension is malformed or repeated: {0}")]
    Extension(&'static str),
    #[error("a subject alternative name is malformed")]
    MalformedAlternativeName,
    #[error("a CA certificate cannot log in")]
    IsAuthority,
    #[error("extended key usage does not list clientAuth")]
    NotForClients,
    #[error("RSA key of {0} bits: at least {RSA_BITS_MIN} are needed")]
    WeakKey(usize),
    #[error("public key is malformed")]
    MalformedKey,
    #[error("not yet valid")]
    NotYetValid,
    #[error("expired")]
    Expired,
    #[error("no {0} to take the username from")]
    NoName(&'static str),
    #[error("{count} values of {field}: exactly one can be the username")]
    SeveralNames { field: &'static str, count: usize },
    #[error("wildcard in {0}: no username")]
    Wildcard(&'static str),
}

impl CertificateNames {
    /// Reads the names of one certificate. Pure; the input may be anything.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        CertificateFacts::from_der(der).map(|facts| facts.names)
    }
}

impl CertificateFacts {
    /// Reads one certificate and refuses what may not log a client in, whatever the time is.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::TrailingBytes);
        }
        check_usage(&certificate)?;
        check_key(&certificate)?;
        Ok(Self {
            names: names(&certificate, der)?,
            not_before: system_time(certificate.validity().not_before)?,
            not_after: system_time(certificate.validity().not_after)?,
        })
    }

    /// Judged by TLS at the handshake already; a resumed session or a long queue may have outlived that.
    pub fn check_validity(&self, now: SystemTime) -> Result<(), CertificateError> {
        if now < self.not_before {
            return Err(CertificateError::NotYetValid);
        }
        if now >= self.not_after {
            return Err(CertificateError::Expired);
        }
        Ok(())
    }
}

fn names(
    certificate: &X509Certificate<'_>,
    der: &[u8],
) -> Result<CertificateNames, CertificateError> {
    let subject = certificate.subject();
    let mut names = CertificateNames {
        common_name: values(subject.iter_common_name(), "common name")?,
        organizational_unit: values(subject.iter_organizational_unit(), "organizational unit")?,
        organization: values(subject.iter_organization(), "organization")?,
        subject_dn: to_text(subject)?,
        issuer: to_text(certificate.issuer())?,
        serial: serial_number(certificate.raw_serial()),
        fingerprint: hexadecimal(digest::digest(&digest::SHA256, der).as_ref()),
        ..CertificateNames::default()
    };
    let alternative = certificate
        .subject_alternative_name()
        .map_err(|_| CertificateError::Extension("subject alternative name"))?;
    for name in alternative.iter().flat_map(|san| &san.value.general_names) {
        push_alternative_name(name, &mut names)?;
    }
    Ok(names)
}

fn push_alternative_name(
    name: &GeneralName<'_>,
    names: &mut CertificateNames,
) -> Result<(), CertificateError> {
    let (value, field, list) = match name {
        GeneralName::DNSName(value) => (value, "DNS name", &mut names.san_dns),
        GeneralName::URI(value) => (value, "URI", &mut names.san_uri),
        GeneralName::RFC822Name(value) => (value, "e-mail address", &mut names.san_email),
        GeneralName::Invalid(..) => return Err(CertificateError::MalformedAlternativeName),
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_) => return Ok(()),
    };
    list.push(validated(Bytes::copy_from_slice(value.as_bytes()), field)?);
    Ok(())
}

/// Without the leading zero octet that DER needs for a positive number, as openssl and browsers print it.
fn serial_number(raw: &[u8]) -> String {
    match raw {
        [0, rest @ ..] if !rest.is_empty() => hexadecimal(rest),
        _ => hexadecimal(raw),
    }
}

/// An absent extended key usage allows everything; a present one must list clientAuth itself. RFC 5280 section 4.2.1.12
fn check_usage(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    let constraints = certificate
        .basic_constraints()
        .map_err(|_| CertificateError::Extension("basic constraints"))?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(CertificateError::IsAuthority);
    }
    let usage = certificate
        .extended_key_usage()
        .map_err(|_| CertificateError::Extension("extended key usage"))?;
    match usage {
        Some(usage) if !usage.value.client_auth => Err(CertificateError::NotForClients),
        Some(_) | None => Ok(()),
    }
}

fn check_key(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    let key = certificate
        .public_key()
        .parsed()
        .map_err(|_| CertificateError::MalformedKey)?;
    match key {
        PublicKey::RSA(key) => {
            let bits = bit_length(key.modulus);
            if bits < RSA_BITS_MIN {
                return Err(CertificateError::WeakKey(bits));
            }
            Ok(())
        }
        // What TLS cannot use has not passed the handshake.
        PublicKey::EC(_)
        | PublicKey::DSA(_)
        | PublicKey::GostR3410(_)
        | PublicKey::GostR3410_2012(_)
        | PublicKey::Unknown(_) => Ok(()),
    }
}

fn bit_length(number: &[u8]) -> usize {
    let mut digits = number.iter().skip_while(|byte| **byte == 0);
    match digits.next() {
        None => 0,
        Some(first) => {
            let whole = digits.count().saturating_mul(8);
            whole.saturating_add(8usize.saturating_sub(first.leading_zeros() as usize))
        }
    }
}

fn system_time(time: ASN1Time) -> Result<SystemTime, CertificateError> {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    let time = if time.timestamp() < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    time.ok_or(CertificateError::Malformed)
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
