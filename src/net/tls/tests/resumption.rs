//! TRN-5: what a ticket carries past the check, which is nothing.

use super::*;
use crate::net::config::ClientAuth;
use crate::net::tls::CertificateRefused as R;
use crate::net::tls::fixtures::{Authority, client, server_files};
use rustls::version::{TLS12, TLS13};
use std::time::Duration;
use time::OffsetDateTime;

#[tokio::test]
async fn trn_05_a_ticket_resumes_on_its_own_listener_only() {
    let ca = Authority::root("ca");
    let device = ca.device(5);
    let (folder, config) = server_files(&ca, ClientAuth::Required);
    for version in [&TLS12, &TLS13] {
        let (a, b) = (build(&config, &folder), build(&config, &folder));
        let client = Arc::new(client(&ca, Some(&device), &[version]));
        let resumed = async |server| {
            let (peer, _) = connect(server, &client, "localhost").await;
            let peer = peer.unwrap();
            assert_eq!(*peer.certificates, *device.chain);
            peer.resumed
        };
        assert!(!resumed(&a).await, "{version:?}");
        assert!(resumed(&a).await, "{version:?}");
        assert!(
            !resumed(&b).await,
            "{version:?}: a ticket of another listener"
        );
        assert!(
            !resumed(&a).await,
            "{version:?}: a ticket of another listener"
        );
        assert!(resumed(&a).await, "{version:?}");
    }
}

#[tokio::test]
async fn trn_05_a_ticket_for_one_name_is_not_for_another() {
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Off);
    let server = build(&config, &folder);
    let client = Arc::new(client(&ca, None, &[&TLS13]));
    for (host, resumed) in [("localhost", false), ("localhost", true)] {
        let (peer, _) = connect(&server, &client, host).await;
        assert_eq!(peer.unwrap().resumed, resumed);
    }
}

#[tokio::test]
async fn trn_05_no_tickets_no_resumption() {
    let ca = Authority::root("ca");
    let (folder, mut config) = server_files(&ca, ClientAuth::Off);
    config.resumption.tickets = false;
    let server = build(&config, &folder);
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(client(&ca, None, &[version]));
        for _ in 0..2 {
            let (peer, _) = connect(&server, &client, "localhost").await;
            assert!(!peer.unwrap().resumed, "{version:?}");
        }
    }
}

#[tokio::test]
async fn trn_05_resumption_after_revoke() {
    let ca = Authority::root("ca");
    let device = ca.device(5);
    let (folder, mut config) = server_files(&ca, ClientAuth::Required);
    config.crl = vec!["ca.crl".into()];
    for version in [&TLS12, &TLS13] {
        folder.write("ca.crl", ca.crl(&[]));
        let before = build(&config, &folder);
        let client = Arc::new(client(&ca, Some(&device), &[version]));
        for resumed in [false, true] {
            let (peer, _) = connect(&before, &client, "localhost").await;
            assert_eq!(peer.unwrap().resumed, resumed);
        }
        folder.write("ca.crl", ca.crl(&[5]));
        let after = build(&config, &folder);
        let (peer, _) = connect(&after, &client, "localhost").await;
        assert!(
            matches!(peer, Err(TlsError::Certificate(R::Revoked))),
            "{version:?}: {peer:?}"
        );
    }
}

#[tokio::test]
async fn trn_05_resumption_after_the_certificate_expired() {
    let ca = Authority::root("ca");
    // Time enough for both handshakes on a busy machine.
    let valid = Duration::from_secs(10);
    let device = ca.device_with(5, |params| {
        params.not_after = OffsetDateTime::now_utc() + valid;
    });
    let (folder, config) = server_files(&ca, ClientAuth::Required);
    let server = build(&config, &folder);
    let clients = [&TLS12, &TLS13].map(|version| Arc::new(client(&ca, Some(&device), &[version])));
    for client in &clients {
        assert!(connect(&server, client, "localhost").await.0.is_ok());
    }
    tokio::time::sleep(valid + Duration::from_secs(1)).await;
    for client in &clients {
        let (peer, _) = connect(&server, client, "localhost").await;
        assert!(
            matches!(peer, Err(TlsError::Certificate(R::Expired))),
            "{peer:?}"
        );
    }
}
