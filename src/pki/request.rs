//! A PKCS #10 request: proof that its sender holds the key, and the names that he would like. RFC 2986

use std::net::IpAddr;

use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::oid_registry::{
    OID_PKCS9_EXTENSION_REQUEST, OID_X509_COMMON_NAME, OID_X509_EXT_SUBJECT_ALT_NAME,
    OID_X509_ORGANIZATIONAL_UNIT,
};
use x509_parser::prelude::{
    FromDer, GeneralName, ParsedCriAttribute, ParsedExtension, X509Extension,
};
use x509_parser::public_key::PublicKey;

use super::{DeviceNames, PkiError};
use crate::identity::RSA_BITS_MIN;

/// Larger than any honest request.
const LENGTH_MAX: usize = 64 << 10;

/// A public key whose owner has shown that he holds the private one.
#[derive(Debug)]
pub struct SigningRequest {
    pub(super) public_key: SubjectPublicKeyInfo,
    wanted: Wanted,
}

/// The names of a request as it says them. None is a name yet: who may have which is decided elsewhere (IDN-15).
#[derive(Debug, Default)]
struct Wanted {
    common_names: Vec<String>,
    organizational_units: Vec<String>,
    san_dns: Vec<String>,
    san_uri: Vec<String>,
    /// Names of other kinds, which no certificate of ours carries, and those that nobody can read.
    others: Vec<String>,
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

    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        if der.len() > LENGTH_MAX {
            return Err(PkiError::NotARequest);
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| PkiError::NotARequest)?;
        if !rest.is_empty() {
            return Err(PkiError::NotARequest);
        }
        // Told first: what verifies signatures takes no weak key, and would call this one unproven.
        if let Ok(PublicKey::RSA(key)) = request.certification_request_info.subject_pki.parsed()
            && key.key_size() < RSA_BITS_MIN
        {
            return Err(PkiError::WeakKey(key.key_size()));
        }
        request
            .verify_signature()
            .map_err(|_| PkiError::NoProofOfPossession)?;
        let info = &request.certification_request_info;
        let public_key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw)
            .map_err(|_| PkiError::KeyRefused)?;
        Ok(Self {
            public_key,
            wanted: Wanted::of(&request),
        })
    }

    /// The one common name that the request asks for. It is no name yet: the rules for names still have to be asked.
    pub fn common_name(&self) -> Option<&str> {
        match self.wanted.common_names.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    /// What the request asks for and `names` does not give: for the operator to know.
    pub fn beyond(&self, names: &DeviceNames) -> Vec<String> {
        let wanted = &self.wanted;
        let is_own = |name: &&String| *name != names.common_name();
        let is_unit = |unit: &&String| Some(unit.as_str()) != names.organizational_unit();
        let common_names = wanted.common_names.iter().filter(is_own);
        let units = wanted.organizational_units.iter().filter(is_unit);
        let dns = wanted
            .san_dns
            .iter()
            .filter(|name| !names.san_dns().contains(name));
        let uris = wanted
            .san_uri
            .iter()
            .filter(|uri| !names.san_uri().contains(uri));
        common_names
            .map(|name| format!("CN={name}"))
            .chain(units.map(|unit| format!("OU={unit}")))
            .chain(dns.map(|name| format!("DNS:{name}")))
            .chain(uris.map(|uri| format!("URI:{uri}")))
            .chain(wanted.others.iter().cloned())
            .collect()
    }

    /// What `names` has and the request does not ask for.
    pub(super) fn absent(&self, names: &DeviceNames) -> Vec<String> {
        let wanted = &self.wanted;
        let unit = names.organizational_unit().into_iter();
        let units = unit.filter(|unit| !wanted.organizational_units.iter().any(|own| own == unit));
        let dns = names.san_dns().iter();
        let dns = dns.filter(|name| !wanted.san_dns.contains(name));
        let uris = names.san_uri().iter();
        let uris = uris.filter(|uri| !wanted.san_uri.contains(uri));
        units
            .map(|unit| format!("OU={unit}"))
            .chain(dns.map(|name| format!("DNS:{name}")))
            .chain(uris.map(|uri| format!("URI:{uri}")))
            .collect()
    }
}

impl Wanted {
    fn of(request: &X509CertificationRequest<'_>) -> Self {
        let mut wanted = Self::default();
        let info = &request.certification_request_info;
        for attribute in info.subject.iter_attributes() {
            let oid = attribute.attr_type();
            let list = if *oid == OID_X509_COMMON_NAME {
                &mut wanted.common_names
            } else if *oid == OID_X509_ORGANIZATIONAL_UNIT {
                &mut wanted.organizational_units
            } else {
                wanted.others.push(format!(
                    "{}={}",
                    oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_string(), str::to_owned),
                    attribute.as_str().unwrap_or("…")
                ));
                continue;
            };
            match attribute.as_str() {
                Ok(text) => list.push(text.to_owned()),
                Err(_) => wanted.others.push(format!("an unreadable attribute {oid}")),
            }
        }
        for attribute in info.iter_attributes() {
            if let ParsedCriAttribute::ExtensionRequest(requested) = attribute.parsed_attribute() {
                requested.extensions.iter().for_each(|one| wanted.add(one));
            } else if attribute.oid == OID_PKCS9_EXTENSION_REQUEST {
                let unreadable = "extensions that cannot be read";
                wanted.others.push(unreadable.to_owned());
            }
        }
        wanted
    }

    /// Extensions other than names are ours to set, whatever the request says.
    fn add(&mut self, extension: &X509Extension<'_>) {
        if extension.oid != OID_X509_EXT_SUBJECT_ALT_NAME {
            return;
        }
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
            let unreadable = "alternative names that cannot be read";
            return self.others.push(unreadable.to_owned());
        };
        for name in &names.general_names {
            if let GeneralName::DNSName(name) = name {
                self.san_dns.push((*name).to_owned());
            } else if let GeneralName::URI(uri) = name {
                self.san_uri.push((*uri).to_owned());
            } else {
                self.others.push(told(name));
            }
        }
    }
}

/// As openssl writes names of other kinds.
fn told(name: &GeneralName<'_>) -> String {
    if let GeneralName::RFC822Name(address) = name {
        return format!("email:{address}");
    }
    let GeneralName::IPAddress(bytes) = name else {
        return name.to_string();
    };
    let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
    address.map_or_else(|_| name.to_string(), |address| format!("IP:{address}"))
}
