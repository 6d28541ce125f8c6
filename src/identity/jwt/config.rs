//! `authentication.jwt`. Contract section 4

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::acl::{AclMode, AclRules};
use super::algorithm::Algorithm;
use super::claims::Rules;
use crate::address::Cidr;
use crate::identity::Method;
use crate::units::{ByteSize, Period};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    pub keys: Vec<JwtKeyConfig>,
    pub jwks: Option<JwksConfig>,
    pub issuer: OneOrMore,
    pub audience: OneOrMore,
    pub leeway: Period,
    /// What `exp` may at most lie ahead.
    pub max_lifetime: Period,
    pub username_claim: String,
    pub client_id_claim: Option<String>,
    pub groups_claim: Option<String>,
    /// A list of statements that the token brings along.
    pub acl_claim: Option<String>,
    /// What that list does; it narrows unless it is said to grant.
    pub acl_mode: Option<AclMode>,
    pub namespace: Option<String>,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            jwks: None,
            issuer: OneOrMore::default(),
            audience: OneOrMore::default(),
            leeway: Period::from_secs(30),
            max_lifetime: Period::from_hours(24 * 366),
            username_claim: "sub".to_owned(),
            client_id_claim: None,
            groups_claim: None,
            acl_claim: None,
            acl_mode: None,
            namespace: None,
        }
    }
}

/// One of `authentication.jwt.keys`: a key and the only algorithm that it verifies.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwtKeyConfig {
    #[serde(default)]
    pub kid: Option<String>,
    pub alg: Algorithm,
    /// For HS256, HS384, HS512: raw bytes, less one line's end.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// For all others: PEM.
    #[serde(default)]
    pub public_key_file: Option<PathBuf>,
}

/// `authentication.jwt.jwks`: public keys that their issuer changes now and then.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwksConfig {
    pub file: Option<PathBuf>,
    /// https only.
    pub url: Option<String>,
    /// What `url`'s certificate must lead to; the system's roots when absent.
    pub ca: Option<PathBuf>,
    pub algorithms: Vec<Algorithm>,
    pub refresh: Period,
    /// How long the last good keys are believed when the issuer cannot be reached (IDN-10).
    pub keep: Period,
    pub timeout: Period,
    pub max_size: ByteSize,
    /// Private, loopback and link-local addresses that `url` may lead to all the same (GWY-4).
    pub allow_addresses: Vec<Cidr>,
}

impl Default for JwksConfig {
    fn default() -> Self {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Rs256, Rs384};
        Self {
            file: None,
            url: None,
            ca: None,
            algorithms: vec![Rs256, Rs384, Ps256, Ps384, Es256, Es384, EdDsa],
            refresh: Period::from_minutes(10),
            keep: Period::from_hours(24),
            timeout: Period::from_secs(10),
            max_size: ByteSize::kib(256),
            allow_addresses: Vec::new(),
        }
    }
}

/// A text or a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OneOrMore(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> serde::de::Visitor<'de> for Texts {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<OneOrMore, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMore(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

impl JwtConfig {
    /// At most a minute: leeway is for clocks, not for lives.
    pub const LEEWAY_MAX: Period = Period::from_secs(60);

    pub fn rules(&self) -> Rules {
        Rules {
            issuers: self.issuer.0.clone(),
            audiences: self.audience.0.clone(),
            leeway: self.leeway.get().min(Self::LEEWAY_MAX.get()),
            lifetime_max: self.max_lifetime.get(),
            username_claim: self.username_claim.clone(),
            client_id_claim: self.client_id_claim.clone(),
            groups_claim: self.groups_claim.clone(),
            acl: self.acl(),
        }
    }

    /// Two issuers' `alice` are two people, unless the names are said to be one (IDN-4).
    pub fn namespace(&self, issuer: Option<&str>) -> String {
        match (&self.namespace, issuer) {
            (Some(namespace), _) => namespace.clone(),
            (None, Some(issuer)) => format!("{}:{issuer}", Method::JWT),
            (None, None) => Method::JWT.0.to_owned(),
        }
    }

    pub fn acl(&self) -> Option<AclRules> {
        Some(AclRules {
            claim: self.acl_claim.clone()?,
            mode: self.acl_mode.unwrap_or(AclMode::Narrow),
        })
    }
}
