//! Keys that verify tokens, each bound to one algorithm.

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::algorithm::{Algorithm, Means};

/// More keys than any issuer has at a time; what a token can make us try is bounded by it.
pub(super) const KEYS_MAX: usize = 32;
const RSA_BITS_MIN: usize = 2048;

pub struct VerifyingKey {
    kid: Option<String>,
    algorithm: Algorithm,
    material: Material,
    print: KeyPrint,
}

/// Tells one key from another, whatever it is called. It is made from secrets too, so that it is neither shown nor written down.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPrint(Box<[u8; 32]>);

impl KeyPrint {
    fn of(algorithm: Algorithm, parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(algorithm.name().as_bytes());
        for part in parts {
            // With its length before it, so that two parts are never taken for two others.
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        let mut print = Box::new([0; 32]);
        let digest = context.finish();
        for (byte, own) in print.iter_mut().zip(digest.as_ref()) {
            *byte = *own;
        }
        Self(print)
    }
}

impl std::fmt::Debug for KeyPrint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPrint(..)")
    }
}

enum Material {
    Secret(Box<hmac::Key>),
    Public(Box<ParsedPublicKey>),
}

/// Keys that stand for one issuer.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("{} needs a secret of at least {length_min} bytes, not {length}", algorithm.name())]
    ShortSecret {
        algorithm: Algorithm,
        length: usize,
        length_min: usize,
    },
    #[error("not a public key or certificate in PEM")]
    NotPem,
    #[error("not a key for {}", .0.name())]
    OtherKind(Algorithm),
    #[error("RSA key of {0} bits: at least {RSA_BITS_MIN} are needed")]
    WeakKey(usize),
    #[error("{0} keys: at most {KEYS_MAX} are taken")]
    TooMany(usize),
    #[error("not a JSON Web Key Set: {0}")]
    NotAKeySet(String),
    #[error("no usable key in the set")]
    NoneUsable,
}

impl VerifyingKey {
    /// The bytes are the secret; whoever reads a file takes one line's end away first.
    pub fn secret(
        kid: Option<String>,
        algorithm: Algorithm,
        secret: &[u8],
    ) -> Result<Self, InvalidKey> {
        let Means::Secret {
            algorithm: hash,
            length_min,
        } = algorithm.means()
        else {
            return Err(InvalidKey::OtherKind(algorithm));
        };
        if secret.len() < length_min {
            return Err(InvalidKey::ShortSecret {
                algorithm,
                length: secret.len(),
                length_min,
            });
        }
        let material = Material::Secret(Box::new(hmac::Key::new(hash, secret)));
        Ok(Self {
            kid,
            algorithm,
            material,
            print: KeyPrint::of(algorithm, &[secret]),
        })
    }

    /// A `PUBLIC KEY` or the key of a `CERTIFICATE`.
    pub fn public_pem(
        kid: Option<String>,
        algorithm: Algorithm,
        pem: &[u8],
    ) -> Result<Self, InvalidKey> {
        if let Ok(der) = SubjectPublicKeyInfoDer::from_pem_slice(pem) {
            let (_, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| InvalidKey::NotPem)?;
            return Self::public(kid, algorithm, &info);
        }
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| InvalidKey::NotPem)?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| InvalidKey::NotPem)?;
        Self::public(kid, algorithm, certificate.public_key())
    }

    fn public(
        kid: Option<String>,
        algorithm: Algorithm,
        info: &SubjectPublicKeyInfo<'_>,
    ) -> Result<Self, InvalidKey> {
        let other_kind = InvalidKey::OtherKind(algorithm);
        let Ok(parsed) = info.parsed() else {
            return Err(other_kind);
        };
        match parsed {
            PublicKey::RSA(key) => Self::rsa(kid, algorithm, key.modulus, key.exponent),
            PublicKey::EC(point) => Self::curve(kid, algorithm, point.data()),
            // Ed25519 has no name in the parser; the length tells it from every other key. RFC 8410
            PublicKey::Unknown(bytes) if algorithm == Algorithm::EdDsa => {
                Self::curve(kid, algorithm, bytes)
            }
            PublicKey::DSA(_)
            | PublicKey::GostR3410(_)
            | PublicKey::GostR3410_2012(_)
            | PublicKey::Unknown(_) => Err(other_kind),
        }
    }

    pub(super) fn rsa(
        kid: Option<String>,
        algorithm: Algorithm,
        modulus: &[u8],
        exponent: &[u8],
    ) -> Result<Self, InvalidKey> {
        let Means::Rsa(parameters) = algorithm.means() else {
            return Err(InvalidKey::OtherKind(algorithm));
        };
        let (n, e) = (without_zeroes(modulus), without_zeroes(exponent));
        let bits = n.len().saturating_mul(8);
        if bits < RSA_BITS_MIN {
            return Err(InvalidKey::WeakKey(bits));
        }
        let key = RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(parameters)
            .map_err(|_| InvalidKey::OtherKind(algorithm))?;
        Ok(Self {
            kid,
            algorithm,
            material: Material::Public(Box::new(key)),
            print: KeyPrint::of(algorithm, &[n, e]),
        })
    }

    pub(super) fn curve(
        kid: Option<String>,
        algorithm: Algorithm,
        point: &[u8],
    ) -> Result<Self, InvalidKey> {
        let Means::Curve {
            algorithm: means,
            length,
        } = algorithm.means()
        else {
            return Err(InvalidKey::OtherKind(algorithm));
        };
        if point.len() != length {
            return Err(InvalidKey::OtherKind(algorithm));
        }
        let key =
            ParsedPublicKey::new(means, point).map_err(|_| InvalidKey::OtherKind(algorithm))?;
        Ok(Self {
            kid,
            algorithm,
            material: Material::Public(Box::new(key)),
            print: KeyPrint::of(algorithm, &[point]),
        })
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({} {:?})", self.algorithm.name(), self.kid)
    }
}

impl KeySet {
    pub fn new(keys: Vec<VerifyingKey>) -> Result<Self, InvalidKey> {
        if keys.len() > KEYS_MAX {
            return Err(InvalidKey::TooMany(keys.len()));
        }
        Ok(Self { keys })
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether some key here could have signed a token with this header. `kid` only selects among our keys (IDN-8).
    pub fn has_candidate(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        self.candidates(algorithm, kid).next().is_some()
    }

    /// The key that made the signature.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Option<&KeyPrint> {
        let mut candidates = self.candidates(algorithm, kid);
        let key = candidates.find(|key| key.verify(message, signature))?;
        Some(&key.print)
    }

    pub fn has(&self, print: &KeyPrint) -> bool {
        self.keys.iter().any(|key| key.print == *print)
    }

    /// Whether a token that `other` verified is still verified here.
    pub fn has_all_of(&self, other: &Self) -> bool {
        other.keys.iter().all(|key| self.has(&key.print))
    }

    /// A key without `kid` stands for every `kid`, and a token without one for every key; the algorithm always has to be the key's own.
    fn candidates(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter().filter(move |key| {
            let same_kid = match (key.kid.as_deref(), kid) {
                (Some(own), Some(asked)) => own == asked,
                (None, _) | (_, None) => true,
            };
            key.algorithm == algorithm && same_kid
        })
    }
}

fn without_zeroes(number: &[u8]) -> &[u8] {
    let zeroes = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeroes..).unwrap_or_default()
}
