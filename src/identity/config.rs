//! The `authentication:` section and the `authenticate:` list of a listener. Contract sections 3 and 4.

use std::fmt;
use std::path::PathBuf;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::Method;
use super::certificate_username::UsernameFrom;
use super::client_id::ClientIdConfig;
use super::cookie::CookieConfig;
use super::jwt::JwtConfig;
use super::ldap::LdapConfig;
use crate::units::{ByteSize, Period};

/// `authentication`: how each method proves names. A method without its section cannot be listed by a listener.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthenticationConfig {
    pub certificate: CertificateConfig,
    pub password: Option<PasswordConfig>,
    pub ldap: Option<LdapConfig>,
    pub jwt: Option<JwtConfig>,
    pub cookie: CookieConfig,
    pub anonymous: AnonymousConfig,
    pub client_id: ClientIdConfig,
}

/// `authentication.certificate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateConfig {
    pub username_from: UsernameFrom,
    /// How long before `notAfter` of a live session's certificate the operator is warned.
    pub expiry_warning: Period,
    pub namespace: Option<String>,
}

impl Default for CertificateConfig {
    fn default() -> Self {
        Self {
            username_from: UsernameFrom::default(),
            expiry_warning: Period::from_days(14),
            namespace: None,
        }
    }
}

/// `authentication.password`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordConfig {
    pub file: PathBuf,
    #[serde(default)]
    pub hashing: HashingConfig,
    /// Whether a hash of another kind or cost is replaced in the file at the next good login.
    #[serde(default = "yes")]
    pub rehash: bool,
    #[serde(default)]
    pub namespace: Option<String>,
}

fn yes() -> bool {
    true
}

/// `authentication.password.hashing`: the bounds of the pool that checks passwords (IDN-12).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HashingConfig {
    /// Checks at the same time; 0: half of the processors, at least one.
    pub concurrent: u16,
    /// All checks that run together stay within it.
    pub memory: ByteSize,
    /// Checks that may wait, of all addresses.
    pub queue: u32,
    /// Checks that may wait for one address (IPv6: one /64), and as many of a user that it is known for.
    pub queue_per_ip: u32,
    pub timeout: Period,
}

impl Default for HashingConfig {
    fn default() -> Self {
        Self {
            concurrent: 0,
            memory: ByteSize::mib(256),
            queue: 4096,
            queue_per_ip: 256,
            timeout: Period::from_secs(5),
        }
    }
}

/// `authentication.anonymous`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnonymousConfig {
    pub namespace: Option<String>,
}

/// `authenticate` of a listener: steps tried in order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct AuthenticateConfig(pub Vec<Step>);

/// Methods that must all accept; most often just one. Written `password` or `{all: [certificate, password]}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step(pub Vec<Method>);

impl AuthenticateConfig {
    pub fn methods(&self) -> impl Iterator<Item = Method> {
        self.0.iter().flat_map(|step| step.0.iter().copied())
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StepVisitor)
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [method] => serializer.serialize_str(method.0),
            methods => {
                let names: Vec<&str> = methods.iter().map(|method| method.0).collect();
                serializer.collect_map([("all", names)])
            }
        }
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = Step;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a method or {all: [METHOD, METHOD]}")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Step, E> {
        method(name).map(|method| Step(vec![method]))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Step, A::Error> {
        match map.next_key::<String>()?.as_deref() {
            Some("all") => {}
            Some(other) => return Err(de::Error::unknown_field(other, &["all"])),
            None => return Err(de::Error::missing_field("all")),
        }
        let MethodNames(methods) = map.next_value()?;
        if let Some(other) = map.next_key::<String>()? {
            return Err(de::Error::unknown_field(&other, &["all"]));
        }
        if methods.len() < 2 {
            return Err(de::Error::custom("all: needs at least two methods"));
        }
        if methods.contains(&Method::ANONYMOUS) {
            return Err(de::Error::custom("all: cannot hold anonymous"));
        }
        Ok(Step(methods))
    }
}

struct MethodNames(Vec<Method>);

impl<'de> Deserialize<'de> for MethodNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = MethodNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of methods")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<MethodNames, A::Error> {
                let mut methods = Vec::new();
                while let Some(name) = names.next_element::<String>()? {
                    let method = method(&name)?;
                    if methods.contains(&method) {
                        return Err(de::Error::custom(format_args!("{method} is listed twice")));
                    }
                    methods.push(method);
                }
                Ok(MethodNames(methods))
            }
        }
        deserializer.deserialize_seq(Names)
    }
}

fn method<E: de::Error>(name: &str) -> Result<Method, E> {
    Method::listed(name).ok_or_else(|| {
        let known: Vec<&str> = Method::LISTED.iter().map(|method| method.0).collect();
        E::custom(format_args!(
            "unknown method {name:?}: one of {}",
            known.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(yaml: &str) -> Result<Vec<Vec<&'static str>>, String> {
        serde_saphyr::from_str::<AuthenticateConfig>(yaml)
            .map(|AuthenticateConfig(steps)| {
                let names = |step: Step| step.0.iter().map(|method| method.0).collect();
                steps.into_iter().map(names).collect()
            })
            .map_err(|error| error.without_snippet().to_string())
    }

    #[test]
    fn a_step_is_a_method_or_all_of_several() {
        assert_eq!(
            steps("[certificate, password]"),
            Ok(vec![vec!["certificate"], vec!["password"]])
        );
        assert_eq!(
            steps("[{all: [certificate, password]}, ldap]"),
            Ok(vec![vec!["certificate", "password"], vec!["ldap"]])
        );
        let refused = [
            ("[kerberos]", "unknown method"),
            ("[{any: [password, ldap]}]", "any"),
            ("[{all: [password]}]", "at least two"),
            ("[{all: [password, password]}]", "twice"),
            ("[{all: [password, anonymous]}]", "anonymous"),
            ("[{all: [password, ldap], or: 1}]", "or"),
            ("[{}]", "all"),
        ];
        for (yaml, part) in refused {
            match steps(yaml) {
                Ok(steps) => unreachable!("{yaml}: {steps:?}"),
                Err(error) => assert!(error.contains(part), "{yaml}: {error}"),
            }
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let rows = [
            ("password: {file: users.yaml}", true),
            (
                "certificate: {username_from: san_uri, expiry_warning: 3d}",
                true,
            ),
            ("client_id: {bind_to: username}", true),
            ("password: {}", false),
            ("password: {file: users.yaml, fiel: x}", false),
            ("certificate: {username_from: cn}", false),
            ("passwords: {file: users.yaml}", false),
        ];
        for (yaml, good) in rows {
            let read = serde_saphyr::from_str::<AuthenticationConfig>(yaml);
            assert_eq!(read.is_ok(), good, "{yaml}");
        }
    }
}
