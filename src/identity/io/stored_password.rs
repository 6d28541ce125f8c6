//! What the password file keeps of a new password.

use std::io;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::identity::password_hash::hash;
use crate::identity::scram::ScramCredential;
use crate::identity::{UserEntry, UsersDocument};
use crate::secret::Secret;

/// A hash and, where wanted, a SCRAM credential, each with its salt; as texts of the file.
pub struct NewPassword {
    hash: String,
    scram: Option<String>,
}

impl NewPassword {
    /// Takes the time and memory of a hash.
    pub fn derive(password: &Secret, scram: bool) -> io::Result<Self> {
        let hash = hash(password.expose(), &random()?).map_err(io::Error::other)?;
        // A password that SASLprep prohibits serves for logins by password alone.
        let scram = scram.then_some(random()?).and_then(|salt| {
            ScramCredential::derive(password.expose(), &salt).map(|credential| credential.to_text())
        });
        Ok(Self { hash, scram })
    }

    /// Puts it in the place of an entry's old one.
    pub fn set(self, entry: &mut UserEntry) {
        entry.hash = self.hash;
        entry.scram = self.scram;
    }
}

/// Gives a document with SCRAM credentials the secret that challenges for unknown names are made of.
pub fn complete(document: &mut UsersDocument) -> io::Result<()> {
    let needed = document.users.values().any(|entry| entry.scram.is_some());
    if needed && document.scram_secret.is_none() {
        document.scram_secret = Some(STANDARD.encode(random::<32>()?));
    }
    Ok(())
}

fn random<const LENGTH: usize>() -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes)
        .map_err(|_| io::Error::other("no randomness from the operating system"))?;
    Ok(bytes)
}
