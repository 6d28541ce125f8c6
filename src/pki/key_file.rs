//! The private key of an authority on disk: PKCS #8, under a passphrase where one was given. RFC 5958, RFC 8018

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Params};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, SecretDocument};
use rcgen::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use super::PkiError;
use crate::secret::Secret;

/// How a passphrase is come by. Asked only where the key has one.
pub type Passphrase<'a> = &'a dyn Fn() -> Result<Secret, PkiError>;

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
/// OWASP's count for PBKDF2 with HMAC-SHA256: the file lies about in backups. Not scrypt, for openssl reads no more of that than 32 MiB.
const ITERATIONS: u32 = 600_000;
const FILE_MAX: u64 = 64 * 1024;
const PASSPHRASE_MAX: usize = 1024;

/// For those that have none.
pub(super) fn no_passphrase() -> Result<Secret, PkiError> {
    Err(PkiError::PassphraseNeeded)
}

pub(super) fn to_pem(
    key: &KeyPair,
    passphrase: Option<&Secret>,
) -> Result<Zeroizing<String>, PkiError> {
    let Some(passphrase) = passphrase else {
        return Ok(Zeroizing::new(key.serialize_pem()));
    };
    let failed = |_| PkiError::Encryption;
    let (mut salt, mut iv) = ([0u8; 16], [0u8; 16]);
    for bytes in [&mut salt, &mut iv] {
        aws_lc_rs::rand::fill(bytes).map_err(|_| PkiError::NoRandomness)?;
    }
    let parameters = Parameters {
        kdf: Kdf::Pbkdf2(Pbkdf2Params::hmac_sha256(ITERATIONS, &salt).map_err(failed)?),
        encryption: EncryptionScheme::Aes256Cbc { iv },
    };
    let plain = Zeroizing::new(key.serialize_der());
    let encrypted = parameters
        .encrypt(passphrase.expose(), &plain)
        .map_err(failed)?;
    let info = EncryptedPrivateKeyInfoRef {
        encryption_algorithm: parameters.into(),
        encrypted_data: (&encrypted[..])
            .try_into()
            .map_err(|_| PkiError::Encryption)?,
    };
    let document = SecretDocument::try_from(info).map_err(|_| PkiError::Encryption)?;
    document
        .to_pem(ENCRYPTED, LineEnding::LF)
        .map_err(|_| PkiError::Encryption)
}

/// Refused when others than the owner can read it (STO-3).
pub(super) fn read(path: &Path, passphrase: Passphrase<'_>) -> Result<KeyPair, PkiError> {
    let bytes = read_private(path)?;
    let damaged = || PkiError::Damaged {
        path: path.to_owned(),
        reason: "not a private key in PEM".to_owned(),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
    if !text.contains(ENCRYPTED) {
        return KeyPair::from_pem(text).map_err(|_| damaged());
    }
    let (_, document) = SecretDocument::from_pem(text).map_err(|_| damaged())?;
    let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| damaged())?;
    let wrong = || PkiError::WrongPassphrase(path.to_owned());
    let plain = info.decrypt(passphrase()?.expose()).map_err(|_| wrong())?;
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(plain.as_bytes())).map_err(|_| wrong())
}

/// A passphrase from a file: all of it, less the end of its one line.
pub fn read_passphrase(path: &Path) -> Result<Secret, PkiError> {
    let mut bytes = read_private(path)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() || bytes.len() > PASSPHRASE_MAX || bytes.contains(&b'\n') {
        return Err(PkiError::Damaged {
            path: path.to_owned(),
            reason: format!("a passphrase is one line of 1 to {PASSPHRASE_MAX} bytes"),
        });
    }
    Ok(Secret::new(bytes.to_vec()))
}

fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let file = File::open(path).map_err(|source| PkiError::unopened(path, source))?;
    // The mode is that of the file opened, not of a name that may be another file by now.
    let metadata = file.metadata().map_err(PkiError::file(path))?;
    let mode = metadata.permissions().mode();
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(PkiError::Damaged {
            path: path.to_owned(),
            reason: format!("mode {:04o}: others can read it; chmod 600", mode & 0o7777),
        });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_MAX)
        .read_to_end(&mut bytes)
        .map_err(PkiError::file(path))?;
    Ok(bytes)
}
