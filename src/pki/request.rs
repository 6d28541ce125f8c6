//! A PKCS #10 request: proof that its sender holds the key, and nothing else that we would take from it. RFC 2986

use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::PkiError;

/// Larger than any honest request.
const LENGTH_MAX: usize = 64 << 10;

/// A public key whose owner has shown that he holds the private one.
#[derive(Debug)]
pub struct SigningRequest {
    pub(super) public_key: SubjectPublicKeyInfo,
    common_names: Vec<String>,
}

impl SigningRequest {
    pub fn from_pem(pem: &[u8]) -> Result<Self, PkiError> {
        if pem.len() > LENGTH_MAX {
            return Err(PkiError::NotARequest);
        }
        let der =
            CertificateSigningRequestDer::from_pem_slice(pem).map_err(|_| PkiError::NotARequest)?;
        Self::from_der(&der)
    }

    /// Extensions, attributes and subject of the request are ignored; [`Self::common_name`] is there for the operator to confirm (IDN-15).
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| PkiError::NotARequest)?;
        if !rest.is_empty() {
            return Err(PkiError::NotARequest);
        }
        request
            .verify_signature()
            .map_err(|_| PkiError::NoProofOfPossession)?;
        let info = &request.certification_request_info;
        let public_key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw)
            .map_err(|_| PkiError::KeyRefused)?;
        let common_names = info
            .subject
            .iter_common_name()
            .filter_map(|attribute| attribute.as_str().ok().map(str::to_owned))
            .collect();
        Ok(Self {
            public_key,
            common_names,
        })
    }

    /// The one common name that the request asks for. It is no name yet: the rules for names still have to be asked.
    pub fn common_name(&self) -> Option<&str> {
        match self.common_names.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }
}
