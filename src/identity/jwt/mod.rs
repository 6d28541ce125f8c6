//! JSON Web Tokens: parsed strictly, verified with keys of our own choosing, judged claim by claim. RFC 7519, RFC 8725
//!
//! Signatures are aws-lc's work. The frame around them is ours and not a library's, because every claim has to be of its exact type before anything else is
//! believed (IDN-9) and because a library that can verify more than is configured is one option away from doing it (IDN-8).

mod acl;
mod algorithm;
mod claims;
mod config;
mod json;
mod jwk;
mod key;
mod token;

pub use self::acl::{AclItem, AclMode, AclRules, AclStatement, TokenAcl};
pub use self::algorithm::Algorithm;
pub use self::claims::{Claims, Rules, Told};
pub use self::config::{JwksConfig, JwtConfig, JwtKeyConfig, OneOrMore};
pub use self::jwk::key_set;
pub use self::key::{InvalidKey, KeyPrint, KeySet, VerifyingKey};
pub use self::token::{InvalidToken, Unverified, looks_like_a_token};
