//! What one authenticator proves, and how several that are all required become one identity.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::jwt::{KeyPrint, TokenAcl};
use super::{CertificateNames, Identity, Method, Part, Rejection, union};

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
    pub acl: Option<Arc<TokenAcl>>,
    pub token_key: Option<KeyPrint>,
    pub valid_until: Option<SystemTime>,
    pub login: Option<Arc<str>>,
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
            acl: None,
            token_key: None,
            valid_until: None,
            login: None,
        }
    }

    /// Joins the proofs of an `all:`. Every one that names a user must name the same; the first that does gives method and name space; groups and claims are
    /// those of all together, and the end of the first proof to end is the end of the identity (IDN-11).
    pub fn join(proofs: Vec<Self>) -> Result<Identity, Rejection> {
        let mut named: Option<(Method, Arc<str>, Arc<str>)> = None;
        let mut parts = Vec::with_capacity(proofs.len());
        let (mut certificate, mut valid_until, mut login) = (None, None, None);
        let (mut acl, mut token_key) = (None, None);
        let mut claims: BTreeMap<String, Vec<String>> = BTreeMap::new();
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
            for (name, values) in proof.claims {
                claims.entry(name).or_default().extend(values);
            }
            certificate = certificate.or(proof.certificate);
            valid_until = earlier(valid_until, proof.valid_until);
            login = login.or(proof.login);
            // `all:` lists a method once, so that there is one token at most.
            acl = acl.or(proof.acl);
            token_key = token_key.or(proof.token_key);
            parts.push(Part {
                method: proof.method,
                groups: proof.groups,
            });
        }
        let (method, namespace, username) = named.ok_or(Rejection::NamesNobody)?;
        Ok(Identity {
            groups: union(parts.iter().map(|part| part.groups.as_slice())),
            parts: if parts.len() > 1 { parts } else { Vec::new() },
            certificate,
            claims,
            acl,
            token_key,
            valid_until,
            login,
            ..Identity::new(method, namespace, username)
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
#[expect(clippy::unwrap_used, reason = "tests")]
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

    #[test]
    fn idn_11_each_method_of_all_keeps_its_own_groups() {
        let groups = |names: &[&str]| -> Vec<Arc<str>> {
            names.iter().map(|name| Arc::from(*name)).collect()
        };
        let with = |method, names: &[&str]| Proof {
            groups: groups(names),
            ..proof(method, Some("alice"))
        };
        let alone = Proof::join(vec![with(Method::LDAP, &["a"])]).unwrap();
        assert!(alone.parts.is_empty() && alone.rests_on(Method::LDAP));
        let both = vec![
            with(Method::JWT, &["a", "b"]),
            with(Method::LDAP, &["b", "c"]),
        ];
        let both = Proof::join(both).unwrap();
        assert_eq!(both.groups, groups(&["a", "b", "c"]));
        assert!(both.rests_on(Method::JWT) && both.rests_on(Method::LDAP));
        assert!(!both.rests_on(Method::COOKIE));
        let directory_now = |now: &[&str], identity: &Identity| {
            let now = groups(now);
            let regrouped = identity.regrouped(|method, own| {
                let of_directory = method == Method::LDAP;
                Ok::<_, ()>(if of_directory {
                    now.clone()
                } else {
                    own.to_vec()
                })
            });
            regrouped.unwrap().map(|identity| identity.groups)
        };
        assert_eq!(directory_now(&["b", "c"], &both), None);
        // What the token gave stays, though the directory gave it too.
        assert_eq!(directory_now(&["d"], &both), Some(groups(&["a", "b", "d"])));
        assert_eq!(directory_now(&["d"], &alone), Some(groups(&["d"])));
        assert_eq!(both.regrouped(|_, _| Err(())).map(drop), Err(()));
    }
}
