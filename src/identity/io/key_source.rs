//! Where the keys that verify tokens come from: files of ours, a key set in a file, a key set behind a URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use super::remote_keys::Remote;
use super::watched::{Seen, read_file};
use crate::identity::jwt::{
    JwtConfig, JwtKeyConfig, KeyPrint, KeySet, Rules, Unverified, VerifyingKey, key_set,
};
use crate::identity::{Identity, Rejection};
use crate::problem::Problem;
use crate::secret::Secret;

const KEY_FILE_LENGTH_MAX: u64 = 64 << 10;

pub(super) struct KeySource {
    config: JwtConfig,
    rules: Rules,
    base: PathBuf,
    /// Keys from files, in one piece: those of `keys` and those of `jwks.file`.
    files: ArcSwap<Vec<Arc<KeySet>>>,
    seen: Vec<Seen>,
    remote: Option<Arc<Remote>>,
}

impl KeySource {
    pub(super) fn open(config: &JwtConfig, base: &Path) -> Result<Self, Vec<Problem>> {
        let seen = key_files(config)
            .map(|path| Seen::now(base.join(path)))
            .collect();
        let files = read(config, base)?;
        let remote = match &config.jwks {
            Some(jwks) => Remote::open(jwks, base)?.map(Arc::new),
            None => None,
        };
        Ok(Self {
            config: config.clone(),
            rules: config.rules(),
            base: base.to_owned(),
            files: ArcSwap::from_pointee(files),
            seen,
            remote,
        })
    }

    pub(super) fn read_again(&self) -> Result<Vec<Arc<KeySet>>, Vec<Problem>> {
        self.seen.iter().for_each(Seen::note);
        read(&self.config, &self.base)
    }

    pub(super) fn replace(&self, files: Vec<Arc<KeySet>>) {
        self.files.store(Arc::new(files));
    }

    pub(super) fn have_changed(&self) -> bool {
        self.seen.iter().any(Seen::has_changed)
    }

    /// The sets that may verify a token. An issuer that cannot be reached is an error only for tokens that need its keys (IDN-1).
    pub(super) async fn for_token(
        &self,
        token: &Unverified<'_>,
    ) -> Result<Vec<Arc<KeySet>>, String> {
        let mut sets = self.files.load().to_vec();
        if sets.iter().any(|set| token.is_known_to(set)) {
            return Ok(sets);
        }
        if let Some(remote) = &self.remote {
            sets.push(remote.for_token(token).await?);
        }
        Ok(sets)
    }

    /// Whether a token that was taken earlier would be taken still, as far as its key and the settings go (IDN-11).
    pub(super) fn standing(&self, identity: &Identity) -> Result<(), Rejection> {
        self.rules.still_take(identity)?;
        match &identity.token_key {
            Some(key) if !self.is_in_files(key) => match &self.remote {
                Some(remote) => remote.standing(key, Instant::now()),
                None => Err(Rejection::KeyGone),
            },
            // Read back from disk: it says nothing of its key, and has no connection.
            Some(_) | None => Ok(()),
        }
    }

    fn is_in_files(&self, key: &KeyPrint) -> bool {
        self.files.load().iter().any(|set| set.has(key))
    }

    /// Whether keys behind the URL that were believed when this was asked last are not believed any more.
    pub(super) fn went(&self) -> bool {
        let remote = self.remote.as_ref();
        remote.is_some_and(|remote| remote.went(Instant::now()))
    }

    /// Whether the key set would be fetched again if somebody lived by it.
    pub(super) fn is_due(&self) -> bool {
        let remote = self.remote.as_ref();
        remote.is_some_and(|remote| remote.is_due(Instant::now()))
    }

    /// Whether somebody's token may have been verified by a key behind the URL.
    pub(super) fn lives_by_url(&self, identity: &Identity) -> bool {
        let key = identity.token_key.as_ref();
        key.is_some_and(|key| !self.is_in_files(key))
    }

    pub(super) async fn fetch(&self) {
        if let Some(remote) = &self.remote {
            remote.fetch().await;
        }
    }

    /// Goes on with the keys that were fetched before a reload, where they are the same issuer's.
    pub(super) fn take_over(&self, before: &Self) {
        if let (Some(remote), Some(before)) = (&self.remote, &before.remote) {
            remote.take_over(before);
        }
    }
}

fn key_files(config: &JwtConfig) -> impl Iterator<Item = &PathBuf> {
    let own = config
        .keys
        .iter()
        .flat_map(|key| key.secret_file.iter().chain(&key.public_key_file));
    own.chain(config.jwks.iter().flat_map(|jwks| &jwks.file))
}

fn read(config: &JwtConfig, base: &Path) -> Result<Vec<Arc<KeySet>>, Vec<Problem>> {
    let mut problems = Vec::new();
    if config.keys.is_empty() && config.jwks.is_none() {
        problems.push(Problem::whole(
            base,
            "authentication.jwt: neither `keys` nor `jwks` is given",
        ));
    }
    if config.leeway.get() > JwtConfig::LEEWAY_MAX.get() {
        problems.push(Problem::whole(
            base,
            "authentication.jwt.leeway: at most 1m",
        ));
    }
    let mut keys = Vec::new();
    for key in &config.keys {
        match read_key(key, base) {
            Ok(key) => keys.push(key),
            Err(problem) => problems.push(problem),
        }
    }
    let mut sets = Vec::new();
    match KeySet::new(keys) {
        Ok(set) => sets.push(Arc::new(set)),
        Err(error) => problems.push(Problem::whole(
            base,
            format!("authentication.jwt.keys: {error}"),
        )),
    }
    if let Some((file, jwks)) = config
        .jwks
        .as_ref()
        .and_then(|jwks| Some((jwks.file.as_ref()?, jwks)))
    {
        let path = base.join(file);
        let bytes = read_file(&path, jwks.max_size.get()).map_err(|error| error.to_string());
        match bytes
            .and_then(|bytes| key_set(&bytes, &jwks.algorithms).map_err(|error| error.to_string()))
        {
            Ok(set) => sets.push(Arc::new(set)),
            Err(reason) => problems.push(Problem::whole(path, reason)),
        }
    }
    if problems.is_empty() {
        Ok(sets)
    } else {
        Err(problems)
    }
}

fn read_key(key: &JwtKeyConfig, base: &Path) -> Result<VerifyingKey, Problem> {
    let (file, is_secret) = match (&key.secret_file, &key.public_key_file) {
        (Some(file), None) => (file, true),
        (None, Some(file)) => (file, false),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::whole(
                base,
                "authentication.jwt.keys: a key has either `secret_file` or `public_key_file`",
            ));
        }
    };
    let path = base.join(file);
    let bytes = read_file(&path, KEY_FILE_LENGTH_MAX)
        .map_err(|error| Problem::whole(&path, error.to_string()))?;
    let bytes = Secret::new(bytes);
    let made = if is_secret {
        let secret = bytes.expose();
        VerifyingKey::secret(
            key.kid.clone(),
            key.alg,
            secret.strip_suffix(b"\n").unwrap_or(secret),
        )
    } else {
        VerifyingKey::public_pem(key.kid.clone(), key.alg, bytes.expose())
    };
    made.map_err(|error| Problem::whole(path, error.to_string()))
}

#[cfg(test)]
#[path = "key_source_tests.rs"]
mod tests;
