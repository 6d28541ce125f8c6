//! Logins by name and password: what the cookie `__Host-wardgate` stands for. Contract section 4, cookie.
//!
//! The cookie is 256 random bits and nothing else; all that it means is kept here, so that a logout ends it at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;

use crate::identity::Identity;

pub(super) const COOKIE: &str = "__Host-wardgate";

/// The logins that last.
pub struct Sessions {
    lifetimes: Lifetimes,
    kept: Mutex<HashMap<[u8; 32], Session>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Without a request.
    pub ttl: Duration,
    /// In any case.
    pub max_age: Duration,
}

#[derive(Clone)]
pub struct Session {
    pub identity: Arc<Identity>,
    pub csrf_token: Arc<str>,
    begun: Instant,
    used: Instant,
}

/// What a login gets.
pub(super) struct Begun {
    pub(super) cookie: String,
    pub(super) csrf_token: Arc<str>,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30 * 60),
            max_age: Duration::from_secs(12 * 3600),
        }
    }
}

impl Sessions {
    pub fn new(lifetimes: Lifetimes) -> Self {
        Self {
            lifetimes,
            kept: Mutex::default(),
        }
    }

    pub(super) fn begin(&self, identity: Identity, now: Instant) -> Begun {
        let [cookie, csrf_token] =
            [rand::random::<[u8; 32]>(), rand::random()].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        let session = Session {
            identity: Arc::new(identity),
            csrf_token: csrf_token.into(),
            begun: now,
            used: now,
        };
        let csrf_token = Arc::clone(&session.csrf_token);
        let mut kept = self.kept.lock();
        kept.retain(|_, session| self.lasts(session, now));
        let own = |other: &Session| same(&other.identity, &session.identity);
        while kept.values().filter(|other| own(other)).count() >= PER_USER {
            remove_oldest(&mut kept, own);
        }
        while kept.len() >= MOST {
            remove_oldest(&mut kept, |_| true);
        }
        kept.insert(key(&cookie), session);
        Begun { cookie, csrf_token }
    }

    /// The login that a cookie stands for; using it keeps it alive.
    pub fn find(&self, cookie: &str, now: Instant) -> Option<Session> {
        let mut kept = self.kept.lock();
        let key = key(cookie);
        let session = kept.get_mut(&key)?;
        if !self.lasts(session, now) {
            kept.remove(&key);
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    pub(super) fn end(&self, cookie: &str) -> Option<Session> {
        self.kept.lock().remove(&key(cookie))
    }

    fn lasts(&self, session: &Session, now: Instant) -> bool {
        now.saturating_duration_since(session.used) < self.lifetimes.ttl
            && now.saturating_duration_since(session.begun) < self.lifetimes.max_age
    }
}

fn remove_oldest(kept: &mut HashMap<[u8; 32], Session>, of: impl Fn(&Session) -> bool) {
    let oldest = kept
        .iter()
        .filter(|(_, session)| of(session))
        .min_by_key(|(_, session)| session.used);
    if let Some(key) = oldest.map(|(key, _)| *key) {
        kept.remove(&key);
    }
}

fn same(one: &Identity, other: &Identity) -> bool {
    one.namespace == other.namespace && one.username == other.username
}

/// Looked up by hash, so that how long a look takes tells nothing of a cookie.
fn key(cookie: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, cookie.as_bytes()).as_ref());
    key
}

const MOST: usize = 10_000;
const PER_USER: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Method;

    fn identity(name: &str) -> Identity {
        Identity {
            namespace: "password".into(),
            username: name.into(),
            method: Method::PASSWORD,
            groups: Vec::new(),
            certificate: None,
            claims: Default::default(),
            valid_until: None,
        }
    }

    #[test]
    fn a_login_lasts_while_used_and_ends_at_its_age() {
        let sessions = Sessions::new(Lifetimes {
            ttl: Duration::from_secs(60),
            max_age: Duration::from_secs(150),
        });
        let start = Instant::now();
        let begun = sessions.begin(identity("alice"), start);
        let rows = [
            (50, true),
            (100, true),
            (149, true),
            (150, false),
            (151, false),
        ];
        for (seconds, expected) in rows {
            let found = sessions.find(&begun.cookie, start + Duration::from_secs(seconds));
            assert_eq!(found.is_some(), expected, "{seconds} s");
        }
        let begun = sessions.begin(identity("alice"), start);
        assert!(
            sessions
                .find(&begun.cookie, start + Duration::from_secs(60))
                .is_none(),
            "unused"
        );
        let begun = sessions.begin(identity("alice"), start);
        assert!(
            sessions.end(&begun.cookie).is_some() && sessions.find(&begun.cookie, start).is_none()
        );
        assert!(sessions.find("", start).is_none());
    }

    #[test]
    fn logins_are_bounded_for_each_user() {
        let sessions = Sessions::new(Lifetimes::default());
        let start = Instant::now();
        let other = sessions.begin(identity("bob"), start);
        let begun: Vec<_> = (0..60)
            .map(|n| sessions.begin(identity("alice"), start + Duration::from_secs(n)))
            .collect();
        let alive = begun
            .iter()
            .filter(|begun| sessions.find(&begun.cookie, start).is_some())
            .count();
        assert_eq!(alive, PER_USER);
        assert!(sessions.find(&other.cookie, start).is_some());
    }
}
