//! The frame of a token: three parts, a strict header, a signature over the first two. RFC 7515 section 7.1

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json;
use super::key::{KeyPrint, KeySet};

/// A token is a credential, not a document (IDN-9).
pub(super) const LENGTH_MAX: usize = 8 << 10;
const KID_LENGTH_MAX: usize = 256;
/// Of what is told about a token that is refused.
const REASON_LENGTH_MAX: usize = 200;

/// A token whose signature nobody has checked: it tells which key to ask and nothing more.
#[derive(Debug)]
pub struct Unverified<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    message: &'a [u8],
    payload: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    #[error("longer than {LENGTH_MAX} bytes")]
    TooLong,
    #[error("malformed {0}")]
    Malformed(&'static str),
    #[error("algorithm {0:?} is not allowed")]
    Algorithm(String),
    #[error("critical header parameters are not understood")]
    Critical,
    #[error("not a token for access: typ {0:?}")]
    Type(String),
    #[error("no key for {} with kid {kid:?}", algorithm.name())]
    UnknownKey {
        algorithm: Algorithm,
        kid: Option<String>,
    },
    #[error("signature does not verify")]
    Signature,
    #[error("claim {claim}: {reason}")]
    Claim { claim: String, reason: &'static str },
    #[error("claim {place}: {reason}")]
    Acl { place: String, reason: String },
}

impl InvalidToken {
    /// A list of statements that cannot be taken; the reason may quote it.
    pub fn acl(place: &str, reason: &str) -> Self {
        Self::Acl {
            place: place.chars().take(REASON_LENGTH_MAX).collect(),
            reason: reason.chars().take(REASON_LENGTH_MAX).collect(),
        }
    }
}

/// Three base64url parts of which the first opens a JSON object: what makes a password a token, good or forged.
pub fn looks_like_a_token(password: &[u8]) -> bool {
    let mut parts = password.split(|byte| *byte == b'.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_base64 = |part: &[u8]| {
        part.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // `{"` and `{ ` in base64url.
    let opens_an_object = header.starts_with(b"ey") || header.starts_with(b"ew");
    opens_an_object && is_base64(header) && is_base64(payload) && is_base64(signature)
}

impl<'a> Unverified<'a> {
    pub fn parse(token: &'a [u8]) -> Result<Self, InvalidToken> {
        if token.len() > LENGTH_MAX {
            return Err(InvalidToken::TooLong);
        }
        let dot = |name| {
            token
                .iter()
                .rposition(|byte| *byte == b'.')
                .ok_or(InvalidToken::Malformed(name))
        };
        let (message, signature) = token.split_at(dot("token")?);
        let mut parts = message.splitn(2, |byte| *byte == b'.');
        let header = decode(parts.next().unwrap_or_default(), "header")?;
        let payload = decode(parts.next().unwrap_or_default(), "payload")?;
        let signature = decode(signature.get(1..).unwrap_or_default(), "signature")?;
        let header = json::object(&header).ok_or(InvalidToken::Malformed("header"))?;
        let (algorithm, kid) = judge(&header)?;
        Ok(Self {
            algorithm,
            kid,
            message,
            payload,
            signature,
        })
    }

    /// Whether a key set may have to be fetched again for this token.
    pub fn is_known_to(&self, keys: &KeySet) -> bool {
        keys.has_candidate(self.algorithm, self.kid.as_deref())
    }

    /// The claims and the key of ours that has verified them.
    pub fn verify(self, keys: &[&KeySet]) -> Result<(Map<String, Value>, KeyPrint), InvalidToken> {
        let kid = self.kid.as_deref();
        if !keys.iter().any(|set| self.is_known_to(set)) {
            return Err(InvalidToken::UnknownKey {
                algorithm: self.algorithm,
                kid: self.kid,
            });
        }
        let key = keys
            .iter()
            .find_map(|set| set.verify(self.algorithm, kid, self.message, &self.signature))
            .ok_or(InvalidToken::Signature)?;
        let claims = json::object(&self.payload).ok_or(InvalidToken::Malformed("payload"))?;
        Ok((claims, key.clone()))
    }
}

/// `jku`, `x5u`, `x5c` and `jwk` are not even looked at: keys come from the configuration (IDN-8).
fn judge(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), InvalidToken> {
    if header.contains_key("crit") {
        return Err(InvalidToken::Critical);
    }
    let Some(Value::String(name)) = header.get("alg") else {
        return Err(InvalidToken::Malformed("alg"));
    };
    let algorithm = Algorithm::named(name).ok_or_else(|| InvalidToken::Algorithm(short(name)))?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= KID_LENGTH_MAX => Some(kid.clone()),
        Some(_) => return Err(InvalidToken::Malformed("kid")),
    };
    match header.get("typ") {
        None => {}
        Some(Value::String(kind)) => {
            // RFC 9068 section 2.1 and RFC 7519 section 5.1; an identity token of another kind is not for us. RFC 8725 section 3.11
            let kinds = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];
            if !kinds.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
                return Err(InvalidToken::Type(short(kind)));
            }
        }
        Some(_) => return Err(InvalidToken::Malformed("typ")),
    }
    Ok((algorithm, kid))
}

fn decode(part: &[u8], name: &'static str) -> Result<Vec<u8>, InvalidToken> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| InvalidToken::Malformed(name))
}

fn short(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
