//! What the password file keeps for SCRAM: enough to check a proof, not enough to give one. RFC 5802 section 3, RFC 5803

use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub(super) const KEY_LENGTH: usize = 32;
const SALT_LENGTH: usize = 16;
/// RFC 7677 section 4 asks for no fewer.
const ITERATIONS_MIN: u32 = 4096;
/// The client computes them, and a device that needs a minute does not come back.
const ITERATIONS_MAX: u32 = 10_000_000;
/// What a new credential gets: about a second on a small device, eight times the least.
const ITERATIONS: u32 = 32_768;

/// Salt, iteration count, StoredKey and ServerKey. Whoever steals it can guess at passwords and play the server, but not log in.
#[derive(Clone)]
pub struct ScramCredential {
    pub(super) iterations: NonZeroU32,
    pub(super) salt: Box<[u8]>,
    stored_key: Zeroizing<[u8; KEY_LENGTH]>,
    server_key: Zeroizing<[u8; KEY_LENGTH]>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScramCredential {
    #[error("not a SCRAM credential: set the password again with `wardgate user passwd`")]
    Malformed,
    #[error(
        "a SCRAM credential with fewer than {ITERATIONS_MIN} or more than {ITERATIONS_MAX} iterations"
    )]
    Iterations,
    #[error("a SCRAM credential whose salt is not of {SALT_LENGTH} bytes")]
    Salt,
}

impl ScramCredential {
    /// For a new password. `None`: it holds what SASLprep prohibits, so no client could prove it. RFC 5802 section 2.2
    pub fn derive(password: &[u8], salt: &[u8; SALT_LENGTH]) -> Option<Self> {
        let iterations = NonZeroU32::new(ITERATIONS)?;
        Self::with_iterations(password, salt, iterations)
    }

    pub(super) fn with_iterations(
        password: &[u8],
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> Option<Self> {
        let text = std::str::from_utf8(password).ok()?;
        let prepared = Zeroizing::new(stringprep::saslprep(text).ok()?.into_owned());
        let mut salted = Zeroizing::new([0; KEY_LENGTH]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            prepared.as_bytes(),
            salted.as_mut_slice(),
        );
        let client_key = Zeroizing::new(mac(salted.as_slice(), b"Client Key"));
        Some(Self {
            iterations,
            salt: salt.into(),
            stored_key: Zeroizing::new(hash(client_key.as_slice())),
            server_key: Zeroizing::new(mac(salted.as_slice(), b"Server Key")),
        })
    }

    /// `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`, as RFC 5803 and PostgreSQL write it.
    pub fn parse(text: &str) -> Result<Self, InvalidScramCredential> {
        let malformed = InvalidScramCredential::Malformed;
        let fields = text
            .strip_prefix(super::NAME)
            .and_then(|rest| rest.strip_prefix('$'))
            .and_then(|rest| rest.split_once('$'));
        let Some((shape, keys)) = fields else {
            return Err(malformed);
        };
        let (Some((iterations, salt)), Some((stored_key, server_key))) =
            (shape.split_once(':'), keys.split_once(':'))
        else {
            return Err(malformed);
        };
        let key = |text: &str| {
            let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
            let key: [u8; KEY_LENGTH] = bytes.as_slice().try_into().ok()?;
            Some(Zeroizing::new(key))
        };
        let (Some(stored_key), Some(server_key), Ok(salt), Ok(iterations)) = (
            key(stored_key),
            key(server_key),
            STANDARD.decode(salt),
            iterations.parse::<NonZeroU32>(),
        ) else {
            return Err(malformed);
        };
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations.get()) {
            return Err(InvalidScramCredential::Iterations);
        }
        // One length for all: a salt of another would tell a user from a stand-in.
        if salt.len() != SALT_LENGTH {
            return Err(InvalidScramCredential::Salt);
        }
        Ok(Self {
            iterations,
            salt: salt.into(),
            stored_key,
            server_key,
        })
    }

    pub fn to_text(&self) -> String {
        format!(
            "{}${}:{}${}:{}",
            super::NAME,
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key.as_slice()),
            STANDARD.encode(self.server_key.as_slice()),
        )
    }

    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Whether the proof is of the password, for this exchange. RFC 5802 section 3
    pub(super) fn accepts(&self, auth_message: &[u8], proof: &[u8; KEY_LENGTH]) -> bool {
        let signature = mac(self.stored_key.as_slice(), auth_message);
        let mut client_key = Zeroizing::new([0; KEY_LENGTH]);
        for ((key, proof), signature) in client_key.iter_mut().zip(proof).zip(signature) {
            *key = proof ^ signature;
        }
        hash(client_key.as_slice())
            .as_slice()
            .ct_eq(self.stored_key.as_slice())
            .into()
    }

    /// The server's own proof.
    pub(super) fn server_signature(&self, auth_message: &[u8]) -> [u8; KEY_LENGTH] {
        mac(self.server_key.as_slice(), auth_message)
    }
}

/// Without anything secret.
impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramCredential({} iterations)", self.iterations)
    }
}

/// Credentials for names that nobody has: always the same for a name, so that asking twice tells nothing (IDN-12). RFC 5802 section 9
pub struct StandIns {
    key: Zeroizing<[u8; KEY_LENGTH]>,
    iterations: NonZeroU32,
}

impl StandIns {
    /// `secret` lives as long as the salts of the real users do. `iterations` is what most of them have.
    pub fn new(secret: &[u8], iterations: Option<NonZeroU32>) -> Self {
        Self {
            key: Zeroizing::new(mac(secret, b"wardgate scram stand-ins")),
            iterations: iterations
                .or(NonZeroU32::new(ITERATIONS))
                .unwrap_or(NonZeroU32::MIN),
        }
    }

    pub fn stand_in(&self, username: &str) -> Arc<ScramCredential> {
        let part = |label: &str| {
            mac(
                self.key.as_slice(),
                format!("{label}:{username}").as_bytes(),
            )
        };
        let salt = part("salt");
        Arc::new(ScramCredential {
            iterations: self.iterations,
            salt: salt.get(..SALT_LENGTH).unwrap_or_default().into(),
            // Not the hash of any key that somebody knows: no proof fits.
            stored_key: Zeroizing::new(part("stored")),
            server_key: Zeroizing::new(part("server")),
        })
    }
}

impl std::fmt::Debug for StandIns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StandIns(..)")
    }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; KEY_LENGTH] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    array(tag.as_ref())
}

fn hash(bytes: &[u8]) -> [u8; KEY_LENGTH] {
    array(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-256 gives 32 bytes.
fn array(bytes: &[u8]) -> [u8; KEY_LENGTH] {
    let mut array = [0; KEY_LENGTH];
    for (to, from) in array.iter_mut().zip(bytes) {
        *to = *from;
    }
    array
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let credential = ScramCredential::derive(b"secret", &[7; 16]).unwrap();
        let text = credential.to_text();
        assert_eq!(ScramCredential::parse(&text).unwrap().to_text(), text);
        assert!(!format!("{credential:?}").contains(&text[40..]));
        let rows = [
            (text.replace("SHA-256", "SHA-1"), "not a SCRAM"),
            (text.replace(':', ";"), "not a SCRAM"),
            (text.replace("$32768", "$"), "not a SCRAM"),
            (text.replace("$32768", "$0"), "not a SCRAM"),
            (text.replace("$32768", "$4095"), "fewer"),
            (text.replace("$32768", "$10000001"), "more"),
            (text.replace("BwcHBwcHBwcHBwcHBwcHBw==", "BwcH"), "salt"),
            (format!("{text}AAAA"), "not a SCRAM"),
            (String::new(), "not a SCRAM"),
        ];
        for (text, part) in rows {
            let error = ScramCredential::parse(&text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_prepared_before_it_is_hashed() {
        let derived = |password: &str| {
            ScramCredential::derive(password.as_bytes(), &[7; 16])
                .map(|credential| credential.to_text())
        };
        // RFC 4013 section 3: a soft hyphen maps to nothing, a compatibility character to its plain form.
        assert_eq!(derived("I\u{ad}X"), derived("IX"));
        assert_eq!(derived("\u{2168}"), derived("IX"));
        assert_ne!(derived("ix"), derived("IX"));
        assert_eq!(derived("a\u{7}"), None);
        assert!(ScramCredential::derive(&[0xff, 0xfe], &[7; 16]).is_none());
    }

    #[test]
    fn idn_12_a_name_that_nobody_has_looks_like_one_that_somebody_has() {
        let stand_ins = StandIns::new(b"of this file", NonZeroU32::new(4096));
        let one = stand_ins.stand_in("mallory");
        assert_eq!(one.to_text(), stand_ins.stand_in("mallory").to_text());
        assert_ne!(one.salt, stand_ins.stand_in("alice").salt);
        assert_eq!((one.salt.len(), one.iterations.get()), (SALT_LENGTH, 4096));
        let elsewhere = StandIns::new(b"of another", NonZeroU32::new(4096));
        assert_ne!(one.salt, elsewhere.stand_in("mallory").salt);
        assert!(ScramCredential::parse(&one.to_text()).is_ok());
    }
}
