//! Where the keys that verify tokens come from: files of ours, a key set in a file, a key set behind a URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::https::Fetcher;
use super::watched::{Seen, read_file};
use crate::identity::jwt::{
    Algorithm, JwksConfig, JwtConfig, JwtKeyConfig, KeySet, Unverified, VerifyingKey, key_set,
};
use crate::problem::Problem;
use crate::secret::Secret;

const KEY_FILE_LENGTH_MAX: u64 = 64 << 10;
/// A token can make us ask the issuer for new keys, but not more often (IDN-10).
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(60);
/// How soon a failed fetch is tried again.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct KeySource {
    config: JwtConfig,
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
    if config.acl_mode.is_some() && config.acl_claim.is_none() {
        problems.push(Problem::whole(
            base,
            "authentication.jwt.acl_mode: says nothing without `acl_claim`",
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

/// A key set behind a URL. It is fetched when a token needs it and it is due, so that an idle server asks nobody.
struct Remote {
    fetcher: Fetcher,
    algorithms: Vec<Algorithm>,
    refresh: Duration,
    keep: Duration,
    state: Mutex<State>,
    /// One fetch at a time; the others wait for its result.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Option<(Arc<KeySet>, Instant)>,
    attempted: Option<Instant>,
    failure: Option<String>,
}

impl Remote {
    fn open(config: &JwksConfig, base: &Path) -> Result<Option<Self>, Vec<Problem>> {
        let url = match (&config.url, &config.file) {
            (Some(url), None) => url,
            (None, Some(_)) => return Ok(None),
            (Some(_), Some(_)) | (None, None) => {
                return Err(vec![Problem::whole(
                    base,
                    "authentication.jwt.jwks: either `file` or `url`",
                )]);
            }
        };
        Ok(Some(Self {
            fetcher: Fetcher::new(url, config, base).map_err(|problem| vec![problem])?,
            algorithms: config.algorithms.clone(),
            refresh: config.refresh.get(),
            keep: config.keep.get(),
            state: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
        }))
    }

    async fn for_token(self: &Arc<Self>, token: &Unverified<'_>) -> Result<Arc<KeySet>, String> {
        let now = Instant::now();
        match self.good_keys(now) {
            Some((keys, age)) if token.is_known_to(&keys) => {
                if age >= self.refresh && self.may_ask(now, FAILURE_PAUSE) {
                    let remote = self.clone();
                    tokio::spawn(async move { remote.fetch().await });
                }
                Ok(keys)
            }
            Some((keys, _)) => {
                if self.may_ask(now, UNKNOWN_KEY_PAUSE) {
                    self.fetch().await;
                    return Ok(self
                        .good_keys(Instant::now())
                        .map_or(keys, |(keys, _)| keys));
                }
                Ok(keys)
            }
            None => {
                if self.may_ask(now, FAILURE_PAUSE) {
                    self.fetch().await;
                }
                match self.good_keys(Instant::now()) {
                    Some((keys, _)) => Ok(keys),
                    None => Err(self
                        .state
                        .lock()
                        .failure
                        .clone()
                        .unwrap_or_else(|| "key set not fetched yet".to_owned())),
                }
            }
        }
    }

    /// Keys that are still believed, and their age.
    fn good_keys(&self, now: Instant) -> Option<(Arc<KeySet>, Duration)> {
        let state = self.state.lock();
        let (keys, fetched) = state.keys.as_ref()?;
        let age = now.saturating_duration_since(*fetched);
        (age <= self.keep).then(|| (keys.clone(), age))
    }

    fn may_ask(&self, now: Instant, pause: Duration) -> bool {
        let attempted = self.state.lock().attempted;
        attempted.is_none_or(|attempted| now.saturating_duration_since(attempted) >= pause)
    }

    /// 200 with at least one usable key replaces the keys; anything else leaves them (IDN-10).
    async fn fetch(&self) {
        let before = Instant::now();
        let _turn = self.turn.lock().await;
        // Somebody else has just asked.
        if self
            .state
            .lock()
            .attempted
            .is_some_and(|attempted| attempted >= before)
        {
            return;
        }
        self.state.lock().attempted = Some(Instant::now());
        let fetched = match self.fetcher.get().await {
            Ok(bytes) => key_set(&bytes, &self.algorithms).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let mut state = self.state.lock();
        match fetched {
            Ok(keys) => {
                state.keys = Some((Arc::new(keys), Instant::now()));
                state.failure = None;
            }
            Err(reason) => {
                tracing::warn!(%reason, "the key set could not be fetched");
                state.failure = Some(reason);
            }
        }
    }
}

#[cfg(test)]
#[path = "key_source_tests.rs"]
mod tests;
