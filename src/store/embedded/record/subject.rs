//! Who a session or a message belongs to, on disk.

use super::Unreadable;
use super::fields::{put_bytes, take_bytes, take_str, take_u8};
use crate::identity::jwt::TokenAcl;
use crate::identity::{CertificateNames, Identity, Method, Part, Subject};
use crate::policy;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// All of it: rights are compiled from it after a restart. A field that a later version adds is left out by this one.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredSubject {
    namespace: String,
    username: String,
    method: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<StoredCertificate>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    claims: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acl: Option<TokenAcl>,
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_until: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<StoredPart>,
    client_id: String,
    ip: IpAddr,
    listener: String,
    protocol: String,
}

#[derive(Serialize, Deserialize)]
struct StoredPart {
    method: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredCertificate {
    #[serde(default)]
    common_name: Vec<String>,
    #[serde(default)]
    organizational_unit: Vec<String>,
    #[serde(default)]
    organization: Vec<String>,
    #[serde(default)]
    san_dns: Vec<String>,
    #[serde(default)]
    san_uri: Vec<String>,
    #[serde(default)]
    san_email: Vec<String>,
    subject_dn: String,
    issuer: String,
    serial: String,
    fingerprint: String,
}

impl StoredSubject {
    pub(super) fn of(subject: &Subject) -> Self {
        let identity = &subject.identity;
        Self {
            namespace: identity.namespace.to_string(),
            username: identity.username.to_string(),
            method: identity.method.0.to_owned(),
            groups: identity.groups.iter().map(ToString::to_string).collect(),
            certificate: identity.certificate.as_deref().map(StoredCertificate::of),
            claims: identity.claims.clone(),
            acl: identity.acl.as_deref().cloned(),
            valid_until: identity.valid_until.map(|until| {
                until
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs())
            }),
            login: identity.login.as_deref().map(str::to_owned),
            parts: identity.parts.iter().map(StoredPart::of).collect(),
            client_id: subject.client_id.to_string(),
            ip: subject.ip,
            listener: subject.listener.to_string(),
            protocol: subject.protocol.to_owned(),
        }
    }

    pub(super) fn into_subject(self) -> Result<Subject, Unreadable> {
        let method = method(&self.method)?;
        // Version 0.1 wrote the login of a cookie among the claims alone.
        let login = self.login.or_else(|| {
            let named = self
                .claims
                .get("login")
                .filter(|_| method == Method::COOKIE);
            named?.first().cloned()
        });
        let parts = self.parts.into_iter().map(StoredPart::into_part);
        Ok(Subject {
            identity: Identity {
                groups: self.groups.into_iter().map(Arc::from).collect(),
                certificate: self
                    .certificate
                    .map(|certificate| Arc::new(certificate.into_names())),
                claims: self.claims,
                acl: self.acl.map(Arc::new),
                valid_until: self.valid_until.map(|seconds| {
                    UNIX_EPOCH
                        .checked_add(Duration::from_secs(seconds))
                        // Later than the clock can say: as late as it can.
                        .unwrap_or_else(|| UNIX_EPOCH + Duration::from_secs(u32::MAX.into()))
                }),
                login: login.map(Arc::from),
                parts: parts.collect::<Result<_, _>>()?,
                ..Identity::new(method, self.namespace.into(), self.username.into())
            },
            client_id: self.client_id.into(),
            ip: self.ip,
            listener: self.listener.into(),
            protocol: protocol(&self.protocol)?,
        })
    }
}

impl StoredPart {
    fn of(part: &Part) -> Self {
        Self {
            method: part.method.0.to_owned(),
            groups: part.groups.iter().map(ToString::to_string).collect(),
        }
    }

    fn into_part(self) -> Result<Part, Unreadable> {
        Ok(Part {
            method: method(&self.method)?,
            groups: self.groups.into_iter().map(Arc::from).collect(),
        })
    }
}

impl StoredCertificate {
    fn of(names: &CertificateNames) -> Self {
        Self {
            common_name: names.common_name.clone(),
            organizational_unit: names.organizational_unit.clone(),
            organization: names.organization.clone(),
            san_dns: names.san_dns.clone(),
            san_uri: names.san_uri.clone(),
            san_email: names.san_email.clone(),
            subject_dn: names.subject_dn.clone(),
            issuer: names.issuer.clone(),
            serial: names.serial.clone(),
            fingerprint: names.fingerprint.clone(),
        }
    }

    fn into_names(self) -> CertificateNames {
        CertificateNames {
            common_name: self.common_name,
            organizational_unit: self.organizational_unit,
            organization: self.organization,
            san_dns: self.san_dns,
            san_uri: self.san_uri,
            san_email: self.san_email,
            subject_dn: self.subject_dn,
            issuer: self.issuer,
            serial: self.serial,
            fingerprint: self.fingerprint,
        }
    }
}

/// Who published a queued message: its name and its place. It was judged before it was stored and is not judged by its author again.
pub(super) fn put_short(subject: &Subject, out: &mut BytesMut) {
    let identity = &subject.identity;
    for text in [
        &*identity.namespace,
        &*identity.username,
        identity.method.0,
        &*subject.client_id,
        &*subject.listener,
        subject.protocol,
    ] {
        put_bytes(text.as_bytes(), out);
    }
    match subject.ip {
        IpAddr::V4(ip) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(6);
            out.put_slice(&ip.octets());
        }
    }
}

pub(super) fn take_short(input: &mut Bytes) -> Result<Subject, Unreadable> {
    let namespace = take_str(input, "a name space")?.into();
    let username = take_str(input, "a username")?.into();
    let method = method(&take_str(input, "a method")?)?;
    let client_id = take_str(input, "a client identifier")?.into();
    let listener = take_str(input, "a listener")?.into();
    let protocol = protocol(&take_str(input, "a protocol")?)?;
    let ip = match take_u8(input, "an address")? {
        4 => <[u8; 4]>::try_from(&*take(input, 4)?).map(IpAddr::from),
        6 => <[u8; 16]>::try_from(&*take(input, 16)?).map(IpAddr::from),
        _ => return Err(Unreadable::Invalid("an address")),
    }
    .map_err(|_| Unreadable::Invalid("an address"))?;
    Ok(Subject {
        identity: Identity::new(method, namespace, username),
        client_id,
        ip,
        listener,
        protocol,
    })
}

/// How long a short author is, without making one: equal bytes are one author.
pub(super) fn short_length(input: &Bytes) -> Result<usize, Unreadable> {
    let mut rest = input.clone();
    for _ in 0..6 {
        take_bytes(&mut rest, "an author")?;
    }
    let address = match take_u8(&mut rest, "an address")? {
        4 => 4,
        6 => 16,
        _ => return Err(Unreadable::Invalid("an address")),
    };
    take(&mut rest, address)?;
    Ok(input.len() - rest.len())
}

fn take(input: &mut Bytes, length: usize) -> Result<Bytes, Unreadable> {
    if input.len() < length {
        return Err(Unreadable::Short("an address"));
    }
    Ok(input.split_to(length))
}

fn method(name: &str) -> Result<Method, Unreadable> {
    [Method::TOKEN, Method::SYSTEM]
        .into_iter()
        .find(|method| method.0 == name)
        .or_else(|| Method::listed(name))
        .ok_or_else(|| {
            Unreadable::Subject(format!("no method of authentication is called {name:?}"))
        })
}

fn protocol(name: &str) -> Result<&'static str, Unreadable> {
    // What the broker itself publishes under `$SYS` came by no protocol.
    const SYSTEM: &str = "system";
    policy::protocol(name)
        .or_else(|| (name == SYSTEM).then_some(SYSTEM))
        .ok_or_else(|| Unreadable::Subject(format!("no protocol is called {name:?}")))
}
