//! JSON Web Key Sets. A key that we cannot or may not use is passed over; a set without a usable key is refused. RFC 7517, RFC 7518 section 6

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json;
use super::key::{InvalidKey, KEYS_MAX, KeySet, VerifyingKey};

/// Reads the public keys of a set for the algorithms allowed. Secrets (`oct`) never come from a set (IDN-8).
pub fn key_set(bytes: &[u8], allowed: &[Algorithm]) -> Result<KeySet, InvalidKey> {
    let not_a_set = |reason: &str| InvalidKey::NotAKeySet(reason.to_owned());
    let document = json::object(bytes).ok_or_else(|| not_a_set("not a JSON object"))?;
    let Some(Value::Array(keys)) = document.get("keys") else {
        return Err(not_a_set("no list `keys`"));
    };
    if keys.len() > KEYS_MAX {
        return Err(InvalidKey::TooMany(keys.len()));
    }
    let usable: Vec<_> = keys
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|key| {
            allowed
                .iter()
                .filter_map(|algorithm| verifying_key(key, *algorithm))
        })
        .collect();
    if usable.is_empty() {
        return Err(InvalidKey::NoneUsable);
    }
    KeySet::new(usable)
}

/// The key for one algorithm, when it is meant for it.
fn verifying_key(key: &Map<String, Value>, algorithm: Algorithm) -> Option<VerifyingKey> {
    if algorithm.takes_a_secret() || !may_verify(key) {
        return None;
    }
    if key
        .get("alg")
        .is_some_and(|own| own.as_str() != Some(algorithm.name()))
    {
        return None;
    }
    let kid = match key.get("kid") {
        None => None,
        Some(kid) => Some(kid.as_str()?.to_owned()),
    };
    let field = |name: &str| URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok();
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    match (text("kty")?, algorithm) {
        ("RSA", Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Ps256 | Algorithm::Ps384) => {
            VerifyingKey::rsa(kid, algorithm, &field("n")?, &field("e")?).ok()
        }
        ("EC", Algorithm::Es256) if text("crv") == Some("P-256") => {
            VerifyingKey::curve(kid, algorithm, &point(&field("x")?, &field("y")?)).ok()
        }
        ("EC", Algorithm::Es384) if text("crv") == Some("P-384") => {
            VerifyingKey::curve(kid, algorithm, &point(&field("x")?, &field("y")?)).ok()
        }
        ("OKP", Algorithm::EdDsa) if text("crv") == Some("Ed25519") => {
            VerifyingKey::curve(kid, algorithm, &field("x")?).ok()
        }
        _ => None,
    }
}

/// `use` and `key_ops`, where they are. RFC 7517 sections 4.2, 4.3
fn may_verify(key: &Map<String, Value>) -> bool {
    let for_signatures = key
        .get("use")
        .is_none_or(|purpose| purpose.as_str() == Some("sig"));
    let to_verify = key.get("key_ops").is_none_or(|operations| {
        operations
            .as_array()
            .is_some_and(|operations| operations.iter().any(|one| one.as_str() == Some("verify")))
    });
    for_signatures && to_verify
}

/// Uncompressed. SEC 1 section 2.3.3
fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}
