//! Signature algorithms. An algorithm belongs to a key; a token only says which it claims to have. RFC 7518 section 3, RFC 8037

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, RsaParameters, VerificationAlgorithm};
use serde::{Deserialize, Serialize};

/// What keys of ours may verify. There is no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub enum Algorithm {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "HS384")]
    Hs384,
    #[serde(rename = "HS512")]
    Hs512,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "RS384")]
    Rs384,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "PS384")]
    Ps384,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// What an algorithm needs to verify.
pub(super) enum Means {
    Secret {
        algorithm: hmac::Algorithm,
        length_min: usize,
    },
    Rsa(&'static RsaParameters),
    /// The length of a public key's bytes, which tells the curves apart.
    Curve {
        algorithm: &'static dyn VerificationAlgorithm,
        length: usize,
    },
}

impl Algorithm {
    pub const ALL: [Self; 10] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Ps256,
        Self::Ps384,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Exactly as written: `none`, `None` and `hs256` are no algorithms (IDN-8).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    pub fn takes_a_secret(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    /// A secret is at least as long as its hash. RFC 7518 section 3.2
    pub(super) fn means(self) -> Means {
        match self {
            Self::Hs256 => Means::Secret {
                algorithm: hmac::HMAC_SHA256,
                length_min: 32,
            },
            Self::Hs384 => Means::Secret {
                algorithm: hmac::HMAC_SHA384,
                length_min: 48,
            },
            Self::Hs512 => Means::Secret {
                algorithm: hmac::HMAC_SHA512,
                length_min: 64,
            },
            Self::Rs256 => Means::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Means::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Ps256 => Means::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Means::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Es256 => Means::Curve {
                algorithm: &signature::ECDSA_P256_SHA256_FIXED,
                length: 65,
            },
            Self::Es384 => Means::Curve {
                algorithm: &signature::ECDSA_P384_SHA384_FIXED,
                length: 97,
            },
            Self::EdDsa => Means::Curve {
                algorithm: &signature::ED25519,
                length: 32,
            },
        }
    }
}
