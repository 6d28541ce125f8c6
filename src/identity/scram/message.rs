//! What a client says in SCRAM, read strictly. RFC 5802 sections 5.1 and 7

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::credential::KEY_LENGTH;
use crate::identity::users::check_username;

/// Longer nonces are refused: ours repeats the client's.
const NONCE_LENGTH_MAX: usize = 256;

/// Why an exchange was refused, but for a wrong proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("the client's {0} message is malformed")]
    Malformed(&'static str),
    #[error("the client wants an extension that nobody knows")]
    MandatoryExtension,
    #[error("the client binds to a channel, which SCRAM-SHA-256 without -PLUS does not do")]
    ChannelBinding,
    #[error("what the client says of the channel is not what it said before")]
    OtherChannel,
    #[error("the client answers another challenge")]
    OtherNonce,
    #[error("the name is not one that SASLprep allows")]
    Name,
    #[error("{0:?} asks to act as {1:?}")]
    OtherIdentity(String, String),
    #[error("SCRAM names {scram:?}, CONNECT names {connect:?}")]
    OtherUsername { scram: String, connect: String },
}

/// `client-first-message`: a name and a nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFirst {
    /// As SASLprep leaves it.
    pub username: String,
    pub(super) gs2_header: String,
    pub(super) bare: String,
    pub(super) nonce: String,
}

/// `client-final-message`: the proof.
pub(super) struct ClientFinal<'a> {
    pub(super) channel_binding: Vec<u8>,
    pub(super) nonce: &'a str,
    pub(super) without_proof: &'a str,
    pub(super) proof: [u8; KEY_LENGTH],
}

impl ClientFirst {
    pub fn parse(message: &[u8]) -> Result<Self, ScramError> {
        let malformed = ScramError::Malformed("first");
        let Ok(text) = std::str::from_utf8(message) else {
            return Err(malformed);
        };
        let Some((flag, rest)) = text.split_once(',') else {
            return Err(malformed);
        };
        match flag {
            // `y`: the client could bind, and believes that we cannot; it is right, so nobody has come between us.
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(malformed),
        }
        let Some((authzid, bare)) = rest.split_once(',') else {
            return Err(malformed);
        };
        if bare.starts_with("m=") {
            return Err(ScramError::MandatoryExtension);
        }
        // What follows the nonce are extensions, and optional ones are ignored.
        let mut attributes = bare.split(',');
        let username = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("n="))
            .ok_or(malformed.clone())?;
        let nonce = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("r="))
            .filter(|nonce| is_nonce(nonce))
            .ok_or(malformed.clone())?;
        let username = prepared(username)?;
        if !authzid.is_empty() {
            let wanted = authzid.strip_prefix("a=").ok_or(malformed)?;
            let wanted = prepared(wanted)?;
            if wanted != username {
                return Err(ScramError::OtherIdentity(username, wanted));
            }
        }
        Ok(Self {
            username,
            gs2_header: format!("{flag},{authzid},"),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let malformed = ScramError::Malformed("final");
        let Ok(text) = std::str::from_utf8(message) else {
            return Err(malformed);
        };
        let Some((without_proof, proof)) = text.rsplit_once(",p=") else {
            return Err(malformed);
        };
        let mut attributes = without_proof.split(',');
        let mut next = |prefix| {
            attributes
                .next()
                .and_then(|attribute| attribute.strip_prefix(prefix))
        };
        let (Some(channel_binding), Some(nonce)) = (next("c="), next("r=")) else {
            return Err(malformed);
        };
        let proof = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok());
        let (Ok(channel_binding), Some(proof)) = (STANDARD.decode(channel_binding), proof) else {
            return Err(malformed);
        };
        Ok(Self {
            channel_binding,
            nonce,
            without_proof,
            proof,
        })
    }
}

/// `saslname`: a comma and an equals sign are written `=2C` and `=3D`, and no other equals sign stands in it.
fn prepared(name: &str) -> Result<String, ScramError> {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('=') {
        plain.push_str(before);
        let (sign, after) = match after.split_at_checked(2) {
            Some(("2C", after)) => (',', after),
            Some(("3D", after)) => ('=', after),
            Some(_) | None => return Err(ScramError::Malformed("first")),
        };
        plain.push(sign);
        rest = after;
    }
    plain.push_str(rest);
    let prepared = stringprep::saslprep(&plain).map_err(|_| ScramError::Name)?;
    check_username(&prepared).map_err(|_| ScramError::Name)?;
    Ok(prepared.into_owned())
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NONCE_LENGTH_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_first_message_names_a_user() {
        let rows = [
            ("n,,n=user,r=abc", Ok("user")),
            ("y,,n=user,r=abc", Ok("user")),
            ("n,a=user,n=user,r=abc", Ok("user")),
            ("n,,n=a=2Cb=3Dc,r=abc", Ok("a,b=c")),
            ("n,,n=user,r=abc,x=extension", Ok("user")),
            ("n,,n=I\u{ad}X,r=abc", Ok("IX")),
            (
                "p=tls-unique,,n=user,r=abc",
                Err(ScramError::ChannelBinding),
            ),
            ("n,,m=1,n=user,r=abc", Err(ScramError::MandatoryExtension)),
            (
                "n,a=admin,n=user,r=abc",
                Err(ScramError::OtherIdentity("user".into(), "admin".into())),
            ),
            ("n,,n=,r=abc", Err(ScramError::Name)),
            ("n,,n= user,r=abc", Err(ScramError::Name)),
            ("n,,n=a\u{7},r=abc", Err(ScramError::Name)),
            ("n,,n=a=2c,r=abc", Err(ScramError::Malformed("first"))),
            ("n,,n=a=,r=abc", Err(ScramError::Malformed("first"))),
            ("n,,n=user,r=", Err(ScramError::Malformed("first"))),
            ("n,,n=user", Err(ScramError::Malformed("first"))),
            ("n,,r=abc,n=user", Err(ScramError::Malformed("first"))),
            ("n,user,n=user,r=abc", Err(ScramError::Malformed("first"))),
            ("z,,n=user,r=abc", Err(ScramError::Malformed("first"))),
            ("", Err(ScramError::Malformed("first"))),
        ];
        for (message, expected) in rows {
            let parsed = ClientFirst::parse(message.as_bytes()).map(|first| first.username);
            assert_eq!(parsed, expected.map(str::to_owned), "{message}");
        }
        assert!(ClientFirst::parse(b"n,,n=\xff,r=a").is_err());
        let long = format!("n,,n=user,r={}", "a".repeat(NONCE_LENGTH_MAX + 1));
        assert!(ClientFirst::parse(long.as_bytes()).is_err());
    }

    #[test]
    fn a_final_message_carries_a_proof_of_32_bytes() {
        let proof = STANDARD.encode([1; 32]);
        let good = format!("c=biws,r=abc,p={proof}");
        let parsed = ClientFinal::parse(good.as_bytes()).unwrap();
        assert_eq!(
            (
                parsed.channel_binding.as_slice(),
                parsed.nonce,
                parsed.without_proof
            ),
            (&b"n,,"[..], "abc", "c=biws,r=abc")
        );
        for bad in [
            format!("c=biws,r=abc,p={}", STANDARD.encode([1; 31])),
            format!("c=%,r=abc,p={proof}"),
            format!("r=abc,c=biws,p={proof}"),
            "c=biws,r=abc".to_owned(),
            String::new(),
        ] {
            assert!(ClientFinal::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_message_can_panic(text in "[nyp],(a=)?[a-z=,23CD]{0,8},(n=)?.{0,12},(r=)?.{0,6}", bytes: Vec<u8>) {
            let _ = ClientFirst::parse(text.as_bytes());
            let _ = ClientFirst::parse(&bytes);
            let _ = ClientFinal::parse(text.as_bytes());
            let _ = ClientFinal::parse(&bytes);
        }
    }
}
