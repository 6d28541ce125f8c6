//! A key set behind a URL: fetched with care, believed through an outage for a stated time, and missed when it goes. IDN-10

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::https::Fetcher;
use crate::identity::Rejection;
use crate::identity::jwt::{Algorithm, JwksConfig, KeyPrint, KeySet, Unverified, key_set};
use crate::problem::Problem;

/// A token can make us ask the issuer for new keys, but not more often (IDN-10).
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(60);
/// How soon a failed fetch is tried again.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// It is fetched when it is due and a token needs it, or somebody who is here lives by it: an idle server asks nobody.
pub(super) struct Remote {
    fetcher: Fetcher,
    algorithms: Vec<Algorithm>,
    refresh: Duration,
    keep: Duration,
    state: Mutex<State>,
    /// Where the keys come from; keys of another place are no keys of this one.
    url: String,
    opened: Instant,
    /// One fetch at a time; the others wait for its result.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    keys: Option<(Arc<KeySet>, Instant)>,
    attempted: Option<Instant>,
    failure: Option<String>,
    /// When somebody last asked whether a fetch is due.
    looked: Option<Instant>,
    /// The keys that were believed when somebody last asked whether others came.
    noted: Option<Arc<KeySet>>,
    /// There were none then, for they could not be fetched for too long.
    forgotten: bool,
}

impl Remote {
    pub(super) fn open(config: &JwksConfig, base: &Path) -> Result<Option<Self>, Vec<Problem>> {
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
            url: url.clone(),
            opened: Instant::now(),
            turn: tokio::sync::Mutex::new(()),
        }))
    }

    pub(super) async fn for_token(
        self: &Arc<Self>,
        token: &Unverified<'_>,
    ) -> Result<Arc<KeySet>, String> {
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

    /// A key that is gone from the set, or not believed any more since the set could not be fetched for so long.
    pub(super) fn standing(&self, key: &KeyPrint, now: Instant) -> Result<(), Rejection> {
        match self.good_keys(now) {
            Some((keys, _)) if keys.has(key) => Ok(()),
            Some(_) => Err(Rejection::KeyGone),
            // Nothing was fetched since a reload named another place: it has as long as an issuer that went away.
            None if self.state.lock().keys.is_none()
                && now.saturating_duration_since(self.opened) <= self.keep =>
            {
                Ok(())
            }
            None => Err(Rejection::KeyForgotten(self.keep)),
        }
    }

    /// Whether keys that were believed when this was asked last are not believed any more.
    pub(super) fn went(&self, now: Instant) -> bool {
        let keys = self.good_keys(now).map(|(keys, _)| keys);
        let never_asked = keys.is_none() && now.saturating_duration_since(self.opened) <= self.keep;
        let mut state = self.state.lock();
        let same = match (&keys, &state.noted) {
            (Some(now), Some(noted)) => now.has_all_of(noted),
            (None, None) => never_asked || state.forgotten,
            (Some(_), None) | (None, Some(_)) => false,
        };
        state.forgotten = keys.is_none() && !never_asked;
        state.noted = keys;
        !same
    }

    /// Asked often: says yes once in a while only, for the answer costs a look at everybody.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let fresh = self
            .good_keys(now)
            .is_some_and(|(_, age)| age < self.refresh);
        if fresh || !self.may_ask(now, FAILURE_PAUSE) {
            return false;
        }
        let mut state = self.state.lock();
        let looked = state.looked;
        if looked.is_some_and(|at| now.saturating_duration_since(at) < FAILURE_PAUSE) {
            return false;
        }
        state.looked = Some(now);
        true
    }

    pub(super) fn take_over(&self, before: &Self) {
        if self.url == before.url && self.algorithms == before.algorithms {
            let state = before.state.lock().clone();
            *self.state.lock() = state;
        }
    }

    fn may_ask(&self, now: Instant, pause: Duration) -> bool {
        let attempted = self.state.lock().attempted;
        attempted.is_none_or(|attempted| now.saturating_duration_since(attempted) >= pause)
    }

    /// 200 with at least one usable key replaces the keys; anything else leaves them (IDN-10).
    pub(super) async fn fetch(&self) {
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
#[path = "remote_keys_tests.rs"]
mod tests;
