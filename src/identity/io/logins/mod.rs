//! Logins by name and password: what the cookie `__Host-wardgate` stands for, on the admin port as on WebSocket listeners. Contract section 4, cookie.
//!
//! The cookie is a random name under seal; all that it means is kept here, so that a logout ends it at once. What is kept is
//! written down too: a restart ends no login, and brings none back that has ended.

mod envelope;
mod record;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use self::envelope::{Id, Keys};
use crate::identity::cookie::CookieConfig;
use crate::identity::{Identity, hexadecimal};
use crate::problem::Problem;

/// The logins that last.
pub struct Logins {
    state: Mutex<State>,
    /// One writer at a time, so that an old state is never written over a newer one.
    writing: Mutex<()>,
    /// `None`: kept in memory alone.
    path: Option<PathBuf>,
}

struct State {
    lifetimes: Lifetimes,
    keys: Keys,
    /// By name.
    kept: HashMap<Arc<str>, Login>,
    /// Public names of logins that have ended and whose connections have not been told.
    ended: Vec<Arc<str>>,
    /// Something of importance is not written down.
    dirty: bool,
    written_at: SystemTime,
}

#[derive(Clone, Copy, Debug)]
struct Lifetimes {
    ttl: Duration,
    max_age: Duration,
}

#[derive(Clone, Debug)]
pub struct Login {
    /// Names the login in lists, logs and the file: a hash of what the cookie holds, worth nothing as a credential.
    pub name: Arc<str>,
    /// As it was proved at the login.
    pub identity: Arc<Identity>,
    pub csrf_token: Arc<str>,
    pub ip: IpAddr,
    pub begun: SystemTime,
    pub used: SystemTime,
    ends_at: SystemTime,
}

/// What a login gets.
pub struct Begun {
    pub cookie: String,
    pub csrf_token: Arc<str>,
}

/// Uses alone are written down this often: a crash makes a login older than it is, never younger.
const WRITE_USES_EVERY: Duration = Duration::from_secs(60);
const MOST: usize = 10_000;
const PER_USER: usize = 50;

impl Logins {
    /// Nothing outlives the process.
    pub fn in_memory() -> Self {
        Self::with(None, Keys::default(), HashMap::new())
    }

    /// Reads what an earlier process has written down; a damaged file is a problem of the start.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let wrong = |error: io::Error| Problem::whole(path, format!("logins: {error}"));
        let (keys, kept) = record::read(path).map_err(wrong)?;
        Ok(Self::with(Some(path.to_path_buf()), keys, kept))
    }

    fn with(path: Option<PathBuf>, keys: Keys, kept: HashMap<Arc<str>, Login>) -> Self {
        let CookieConfig { ttl, max_age } = CookieConfig::default();
        let lifetimes = Lifetimes {
            ttl: ttl.get(),
            max_age: max_age.get(),
        };
        Self {
            state: Mutex::new(State {
                lifetimes,
                keys,
                kept,
                ended: Vec::new(),
                dirty: false,
                written_at: SystemTime::UNIX_EPOCH,
            }),
            writing: Mutex::new(()),
            path,
        }
    }

    /// Logins that are there end by these too.
    pub fn reconfigure(&self, config: &CookieConfig) {
        let mut state = self.state.lock();
        state.lifetimes = Lifetimes {
            ttl: config.ttl.get(),
            max_age: config.max_age.get(),
        };
        let max_age = state.lifetimes.max_age;
        for login in state.kept.values_mut() {
            login.ends_at = end(login.begun, max_age);
        }
    }

    /// A new secret name at each login (IDN-14). `None`: no cookie could be sealed.
    pub fn begin(&self, identity: Identity, ip: IpAddr, now: SystemTime) -> Option<Begun> {
        let id: Id = Zeroizing::new(rand::random());
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.sweep(now);
        state.keys.rotate(state.lifetimes.max_age, now);
        let cookie = state.keys.seal(&id)?;
        let csrf_token: Arc<str> = csrf_token(&id).into();
        let own = |other: &Login| same(&other.identity, &identity);
        while state.kept.values().filter(|other| own(other)).count() >= PER_USER {
            state.end_oldest(own);
        }
        while state.kept.len() >= MOST {
            state.end_oldest(|_| true);
        }
        let name: Arc<str> = name(&id).into();
        let login = Login {
            name: Arc::clone(&name),
            identity: Arc::new(identity),
            csrf_token: Arc::clone(&csrf_token),
            ip,
            begun: now,
            used: now,
            ends_at: end(now, state.lifetimes.max_age),
        };
        state.kept.insert(name, login);
        state.dirty = true;
        Some(Begun { cookie, csrf_token })
    }

    /// The login that a cookie stands for; using it keeps it alive.
    pub fn find(&self, cookie: &[u8], now: SystemTime) -> Option<Login> {
        let mut state = self.state.lock();
        let id = state.keys.open(cookie)?;
        let lifetimes = state.lifetimes;
        let login = state.kept.get_mut(name(&id).as_str())?;
        if !login.lasts(lifetimes, now) {
            return None;
        }
        login.used = login.used.max(now);
        // The secret is not kept, so the token is made anew from it after a restart.
        login.csrf_token = csrf_token(&id).into();
        Some(login.clone())
    }

    /// Whether a login that was found earlier still lasts. Asking does not keep it alive.
    pub fn named(&self, name: &str, now: SystemTime) -> Option<Login> {
        let state = self.state.lock();
        let login = state.kept.get(name)?;
        login.lasts(state.lifetimes, now).then(|| login.clone())
    }

    /// Those that last, the oldest first.
    pub fn list(&self, now: SystemTime) -> Vec<Login> {
        let state = self.state.lock();
        let lasting = state
            .kept
            .values()
            .filter(|login| login.lasts(state.lifetimes, now));
        let mut logins: Vec<Login> = lasting.cloned().collect();
        drop(state);
        logins.sort_by(|one, other| (one.begun, &one.name).cmp(&(other.begun, &other.name)));
        logins
    }

    /// Ends logins for good. Blocks for the write: a restart must not bring them back.
    pub fn end(&self, concerns: impl Fn(&Login) -> bool) -> io::Result<usize> {
        let count = {
            let mut state = self.state.lock();
            let names: Vec<Arc<str>> = state
                .kept
                .values()
                .filter(|login| concerns(login))
                .map(|login| Arc::clone(&login.name))
                .collect();
            for name in &names {
                state.kept.remove(name);
            }
            state.dirty |= !names.is_empty();
            state.ended.extend(names.iter().cloned());
            names.len()
        };
        self.write(SystemTime::now())?;
        Ok(count)
    }

    /// New groups for the logins that it concerns.
    pub fn regroup(&self, concerns: impl Fn(&Login) -> bool, groups: &[Arc<str>]) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        for login in state.kept.values_mut() {
            if login.identity.groups != groups && concerns(login) {
                login.identity = Arc::new(Identity {
                    groups: groups.to_vec(),
                    ..Identity::clone(&login.identity)
                });
                state.dirty = true;
            }
        }
    }

    /// Names of the logins that have ended since this was last asked, by time or by word: their connections end now.
    pub fn take_ended(&self, now: SystemTime) -> Vec<Arc<str>> {
        let mut state = self.state.lock();
        state.sweep(now);
        std::mem::take(&mut state.ended)
    }

    /// Writes down what has changed. Blocks.
    pub fn write(&self, now: SystemTime) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let _one_at_a_time = self.writing.lock();
        let text = {
            let mut state = self.state.lock();
            let due = now
                .duration_since(state.written_at)
                .is_ok_and(|since| since >= WRITE_USES_EVERY)
                && !state.kept.is_empty();
            if !state.dirty && !due {
                return Ok(());
            }
            let text = record::text(&state.keys, &state.kept)?;
            state.dirty = false;
            state.written_at = now;
            text
        };
        // What stands for logged-in people is for nobody else, whatever mode the file was given.
        let written = super::files::replace(path, &text, super::files::PRIVATE);
        if written.is_err() {
            self.state.lock().dirty = true;
        }
        written
    }
}

impl Login {
    fn lasts(&self, lifetimes: Lifetimes, now: SystemTime) -> bool {
        // A clock that was set back makes nothing live longer than its age from then on.
        let unused = now.duration_since(self.used).unwrap_or_default();
        unused < lifetimes.ttl && now < self.ends_at
    }

    /// When it ends in any case.
    pub fn ends_at(&self) -> SystemTime {
        self.ends_at
    }
}

impl State {
    fn sweep(&mut self, now: SystemTime) {
        let (lifetimes, ended) = (self.lifetimes, &mut self.ended);
        let before = self.kept.len();
        self.kept.retain(|_, login| {
            let lasts = login.lasts(lifetimes, now);
            if !lasts {
                ended.push(Arc::clone(&login.name));
            }
            lasts
        });
        self.dirty |= self.kept.len() != before;
    }

    fn end_oldest(&mut self, of: impl Fn(&Login) -> bool) {
        let logins = self.kept.iter().filter(|(_, login)| of(login));
        let oldest = logins.min_by_key(|(_, login)| login.used);
        if let Some(name) = oldest.map(|(name, _)| Arc::clone(name)) {
            self.kept.remove(&name);
            self.ended.push(name);
        }
    }
}

/// What no clock can count ends at once.
fn end(begun: SystemTime, max_age: Duration) -> SystemTime {
    begun.checked_add(max_age).unwrap_or(begun)
}

fn same(one: &Identity, other: &Identity) -> bool {
    one.namespace == other.namespace && one.username == other.username
}

fn name(id: &Id) -> String {
    let derived = derived(b"login", id);
    let (name, _) = derived.split_at(16);
    hexadecimal(name)
}

fn csrf_token(id: &Id) -> String {
    URL_SAFE_NO_PAD.encode(derived(b"csrf", id))
}

fn derived(label: &[u8], id: &Id) -> [u8; 32] {
    let mut bytes = Zeroizing::new(label.to_vec());
    bytes.extend_from_slice(id.as_slice());
    let mut derived = [0; 32];
    derived.copy_from_slice(digest(&SHA256, &bytes).as_ref());
    derived
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
