//! The password file: users, their hashes, groups and roles.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::password_hash::{Cost, StoredHash};
use super::scram::{ScramCredential, StandIns};
use crate::mqtt::Text;
use crate::problem::Problem;
use crate::yaml::{Location, Spanned, reader, tree};

/// What an administrator may do; contract section 7. Each role includes those before it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Somebody in the password file.
#[derive(Clone, Debug)]
pub struct User {
    pub hash: StoredHash,
    /// Made with the hash, from the same password.
    pub scram: Option<Arc<ScramCredential>>,
    pub groups: Vec<Arc<str>>,
    pub role: Option<Role>,
    pub disabled: bool,
}

/// A hundred thousand users and more.
const MAX_BYTES: usize = 64 << 20;

/// A whole, valid password file. There is no half of one (IDN-2).
#[derive(Debug)]
pub struct Users {
    users: BTreeMap<Arc<str>, User>,
    stand_in: StoredHash,
    scram_stand_ins: StandIns,
}

impl Users {
    /// Reads a file's text. An explicit `users: {}` admits nobody and is allowed; an empty file is a mistake (IDN-2).
    pub fn parse(file: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let root = tree::parse(file, text, MAX_BYTES)?;
        let (head, mut problems) = reader::read::<Head>(&root);
        let mut users = BTreeMap::new();
        let written = root.get("users").map_or(&[][..], |all| all.node.entries());
        for tree::Entry { key, place, node } in written {
            let mut problem = |at: Location, message: &str| {
                let message = format!("user {key:?}: {message}");
                problems.push(Problem::new(file, at.line(), at.column(), message));
            };
            match reader::read::<Entry>(node) {
                (Some(entry), found) if found.is_empty() => match user(key, entry) {
                    Ok(user) => {
                        users.insert(Arc::from(key.as_str()), user);
                    }
                    Err(found) => found.into_iter().for_each(|(at, message)| {
                        problem(at.unwrap_or(Location::of(place)), &message);
                    }),
                },
                (_, found) => found.into_iter().for_each(|found| {
                    problem(Location::new(found.line, found.column), &found.message);
                }),
            }
        }
        let Some(head) = head.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        let scram_stand_ins = scram_stand_ins(&users, head.scram_secret.as_deref(), text);
        let stand_in = stand_in(&users).map_err(|message| vec![Problem::whole(file, message)])?;
        Ok(Self {
            users,
            stand_in,
            scram_stand_ins,
        })
    }

    pub fn get(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &User)> {
        self.users.iter()
    }

    /// Whether everybody may do what he may do in `other`: the same names with the same groups and roles, and the same disabled. Passwords aside.
    pub fn stand_as_in(&self, other: &Self) -> bool {
        self.standing().eq(other.standing())
    }

    fn standing(&self) -> impl Iterator<Item = (&Arc<str>, &[Arc<str>], Option<Role>, bool)> {
        let users = self.users.iter();
        users.map(|(name, user)| (name, user.groups.as_slice(), user.role, user.disabled))
    }

    /// What to check for a name that nobody has, so that it costs what most users cost. Its verdict is never looked at (IDN-12).
    pub fn stand_in(&self) -> &StoredHash {
        &self.stand_in
    }

    /// What to challenge a name with that has no credential of its own (IDN-12).
    pub fn scram_stand_ins(&self) -> &StandIns {
        &self.scram_stand_ins
    }

    /// The largest memory that one check needs.
    pub fn kib_max(&self) -> u32 {
        let users = self.users.values().map(|user| &user.hash);
        users
            .chain([&self.stand_in])
            .map(|hash| hash.cost().kib)
            .max()
            .unwrap_or(0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    #[serde(rename = "users")]
    _users: ByName,
    #[serde(default)]
    scram_secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    hash: Spanned<String>,
    #[serde(default)]
    scram: Option<Spanned<String>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    disabled: bool,
}

/// A mapping, whatever is in it: each user is read by himself.
struct ByName;

impl<'de> Deserialize<'de> for ByName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByNameVisitor;
        impl<'de> Visitor<'de> for ByNameVisitor {
            type Value = ByName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("users by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByName, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(ByName)
            }
        }
        // Not `deserialize_map`: that reads a bare `users:` as nobody, and nobody has to be said (IDN-2).
        deserializer.deserialize_any(ByNameVisitor)
    }
}

fn user(name: &str, entry: Entry) -> Result<User, Vec<(Option<Location>, String)>> {
    let mut problems = Vec::new();
    if let Err(reason) = check_username(name) {
        problems.push((None, reason.to_owned()));
    }
    for group in &entry.groups {
        if let Err(reason) = check_username(&group.value) {
            problems.push((Some(group.at), format!("group: {reason}")));
        }
    }
    let scram = entry.scram.and_then(|text| {
        ScramCredential::parse(&text.value)
            .map_err(|error| problems.push((Some(text.at), error.to_string())))
            .ok()
            .map(Arc::new)
    });
    match StoredHash::parse(&entry.hash.value) {
        Ok(hash) if problems.is_empty() => Ok(User {
            hash,
            scram,
            groups: entry
                .groups
                .into_iter()
                .map(|group| Arc::from(group.value))
                .collect(),
            role: entry.role,
            disabled: entry.disabled,
        }),
        Ok(_) => Err(problems),
        Err(error) => {
            problems.push((Some(entry.hash.at), error.to_string()));
            Err(problems)
        }
    }
}

/// What a username or group must be to be written down at all.
pub fn check_username(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the name is empty");
    }
    if name.trim() != name {
        return Err("the name begins or ends with a blank");
    }
    if name.len() > 256 {
        return Err("the name is longer than 256 bytes");
    }
    if Text::try_from(name).is_err() {
        return Err("the name holds a control character");
    }
    Ok(())
}

/// A file without a secret of its own, which `wardgate user` writes, is itself the secret: it holds salts and hashes that nobody knows.
fn scram_stand_ins(users: &BTreeMap<Arc<str>, User>, secret: Option<&str>, text: &str) -> StandIns {
    let mut frequency = BTreeMap::new();
    for credential in users.values().filter_map(|user| user.scram.as_ref()) {
        let count = frequency.entry(credential.iterations()).or_insert(0usize);
        *count = count.saturating_add(1);
    }
    let most = frequency.into_iter().max_by_key(|(_, count)| *count);
    StandIns::new(
        secret.unwrap_or(text).as_bytes(),
        most.map(|(iterations, _)| iterations),
    )
}

/// A user's hash of the most frequent cost.
fn stand_in(users: &BTreeMap<Arc<str>, User>) -> Result<StoredHash, String> {
    let mut frequency: BTreeMap<Cost, (usize, &StoredHash)> = BTreeMap::new();
    for user in users.values() {
        let (count, _) = frequency.entry(user.hash.cost()).or_insert((0, &user.hash));
        *count = count.saturating_add(1);
    }
    match frequency.into_values().max_by_key(|(count, _)| *count) {
        Some((_, hash)) => Ok(hash.clone()),
        None => super::password_hash::placeholder().map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
