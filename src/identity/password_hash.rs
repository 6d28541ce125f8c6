//! Stored password hashes: our own argon2id, and the formats that people bring from elsewhere.

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{digest, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use password_hash::phc::PasswordHash;
use password_hash::{PasswordHasher, PasswordVerifier};
use subtle::ConstantTimeEq;

/// Longer passwords are refused before any work (IDN-12).
pub const PASSWORD_LENGTH_MAX: usize = 1024;

/// A stored hash may not ask for more than this, so that no line of a file can stall the pool.
const ARGON2_MEMORY_KIB_MAX: u32 = 1 << 20;
const ARGON2_PASSES_MAX: u32 = 16;
const ARGON2_LANES_MAX: u32 = 16;
const PBKDF2_ITERATIONS_MAX: u32 = 10_000_000;
const BCRYPT_COST_MAX: u32 = 16;
const SALT_LENGTH_MIN: usize = 8;

/// A hash that this build can check. Its text is secret enough to stay out of logs: Debug says the kind alone.
#[derive(Clone)]
pub enum StoredHash {
    /// PHC string, `$argon2id$v=19$…`.
    Argon2id(Box<PasswordHash>),
    /// Mosquitto 2: `$7$iterations$salt$hash`, PBKDF2 with HMAC-SHA512.
    Pbkdf2Sha512 {
        iterations: NonZeroU32,
        salt: Box<[u8]>,
        hash: Box<[u8; 64]>,
    },
    /// Mosquitto 1: `$6$salt$hash`, one SHA-512 over password and salt.
    SaltedSha512 {
        salt: Box<[u8]>,
        hash: Box<[u8; 64]>,
    },
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    #[error(
        "not a password hash: write an argon2id string, or make one with `wardgate user passwd`"
    )]
    Unknown,
    #[error("{0} hash is malformed")]
    Malformed(&'static str),
    #[error("{0} hash costs more than this server allows")]
    TooCostly(&'static str),
    #[error("argon2 of another kind than argon2id version 19")]
    OtherArgon2,
}

/// What a check costs. Two hashes of the same cost take the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    pub kind: &'static str,
    /// Of the memory that the check needs.
    pub kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl StoredHash {
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        let kind = text
            .strip_prefix('$')
            .and_then(|rest| rest.split('$').next());
        match kind {
            Some("argon2id") => argon2id(text),
            Some("argon2i" | "argon2d") => Err(InvalidHash::OtherArgon2),
            Some("7") => pbkdf2_sha512(text),
            Some("6") => salted_sha512(text),
            Some("2a" | "2b" | "2y") => bcrypt_string(text),
            Some(_) | None => Err(InvalidHash::Unknown),
        }
    }

    /// Takes CPU and memory as [`Self::cost`] says: never call it on an I/O thread.
    pub fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2id(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            Self::Pbkdf2Sha512 {
                iterations,
                salt,
                hash,
            } => {
                let kind = pbkdf2::PBKDF2_HMAC_SHA512;
                let verified = pbkdf2::verify(kind, *iterations, salt, password, &**hash);
                // HMAC fills short keys up with zeroes: a password and the same with NUL behind it would be one.
                verified.is_ok() && !password.ends_with(&[0])
            }
            Self::SaltedSha512 { salt, hash } => {
                let mut context = digest::Context::new(&digest::SHA512);
                context.update(password);
                context.update(salt);
                context.finish().as_ref().ct_eq(&**hash).into()
            }
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
        }
    }

    pub fn cost(&self) -> Cost {
        let cost = |kind, kib, passes, lanes| Cost {
            kind,
            kib,
            passes,
            lanes,
        };
        match self {
            Self::Argon2id(hash) => match Params::try_from(&**hash) {
                Ok(params) => cost(
                    "argon2id",
                    params.m_cost(),
                    params.t_cost(),
                    params.p_cost(),
                ),
                Err(_) => cost("argon2id", Params::DEFAULT_M_COST, 0, 0),
            },
            Self::Pbkdf2Sha512 { iterations, .. } => cost("pbkdf2", 1, iterations.get(), 1),
            Self::SaltedSha512 { .. } => cost("sha512", 1, 1, 1),
            Self::Bcrypt(text) => cost("bcrypt", 4, bcrypt_cost(text).unwrap_or(0), 1),
        }
    }

    /// Whether the next good login should store a new hash of our own.
    pub fn is_outdated(&self) -> bool {
        self.cost() != argon2id_cost()
    }
}

impl std::fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredHash({})", self.cost().kind)
    }
}

/// A new argon2id string with the parameters that this version stores.
pub fn hash(password: &[u8], salt: &[u8; 16]) -> Result<String, InvalidHash> {
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
    let hash: PasswordHash = hasher
        .hash_password_with_salt(password, salt)
        .map_err(|_| InvalidHash::Malformed("argon2id"))?;
    Ok(hash.to_string())
}

/// Takes as long as a user's own hash when no user has one; matches no password that anybody knows.
pub fn placeholder() -> Result<StoredHash, InvalidHash> {
    // The hash is not of any password: 32 zero bytes.
    let Cost {
        kib, passes, lanes, ..
    } = argon2id_cost();
    let zeroes = "A".repeat(43);
    let text =
        format!("$argon2id$v=19$m={kib},t={passes},p={lanes}$AAAAAAAAAAAAAAAAAAAAAA${zeroes}");
    StoredHash::parse(&text)
}

fn argon2id_cost() -> Cost {
    Cost {
        kind: "argon2id",
        kib: Params::DEFAULT_M_COST,
        passes: Params::DEFAULT_T_COST,
        lanes: Params::DEFAULT_P_COST,
    }
}

fn argon2id(text: &str) -> Result<StoredHash, InvalidHash> {
    let malformed = InvalidHash::Malformed("argon2id");
    let Ok(hash) = PasswordHash::new(text) else {
        return Err(malformed);
    };
    if hash.version != Some(u32::from(Version::V0x13)) {
        return Err(InvalidHash::OtherArgon2);
    }
    let Ok(params) = Params::try_from(&hash) else {
        return Err(malformed);
    };
    let salt_is_short = hash
        .salt
        .as_ref()
        .is_none_or(|salt| salt.len() < SALT_LENGTH_MIN);
    if salt_is_short || hash.hash.as_ref().is_none_or(|hash| hash.len() < 16) {
        return Err(malformed);
    }
    if params.m_cost() > ARGON2_MEMORY_KIB_MAX
        || params.t_cost() > ARGON2_PASSES_MAX
        || params.p_cost() > ARGON2_LANES_MAX
    {
        return Err(InvalidHash::TooCostly("argon2id"));
    }
    Ok(StoredHash::Argon2id(Box::new(hash)))
}

fn pbkdf2_sha512(text: &str) -> Result<StoredHash, InvalidHash> {
    let malformed = || InvalidHash::Malformed("$7$");
    let mut fields = text.split('$').skip(2);
    let (Some(iterations), Some(salt), Some(hash), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(malformed());
    };
    let iterations: NonZeroU32 = iterations.parse().map_err(|_| malformed())?;
    if iterations.get() > PBKDF2_ITERATIONS_MAX {
        return Err(InvalidHash::TooCostly("$7$"));
    }
    let salt = salt_bytes(salt).ok_or_else(malformed)?;
    let hash = sha512_bytes(hash).ok_or_else(malformed)?;
    Ok(StoredHash::Pbkdf2Sha512 {
        iterations,
        salt,
        hash,
    })
}

fn salted_sha512(text: &str) -> Result<StoredHash, InvalidHash> {
    let malformed = || InvalidHash::Malformed("$6$");
    let mut fields = text.split('$').skip(2);
    let (Some(salt), Some(hash), None) = (fields.next(), fields.next(), fields.next()) else {
        return Err(malformed());
    };
    let salt = salt_bytes(salt).ok_or_else(malformed)?;
    let hash = sha512_bytes(hash).ok_or_else(malformed)?;
    Ok(StoredHash::SaltedSha512 { salt, hash })
}

fn bcrypt_string(text: &str) -> Result<StoredHash, InvalidHash> {
    let cost = bcrypt_cost(text).ok_or(InvalidHash::Malformed("bcrypt"))?;
    if cost > BCRYPT_COST_MAX {
        return Err(InvalidHash::TooCostly("bcrypt"));
    }
    Ok(StoredHash::Bcrypt(text.into()))
}

fn bcrypt_cost(text: &str) -> Option<u32> {
    // 60 characters, all ASCII: the library slices by position.
    if !text.is_ascii() || text.len() != 60 {
        return None;
    }
    let parts: bcrypt::HashParts = text.parse().ok()?;
    Some(parts.get_cost())
}

fn salt_bytes(text: &str) -> Option<Box<[u8]>> {
    let salt = STANDARD.decode(text).ok()?;
    (SALT_LENGTH_MIN..=256)
        .contains(&salt.len())
        .then(|| salt.into())
}

fn sha512_bytes(text: &str) -> Option<Box<[u8; 64]>> {
    let hash: [u8; 64] = STANDARD.decode(text).ok()?.try_into().ok()?;
    Some(Box::new(hash))
}

#[cfg(test)]
#[path = "password_hash_tests.rs"]
mod tests;
