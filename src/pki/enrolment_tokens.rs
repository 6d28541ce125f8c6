//! One-time tokens, each for the first certificate of one name: shown once, kept as hashes, gone when used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use super::authority::whole_seconds;
use super::ledger::LockedLedger;
use super::{DeviceNames, EnrolmentError, InvalidName, PkiError, files};

const FILE: &str = "enrolment.json";
/// Tells what it is to whoever finds one, and to scanners for secrets.
const PREFIX: &str = "wardgate_enrol_";
const MOST: usize = 10_000;
/// Longer, and it would be a password.
const VALID_MAX: Duration = Duration::from_secs(30 * 86_400);

/// By name: a name has one token at a time, and a new one ends the one before.
#[derive(Debug, Default)]
pub(super) struct EnrolmentTokens {
    path: PathBuf,
    tokens: BTreeMap<String, Token>,
}

/// The token itself is 256 random bits, so a plain hash keeps it as well as a slow one would.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    /// SHA-256, base64url.
    sha256: String,
    #[serde(with = "time::serde::rfc3339")]
    expires: OffsetDateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organizational_unit: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    san_dns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    san_uri: Vec<String>,
}

/// What a token is looked up by. Nobody can make the token of it.
#[derive(Clone, Debug)]
pub(super) struct TokenHash(String);

impl TokenHash {
    pub(super) fn of(token: &[u8]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(digest(&SHA256, token)))
    }
}

impl EnrolmentTokens {
    pub(super) fn read(folder: &Path) -> Result<Self, PkiError> {
        let path = folder.join(FILE);
        let read = files::read_if_there(&path).map_err(PkiError::file(&path))?;
        let tokens = read.map(|text| serde_json::from_slice(&text)).transpose();
        let tokens = tokens.map_err(|error| PkiError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            path,
            tokens: tokens.unwrap_or_default(),
        })
    }

    /// Makes a token for these names. It is nowhere but in the answer.
    pub(super) fn add(
        &mut self,
        names: &DeviceNames,
        valid: Duration,
        now: SystemTime,
    ) -> Result<String, PkiError> {
        if valid.is_zero() || valid > VALID_MAX {
            return Err(PkiError::TokenLifetime);
        }
        if names.common_name().contains(':') {
            return Err(PkiError::ColonInName(names.common_name().to_owned()));
        }
        let at = whole_seconds(now);
        self.tokens.retain(|_, token| token.expires > at);
        let name = names.common_name();
        if self.tokens.len() >= MOST && !self.tokens.contains_key(name) {
            return Err(PkiError::TooManyTokens(MOST));
        }
        let mut bytes = [0u8; 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| PkiError::NoRandomness)?;
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let entry = Token {
            sha256: TokenHash::of(token.as_bytes()).0,
            expires: whole_seconds(now + valid),
            organizational_unit: names.organizational_unit().map(str::to_owned),
            san_dns: names.san_dns().to_vec(),
            san_uri: names.san_uri().to_vec(),
        };
        self.tokens.insert(name.to_owned(), entry);
        Ok(token)
    }

    /// The token of this name, if this is it and it still counts.
    pub(super) fn verify(
        &self,
        name: &str,
        given: &TokenHash,
        now: SystemTime,
    ) -> Result<&Token, EnrolmentError> {
        let token = self.tokens.get(name).ok_or(EnrolmentError::NoToken)?;
        if !bool::from(token.sha256.as_bytes().ct_eq(given.0.as_bytes())) {
            return Err(EnrolmentError::WrongToken);
        }
        if token.expires <= whole_seconds(now) {
            return Err(EnrolmentError::TokenExpired);
        }
        Ok(token)
    }

    /// Uses it up. Whoever comes with it next finds none. `false`: there was none.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.tokens.remove(name).is_some()
    }

    /// Under the ledger's lock, so that no two commands write over one another.
    pub(super) fn write(&self, _held: &LockedLedger) -> Result<(), PkiError> {
        let mut text =
            serde_json::to_vec_pretty(&self.tokens).map_err(|error| PkiError::Damaged {
                path: self.path.clone(),
                reason: error.to_string(),
            })?;
        text.push(b'\n');
        files::rewrite(&self.path, &text).map_err(PkiError::file(&self.path))
    }
}

impl Token {
    pub(super) fn names(&self, name: &str) -> Result<DeviceNames, InvalidName> {
        DeviceNames::new(
            name,
            self.organizational_unit.as_deref(),
            &self.san_dns,
            &self.san_uri,
        )
    }
}
