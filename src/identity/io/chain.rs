//! The authenticators of one listener, asked in order.

use std::sync::Arc;

use super::anonymous::Anonymous;
use super::certificate::Certificate;
use super::cookie::Cookie;
use super::jwt::Jwt;
use super::ldap::Ldap;
use super::password::Password;
use super::scram::{Scram, ScramServer};
use super::{Authenticator, BackEnds};
use crate::identity::scram;
use crate::identity::{
    AuthenticateConfig, Credentials, Identity, Method, Proof, Rejection, Step, UsernameFrom,
};

/// `authenticate` of a listener, ready to be asked.
pub struct Chain {
    steps: Vec<Asked>,
    scram: Option<ScramServer>,
}

/// Authenticators that must all accept.
struct Asked {
    methods: Vec<Method>,
    authenticators: Vec<Box<dyn Authenticator>>,
}

/// What a v5 client may name as its Authentication Method. MQTT 5.0 section 4.12
pub enum Enhanced {
    /// A token as Authentication Data, without an exchange.
    Jwt,
    Scram(ScramServer),
}

/// Why a listener's `authenticate` cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("authenticate: the list is empty, so nobody could log in")]
    Empty,
    #[error("authenticate: {0} needs the section `authentication.{0}`")]
    NotConfigured(Method),
    #[error("authenticate: {0} is not available in this version")]
    Unavailable(Method),
    #[error("authenticate: {0} is listed twice")]
    Twice(Method),
    #[error(
        "authenticate: certificate with `username_from: none` names nobody; use {{all: [certificate, …]}}"
    )]
    NamesNobody,
}

impl Chain {
    pub fn build(config: &AuthenticateConfig, back_ends: &BackEnds) -> Result<Self, ChainError> {
        if config.0.is_empty() {
            return Err(ChainError::Empty);
        }
        let mut steps = Vec::new();
        for (index, step) in config.0.iter().enumerate() {
            let (earlier, rest) = config.0.split_at(index);
            if earlier.contains(step) {
                return Err(ChainError::Twice(
                    step.0.first().copied().unwrap_or(Method::ANONYMOUS),
                ));
            }
            let later = rest.get(1..).unwrap_or_default();
            let place = Place {
                joined: step.0.len() > 1,
                sole: config.0.len() == 1,
                // Only the directory takes names that the file does not have.
                directory_follows: later.iter().any(|step| step.0.contains(&Method::LDAP)),
            };
            steps.push(Asked {
                methods: step.0.clone(),
                authenticators: authenticators(step, &place, back_ends)?,
            });
        }
        let password = back_ends.password.as_ref();
        let scram = password
            .filter(|_| config.methods().any(|method| method == Method::SCRAM))
            .map(|password| ScramServer {
                users: password.users.clone(),
            });
        Ok(Self { steps, scram })
    }

    /// What is offered under the name that a client gives as its Authentication Method.
    pub fn enhanced(&self, name: &str) -> Option<Enhanced> {
        match name {
            scram::NAME => self.scram.clone().map(Enhanced::Scram),
            JWT => self.offers(Method::JWT).then_some(Enhanced::Jwt),
            _ => None,
        }
    }

    pub fn offers(&self, method: Method) -> bool {
        self.steps.iter().any(|step| step.methods.contains(&method))
    }

    /// Who this is. The first step whose methods all claim the credentials decides; nobody claiming them is a refusal. Whether a step claims is told before
    /// any of its methods works, so that a good password without the certificate beside it tells nothing.
    pub async fn identify(&self, credentials: Credentials) -> Result<Identity, Rejection> {
        let claims = |step: &&Asked| {
            // Who demands a method is not let in by a weaker one that happens to fit as well.
            credentials
                .demanded
                .is_none_or(|method| step.methods.contains(&method))
                && step
                    .authenticators
                    .iter()
                    .all(|authenticator| authenticator.claims(&credentials))
        };
        let Some(step) = self.steps.iter().find(claims) else {
            return Err(if credentials.offers_nothing() {
                Rejection::NoCredentials
            } else {
                Rejection::NobodyAnswered
            });
        };
        let mut proofs = Vec::with_capacity(step.authenticators.len());
        for authenticator in &step.authenticators {
            proofs.push(authenticator.authenticate(&credentials).await?);
        }
        Proof::join(proofs)
    }
}

/// The Authentication Method that brings a token.
const JWT: &str = "JWT";

/// Where an authenticator stands in its listener's list.
struct Place {
    joined: bool,
    sole: bool,
    directory_follows: bool,
}

fn authenticators(
    step: &Step,
    place: &Place,
    back_ends: &BackEnds,
) -> Result<Vec<Box<dyn Authenticator>>, ChainError> {
    step.0
        .iter()
        .map(|method| authenticator(*method, place, back_ends))
        .collect()
}

fn authenticator(
    method: Method,
    place: &Place,
    back_ends: &BackEnds,
) -> Result<Box<dyn Authenticator>, ChainError> {
    let config = &back_ends.config;
    match method {
        Method::ANONYMOUS => Ok(Box::new(Anonymous {
            namespace: namespace(method, config.anonymous.namespace.as_deref()),
            sole: place.sole,
        })),
        Method::CERTIFICATE => {
            let username_from = config.certificate.username_from;
            if username_from == UsernameFrom::None && !place.joined {
                return Err(ChainError::NamesNobody);
            }
            Ok(Box::new(Certificate {
                namespace: namespace(method, config.certificate.namespace.as_deref()),
                username_from,
                joined: place.joined,
            }))
        }
        Method::PASSWORD => {
            let (Some(section), Some(back_end)) = (&config.password, &back_ends.password) else {
                return Err(ChainError::NotConfigured(method));
            };
            Ok(Box::new(Password {
                namespace: namespace(method, section.namespace.as_deref()),
                users: back_end.users.clone(),
                hashing: back_end.hashing.clone(),
                rehash: section.rehash,
                rehashing: back_end.rehashing.clone(),
                others_follow: place.directory_follows,
            }))
        }
        Method::SCRAM => {
            let (Some(section), Some(back_end)) = (&config.password, &back_ends.password) else {
                return Err(ChainError::NotConfigured(Method::PASSWORD));
            };
            // The same people under the same names, however they prove the password.
            Ok(Box::new(Scram {
                namespace: namespace(Method::PASSWORD, section.namespace.as_deref()),
                users: back_end.users.clone(),
            }))
        }
        Method::JWT => {
            let (Some(section), Some(keys)) = (&config.jwt, &back_ends.jwt) else {
                return Err(ChainError::NotConfigured(method));
            };
            Ok(Box::new(Jwt {
                config: section.clone(),
                rules: section.rules(),
                keys: keys.clone(),
            }))
        }
        Method::LDAP => {
            let (Some(section), Some(directory)) = (&config.ldap, &back_ends.ldap) else {
                return Err(ChainError::NotConfigured(method));
            };
            Ok(Box::new(Ldap {
                namespace: namespace(method, section.namespace.as_deref()),
                directory: directory.clone(),
            }))
        }
        Method::COOKIE => Ok(Box::new(Cookie {
            logins: back_ends.logins.clone(),
            users: back_ends
                .password
                .as_ref()
                .map(|password| password.users.clone()),
        })),
        other => Err(ChainError::Unavailable(other)),
    }
}

/// Two methods are two worlds of names unless the configuration says that they are one (IDN-4).
fn namespace(method: Method, configured: Option<&str>) -> Arc<str> {
    Arc::from(configured.unwrap_or(method.0))
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
