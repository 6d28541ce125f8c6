//! What one authenticator proves, and how several that are all required become one identity.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::{CertificateNames, Identity, Method, Rejection};

/// What one authenticator has proved. It becomes an [`Identity`] once it names somebody.
#[derive(Clone, Debug)]
pub struct Proof {
    pub method: Method,
    pub namespace: Arc<str>,
    /// `None` only where `username_from: none` leaves the naming to another method.
    pub username: Option<Arc<str>>,
    pub groups: Vec<Arc<str>>,
    pub certificate: Option<Arc<CertificateNames>>,
    pub claims: BTreeMap<String, Vec<String>>,
    pub valid_until: Option<SystemTime>,
}

impl Proof {
    pub fn new(method: Method, namespace: Arc<str>, username: Option<Arc<str>>) -> Self {
        Self {
            method,
            namespace,
            username,
            groups: Vec::new(),
            certificate: None,
            claims: BTreeMap::new(),
            valid_until: None,
        }
    }

    /// Joins the proofs of an `all:`. Every one that names a user must name the same; the first that does gives method and name space; groups and claims are
    /// those of all together, and the end of the first proof to end is the end of the identity (IDN-11).
    pub fn join(proofs: Vec<Self>) -> Result<Identity, Rejection> {
        let mut named: Option<(Method, Arc<str>, Arc<str>)> = None;
        let mut groups: Vec<Arc<str>> = Vec::new();
        let mut certificate = None;
        let mut claims: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut valid_until = None;
        for proof in proofs {
            if let Some(username) = proof.username {
                match &named {
                    Some((method, _, first)) if **first != *username => {
                        return Err(Rejection::DifferentUsers {
                            first_method: *method,
                            first: first.to_string(),
                            second_method: proof.method,
                            second: username.to_string(),
                        });
                    }
                    Some(_) => {}
                    None => named = Some((proof.method, proof.namespace, username)),
                }
            }
            for group in proof.groups {
                if !groups.contains(&group) {
                    groups.push(group);
                }
            }
            for (name, values) in proof.claims {
                claims.entry(name).or_default().extend(values);
            }
            certificate = certificate.or(proof.certificate);
            valid_until = earlier(valid_until, proof.valid_until);
        }
        let (method, namespace, username) = named.ok_or(Rejection::NamesNobody)?;
        Ok(Identity {
            namespace,
            username,
            method,
            groups,
            certificate,
            claims,
            valid_until,
        })
    }
}

fn earlier(one: Option<SystemTime>, other: Option<SystemTime>) -> Option<SystemTime> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (Some(time), None) | (None, Some(time)) => Some(time),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn proof(method: Method, username: Option<&str>) -> Proof {
        Proof::new(method, Arc::from(method.0), username.map(Arc::from))
    }

    fn joined(proofs: Vec<Proof>) -> Result<(String, String), Rejection> {
        Proof::join(proofs).map(|identity| {
            (
                identity.namespace.to_string(),
                identity.username.to_string(),
            )
        })
    }

    #[test]
    fn all_must_name_the_same_user() {
        let certificate = |name| proof(Method::CERTIFICATE, name);
        let password = |name| proof(Method::PASSWORD, name);
        let ok = |namespace: &str| Ok((namespace.to_owned(), "alice".to_owned()));
        assert_eq!(joined(vec![certificate(Some("alice"))]), ok("certificate"));
        assert_eq!(
            joined(vec![certificate(Some("alice")), password(Some("alice"))]),
            ok("certificate")
        );
        assert_eq!(
            joined(vec![certificate(None), password(Some("alice"))]),
            ok("password")
        );
        assert_eq!(joined(vec![certificate(None)]), Err(Rejection::NamesNobody));
        assert!(matches!(
            joined(vec![certificate(Some("alice")), password(Some("Alice"))]),
            Err(Rejection::DifferentUsers { .. })
        ));
    }

    #[test]
    fn idn_11_the_first_proof_to_end_ends_the_identity() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let mut one = proof(Method::CERTIFICATE, Some("alice"));
        let mut other = proof(Method::PASSWORD, Some("alice"));
        let rows = [
            (None, None, None),
            (at(5), None, at(5)),
            (None, at(7), at(7)),
            (at(5), at(7), at(5)),
        ];
        for (first, second, expected) in rows {
            one.valid_until = first;
            other.valid_until = second;
            let identity = Proof::join(vec![one.clone(), other.clone()]);
            assert_eq!(identity.map(|identity| identity.valid_until), Ok(expected));
        }
    }
}
