//! Devices that fetch their certificates themselves: who may have which, and that each is asked for and given once. RFC 7030
//!
//! Everything that decides is read under the ledger's lock and changed under it too, so that two requests with one token, or a renewal beside a revocation, come
//! one after the other. The CA's key is read for each certificate and forgotten after it: a CA that was replaced counts at once.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::Access;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::authority::{Authority, Kind, whole_seconds};
use super::certs_only::certs_only;
use super::enrolment_tokens::{EnrolmentTokens, TokenHash};
use super::key_file::read_passphrase;
use super::ledger::{LockedLedger, Records, copies};
use super::rules::Rules;
use super::{DeviceCa, DeviceNames, PkiError, Record, ServerCa, SigningRequest, State, Validity};
use crate::identity::{CertificateFacts, Method, check_username};

/// What the device CA gives to those who ask over the network.
#[derive(Clone, Debug)]
pub struct Enrolment {
    folder: PathBuf,
    days: u32,
    /// Valid certificates of one name; what was issued at the command line counts too.
    most_per_name: u32,
    /// Of the CA's key, where it has one.
    passphrase_file: Option<PathBuf>,
}

/// Somebody who has shown a token or a certificate that looks good. When a certificate is made for him, it is judged again.
#[derive(Clone, Debug)]
pub struct Applicant {
    name: String,
    shown: Shown,
}

#[derive(Clone, Debug)]
enum Shown {
    Token(TokenHash),
    /// By its fingerprint: another CA can copy every name and number (TRN-7).
    Certificate(String),
}

/// What is asked for. RFC 7030 sections 4.2.1 and 4.2.2
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    First,
    /// Another certificate of the same names, by the one that is shown.
    Renewal,
}

/// Why nothing was issued: for the operator.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    #[error("not the name of a device")]
    NoName,
    #[error("the name has no enrolment token: it was used, replaced or never made")]
    NoToken,
    #[error("not the enrolment token of this name")]
    WrongToken,
    #[error("the enrolment token has expired")]
    TokenExpired,
    #[error("a token does not renew: the certificate itself is needed")]
    NotByToken,
    #[error("the certificate {0} was not issued here")]
    NotOnRecord(String),
    #[error("the certificate {serial} is {}", state.name())]
    NotValid { serial: String, state: State },
    #[error("the request is for {wanted}, not for {name}")]
    OtherName { wanted: String, name: String },
    #[error("the request also asks for {0}")]
    Beyond(String),
    #[error("a renewal asks for the names of the certificate, no more and no less: {0}")]
    NotTheSameNames(String),
    #[error("the name has {0} valid certificates: revoke some, or wait for their end")]
    TooMany(u32),
    #[error("what cannot be audited is refused")]
    Unauditable,
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// Whose mistake it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What was shown proves nothing.
    Credential,
    /// The request cannot be granted.
    Request,
    /// Ours: it may be granted later.
    Ours,
}

impl Enrolment {
    pub fn new(folder: &Path, days: u32, most_per_name: u32) -> Self {
        Self {
            folder: folder.to_owned(),
            days,
            most_per_name,
            passphrase_file: None,
        }
    }

    /// The passphrase of the CA's key is in a file, read whenever the key is.
    pub fn with_passphrase(self, file: Option<PathBuf>) -> Self {
        Self {
            passphrase_file: file,
            ..self
        }
    }

    /// Whether certificates could be made now: the rules permit as many days, and the CA, its key, its records and its tokens are there and can be written.
    pub fn check(&self) -> Result<(), PkiError> {
        self.open()?;
        Rules::read(&self.folder)?.judge_days(self.days)?;
        EnrolmentTokens::read(&self.folder)?;
        let copies = Some(copies(&self.folder)).filter(|copies| copies.exists());
        for folder in [&self.folder].into_iter().chain(&copies) {
            rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)
                .map_err(|error| PkiError::file(folder)(error.into()))?;
        }
        LockedLedger::open(&self.folder).map(drop)
    }

    /// Makes the token with which the device of these names can fetch its first certificate.
    pub fn token(
        folder: &Path,
        names: &DeviceNames,
        valid: Duration,
        now: SystemTime,
    ) -> Result<String, PkiError> {
        Records::open(folder)?;
        // A name that the rules refuse is told now, not when the device comes.
        Rules::read(folder)?.judge(names, 1)?;
        let locked = LockedLedger::open(folder)?;
        let mut tokens = EnrolmentTokens::read(folder)?;
        let token = tokens.add(names, valid, now)?;
        tokens.write(&locked)?;
        Ok(token)
    }

    /// The certificates that a device needs: the CA that its own comes from, and the one that it knows our servers by.
    pub fn authorities(&self) -> Result<Vec<u8>, PkiError> {
        let mut pems = vec![Authority::certificate(&self.folder, Kind::Device)?];
        match ServerCa::certificate(&self.folder) {
            Ok(server) => pems.push(server),
            // Servers may have their certificates from elsewhere.
            Err(PkiError::NoAuthority(_)) => {}
            Err(error) => return Err(error),
        }
        let ders: Result<Vec<_>, _> = pems
            .iter()
            .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()))
            .collect();
        let unreadable = |_| PkiError::Generate(rcgen::Error::CouldNotParseCertificate);
        Ok(certs_only(&ders.map_err(unreadable)?))
    }

    /// Whom a name and its token stand for. The token stays good until a certificate is made.
    pub fn by_token(
        &self,
        name: &str,
        token: &[u8],
        now: SystemTime,
    ) -> Result<Applicant, EnrolmentError> {
        check_username(name).map_err(|_| EnrolmentError::NoName)?;
        let hash = TokenHash::of(token);
        EnrolmentTokens::read(&self.folder)?.verify(name, &hash, now)?;
        Ok(Applicant {
            name: name.to_owned(),
            shown: Shown::Token(hash),
        })
    }

    /// Makes a certificate for the key of a request. `agree` is asked last, with all that will be on record: nothing exists before it does.
    pub fn enrol(
        &self,
        applicant: &Applicant,
        wish: Wish,
        request: &SigningRequest,
        now: SystemTime,
        agree: impl FnOnce(&Record) -> bool,
    ) -> Result<Vec<u8>, EnrolmentError> {
        let ca = self.open()?;
        let mut locked = LockedLedger::open(&self.folder)?;
        let mut tokens = EnrolmentTokens::read(&self.folder)?;
        let names = match &applicant.shown {
            Shown::Token(_) if wish == Wish::Renewal => return Err(EnrolmentError::NotByToken),
            Shown::Token(hash) => tokens
                .verify(&applicant.name, hash, now)?
                .names(&applicant.name)
                .map_err(PkiError::from)?,
            Shown::Certificate(fingerprint) => names_of(&locked, fingerprint, now)?,
        };
        check_names(request, &names, wish)?;
        self.check_count(&locked, &names, now)?;
        let validity = Validity {
            days: self.days,
            now,
        };
        let issued = ca.make(
            &request.public_key,
            &names,
            validity,
            applicant.issued_by(wish),
        )?;
        if !agree(&issued.record) {
            return Err(EnrolmentError::Unauditable);
        }
        // First the token: should the rest fail, it is lost, and not good for a second certificate.
        if let Shown::Token(_) = applicant.shown {
            tokens.remove(&applicant.name);
            tokens.write(&locked)?;
        }
        ca.enter(&mut locked, &issued)?;
        Ok(certs_only(&[issued.certificate_der()?]))
    }

    fn open(&self) -> Result<DeviceCa, PkiError> {
        DeviceCa::open_with(&self.folder, &|| match &self.passphrase_file {
            Some(file) => read_passphrase(file),
            None => Err(PkiError::PassphraseNeeded),
        })
    }

    fn check_count(
        &self,
        locked: &LockedLedger,
        names: &DeviceNames,
        now: SystemTime,
    ) -> Result<(), EnrolmentError> {
        let now = whole_seconds(now);
        let mut valid = locked.ledger.called(names.common_name())?;
        valid.retain(|record| {
            record.name == names.common_name() && record.state(now) == State::Valid
        });
        if valid.len() >= usize::try_from(self.most_per_name).unwrap_or(usize::MAX) {
            return Err(EnrolmentError::TooMany(self.most_per_name));
        }
        Ok(())
    }
}

impl Applicant {
    /// Whom a certificate of the device CA names. TLS has judged it; whether it is on record and not revoked is asked when another is made.
    pub fn by_certificate(leaf: &[u8]) -> Result<Self, EnrolmentError> {
        let facts = CertificateFacts::from_der(leaf).map_err(PkiError::from)?;
        let name = facts.names.common_name.into_iter().next();
        Ok(Self {
            name: name.ok_or(EnrolmentError::NoName)?,
            shown: Shown::Certificate(facts.names.fingerprint),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn method(&self) -> Method {
        match self.shown {
            Shown::Token(_) => Method::ENROLMENT,
            Shown::Certificate(_) => Method::CERTIFICATE,
        }
    }

    fn issued_by(&self, wish: Wish) -> &'static str {
        match (&self.shown, wish) {
            (Shown::Token(_), _) => "est by token",
            (Shown::Certificate(_), Wish::First) => "est by certificate",
            (Shown::Certificate(_), Wish::Renewal) => "est renewal",
        }
    }
}

fn names_of(
    locked: &LockedLedger,
    fingerprint: &str,
    now: SystemTime,
) -> Result<DeviceNames, EnrolmentError> {
    let record = locked
        .ledger
        .called(fingerprint)?
        .into_iter()
        .find(|record| record.fingerprint == fingerprint)
        .ok_or_else(|| EnrolmentError::NotOnRecord(fingerprint.to_owned()))?;
    let state = record.state(whole_seconds(now));
    if state != State::Valid {
        return Err(EnrolmentError::NotValid {
            serial: record.serial.clone(),
            state,
        });
    }
    Ok(record.names().map_err(PkiError::from)?)
}

/// Nobody sees which names would be left out here, so none is: a request gets those that it asks for, or nothing. Purposes and constraints are ours to set, whatever it
/// says of them.
fn check_names(
    request: &SigningRequest,
    names: &DeviceNames,
    wish: Wish,
) -> Result<(), EnrolmentError> {
    if request.common_name() != Some(names.common_name()) {
        return Err(EnrolmentError::OtherName {
            wanted: format!("{:?}", request.common_name().unwrap_or_default()),
            name: format!("{:?}", names.common_name()),
        });
    }
    let beyond = request.beyond(names);
    if !beyond.is_empty() {
        return Err(EnrolmentError::Beyond(beyond.join(", ")));
    }
    // Subject and SubjectAltName are those of the certificate that is renewed. RFC 7030 section 4.2.2
    let absent = request.absent(names);
    if wish == Wish::Renewal && !absent.is_empty() {
        return Err(EnrolmentError::NotTheSameNames(absent.join(", ")));
    }
    Ok(())
}

impl EnrolmentError {
    pub fn fault(&self) -> Fault {
        match self {
            Self::NoName
            | Self::NoToken
            | Self::WrongToken
            | Self::TokenExpired
            | Self::NotByToken
            | Self::NotOnRecord(_)
            | Self::NotValid { .. } => Fault::Credential,
            Self::OtherName { .. }
            | Self::Beyond(_)
            | Self::NotTheSameNames(_)
            | Self::TooMany(_) => Fault::Request,
            Self::Pki(error) if error.is_of_request() => Fault::Request,
            Self::Unauditable | Self::Pki(_) => Fault::Ours,
        }
    }
}

#[cfg(test)]
#[path = "enrolment_tests.rs"]
mod tests;
