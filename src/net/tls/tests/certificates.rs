//! Which client certificates are believed, and what the audit log says of the others.

use super::*;
use crate::net::config::ClientAuth;
use crate::net::tls::CertificateRefused as R;
use crate::net::tls::fixtures::{Authority, Device, client, days, server_files};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::version::{TLS12, TLS13};
use std::time::SystemTime;

const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCuceNYH5DAjZ3P7F/7UoockBTU
PC3J+j88JkObUBdzfMqnDj7Qd5VEIbLUrUR6xYSGcmGIUyQ6d4H9er3KbS75Dz61
OWIjVQY7nnl+Mk39rvTQY6cH6613F7zf1b8iXkPFOnIp2NvT/c2mHf6ohxuJHoxQ
LOeRZiqJtMsyFEDh8wIDAQAB
-----END PUBLIC KEY-----
";

#[tokio::test]
async fn a_certificate_is_refused_for_its_true_reason() {
    let ca = Authority::root("ca");
    let stranger = Authority::root("stranger");
    let namesake = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Optional);
    let server = build(&config, &folder);
    let purposes = |purposes: &[ExtendedKeyUsagePurpose]| {
        ca.device_with(5, |params| params.extended_key_usages = purposes.to_vec())
    };
    let deep = ca.intermediate("1", 2).intermediate("2", 3);
    let deeper = deep.intermediate("3", 4);
    let deepest = deeper.intermediate("4", 5);
    let rows: Vec<(&str, Device, Option<R>)> = vec![
        ("plain", ca.device(5), None),
        ("no EKU", purposes(&[]), None),
        (
            "both EKUs",
            purposes(&[
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ]),
            None,
        ),
        (
            "server EKU",
            purposes(&[ExtendedKeyUsagePurpose::ServerAuth]),
            Some(R::Purpose),
        ),
        (
            "expired",
            ca.device_with(5, |params| {
                params.not_before = days(-3);
                params.not_after = days(-1);
            }),
            Some(R::Expired),
        ),
        (
            "early",
            ca.device_with(5, |params| params.not_before = days(1)),
            Some(R::NotValidYet),
        ),
        ("stranger", stranger.device(5), Some(R::UnknownIssuer)),
        ("namesake", namesake.device(5), Some(R::BadSignature)),
        ("chain of 3", deep.device(5), None),
        ("chain of 4", deeper.device(5), None),
        ("chain of 5", deepest.device(5), Some(R::ChainTooLong(4))),
    ];
    for (name, device, expected) in rows {
        for version in [&TLS12, &TLS13] {
            let client = Arc::new(client(&ca, Some(&device), &[version]));
            let (peer, _) = connect(&server, &client, "localhost").await;
            match (peer, &expected) {
                (Ok(peer), None) => assert_eq!(*peer.certificates, *device.chain, "{name}"),
                (Err(TlsError::Certificate(reason)), Some(expected)) => {
                    assert_eq!(reason, *expected, "{name} {version:?}");
                }
                (peer, _) => panic!("{name} {version:?}: {peer:?}"),
            }
        }
    }
}

#[tokio::test]
async fn client_auth_off_optional_and_required() {
    let ca = Authority::root("ca");
    let device = ca.device(5);
    for (auth, with, without) in [
        (ClientAuth::Off, Some(0), Some(0)),
        (ClientAuth::Optional, Some(1), Some(0)),
        (ClientAuth::Required, Some(1), None),
    ] {
        let (folder, config) = server_files(&ca, auth);
        let server = build(&config, &folder);
        for version in [&TLS12, &TLS13] {
            for (device, expected) in [(Some(&device), with), (None, without)] {
                let client = Arc::new(client(&ca, device, &[version]));
                let (peer, _) = connect(&server, &client, "localhost").await;
                match peer {
                    Ok(peer) => assert_eq!(Some(peer.certificates.len()), expected, "{auth:?}"),
                    Err(TlsError::NoCertificate) => assert_eq!(expected, None, "{auth:?}"),
                    Err(error) => panic!("{auth:?}: {error}"),
                }
            }
        }
    }
}

#[test]
fn weak_keys_are_refused_by_name() {
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Required);
    let weak = peer(vec![ca.certify(RSA_1024)]);
    let judged = build(&config, &folder).judge(&weak, SystemTime::now());
    assert!(
        matches!(judged, Err(TlsError::Certificate(R::WeakKey))),
        "{judged:?}"
    );
}

#[test]
fn lim_08_a_pathological_chain_costs_little() {
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Required);
    let server = build(&config, &folder);
    // Intermediates of one name and many keys: every one of them fits by name.
    let leaf = Authority::root("ca").intermediate("x", 2).device(5).chain;
    let others = (0..30).map(|n| ca.intermediate("x", n).certificate.der().clone());
    let hostile = peer(leaf.into_iter().chain(others).collect());
    // The least of several: a loaded machine may take its time over any one.
    let least_of = |peer: &PeerTls, expected: fn(&Result<(), TlsError>) -> bool| {
        let once = || {
            let began = std::time::Instant::now();
            let judged = server.judge(peer, SystemTime::now());
            let elapsed = began.elapsed();
            assert!(expected(&judged), "{judged:?}");
            elapsed
        };
        (0..20).map(|_| once()).min().unwrap()
    };
    let honest = least_of(&peer(ca.device(6).chain), Result::is_ok);
    let hostile = least_of(&hostile, |judged| {
        matches!(judged, Err(TlsError::Certificate(R::ChainTooLong(4))))
    });
    // No more than its thirty certificates take to be read; trying each as the issuer of each other would be hundreds of signatures.
    assert!(
        hostile < 20 * honest,
        "{hostile:?}, and {honest:?} for a chain of two"
    );
}

#[test]
fn certificates_that_are_no_certificates() {
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Required);
    let server = build(&config, &folder);
    let good = ca.device(5).chain.remove(0);
    for cut in 0..good.len() {
        let cut = good.get(..cut).unwrap().to_vec();
        let judged = server.judge(&peer(vec![cut.into()]), SystemTime::now());
        assert!(
            matches!(judged, Err(TlsError::Certificate(_))),
            "{judged:?}"
        );
    }
}

#[test]
fn a_peer_is_judged_again_by_the_trust_of_today() {
    let ca = Authority::root("ca");
    let with = peer(ca.device(5).chain);
    let without = peer(Vec::new());
    let now = SystemTime::now();
    let later = now + std::time::Duration::from_secs(91 * 86400);
    let judge = |auth, peer: &PeerTls, now| {
        let (folder, config) = server_files(&ca, auth);
        build(&config, &folder)
            .judge(peer, now)
            .map_err(|error| error.to_string())
    };
    assert_eq!(judge(ClientAuth::Required, &with, now), Ok(()));
    assert_eq!(judge(ClientAuth::Optional, &without, now), Ok(()));
    assert_eq!(judge(ClientAuth::Off, &without, now), Ok(()));
    let refused = |reason: &str| Err(format!("client certificate refused: {reason}"));
    assert_eq!(
        judge(ClientAuth::Required, &with, later),
        refused("expired")
    );
    assert_eq!(
        judge(ClientAuth::Required, &with, SystemTime::UNIX_EPOCH),
        refused("not valid yet")
    );
    assert!(judge(ClientAuth::Required, &without, now).is_err());
    assert!(judge(ClientAuth::Off, &with, now).is_err());
}

pub(super) fn peer(certificates: Vec<rustls_pki_types::CertificateDer<'static>>) -> PeerTls {
    PeerTls {
        certificates: certificates.into(),
        resumed: true,
        alpn: None,
        sni: None,
        version: crate::net::config::TlsVersion::Tls13,
        suite: "TLS13_AES_256_GCM_SHA384",
    }
}
