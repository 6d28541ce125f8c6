//! The device CA: issues, signs, renews and revokes client certificates.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::authority::{Authority, Kind, Protection, whole_seconds};
use super::enrolment_tokens::EnrolmentTokens;
use super::key_file::{self, Passphrase};
use super::ledger::{LockedLedger, Records, copies, copy_path};
use super::rules::Rules;
use super::{
    DeviceNames, PkiError, Record, RevocationReason, Revoked, SigningRequest, State, files,
    revocation_list,
};
use crate::identity::CertificateFacts;

/// Longer makes revocation the only way to end a lost key.
const DAYS_MAX: u32 = 3650;

/// How long a certificate lasts, from which moment.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    pub days: u32,
    pub now: SystemTime,
}

impl Validity {
    pub const DAYS: u32 = 90;

    /// The default from now on.
    pub fn starting(now: SystemTime) -> Self {
        Self {
            days: Self::DAYS,
            now,
        }
    }
}

pub struct DeviceCa {
    folder: PathBuf,
    authority: Authority,
}

/// A new certificate; its key is ours to hand over only when we made it.
pub struct Issued {
    pub record: Record,
    pub certificate_pem: String,
    pub key_pem: Option<Zeroizing<String>>,
}

/// What a revocation ended. One of the two at least.
#[derive(Debug)]
pub struct Revocation {
    pub certificates: Vec<Record>,
    /// The name had an enrolment token.
    pub token: bool,
}

impl DeviceCa {
    /// Makes a CA in `folder` (`ca/` of the data folder) with an empty revocation list, and refuses to overwrite one.
    pub fn create(folder: &Path, now: SystemTime) -> Result<Self, PkiError> {
        Self::create_with(folder, &Protection::default(), now)
    }

    pub fn create_with(
        folder: &Path,
        protection: &Protection<'_>,
        now: SystemTime,
    ) -> Result<Self, PkiError> {
        let ca = Self {
            authority: Authority::create(folder, Kind::Device, protection, now)?,
            folder: folder.to_owned(),
        };
        // From the first day a listener can name the list, and a revocation bites without a change of its configuration.
        ca.write_crl(revocation_list::DAYS, now)?;
        Ok(ca)
    }

    /// One whose key has no passphrase.
    pub fn open(folder: &Path) -> Result<Self, PkiError> {
        Self::open_with(folder, &key_file::no_passphrase)
    }

    pub fn open_with(folder: &Path, passphrase: Passphrase<'_>) -> Result<Self, PkiError> {
        Ok(Self {
            authority: Authority::open(folder, Kind::Device, passphrase)?,
            folder: folder.to_owned(),
        })
    }

    pub fn certificate_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    pub fn certificate_path(&self) -> PathBuf {
        self.folder.join("device-ca.pem")
    }

    pub fn crl_path(&self) -> PathBuf {
        self.folder.join("device-ca.crl")
    }

    /// Makes a key and a certificate for it.
    pub fn issue(
        &self,
        names: &DeviceNames,
        validity: Validity,
        issued_by: &str,
    ) -> Result<Issued, PkiError> {
        self.generate(names, validity, issued_by, None)
    }

    /// Certifies the key of a request under names of our own choosing; the key never leaves the device.
    pub fn sign(
        &self,
        request: &SigningRequest,
        names: &DeviceNames,
        validity: Validity,
        issued_by: &str,
    ) -> Result<Issued, PkiError> {
        self.certify(&request.public_key, names, validity, issued_by, None)
    }

    /// A new certificate with the names of an earlier one, for a new key of ours or that of a request. What is revoked stays so.
    pub fn renew(
        &self,
        key: &str,
        request: Option<&SigningRequest>,
        validity: Validity,
        issued_by: &str,
    ) -> Result<Issued, PkiError> {
        let found = self.find(key)?;
        let earlier = found
            .iter()
            .rev()
            .find(|record| record.revoked.is_none())
            .ok_or_else(|| PkiError::Revoked(key.to_owned()))?;
        let names = earlier.names()?;
        let renews = Some(earlier);
        match request {
            Some(request) => self.certify(&request.public_key, &names, validity, issued_by, renews),
            None => self.generate(&names, validity, issued_by, renews),
        }
    }

    /// Revokes what a name, serial number or fingerprint stands for and writes a new revocation list. A name stands for every certificate of it that is still good, and
    /// for its enrolment token, with which it could fetch another.
    pub fn revoke(
        &self,
        key: &str,
        reason: RevocationReason,
        now: SystemTime,
    ) -> Result<Revocation, PkiError> {
        let mut locked = LockedLedger::open(&self.folder)?;
        let mut tokens = EnrolmentTokens::read(&self.folder)?;
        let at = whole_seconds(now);
        let token = tokens.remove(key);
        if token {
            // First: should the rest fail, the name is without a token, and asking again revokes the certificates.
            tokens.write(&locked)?;
        }
        let mut certificates = locked.ledger.called(key)?;
        if certificates.is_empty() && !token {
            return Err(PkiError::Unknown(key.to_owned()));
        }
        certificates.retain(|record| record.state(at) != State::Revoked);
        if certificates.is_empty() && !token {
            // Whoever asks again may do so because the list could not be written the first time.
            self.write_crl_of(&mut locked, revocation_list::DAYS, now)?;
            return Err(PkiError::AlreadyRevoked(key.to_owned()));
        }
        let revoked = Revoked { at, reason };
        for record in &mut certificates {
            locked.revoke(record, revoked.clone());
            record.revoked = Some(revoked.clone());
        }
        self.write_crl_of(&mut locked, revocation_list::DAYS, now)?;
        Ok(Revocation {
            certificates,
            token,
        })
    }

    /// Writes the revocation list and gives it back as PEM.
    pub fn write_crl(&self, days: u32, now: SystemTime) -> Result<String, PkiError> {
        self.write_crl_of(&mut LockedLedger::open(&self.folder)?, days, now)
    }

    /// Everything issued, the oldest first.
    pub fn list(&self) -> Result<Vec<Record>, PkiError> {
        self.records().list()
    }

    /// What a name, serial number or fingerprint stands for, the oldest first; never nothing.
    pub fn find(&self, key: &str) -> Result<Vec<Record>, PkiError> {
        self.records().find(key)
    }

    /// The certificate itself.
    pub fn certificate_of(&self, record: &Record) -> Result<String, PkiError> {
        self.records().certificate_of(record)
    }

    fn records(&self) -> Records {
        Records::of(&self.folder)
    }

    fn generate(
        &self,
        names: &DeviceNames,
        validity: Validity,
        issued_by: &str,
        renews: Option<&Record>,
    ) -> Result<Issued, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        let issued = self.certify(&key, names, validity, issued_by, renews)?;
        Ok(Issued {
            key_pem: Some(key_pem),
            ..issued
        })
    }

    fn certify(
        &self,
        public_key: &impl PublicKeyData,
        names: &DeviceNames,
        validity: Validity,
        issued_by: &str,
        renews: Option<&Record>,
    ) -> Result<Issued, PkiError> {
        let issued = self.make(public_key, names, validity, issued_by)?;
        let mut locked = LockedLedger::open(&self.folder)?;
        // Whoever revoked the earlier one meanwhile has not seen this one.
        if let Some(earlier) = renews
            && locked.ledger.is_revoked(&earlier.serial)
        {
            return Err(PkiError::Revoked(earlier.name.clone()));
        }
        self.enter(&mut locked, &issued)?;
        Ok(issued)
    }

    /// A certificate that nobody may see yet: it is not on record.
    pub(super) fn make(
        &self,
        public_key: &impl PublicKeyData,
        names: &DeviceNames,
        validity: Validity,
        issued_by: &str,
    ) -> Result<Issued, PkiError> {
        let Validity { days, now } = validity;
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(PkiError::Days {
                days,
                max: DAYS_MAX,
            });
        }
        Rules::read(&self.folder)?.judge(names, days)?;
        let mut params = self.authority.leaf_params(days, now)?;
        name(&mut params, names)?;
        let (not_before, not_after) = (params.not_before, params.not_after);
        let certificate = params.signed_by(public_key, self.authority.issuer())?;
        // Our own product goes through the door that it is made for: weak keys and odd names end here.
        let facts = CertificateFacts::from_der(certificate.der())?;
        self.authority.verify(certificate.der(), now)?;
        let record = Record {
            name: names.common_name().to_owned(),
            serial: facts.names.serial,
            fingerprint: facts.names.fingerprint,
            organizational_unit: names.organizational_unit().map(str::to_owned),
            san_dns: names.san_dns().to_vec(),
            san_uri: names.san_uri().to_vec(),
            not_before,
            not_after,
            issued: whole_seconds(now),
            issued_by: issued_by.to_owned(),
            revoked: None,
        };
        Ok(Issued {
            record,
            certificate_pem: certificate.pem(),
            key_pem: None,
        })
    }

    /// Before anybody holds the certificate, so that nothing exists that cannot be revoked.
    pub(super) fn enter(&self, locked: &mut LockedLedger, issued: &Issued) -> Result<(), PkiError> {
        let copy = copy_path(&self.folder, &issued.record);
        let copies = copies(&self.folder);
        files::create_folder_inside(&copies).map_err(PkiError::file(&copies))?;
        files::create_inside(&copy, issued.certificate_pem.as_bytes(), files::PUBLIC)
            .map_err(PkiError::file(&copy))?;
        locked.issue(issued.record.clone());
        locked.write(issued.record.issued)
    }

    fn write_crl_of(
        &self,
        locked: &mut LockedLedger,
        days: u32,
        now: SystemTime,
    ) -> Result<String, PkiError> {
        revocation_list::check_days(days)?;
        locked.count_crl();
        // The ledger first: a revocation that is on record but not yet on the list is made good by the next list.
        locked.write(whole_seconds(now))?;
        let pem = revocation_list::make(&locked.ledger, self.authority.issuer(), days, now)?;
        let path = self.crl_path();
        files::rewrite_for(&path, pem.as_bytes(), files::PUBLIC).map_err(PkiError::file(&path))?;
        Ok(pem)
    }
}

impl Issued {
    /// Writes `NAME.pem` and, with a key, `NAME.key` (0600) into a folder. Neither may exist, unless `replace` says that they are renewed.
    pub fn write_to(&self, folder: &Path, replace: bool) -> Result<Vec<PathBuf>, PkiError> {
        files::create_folder(folder).map_err(PkiError::file(folder))?;
        let write = if replace {
            files::replace
        } else {
            files::create_new
        };
        let certificate = folder.join(format!("{}.pem", self.record.name));
        let key = folder.join(format!("{}.key", self.record.name));
        if !replace && certificate.exists() {
            return Err(PkiError::Exists(certificate));
        }
        let mut written = Vec::new();
        if let Some(key_pem) = &self.key_pem {
            write(&key, key_pem.as_bytes(), files::PRIVATE).map_err(PkiError::file(&key))?;
            written.push(key);
        }
        write(&certificate, self.certificate_pem.as_bytes(), files::PUBLIC)
            .map_err(PkiError::file(&certificate))?;
        written.insert(0, certificate);
        Ok(written)
    }

    pub fn certificate_der(&self) -> Result<CertificateDer<'static>, PkiError> {
        CertificateDer::from_pem_slice(self.certificate_pem.as_bytes())
            .map_err(|_| PkiError::Generate(rcgen::Error::CouldNotParseCertificate))
    }
}

fn name(params: &mut CertificateParams, names: &DeviceNames) -> Result<(), PkiError> {
    if let Some(unit) = names.organizational_unit() {
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, unit);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, names.common_name());
    for name in names.san_dns() {
        params
            .subject_alt_names
            .push(SanType::DnsName(name.as_str().try_into()?));
    }
    for uri in names.san_uri() {
        params
            .subject_alt_names
            .push(SanType::URI(uri.as_str().try_into()?));
    }
    Ok(())
}

#[cfg(test)]
#[path = "device_ca_tests.rs"]
mod tests;
