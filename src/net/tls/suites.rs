//! Which cipher suite a connection gets, of those that are safe.

use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The library's safe suites, AES with 128 bits first: nobody breaks it either, and the hash that comes with it (SHA-256) is built into processors, which makes a handshake a
/// tenth cheaper than SHA-384 does.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| !is_aes_128(suite.suite()));
    provider
}

/// Whether the client's order stands instead of ours: one that names ChaCha20 first has no AES in its hardware. RFC 8446 section 9.1 leaves the choice to us.
pub(super) fn by_client_order(offered: &[CipherSuite]) -> bool {
    let known = |suite: &&CipherSuite| is_aes_128(**suite) || is_other(**suite);
    offered
        .iter()
        .find(known)
        .is_some_and(|first| is_cha_cha(*first))
}

fn is_aes_128(suite: CipherSuite) -> bool {
    [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ]
    .contains(&suite)
}

fn is_cha_cha(suite: CipherSuite) -> bool {
    [
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
    .contains(&suite)
}

fn is_other(suite: CipherSuite) -> bool {
    is_cha_cha(suite)
        || [
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ]
        .contains(&suite)
}
