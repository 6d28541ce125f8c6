//! `authentication.ldap`. Contract section 4

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::template::{DnTemplate, FilterTemplate};
use crate::secret::Secret;
use crate::units::Period;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LdapConfig {
    /// `ldaps://HOST[:PORT]`, or `ldap://HOST[:PORT]` with StartTLS before anything else.
    pub url: String,
    /// Only `false` on loopback or with `allow_insecure`.
    #[serde(default = "yes")]
    pub starttls: bool,
    #[serde(default)]
    pub allow_insecure: bool,
    /// What the directory's certificate must lead to; the system's roots when absent.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    pub mode: LdapMode,
    /// For `bind`.
    #[serde(default)]
    pub bind_dn_template: Option<DnTemplate>,
    /// For `search_bind`: the directory's own spelling of the name, which becomes the username.
    #[serde(default = "uid")]
    pub username_attribute: String,
    /// For `search_bind`; its `bind_dn` also searches the groups.
    #[serde(default)]
    pub search: SearchConfig,
    #[serde(default)]
    pub groups: Option<GroupsConfig>,
    /// Logins that ask the directory at the same time.
    #[serde(default = "pool")]
    pub pool: u16,
    /// Logins that may wait for their turn.
    #[serde(default = "queue")]
    pub queue: u32,
    /// Of those, for one address (IPv6: one /64).
    #[serde(default = "queue_per_ip")]
    pub queue_per_ip: u32,
    /// For a whole login.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// How long a good login need not be asked again; at most a minute, 0 for never.
    #[serde(default = "cache")]
    pub cache: Period,
    #[serde(default)]
    pub namespace: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LdapMode {
    /// The name is put into a distinguished name and that is bound.
    Bind,
    /// The entry is searched and then bound.
    SearchBind,
}

/// `authentication.ldap.search`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    pub base: String,
    pub filter: Option<FilterTemplate>,
    /// Who searches; anonymous when absent.
    pub bind_dn: Option<String>,
    #[serde(deserialize_with = "secret")]
    #[serde(skip_serializing)]
    pub bind_password: Option<Arc<Secret>>,
}

/// `authentication.ldap.groups`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GroupsConfig {
    pub base: String,
    /// `(member={dn})`; for all groups of an Active Directory `(member:1.2.840.113556.1.4.1941:={dn})`.
    pub filter: FilterTemplate,
    #[serde(default = "cn")]
    pub attribute: String,
    /// Groups of groups too, by asking again for each group found.
    #[serde(default)]
    pub nested: bool,
}

impl LdapConfig {
    pub const CACHE_MAX: Period = Period::from_secs(60);
}

// The defaults of this section: it has keys that must be given, so that it has no `Default`.
fn yes() -> bool {
    true
}

fn uid() -> String {
    "uid".to_owned()
}

fn cn() -> String {
    "cn".to_owned()
}

fn pool() -> u16 {
    8
}

fn queue() -> u32 {
    1024
}

fn queue_per_ip() -> u32 {
    64
}

fn timeout() -> Period {
    Period::from_secs(5)
}

fn cache() -> Period {
    Period::from_secs(60)
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Secret>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| Arc::new(Secret::new(text.into_bytes()))))
}
