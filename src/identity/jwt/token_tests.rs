//! What is promised of token, as tables.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::identity::jwt::{VerifyingKey, key_set};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use rustls_pki_types::pem::PemObject;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(header: &str, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(signature))
}

fn hs256(secret: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

fn verified(token: &str, keys: &KeySet) -> Result<(), InvalidToken> {
    Unverified::parse(token.as_bytes())?
        .verify(&[keys])
        .map(drop)
}

fn secret_keys() -> KeySet {
    KeySet::new(vec![
        VerifyingKey::secret(Some("a".into()), Algorithm::Hs256, SECRET).unwrap(),
    ])
    .unwrap()
}

#[test]
fn a_token_is_told_by_its_shape() {
    let good = token(r#"{"alg":"HS256"}"#, "{}", hs256(SECRET));
    let none = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode("{}"));
    let rows = [
        (good.as_str(), true),
        (&none, true),
        ("eyJ.e30.", true),
        ("secret", false),
        ("a.b.c", false),
        ("eyJ.b", false),
        ("eyJ.b.c.d", false),
        ("eyJ.b.c=", false),
        ("eyJ.b c.d", false),
        ("", false),
    ];
    for (password, expected) in rows {
        assert_eq!(
            looks_like_a_token(password.as_bytes()),
            expected,
            "{password}"
        );
    }
}

#[test]
fn every_algorithm_verifies_its_own_and_no_other() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let rng = SystemRandom::new();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let (x, y) = ec.public_key().as_ref().split_at(1).1.split_at(32);
    let n = rsa.public_key().modulus().big_endian_without_leading_zero();
    let e = rsa
        .public_key()
        .exponent()
        .big_endian_without_leading_zero();
    let set = serde_json::json!({"keys": [
        {"kty": "RSA", "kid": "r", "n": encode(n), "e": encode(e), "use": "sig"},
        {"kty": "EC", "kid": "e", "crv": "P-256", "x": encode(x), "y": encode(y), "alg": "ES256"},
        {"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": encode(ed.public_key())},
        {"kty": "oct", "kid": "o", "k": encode(SECRET), "alg": "HS256"},
        {"kty": "EC", "kid": "enc", "crv": "P-256", "x": encode(x), "y": encode(y), "use": "enc"},
    ]});
    let keys = key_set(set.to_string().as_bytes(), &Algorithm::ALL).unwrap();
    let sign_rsa = |padding: &'static dyn aws_lc_rs::signature::RsaEncoding| {
        let (rsa, rng) = (&rsa, &rng);
        move |message: &[u8]| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(padding, rng, message, &mut signature).unwrap();
            signature
        }
    };
    let rows = [
        token(
            r#"{"alg":"RS256","kid":"r"}"#,
            "{}",
            sign_rsa(&RSA_PKCS1_SHA256),
        ),
        token(r#"{"alg":"PS256"}"#, "{}", sign_rsa(&RSA_PSS_SHA256)),
        token(
            r#"{"alg":"ES256","kid":"e","typ":"at+jwt"}"#,
            "{}",
            |message| ec.sign(&rng, message).unwrap().as_ref().to_vec(),
        ),
        token(r#"{"alg":"EdDSA","kid":"d"}"#, "{}", |message| {
            ed.sign(message).as_ref().to_vec()
        }),
    ];
    for (index, good) in rows.iter().enumerate() {
        assert_eq!(verified(good, &keys), Ok(()), "row {index}");
        assert!(verified(good, &secret_keys()).is_err(), "row {index}");
    }
    let refused = [
        token(
            r#"{"alg":"PS256","kid":"r"}"#,
            "{}",
            sign_rsa(&RSA_PKCS1_SHA256),
        ),
        token(r#"{"alg":"ES256","kid":"enc"}"#, "{}", |message| {
            ec.sign(&rng, message).unwrap().as_ref().to_vec()
        }),
        token(r#"{"alg":"HS256","kid":"o"}"#, "{}", hs256(SECRET)),
    ];
    for forged in &refused {
        assert!(verified(forged, &keys).is_err(), "{forged}");
    }
    // The public key as the secret of an HMAC, in each form that it has been tried.
    let der = rsa.public_key().as_ref().to_vec();
    let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> = rsa.public_key().as_der().unwrap();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(spki.as_ref())
    );
    assert!(rustls_pki_types::SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).is_ok());
    let only_rsa = KeySet::new(vec![
        VerifyingKey::public_pem(None, Algorithm::Rs256, pem.as_bytes()).unwrap(),
    ])
    .unwrap();
    for secret in [
        &der[..],
        spki.as_ref(),
        pem.as_bytes(),
        pem.trim_end().as_bytes(),
    ] {
        let forged = token(r#"{"alg":"HS256"}"#, "{}", hs256(secret));
        assert!(matches!(
            verified(&forged, &only_rsa),
            Err(InvalidToken::UnknownKey { .. })
        ));
    }
    assert!(VerifyingKey::public_pem(None, Algorithm::Es256, pem.as_bytes()).is_err());
    assert!(VerifyingKey::public_pem(None, Algorithm::Hs256, pem.as_bytes()).is_err());
}

#[test]
fn idn_08_a_forged_token_is_refused() {
    let keys = secret_keys();
    let good = token(
        r#"{"alg":"HS256","kid":"a","typ":"JWT"}"#,
        "{}",
        hs256(SECRET),
    );
    assert_eq!(verified(&good, &keys), Ok(()));
    assert_eq!(
        verified(&token(r#"{"alg":"HS256"}"#, "{}", hs256(SECRET)), &keys),
        Ok(())
    );
    let headers = [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"HS256","kid":"b"}"#,
        r#"{"alg":"HS256","kid":"../../dev/null"}"#,
        r#"{"alg":"HS256","kid":"' OR 1=1 --"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":null}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"HS256","typ":"dpop+jwt"}"#,
        r#"{"alg":"HS256","typ":7}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"kid":"a"}"#,
        "[]",
        "",
    ];
    for header in headers {
        assert!(
            verified(&token(header, "{}", hs256(SECRET)), &keys).is_err(),
            "{header}"
        );
    }
    // Keys that a token brings along are not looked at.
    let own = b"attacker-attacker-attacker-attac";
    for extra in [
        r#""jwk":{"kty":"oct","k":"YXR0YWNrZXI"}"#,
        r#""jku":"https://evil.example/keys""#,
        r#""x5u":"https://evil.example/""#,
        r#""x5c":["MIIB"]"#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{extra}}}"#);
        assert_eq!(
            verified(&token(&header, "{}", hs256(own)), &keys),
            Err(InvalidToken::Signature),
            "{extra}"
        );
    }
    let (message, signature) = good.rsplit_once('.').unwrap();
    let shapes = [
        format!("{message}."),
        message.to_owned(),
        format!("{message}.{signature}="),
        format!("{message}.{signature}A"),
        format!("{message}.{}", signature.to_uppercase()),
        format!("{message}.{signature}.{signature}"),
        format!(".{good}"),
        format!(" {good}"),
        format!("{good}\n"),
        "..".to_owned(),
        String::new(),
    ];
    for shape in shapes {
        assert!(verified(&shape, &keys).is_err(), "{shape:?}");
    }
    let long = token(
        r#"{"alg":"HS256"}"#,
        &format!(r#"{{"a":"{}"}}"#, "x".repeat(9000)),
        hs256(SECRET),
    );
    assert_eq!(verified(&long, &keys), Err(InvalidToken::TooLong));
}

#[test]
fn idn_08_a_short_secret_is_refused_at_start() {
    let rows = [
        (Algorithm::Hs256, 32),
        (Algorithm::Hs384, 48),
        (Algorithm::Hs512, 64),
    ];
    for (algorithm, length) in rows {
        assert!(VerifyingKey::secret(None, algorithm, &vec![7; length]).is_ok());
        assert!(VerifyingKey::secret(None, algorithm, &vec![7; length - 1]).is_err());
    }
    assert!(VerifyingKey::secret(None, Algorithm::Rs256, &[7; 64]).is_err());
}

#[test]
fn idn_10_a_set_without_a_usable_key_is_refused() {
    let rows = [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"error":"not found"}"#,
        "<html>",
        r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#,
        r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#,
        r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}"#,
        r#"{"keys":[1,null,"a"]}"#,
    ];
    for text in rows {
        assert!(key_set(text.as_bytes(), &Algorithm::ALL).is_err(), "{text}");
    }
    let many = serde_json::json!({"keys": vec![serde_json::json!({}); 33]});
    assert!(matches!(
        key_set(many.to_string().as_bytes(), &Algorithm::ALL),
        Err(crate::identity::jwt::InvalidKey::TooMany(33))
    ));
}
