//! A certificate authority on disk: a certificate and the key that signs in its name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;

use super::device_name::check_dns_name;
use super::key_file::{self, Passphrase};
use super::{PkiError, files};
use crate::secret::Secret;

/// Ten years: a root that expires takes everything with it.
const AUTHORITY_DAYS: u32 = 3653;
/// Clocks of devices are late.
const BACKDATED: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// What an authority is for. Its certificate says so itself, and each kind has files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Device,
    Server,
}

impl Kind {
    fn file_stem(self) -> &'static str {
        match self {
            Self::Device => "device-ca",
            Self::Server => "server-ca",
        }
    }

    fn usage(self) -> ExtendedKeyUsagePurpose {
        match self {
            Self::Device => ExtendedKeyUsagePurpose::ClientAuth,
            Self::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }
    }

    fn common_name(self) -> &'static str {
        match self {
            Self::Device => "Wardgate device CA",
            Self::Server => "Wardgate server CA",
        }
    }
}

/// What a new authority is held by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protection<'a> {
    /// Its key is kept under.
    pub passphrase: Option<&'a Secret>,
    /// Domains within which DNS names of its certificates have to lie; none: anywhere. RFC 5280 section 4.2.1.10
    pub permit_dns: &'a [String],
}

pub(super) struct Authority {
    kind: Kind,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    not_after: OffsetDateTime,
}

impl Authority {
    /// Makes key and certificate in `folder`, which is made too. Nothing that is there is overwritten.
    pub(super) fn create(
        folder: &Path,
        kind: Kind,
        protection: &Protection<'_>,
        now: SystemTime,
    ) -> Result<Self, PkiError> {
        files::create_folder_inside(folder).map_err(PkiError::file(folder))?;
        let (certificate_path, key_path) = paths(folder, kind);
        if certificate_path.exists() {
            return Err(PkiError::Exists(certificate_path));
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = authority_params(kind, protection.permit_dns, now)?;
        let certificate = params.self_signed(&key)?;
        let key_pem = key_file::to_pem(&key, protection.passphrase)?;
        files::create_inside(&key_path, key_pem.as_bytes(), files::PRIVATE)
            .map_err(PkiError::file(&key_path))?;
        let pem = certificate.pem();
        files::create_inside(&certificate_path, pem.as_bytes(), files::PUBLIC)
            .map_err(PkiError::file(&certificate_path))?;
        Self::with(&certificate_path, kind, pem, key)
    }

    pub(super) fn open(
        folder: &Path,
        kind: Kind,
        passphrase: Passphrase<'_>,
    ) -> Result<Self, PkiError> {
        let (certificate_path, key_path) = paths(folder, kind);
        // First: where there is no CA, nobody is asked for a passphrase.
        let pem = read(&certificate_path)?;
        let key = key_file::read(&key_path, passphrase)?;
        Self::with(&certificate_path, kind, pem, key)
    }

    /// The certificate alone, for those who sign nothing.
    pub(super) fn certificate(folder: &Path, kind: Kind) -> Result<String, PkiError> {
        read(&paths(folder, kind).0)
    }

    fn with(
        path: &Path,
        kind: Kind,
        certificate_pem: String,
        key: KeyPair,
    ) -> Result<Self, PkiError> {
        let damaged = |reason: &str| PkiError::Damaged {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| damaged("not a certificate in PEM"))?;
        let not_after = check(&certificate, &key).map_err(damaged)?;
        Ok(Self {
            kind,
            issuer: Issuer::from_ca_cert_der(&certificate, key)?,
            certificate,
            certificate_pem,
            not_after,
        })
    }

    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// Whether the listeners will believe a certificate: what lies outside the constraints of the CA's own does not.
    pub(super) fn verify(&self, der: &CertificateDer<'_>, now: SystemTime) -> Result<(), PkiError> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let now = UnixTime::since_unix_epoch(since.unwrap_or_default());
        let refused = PkiError::NotBelieved;
        let anchor = webpki::anchor_from_trusted_cert(&self.certificate).map_err(refused)?;
        webpki::EndEntityCert::try_from(der)
            .map_err(refused)?
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &[anchor],
                &[],
                now,
                webpki::KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(refused)
            .map(drop)
    }

    /// What every certificate of this authority has in common; the caller adds the subject. All extensions are set here, none is taken over (IDN-15).
    pub(super) fn leaf_params(
        &self,
        days: u32,
        now: SystemTime,
    ) -> Result<CertificateParams, PkiError> {
        let not_before = whole_seconds(now.checked_sub(BACKDATED).unwrap_or(now));
        let not_after = whole_seconds(now + DAY.saturating_mul(days)).min(self.not_after);
        if not_after <= whole_seconds(now) {
            return Err(PkiError::AuthorityExpired);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = not_before;
        params.not_after = not_after;
        params.serial_number = Some(serial_number()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.kind.usage()];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

fn authority_params(
    kind: Kind,
    permit_dns: &[String],
    now: SystemTime,
) -> Result<CertificateParams, PkiError> {
    let serial_number = serial_number()?;
    // Two installations have two names: an issuer's name must not fit another's certificates (TRN-7).
    let suffix: String = serial_number
        .to_bytes()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        format!("{} {suffix}", kind.common_name()),
    );
    params.not_before = whole_seconds(now.checked_sub(BACKDATED).unwrap_or(now));
    params.not_after = whole_seconds(now + DAY.saturating_mul(AUTHORITY_DAYS));
    params.serial_number = Some(serial_number);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![kind.usage()];
    for domain in permit_dns {
        check_dns_name(domain).map_err(|reason| PkiError::Domain {
            domain: domain.clone(),
            reason,
        })?;
    }
    let permitted = permit_dns.iter().cloned().map(GeneralSubtree::DnsName);
    params.name_constraints = (!permit_dns.is_empty()).then(|| NameConstraints {
        permitted_subtrees: permitted.collect(),
        excluded_subtrees: Vec::new(),
    });
    Ok(params)
}

/// The certificate is a CA's, and the key is its own.
fn check(der: &[u8], key: &KeyPair) -> Result<OffsetDateTime, &'static str> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| "not a certificate")?;
    if !certificate.is_ca() {
        return Err("not a CA certificate");
    }
    let public_key = &certificate.public_key().subject_public_key.data;
    if public_key.as_ref() != key.public_key_raw() {
        return Err("the private key beside it belongs to another certificate");
    }
    Ok(certificate.validity().not_after.to_datetime())
}

/// 128 random bits (IDN-15).
fn serial_number() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| PkiError::NoRandomness)?;
    Ok(SerialNumber::from_slice(&bytes))
}

pub(super) fn whole_seconds(time: SystemTime) -> OffsetDateTime {
    let time = OffsetDateTime::from(time);
    time.replace_nanosecond(0).unwrap_or(time)
}

fn paths(folder: &Path, kind: Kind) -> (PathBuf, PathBuf) {
    let stem = kind.file_stem();
    (
        folder.join(format!("{stem}.pem")),
        folder.join(format!("{stem}.key")),
    )
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::unopened(path, source))
}
