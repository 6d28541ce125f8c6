//! One SCRAM login from the server's side: challenge, proof, proof in return. RFC 5802 section 5

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::credential::ScramCredential;
use super::message::{ClientFinal, ClientFirst, ScramError};

/// A challenge that waits for its proof. It can be answered once.
#[derive(Debug)]
pub struct Exchange {
    first: ClientFirst,
    /// The client's and ours behind it.
    nonce: String,
    server_first: String,
    credential: Arc<ScramCredential>,
}

/// What a proof was worth.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    pub proved: bool,
    /// `server-final-message`; to be sent only when the proof was good.
    pub server_final: String,
}

impl Exchange {
    /// `server_nonce`: printable, without a comma, and never used before.
    pub fn begin(first: ClientFirst, credential: Arc<ScramCredential>, server_nonce: &str) -> Self {
        let nonce = format!("{}{server_nonce}", first.nonce);
        let server_first = format!(
            "r={nonce},s={},i={}",
            STANDARD.encode(&credential.salt),
            credential.iterations
        );
        Self {
            first,
            nonce,
            server_first,
            credential,
        }
    }

    pub fn username(&self) -> &str {
        &self.first.username
    }

    pub fn server_first(&self) -> &str {
        &self.server_first
    }

    pub fn finish(self, client_final: &[u8]) -> Result<Finished, ScramError> {
        let last = ClientFinal::parse(client_final)?;
        // Somebody in between who changed `y` to `n`, or the other way, is found out here. RFC 5802 section 6
        if last.channel_binding != self.first.gs2_header.as_bytes() {
            return Err(ScramError::OtherChannel);
        }
        if last.nonce != self.nonce {
            return Err(ScramError::OtherNonce);
        }
        let auth_message = format!(
            "{},{},{}",
            self.first.bare, self.server_first, last.without_proof
        );
        let signature = self.credential.server_signature(auth_message.as_bytes());
        Ok(Finished {
            proved: self
                .credential
                .accepts(auth_message.as_bytes(), &last.proof),
            server_final: format!("v={}", STANDARD.encode(signature)),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn exchange(password: &str) -> Exchange {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let credential = ScramCredential::with_iterations(
            password.as_bytes(),
            &salt,
            NonZeroU32::new(4096).unwrap(),
        );
        let first = ClientFirst::parse(CLIENT_FIRST).unwrap();
        Exchange::begin(first, Arc::new(credential.unwrap()), SERVER_NONCE)
    }

    /// RFC 7677 section 3.
    #[test]
    fn the_example_of_the_standard() {
        let exchange = exchange("pencil");
        assert_eq!(exchange.username(), "user");
        assert_eq!(
            exchange.server_first(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let finished = exchange.finish(CLIENT_FINAL.as_bytes()).unwrap();
        assert!(finished.proved);
        assert_eq!(
            finished.server_final,
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn a_proof_of_something_else_proves_nothing() {
        let wrong = exchange("Pencil").finish(CLIENT_FINAL.as_bytes()).unwrap();
        assert!(!wrong.proved);
        let rows = [
            (
                CLIENT_FINAL.replace("biws", "eSws"),
                ScramError::OtherChannel,
            ),
            (
                CLIENT_FINAL.replace("NEkqO%", "NEkqO&"),
                ScramError::OtherNonce,
            ),
            (CLIENT_FINAL.replace("$k0", ""), ScramError::OtherNonce),
            (
                CLIENT_FINAL.replace(",p=", ",q="),
                ScramError::Malformed("final"),
            ),
        ];
        for (message, expected) in rows {
            let finished = exchange("pencil").finish(message.as_bytes());
            assert_eq!(finished, Err(expected), "{message}");
        }
        let other_proof = CLIENT_FINAL.replace("dHzb", "dHzc");
        assert!(
            !exchange("pencil")
                .finish(other_proof.as_bytes())
                .unwrap()
                .proved
        );
    }
}
