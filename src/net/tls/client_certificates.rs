//! Whether a client's certificate chain is believed: at the handshake, at a resumption, and again when our trust changes.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;

use super::CertificateRefused;
use super::files;
use super::revocation::{Check, RevocationList, RevocationLists};
use crate::identity::RSA_BITS_MIN;
use crate::net::config::{ClientAuth, TlsConfig};
use crate::problem::Problem;

/// Leaf, two intermediates and, from clients that send it, the root (LIM-8).
const CHAIN_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct ClientCertificates {
    anchors: Vec<TrustAnchor<'static>>,
    required: bool,
    revocation: Option<RevocationLists>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertificates {
    /// `None` when `client_auth` is off.
    pub(super) fn load(
        config: &TlsConfig,
        base: &Path,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Option<Self>, Vec<Problem>> {
        let required = match config.client_auth {
            ClientAuth::Off => return Ok(None),
            ClientAuth::Optional => false,
            ClientAuth::Required => true,
        };
        let mut problems = Vec::new();
        if config.client_ca.is_empty() {
            problems.push(Problem::whole(
                base,
                "tls.client_auth asks for certificates, but tls.client_ca names no CA to believe",
            ));
        }
        let mut anchors = Vec::new();
        for file in config.client_ca.iter().map(|file| base.join(file)) {
            match load_anchors(&file) {
                Ok(mut loaded) => anchors.append(&mut loaded),
                Err(problem) => problems.push(problem),
            }
        }
        let revocation =
            RevocationLists::load(config, base).map_err(|mut found| problems.append(&mut found));
        match revocation {
            Ok(revocation) if problems.is_empty() => Ok(Some(Self {
                anchors,
                required,
                revocation,
                algorithms,
            })),
            Ok(_) | Err(()) => Err(problems),
        }
    }

    pub(super) fn is_required(&self) -> bool {
        self.required
    }

    pub(super) fn revocation_lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.revocation.iter().flat_map(RevocationLists::about)
    }

    /// Signatures, validity, basic constraints, name constraints, clientAuth purpose and revocation, by webpki; length and key strength, by us.
    pub(super) fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateRefused> {
        if intermediates.len() >= CHAIN_MAX {
            return Err(CertificateRefused::ChainTooLong(CHAIN_MAX));
        }
        let leaf = EndEntityCert::try_from(end_entity)?;
        check_key(&leaf)?;
        let verify = |check: Check<'_>| -> Result<VerifiedPath<'_>, webpki::Error> {
            let (options, on_path) = match check {
                Check::Nothing => (None, None),
                Check::ByWebPki(options) => (Some(options), None),
                Check::OnPath(on_path) => (None, Some(on_path)),
            };
            leaf.verify_for_usage(
                self.algorithms.all,
                &self.anchors,
                intermediates,
                now,
                // An absent extended key usage is accepted, one without clientAuth is not. Contract section 10
                KeyUsage::client_auth(),
                options,
                on_path,
            )
        };
        match &self.revocation {
            Some(lists) => lists.judge(now, verify),
            None => verify(Check::Nothing).map(drop).map_err(Into::into),
        }
    }
}

/// What a handshake asks: lets in whom one of them lets in.
#[derive(Debug)]
pub(super) struct AnyOf {
    all: Vec<Arc<ClientCertificates>>,
    subjects: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyOf {
    /// `None`: nobody is asked for a certificate.
    pub(super) fn new(
        all: Vec<Arc<ClientCertificates>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Option<Self> {
        let mut subjects: Vec<DistinguishedName> = Vec::new();
        for anchor in all.iter().flat_map(|one| &one.anchors) {
            let subject = DistinguishedName::in_sequence(&anchor.subject);
            if !subjects
                .iter()
                .any(|known| known.as_ref() == subject.as_ref())
            {
                subjects.push(subject);
            }
        }
        (!all.is_empty()).then_some(Self {
            all,
            subjects,
            algorithms,
        })
    }

    pub(super) fn is_required(&self) -> bool {
        self.all.iter().any(|one| one.required)
    }

    pub(super) fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateRefused> {
        let mut told = CertificateRefused::UnknownIssuer;
        for one in &self.all {
            match one.judge(end_entity, intermediates, now) {
                Ok(()) => return Ok(()),
                // Who does not know the issuer cannot say what is wrong with its certificate.
                Err(refused) if told == CertificateRefused::UnknownIssuer => told = refused,
                Err(_) => {}
            }
        }
        Err(told)
    }
}

impl ClientCertVerifier for AnyOf {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn load_anchors(file: &Path) -> Result<Vec<TrustAnchor<'static>>, Problem> {
    files::certificates(file)?
        .iter()
        .map(|der| {
            let wrong = |error: &dyn std::fmt::Display| {
                Problem::whole(file, format!("not a usable CA certificate: {error}"))
            };
            let anchor = anchor_from_trusted_cert(der).map_err(|error| wrong(&error))?;
            let (_, certificate) =
                X509Certificate::from_der(der).map_err(|error| wrong(&error))?;
            if !is_authority(&certificate) {
                let subject = certificate.subject();
                return Err(Problem::whole(
                    file,
                    format!("the certificate of {subject} is not a CA's (basicConstraints without CA:TRUE): name the authority that issues the certificates of devices"),
                ));
            }
            Ok(anchor.to_owned())
        })
        .collect()
}

/// By its basic constraints; a version 1 certificate has none, and is an authority's when it is its own issuer. RFC 5280 section 4.2.1.9
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    if certificate.version() == X509Version::V1 {
        return certificate.subject().as_raw() == certificate.issuer().as_raw();
    }
    let constraints = certificate.basic_constraints().ok().flatten();
    constraints.is_some_and(|constraints| constraints.value.ca)
}

/// A resumed session does not prove its key again, so its strength is judged here rather than left to the signature.
fn check_key(leaf: &EndEntityCert<'_>) -> Result<(), CertificateRefused> {
    let info = leaf.subject_public_key_info();
    let (_, info) =
        SubjectPublicKeyInfo::from_der(&info).map_err(|_| CertificateRefused::Malformed)?;
    match info.parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < RSA_BITS_MIN => {
            Err(CertificateRefused::WeakKey)
        }
        Ok(_) => Ok(()),
        Err(_) => Err(CertificateRefused::Malformed),
    }
}
