//! API tokens: made once, shown once, kept as hashes in a file that every command and a running node may share.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::identity::Role;
use crate::pki::files;

/// The tokens of a file, read again when it changes.
pub struct Tokens {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    stamp: Option<Stamp>,
    tokens: Vec<Token>,
}

/// What tells that the file was replaced.
type Stamp = (u64, u64, i64, i64);

/// A line of the file. The token itself is 256 random bits, so a plain hash keeps it as well as a slow one would.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub(super) id: String,
    pub(super) role: Role,
    /// SHA-256, base64url.
    #[serde(rename = "sha256")]
    hash: String,
    /// Seconds since 1970.
    pub(super) created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<u64>,
}

pub(super) struct TokenFacts {
    pub(super) id: String,
    pub(super) role: Role,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum TokenRejection {
    #[error("not a token of this node")]
    Unknown,
    #[error("token {0} has expired")]
    Expired(String),
    #[error("the file of tokens cannot be read: {0}")]
    File(io::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{}: {source}", file.display())]
    File {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there are {MOST} tokens: remove one")]
    TooMany,
}

impl Tokens {
    /// Where a node keeps them.
    pub fn in_folder(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join("tokens.json"),
            read: Mutex::default(),
        }
    }

    /// Makes a token. It is nowhere but in the answer.
    pub fn create(
        &self,
        role: Role,
        lifetime: Option<Duration>,
        now: SystemTime,
    ) -> Result<String, TokenError> {
        let mut tokens = self.all(now)?;
        if tokens.len() >= MOST {
            return Err(TokenError::TooMany);
        }
        let id = format!("{:08x}", rand::random::<u32>());
        let token = format!(
            "{PREFIX}{id}_{}",
            URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
        );
        tokens.push(Token {
            id,
            role,
            hash: hash(&token),
            created: unix(now),
            expires: lifetime.map(|lifetime| unix(now).saturating_add(lifetime.as_secs())),
        });
        self.write(&tokens)?;
        Ok(token)
    }

    /// False: there is none of that id.
    pub(super) fn revoke(&self, id: &str, now: SystemTime) -> Result<bool, TokenError> {
        let mut tokens = self.all(now)?;
        let before = tokens.len();
        tokens.retain(|token| token.id != id);
        if tokens.len() == before {
            return Ok(false);
        }
        self.write(&tokens)?;
        Ok(true)
    }

    /// All that have not expired.
    pub(super) fn all(&self, now: SystemTime) -> Result<Vec<Token>, TokenError> {
        let mut read = self.read.lock();
        self.refresh(&mut read)
            .map_err(|source| self.failed(source))?;
        let tokens = read.tokens.iter();
        Ok(tokens
            .filter(|token| token.expires.is_none_or(|end| end > unix(now)))
            .cloned()
            .collect())
    }

    pub(super) fn verify(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<TokenFacts, TokenRejection> {
        let mut read = self.read.lock();
        // A file that cannot be read admits nobody.
        self.refresh(&mut read).map_err(TokenRejection::File)?;
        let given = hash(token);
        let known = read
            .tokens
            .iter()
            .find(|token| token.hash.as_bytes().ct_eq(given.as_bytes()).into());
        let known = known.ok_or(TokenRejection::Unknown)?;
        if known.expires.is_some_and(|end| end <= unix(now)) {
            return Err(TokenRejection::Expired(known.id.clone()));
        }
        Ok(TokenFacts {
            id: known.id.clone(),
            role: known.role,
        })
    }

    fn refresh(&self, read: &mut Read) -> io::Result<()> {
        let stamp = match std::fs::metadata(&self.path) {
            Ok(metadata) => (
                metadata.ino(),
                metadata.len(),
                metadata.mtime(),
                metadata.mtime_nsec(),
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *read = Read::default();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if read.stamp == Some(stamp) {
            return Ok(());
        }
        // Nothing of the old file holds while the new one is not understood.
        *read = Read::default();
        let text = std::fs::read_to_string(&self.path)?;
        read.tokens = serde_json::from_str(&text).map_err(io::Error::other)?;
        read.stamp = Some(stamp);
        Ok(())
    }

    fn write(&self, tokens: &[Token]) -> Result<(), TokenError> {
        let written = serde_json::to_vec_pretty(tokens).map_err(io::Error::other);
        let written = written.and_then(|bytes| files::rewrite(&self.path, &bytes));
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> TokenError {
        TokenError::File {
            file: self.path.clone(),
            source,
        }
    }
}

fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))
}

fn unix(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Tells what it is to whoever finds one, and to scanners for secrets.
const PREFIX: &str = "wardgate_";
const MOST: usize = 1000;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_as_a_hash_and_read_by_whoever_shares_the_file() {
        let folder =
            std::env::temp_dir().join(format!("wardgate-tokens-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let (command, node) = (Tokens::in_folder(&folder), Tokens::in_folder(&folder));
        assert!(node.verify("", now).is_err());
        let operator = command.create(Role::Operator, None, now).unwrap();
        let short = command
            .create(Role::Viewer, Some(Duration::from_secs(60)), now)
            .unwrap();
        let role = |token: &str, after| {
            node.verify(token, now + Duration::from_secs(after))
                .ok()
                .map(|facts| facts.role)
        };
        let file = std::fs::read_to_string(folder.join("tokens.json")).unwrap();
        assert!(!file.contains(&operator), "the file gives no token away");
        let cut = operator.get(..operator.len() - 1).unwrap();
        let rows = [
            (operator.as_str(), 0, Some(Role::Operator)),
            (operator.as_str(), 100_000, Some(Role::Operator)),
            (&short, 59, Some(Role::Viewer)),
            (&short, 60, None),
            (cut, 0, None),
            ("", 0, None),
            ("wardgate_", 0, None),
        ];
        for (token, after, expected) in rows {
            assert_eq!(role(token, after), expected, "{token} after {after} s");
        }
        let id = node.all(now).unwrap().first().unwrap().id.clone();
        assert!(command.revoke(&id, now).unwrap() && !command.revoke(&id, now).unwrap());
        assert_eq!(role(&operator, 0), None);
        std::fs::write(folder.join("tokens.json"), "{").unwrap();
        assert_eq!(role(&short, 0), None, "a damaged file admits nobody");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
