//! What a policy may ask about a subject: the keys of `who` and the names of placeholders.

use crate::identity::{CertificateNames, Subject};
use std::fmt;
use std::sync::Arc;

/// One property of a subject. A value that is absent or empty is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Attribute {
    Username,
    ClientId,
    Ip,
    Listener,
    Auth,
    Namespace,
    Protocol,
    Group,
    Certificate(CertificateField),
    Claim(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum CertificateField {
    CommonName,
    OrganizationalUnit,
    Organization,
    SanDns,
    SanUri,
    SanEmail,
    SubjectDn,
    Issuer,
    Serial,
    Fingerprint,
}

/// A subject with its address as text, which `${ip}` reads.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) subject: &'a Subject,
    pub(super) ip: &'a str,
}

const FIELDS: [(&str, CertificateField); 10] = [
    ("common_name", CertificateField::CommonName),
    ("organizational_unit", CertificateField::OrganizationalUnit),
    ("organization", CertificateField::Organization),
    ("san_dns", CertificateField::SanDns),
    ("san_uri", CertificateField::SanUri),
    ("san_email", CertificateField::SanEmail),
    ("subject_dn", CertificateField::SubjectDn),
    ("issuer", CertificateField::Issuer),
    ("serial", CertificateField::Serial),
    ("fingerprint", CertificateField::Fingerprint),
];

const PLAIN: [(&str, Attribute); 8] = [
    ("username", Attribute::Username),
    ("client_id", Attribute::ClientId),
    ("ip", Attribute::Ip),
    ("listener", Attribute::Listener),
    ("auth", Attribute::Auth),
    ("namespace", Attribute::Namespace),
    ("protocol", Attribute::Protocol),
    ("group", Attribute::Group),
];

impl Attribute {
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some(field) = name.strip_prefix("cert.") {
            let (_, field) = FIELDS.iter().find(|(known, _)| *known == field)?;
            return Some(Self::Certificate(*field));
        }
        if let Some(claim) = name.strip_prefix("claim.") {
            return (!claim.is_empty()).then(|| Self::Claim(claim.into()));
        }
        let (_, attribute) = PLAIN.iter().find(|(known, _)| *known == name)?;
        Some(attribute.clone())
    }

    /// All values, none of them empty. Several only for groups, repeated certificate names and list claims.
    pub(super) fn values<'a>(&self, of: Values<'a>) -> impl Iterator<Item = &'a str> + Clone {
        let Values { subject, ip } = of;
        let identity = &subject.identity;
        let found = match self {
            Self::Username => Found::one(&identity.username),
            Self::ClientId => Found::one(&subject.client_id),
            Self::Ip => Found::one(ip),
            Self::Listener => Found::one(&subject.listener),
            Self::Auth => Found::one(identity.method.0),
            Self::Namespace => Found::one(&identity.namespace),
            Self::Protocol => Found::one(subject.protocol),
            Self::Group => Found::Shared(identity.groups.iter()),
            Self::Certificate(field) => identity
                .certificate
                .as_deref()
                .map_or(Found::One(None), |names| field.of(names)),
            Self::Claim(name) => identity
                .claims
                .get(&**name)
                .map_or(Found::One(None), |values| Found::Owned(values.iter())),
        };
        found.filter(|value| !value.is_empty())
    }

    /// Whether a subject can have more than one value.
    pub(super) fn is_multiple(&self) -> bool {
        match self {
            Self::Group | Self::Claim(_) => true,
            Self::Certificate(field) => match field {
                CertificateField::CommonName
                | CertificateField::OrganizationalUnit
                | CertificateField::Organization
                | CertificateField::SanDns
                | CertificateField::SanUri
                | CertificateField::SanEmail => true,
                CertificateField::SubjectDn
                | CertificateField::Issuer
                | CertificateField::Serial
                | CertificateField::Fingerprint => false,
            },
            Self::Username
            | Self::ClientId
            | Self::Ip
            | Self::Listener
            | Self::Auth
            | Self::Namespace
            | Self::Protocol => false,
        }
    }
}

impl CertificateField {
    fn of(self, names: &CertificateNames) -> Found<'_> {
        match self {
            Self::CommonName => Found::Owned(names.common_name.iter()),
            Self::OrganizationalUnit => Found::Owned(names.organizational_unit.iter()),
            Self::Organization => Found::Owned(names.organization.iter()),
            Self::SanDns => Found::Owned(names.san_dns.iter()),
            Self::SanUri => Found::Owned(names.san_uri.iter()),
            Self::SanEmail => Found::Owned(names.san_email.iter()),
            Self::SubjectDn => Found::one(&names.subject_dn),
            Self::Issuer => Found::one(&names.issuer),
            Self::Serial => Found::one(&names.serial),
            Self::Fingerprint => Found::one(&names.fingerprint),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(field) => {
                let name = FIELDS.iter().find(|(_, known)| known == field);
                write!(f, "cert.{}", name.map_or("", |(name, _)| name))
            }
            Self::Claim(name) => write!(f, "claim.{name}"),
            Self::Username
            | Self::ClientId
            | Self::Ip
            | Self::Listener
            | Self::Auth
            | Self::Namespace
            | Self::Protocol
            | Self::Group => {
                let name = PLAIN.iter().find(|(_, known)| known == self);
                f.write_str(name.map_or("", |(name, _)| name))
            }
        }
    }
}

/// The places where values live, as one iterator without an allocation.
#[derive(Clone)]
enum Found<'a> {
    One(Option<&'a str>),
    Owned(std::slice::Iter<'a, String>),
    Shared(std::slice::Iter<'a, Arc<str>>),
}

impl<'a> Found<'a> {
    fn one(value: &'a str) -> Self {
        Self::One(Some(value))
    }
}

impl<'a> Iterator for Found<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match self {
            Self::One(value) => value.take(),
            Self::Owned(values) => values.next().map(String::as_str),
            Self::Shared(values) => values.next().map(|value| &**value),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        let names = PLAIN
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .chain(FIELDS.iter().map(|(name, _)| format!("cert.{name}")))
            .chain([
                "claim.site".to_owned(),
                "claim.https://x.example/roles".to_owned(),
            ]);
        for name in names {
            assert_eq!(Attribute::parse(&name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn an_unknown_name_is_none() {
        for name in [
            "", "user", "Username", "cert", "cert.", "cert.cn", "claim.", "claim",
        ] {
            assert_eq!(Attribute::parse(name), None, "{name:?}");
        }
    }
}
