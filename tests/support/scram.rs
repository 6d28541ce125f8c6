//! The client's side of SCRAM-SHA-256, independent of the broker's. RFC 5802

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::num::NonZeroU32;

pub struct Scram {
    bare: String,
    password: String,
}

impl Scram {
    pub fn new(username: &str, password: &str) -> Self {
        Self {
            bare: format!("n={username},r=fyko+d2lbbFgONRv9qkxdawL"),
            password: password.to_owned(),
        }
    }

    pub fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The answer to a challenge, and what the server must say to it.
    pub fn answer(&self, challenge: &str) -> (String, String) {
        let nonce = attribute(challenge, "r=");
        assert!(self.bare.ends_with(&nonce[..24]), "{challenge}");
        let salt = STANDARD.decode(attribute(challenge, "s=")).unwrap();
        let iterations: NonZeroU32 = attribute(challenge, "i=").parse().unwrap();
        assert!(iterations.get() >= 4096);
        let mut salted = [0; 32];
        let kind = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(
            kind,
            iterations,
            &salt,
            self.password.as_bytes(),
            &mut salted,
        );
        let client_key = mac(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{challenge},{without_proof}", self.bare);
        let signature = mac(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(key, signature)| key ^ signature)
            .collect();
        let server = mac(&mac(&salted, b"Server Key"), message.as_bytes());
        (
            format!("{without_proof},p={}", STANDARD.encode(proof)),
            format!("v={}", STANDARD.encode(server)),
        )
    }
}

fn attribute<'a>(message: &'a str, name: &str) -> &'a str {
    message
        .split(',')
        .find_map(|attribute| attribute.strip_prefix(name))
        .unwrap_or_else(|| panic!("no {name} in {message}"))
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
        .as_ref()
        .to_vec()
}
