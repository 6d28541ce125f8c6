//! What a cookie carries: the random name of a login, sealed under keys that take turns (IDN-14).

use std::time::{Duration, SystemTime};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const KEY_LENGTH: usize = 32;
const ID_LENGTH: usize = 32;
const NUMBER_LENGTH: usize = 4;
/// A key seals for so long; what it sealed is opened for as long as a cookie may live.
const TURN: Duration = Duration::from_secs(24 * 3600);
/// Longer than any cookie of ours.
const COOKIE_MAX: usize = 256;

/// The 256 random bits that a login is known by.
pub(super) type Id = Zeroizing<[u8; ID_LENGTH]>;

/// The newest first.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Keys(Vec<Key>);

#[derive(Deserialize, Serialize)]
struct Key {
    number: u32,
    since: SystemTime,
    bytes: Zeroizing<[u8; KEY_LENGTH]>,
}

impl Keys {
    /// A new key when the last has had its turn; forgets those whose cookies have all ended. Whether anything changed.
    pub(super) fn rotate(&mut self, max_age: Duration, now: SystemTime) -> bool {
        let age = |since: SystemTime| now.duration_since(since).unwrap_or_default();
        let due = self.0.first().is_none_or(|key| age(key.since) >= TURN);
        if due {
            let number = self.0.first().map_or(1, |key| key.number.wrapping_add(1));
            let key = Key {
                number,
                since: now,
                bytes: Zeroizing::new(rand::random()),
            };
            self.0.insert(0, key);
            self.0
                .retain(|key| age(key.since) < TURN.saturating_add(max_age));
        }
        due
    }

    /// `None`: there is no key.
    pub(super) fn seal(&self, id: &Id) -> Option<String> {
        let key = self.0.first()?;
        // A random nonce under a key of a day: the chance of one used twice stays below 2^-32 for 2^32 logins.
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = id.to_vec();
        key.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(key.number.to_be_bytes()),
                &mut sealed,
            )
            .ok()?;
        let mut bytes = key.number.to_be_bytes().to_vec();
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// `None`: not sealed by us, or too long ago.
    pub(super) fn open(&self, cookie: &[u8]) -> Option<Id> {
        if cookie.len() > COOKIE_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let (number, rest) = bytes.split_first_chunk::<NUMBER_LENGTH>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self
            .0
            .iter()
            .find(|key| key.number == u32::from_be_bytes(*number))?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let id = key
            .cipher()?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(number),
                sealed.as_mut_slice(),
            )
            .ok()?;
        Some(Zeroizing::new((&*id).try_into().ok()?))
    }
}

impl Key {
    fn cipher(&self) -> Option<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, self.bytes.as_slice()).ok()?;
        Some(LessSafeKey::new(key))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn idn_14_a_cookie_opens_until_its_key_has_ended_and_not_when_it_was_touched() {
        let day = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 24 * 3600);
        let mut keys = Keys::default();
        let id: Id = Zeroizing::new([7; 32]);
        assert!(keys.seal(&id).is_none(), "no key, no cookie");
        assert!(keys.rotate(TURN, day(1)) && !keys.rotate(TURN, day(1)));
        let cookie = keys.seal(&id).unwrap();
        assert_ne!(keys.seal(&id).unwrap(), cookie, "never the same twice");
        assert_eq!(*keys.open(cookie.as_bytes()).unwrap(), *id);
        let at = |position: usize| {
            let mut touched = cookie.clone().into_bytes();
            let byte = touched.get_mut(position).unwrap();
            *byte = if *byte == b'A' { b'B' } else { b'A' };
            touched
        };
        for position in [0, 5, 10, 30, cookie.len() - 10] {
            assert!(keys.open(&at(position)).is_none(), "{position}");
        }
        for bad in ["", "A", "%", &"A".repeat(79), &"A".repeat(1000)] {
            assert!(keys.open(bad.as_bytes()).is_none(), "{bad}");
        }
        // Across a restart, through one turn, and not through two.
        let text = serde_json::to_string(&keys).unwrap();
        let mut keys: Keys = serde_json::from_str(&text).unwrap();
        assert!(keys.rotate(TURN, day(2)));
        assert_ne!(keys.seal(&id).unwrap().get(..6), cookie.get(..6));
        assert!(keys.open(cookie.as_bytes()).is_some());
        assert!(keys.rotate(TURN, day(3)));
        assert!(keys.open(cookie.as_bytes()).is_none());
        assert!(Keys::default().open(cookie.as_bytes()).is_none());
    }
}
