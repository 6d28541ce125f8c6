//! Clients named by the certificate that TLS has verified.

use std::future::ready;
use std::sync::Arc;

use super::{Authenticator, Verdict};
use crate::identity::{
    CertificateError, CertificateFacts, Credentials, Method, PresentedCertificate, Proof,
    Rejection, UsernameFrom,
};

pub(super) struct Certificate {
    pub(super) namespace: Arc<str>,
    pub(super) username_from: UsernameFrom,
    /// Part of an `all:`: the other method speaks for the username of CONNECT.
    pub(super) joined: bool,
}

impl Authenticator for Certificate {
    fn claims(&self, credentials: &Credentials) -> bool {
        credentials.certificate.is_some()
    }

    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Verdict<'a> {
        Box::pin(ready(self.judge(credentials)))
    }
}

impl Certificate {
    fn judge(&self, credentials: &Credentials) -> Result<Proof, Rejection> {
        let presented = credentials.certificate.as_deref();
        let leaf = presented
            .and_then(PresentedCertificate::leaf)
            .ok_or(CertificateError::Malformed)?;
        let facts = CertificateFacts::from_der(leaf)?;
        facts.check_validity(credentials.now)?;
        let username = self.username_from.username(&facts.names)?.map(Arc::from);
        self.check_connect_username(username.as_deref(), credentials)?;
        Ok(Proof {
            certificate: Some(Arc::new(facts.names)),
            valid_until: Some(facts.not_after),
            ..Proof::new(Method::CERTIFICATE, self.namespace.clone(), username)
        })
    }

    fn check_connect_username(
        &self,
        certificate: Option<&str>,
        credentials: &Credentials,
    ) -> Result<(), Rejection> {
        match (&credentials.username, certificate) {
            (Some(connect), Some(certificate))
                if !self.joined && connect.as_str() != certificate =>
            {
                Err(Rejection::OtherUsername {
                    certificate: certificate.to_owned(),
                    connect: connect.as_str().to_owned(),
                })
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }
}
