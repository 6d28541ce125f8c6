//! Somebody put together from flags, as the broker would after a login.

use super::complain;
use crate::config::Config;
use crate::identity::jwt::{JwtConfig, Told};
use crate::identity::{CertificateNames, Identity, Method, Subject, Users};
use crate::policy;
use crate::problem::Problem;
use clap::Args;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct Somebody {
    /// The proved name; a certificate's common name or the token's `username_claim` when left out
    #[arg(long)]
    username: Option<String>,
    #[arg(long)]
    client_id: Option<String>,
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    ip: IpAddr,
    /// certificate, password, ldap, jwt, cookie, …; follows from --cert and --claims when left out
    #[arg(long)]
    auth: Option<String>,
    /// Name space of the username; the method's own when left out
    #[arg(long)]
    namespace: Option<String>,
    /// May be given several times; those of the users file when left out
    #[arg(long)]
    group: Vec<String>,
    /// The client certificate, PEM or DER
    #[arg(long, value_name = "FILE", conflicts_with = "claims")]
    cert: Option<PathBuf>,
    /// The claims of a token, as a JSON object
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    #[arg(long, default_value = "")]
    listener: String,
    /// mqtt, websocket or http
    #[arg(long, default_value = "mqtt")]
    protocol: String,
}

impl Somebody {
    /// `jwt` says which claims of a token are groups and a list of statements.
    pub(super) fn subject(&self, jwt: &JwtConfig) -> Result<Subject, String> {
        let certificate = self.cert.as_deref().map(certificate).transpose()?;
        let told = match &self.claims {
            Some(file) => claims(file, jwt)?,
            None => Told::default(),
        };
        let username = self
            .username
            .clone()
            .or_else(|| certificate.as_ref()?.common_name.first().cloned())
            .or_else(|| told.username.clone())
            .unwrap_or_default();
        let method = match &self.auth {
            Some(name) => policy::method(name).ok_or(format!("no method is called {name:?}"))?,
            None if certificate.is_some() => Method::CERTIFICATE,
            None if self.claims.is_some() => Method::JWT,
            None if username.is_empty() => Method::ANONYMOUS,
            None => Method::PASSWORD,
        };
        let namespace = match &self.namespace {
            Some(namespace) => namespace.clone(),
            None if method == Method::JWT => jwt.namespace(told.issuer.as_deref()),
            None => method.0.to_owned(),
        };
        Ok(Subject {
            identity: Identity {
                groups: self
                    .group
                    .iter()
                    .map(|group| group.as_str().into())
                    .chain(told.groups)
                    .collect(),
                certificate: certificate.map(Arc::new),
                claims: told.values,
                acl: told.acl.map(Arc::new),
                ..Identity::new(method, namespace.into(), username.into())
            },
            client_id: self.client_id.clone().unwrap_or_default().into(),
            ip: self.ip,
            listener: self.listener.as_str().into(),
            protocol: policy::protocol(&self.protocol)
                .ok_or(format!("no protocol is called {:?}", self.protocol))?,
        })
    }
}

impl Somebody {
    pub(super) fn has_claims(&self) -> bool {
        self.claims.is_some()
    }

    /// What a login here gives and no flag says: the name space of its method, and the groups of the users file.
    pub(super) fn after_login(
        &self,
        mut subject: Subject,
        config: &Config,
    ) -> Result<Subject, Vec<Problem>> {
        let (by, identity) = (&config.authentication, &mut subject.identity);
        let is_by_password = [Method::PASSWORD, Method::SCRAM].contains(&identity.method);
        let password = by.password.as_ref().filter(|_| is_by_password);
        let by_certificate = identity.method == Method::CERTIFICATE;
        let namespace = match password {
            Some(password) => password.namespace.as_deref(),
            None => by
                .certificate
                .namespace
                .as_deref()
                .filter(|_| by_certificate),
        };
        if let Some(namespace) = namespace.filter(|_| self.namespace.is_none()) {
            identity.namespace = namespace.into();
        }
        let Some(password) = password.filter(|_| self.group.is_empty()) else {
            return Ok(subject);
        };
        let file = config.base.join(&password.file);
        let unreadable = |error: std::io::Error| vec![Problem::whole(&file, error.to_string())];
        let text = std::fs::read_to_string(&file).map_err(unreadable)?;
        let users = Users::parse(&file, &text)?;
        match users.get(&identity.username) {
            Some(user) if !user.disabled => identity.groups.clone_from(&user.groups),
            Some(_) => complain(format!(
                "{}: {:?} is disabled",
                file.display(),
                identity.username
            )),
            None => complain(format!(
                "{}: no user {:?}",
                file.display(),
                identity.username
            )),
        }
        Ok(subject)
    }

    /// Somebody as the audit log recorded them, with the certificate or the claims that it does not tell.
    pub(super) fn completing(
        &self,
        recorded: &Subject,
        jwt: &JwtConfig,
    ) -> Result<Arc<Subject>, String> {
        let mut subject = recorded.clone();
        if let Some(file) = &self.cert {
            subject.identity.certificate = Some(Arc::new(certificate(file)?));
        }
        if let Some(file) = &self.claims {
            let told = claims(file, jwt)?;
            subject.identity.claims = told.values;
            subject.identity.acl = told.acl.map(Arc::new);
        }
        Ok(Arc::new(subject))
    }
}

fn certificate(file: &Path) -> Result<CertificateNames, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let bytes = std::fs::read(file).map_err(|error| told(&error))?;
    let der = match CertificateDer::from_pem_slice(&bytes) {
        Ok(der) => der,
        Err(_) => CertificateDer::from(bytes),
    };
    CertificateNames::from_der(&der).map_err(|error| told(&error))
}

/// As a token's claims are read at a login.
fn claims(file: &Path, jwt: &JwtConfig) -> Result<Told, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let bytes = std::fs::read(file).map_err(|error| told(&error))?;
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes).map_err(|error| told(&error))?;
    let refused = |error| format!("{}: this token is refused: {error}", file.display());
    let claims = jwt.rules().told(&object).map_err(refused)?;
    if let Some(acl) = &claims.acl {
        policy::read_token(acl).map_err(refused)?;
    }
    Ok(claims)
}
