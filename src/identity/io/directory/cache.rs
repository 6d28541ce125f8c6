//! Good logins of the last seconds, known by a keyed hash: no password is kept (IDN-7).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_lc_rs::{hmac, rand};
use parking_lot::Mutex;

use super::Entry;

const ENTRIES_MAX: usize = 10_000;

pub(super) struct Cache {
    /// Random for each process: a hash means nothing anywhere else.
    key: hmac::Key,
    lifetime: Duration,
    entries: Mutex<HashMap<Key, (Entry, Instant), ahash::RandomState>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Cache {
    pub(super) fn new(lifetime: Duration) -> Self {
        let mut secret = [0; 32];
        // Without randomness there is no cache rather than one with a known key.
        let lifetime = if rand::fill(&mut secret).is_ok() {
            lifetime
        } else {
            Duration::ZERO
        };
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            lifetime,
            entries: Mutex::default(),
        }
    }

    /// Neither a name nor a password holds NUL.
    pub(super) fn key(&self, username: &str, password: &[u8]) -> Key {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(username.as_bytes());
        context.update(&[0]);
        context.update(password);
        let mut key = [0; 32];
        for (byte, of_tag) in key.iter_mut().zip(context.sign().as_ref()) {
            *byte = *of_tag;
        }
        Key(key)
    }

    pub(super) fn find(&self, key: &Key, now: Instant) -> Option<Entry> {
        let entries = self.entries.lock();
        let (entry, until) = entries.get(key)?;
        (now < *until).then(|| entry.clone())
    }

    /// When the cache is full and nothing has run out, the login is not remembered.
    pub(super) fn store(&self, key: Key, entry: &Entry, now: Instant) {
        if self.lifetime.is_zero() {
            return;
        }
        let mut entries = self.entries.lock();
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, (_, until)| now < *until);
        }
        if entries.len() < ENTRIES_MAX {
            entries.insert(key, (entry.clone(), now + self.lifetime));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_login_is_remembered_for_its_time_and_for_its_password_alone() {
        let cache = Cache::new(Duration::from_secs(60));
        let entry = Entry {
            username: Arc::from("alice"),
            groups: Vec::new(),
        };
        let now = Instant::now();
        let key = cache.key("alice", b"secret");
        cache.store(key.clone(), &entry, now);
        assert_eq!(cache.find(&key, now), Some(entry.clone()));
        assert_eq!(cache.find(&key, now + Duration::from_secs(60)), None);
        for (name, password) in [
            ("alice", "Secret"),
            ("alic", "esecret"),
            ("bob", "secret"),
            ("alices", "ecret"),
        ] {
            assert_eq!(
                cache.find(&cache.key(name, password.as_bytes()), now),
                None,
                "{name}"
            );
        }
        assert!(Cache::new(Duration::from_secs(60)).key("alice", b"secret") != key);
        let none = Cache::new(Duration::ZERO);
        let key = none.key("alice", b"secret");
        none.store(key.clone(), &entry, now);
        assert_eq!(none.find(&key, now), None);
    }
}
