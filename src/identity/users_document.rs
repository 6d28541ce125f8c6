//! The password file as its commands edit it: read, changed, written whole.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::Users;
use super::users::Role;
use crate::problem::Problem;

/// Users with their hashes as text. Made only from files that [`Users`] accepts, and written only as such.
#[derive(Clone, Default, Deserialize)]
pub struct UsersDocument {
    /// What challenges for unknown names are made of; kept, so that they stay the same.
    #[serde(default)]
    pub scram_secret: Option<String>,
    pub users: BTreeMap<String, UserEntry>,
}

#[derive(Clone, Default, Deserialize)]
pub struct UserEntry {
    pub hash: String,
    #[serde(default)]
    pub scram: Option<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default)]
    pub role: Option<Role>,
    #[serde(default)]
    pub disabled: bool,
}

/// Without its secret.
impl std::fmt::Debug for UsersDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsersDocument")
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

/// Without the hash.
impl std::fmt::Debug for UserEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserEntry")
            .field("groups", &self.groups)
            .field("role", &self.role)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

impl UsersDocument {
    pub fn parse(file: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        Users::parse(file, text)?;
        serde_saphyr::from_str(text)
            .map_err(|error| vec![Problem::whole(file, error.without_snippet().to_string())])
    }

    /// The file's text; refused when it would not be accepted again.
    pub fn to_text(&self, file: &Path) -> Result<String, Vec<Problem>> {
        let mut text = String::from("# Changed by `wardgate user`, which keeps no comments.\n");
        if let Some(secret) = &self.scram_secret {
            text.push_str(&format!("scram_secret: {}\n", quoted(secret)));
        }
        if self.users.is_empty() {
            text.push_str("users: {}\n");
        } else {
            text.push_str("users:\n");
        }
        for (name, entry) in &self.users {
            text.push_str(&format!(
                "  {}:\n    hash: {}\n",
                quoted(name),
                quoted(&entry.hash)
            ));
            if let Some(scram) = &entry.scram {
                text.push_str(&format!("    scram: {}\n", quoted(scram)));
            }
            if !entry.groups.is_empty() {
                let groups: Vec<_> = entry.groups.iter().map(|group| quoted(group)).collect();
                text.push_str(&format!("    groups: [{}]\n", groups.join(", ")));
            }
            if let Some(role) = entry.role {
                text.push_str(&format!("    role: {}\n", role.name()));
            }
            if entry.disabled {
                text.push_str("    disabled: true\n");
            }
        }
        Users::parse(file, &text)?;
        Ok(text)
    }
}

/// A JSON string is a YAML double-quoted scalar. YAML 1.2.2 section 1.2
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::identity::scram::ScramCredential;

    #[test]
    fn what_is_written_is_read_again() {
        let file = Path::new("users.yaml");
        let hash = super::super::password_hash::hash(b"secret", &[7; 16]).unwrap();
        let scram = ScramCredential::derive(b"secret", &[7; 16])
            .unwrap()
            .to_text();
        let mut document = UsersDocument {
            scram_secret: Some("c2VjcmV0".to_owned()),
            ..UsersDocument::default()
        };
        assert_eq!(
            UsersDocument::parse(file, &document.to_text(file).unwrap())
                .unwrap()
                .users
                .len(),
            0
        );
        let names = [
            "alice",
            "true",
            "a: b",
            "- a",
            "#a",
            "\"quoted\"",
            "ü\u{1f600}",
            "a\\b",
            "{a}",
            "null",
            "1",
        ];
        for name in names {
            let entry = UserEntry {
                hash: hash.clone(),
                scram: (name == "alice").then(|| scram.clone()),
                groups: vec![name.to_owned(), "staff".to_owned()],
                role: Some(Role::Admin),
                disabled: name == "alice",
            };
            document.users.insert(name.to_owned(), entry);
        }
        let text = document.to_text(file).unwrap();
        let again = UsersDocument::parse(file, &text).unwrap();
        assert_eq!(again.to_text(file).unwrap(), text);
        for name in names {
            assert_eq!(
                again.users.get(name).unwrap().groups,
                [name, "staff"],
                "{name:?}"
            );
        }
        assert!(again.users.get("alice").unwrap().disabled);
        let said = format!("{again:?}");
        for secret in ["argon2id", "SCRAM", "c2VjcmV0"] {
            assert!(!said.contains(secret), "{secret}");
        }
        document
            .users
            .insert("a\nb".to_owned(), again.users.get("1").unwrap().clone());
        assert!(document.to_text(file).is_err());
    }
}
