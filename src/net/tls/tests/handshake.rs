//! Versions, suites, ALPN, names, and what stops a start.

use super::*;
use crate::net::config::{CertificateFiles, ClientAuth, TlsVersion};
use crate::net::tls::fixtures::{Authority, client, server_files, set_mode};
use rustls::NamedGroup;
use rustls::version::{TLS12, TLS13};

#[tokio::test]
async fn both_versions_with_forward_secret_suites_and_a_post_quantum_exchange() {
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Off);
    let server = build(&config, &folder);
    let rows = [
        (
            &TLS13,
            TlsVersion::Tls13,
            "TLS13_",
            NamedGroup::X25519MLKEM768,
        ),
        (&TLS12, TlsVersion::Tls12, "TLS_ECDHE_", NamedGroup::X25519),
    ];
    for (version, expected, suite, group) in rows {
        let client = Arc::new(client(&ca, None, &[version]));
        let (peer, connection) = connect(&server, &client, "localhost").await;
        let peer = peer.unwrap();
        assert_eq!(peer.version, expected);
        assert!(peer.suite.starts_with(suite), "{}", peer.suite);
        assert!(!peer.resumed && peer.certificates.is_empty() && peer.alpn.is_none());
        assert_eq!(peer.sni.as_deref(), Some("localhost"));
        let exchange = connection.unwrap().negotiated_key_exchange_group().unwrap();
        assert_eq!(exchange.name(), group);
    }
}

/// The cheapest that the client offers, unless it has reason to want another.
#[tokio::test]
async fn the_suite_is_ours_to_choose_but_for_clients_without_aes() {
    const AES_128: &str = "AES_128_GCM_SHA256";
    const AES_256: &str = "AES_256_GCM_SHA384";
    const CHA_CHA: &str = "CHACHA20_POLY1305_SHA256";
    let rows: [(&[&str], &str); 7] = [
        (&[AES_256, AES_128, CHA_CHA], AES_128),
        (&[AES_256, CHA_CHA, AES_128], AES_128),
        (&[AES_128, CHA_CHA], AES_128),
        (&[CHA_CHA, AES_128, AES_256], CHA_CHA),
        (&[CHA_CHA], CHA_CHA),
        (&[AES_256], AES_256),
        (&[AES_256, CHA_CHA], AES_256),
    ];
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Off);
    let server = build(&config, &folder);
    for (version, (offered, expected)) in [&TLS13, &TLS12]
        .into_iter()
        .flat_map(|version| rows.map(|row| (version, row)))
    {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let all = std::mem::take(&mut provider.cipher_suites);
        for wanted in offered {
            let named = |suite: &&rustls::SupportedCipherSuite| {
                suite
                    .suite()
                    .as_str()
                    .is_some_and(|name| name.ends_with(wanted))
            };
            provider.cipher_suites.extend(all.iter().filter(named));
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.certificate.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (peer, _) = connect(&server, &Arc::new(client), "localhost").await;
        let suite = peer.unwrap().suite;
        assert!(suite.ends_with(expected), "{offered:?}: {suite}");
    }
}

#[tokio::test]
async fn a_client_without_post_quantum_exchange_is_served() {
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Off);
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .kx_groups
        .retain(|group| group.name() == NamedGroup::secp256r1);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.certificate.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (peer, _) = connect(&build(&config, &folder), &Arc::new(client), "localhost").await;
    assert_eq!(peer.unwrap().version, TlsVersion::Tls13);
}

#[tokio::test]
async fn min_version_1_3_refuses_1_2() {
    let ca = Authority::root("ca");
    let (folder, mut config) = server_files(&ca, ClientAuth::Off);
    config.min_version = TlsVersion::Tls13;
    let server = build(&config, &folder);
    let old = Arc::new(client(&ca, None, &[&TLS12]));
    let (refused, _) = connect(&server, &old, "localhost").await;
    assert!(
        matches!(refused, Err(TlsError::Handshake(_))),
        "{refused:?}"
    );
    let new = Arc::new(client(&ca, None, &[&TLS12, &TLS13]));
    assert!(connect(&server, &new, "localhost").await.0.is_ok());
}

#[tokio::test]
async fn alpn_is_answered_when_ours_is_offered_and_refused_when_only_others_are() {
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Off);
    let rows: [(Transport, &[&str], Option<Option<&str>>); 7] = [
        (Transport::Tcp, &[], Some(None)),
        (Transport::Tcp, &["mqtt"], Some(Some("mqtt"))),
        (Transport::Tcp, &["http/1.1", "mqtt"], Some(Some("mqtt"))),
        // RFC 7301 section 3.2
        (Transport::Tcp, &["http/1.1"], None),
        (
            Transport::Websocket,
            &["h2", "http/1.1"],
            Some(Some("http/1.1")),
        ),
        (Transport::Websocket, &[], Some(None)),
        (Transport::Websocket, &["mqtt"], None),
    ];
    for (transport, offered, expected) in rows {
        let server = ServerTls::build(&config, folder.path(), transport).unwrap();
        let mut client = client(&ca, None, &[&TLS13]);
        client.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let (peer, _) = connect(&server, &Arc::new(client), "localhost").await;
        let alpn = peer.ok().map(|peer| peer.alpn);
        let expected = expected.map(|name| name.map(|name| name.as_bytes().to_vec()));
        assert_eq!(alpn, expected, "{transport:?} {offered:?}");
    }
}

#[tokio::test]
async fn the_certificate_follows_the_name_asked_for() {
    let ca = Authority::root("ca");
    let (folder, mut config) = server_files(&ca, ClientAuth::Off);
    let other = ca.server("other.example");
    folder.write("other.pem", other.chain.first().unwrap());
    folder.write("other.key", other.key.serialize_pem());
    config.sni.insert(
        "Other.example".to_owned(),
        CertificateFiles {
            certificate: "other.pem".into(),
            private_key: "other.key".into(),
        },
    );
    let server = build(&config, &folder);
    let client = Arc::new(client(&ca, None, &[&TLS13]));
    for (host, served) in [
        ("localhost", true),
        ("other.example", true),
        ("third.example", false),
    ] {
        let (_, connection) = connect(&server, &client, host).await;
        assert_eq!(connection.is_some(), served, "{host}");
    }
}

#[tokio::test]
async fn what_is_not_tls_is_named() {
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Off);
    let server = build(&config, &folder);
    for (bytes, handshake) in [(&b"GET / HTTP/1.1\r\n\r\n"[..], true), (b"\x16\x03", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        let error = server.accept(tcp).await.map(|_| ()).unwrap_err();
        assert_eq!(
            matches!(error, TlsError::Handshake(_)),
            handshake,
            "{error:?}"
        );
        assert_eq!(matches!(error, TlsError::Ended(_)), !handshake, "{error:?}");
    }
}

#[test]
fn sto_03_a_key_that_others_can_read_refuses_the_start() {
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Off);
    for mode in [0o640, 0o604, 0o644, 0o620, 0o602] {
        set_mode(&folder.path().join("server.key"), mode);
        let problems = ServerTls::build(&config, folder.path(), Transport::Tcp).unwrap_err();
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        assert!(problem.file.ends_with("server.key"));
        assert!(problem.message.contains("others can read it"), "{problem}");
    }
    for mode in [0o600, 0o400] {
        set_mode(&folder.path().join("server.key"), mode);
        build(&config, &folder);
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let ca = Authority::root("ca");
    let (folder, mut config) = server_files(&ca, ClientAuth::Required);
    folder.write("empty.pem", "");
    folder.write("comment.pem", "# nothing here\n");
    folder.write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    folder.write("garbage.der", [0x30, 0x82, 0xFF]);
    folder.write("other.key", ca.device(1).key.serialize_pem());
    folder.write("leaf.pem", ca.device(1).chain.first().unwrap());
    config.private_key = "other.key".into();
    config.client_ca = [
        "empty.pem",
        "comment.pem",
        "cut.pem",
        "garbage.der",
        "missing.pem",
        ".",
        "leaf.pem",
    ]
    .map(Into::into)
    .to_vec();
    config.crl = vec!["garbage.der".into(), "ca.pem".into()];
    config.resumption.lifetime = crate::units::Period::from_secs(1);
    let problems = ServerTls::build(&config, folder.path(), Transport::Tcp).unwrap_err();
    let found: Vec<_> = problems
        .iter()
        .map(|problem| {
            let file = problem.file.strip_prefix(folder.path()).unwrap();
            format!("{}: {}", file.display(), problem.message)
        })
        .collect();
    let expected = [
        ": tls.resumption.lifetime must be",
        "other.key: is not the key of the certificate",
        "empty.pem: no certificate in it",
        "comment.pem: not a usable CA certificate",
        "cut.pem: not a PEM file",
        "garbage.der: not a usable CA certificate",
        "missing.pem: cannot be read",
        ": not a file",
        "leaf.pem: the certificate of CN=device is not a CA's",
        "garbage.der: not a usable revocation list",
        "ca.pem: no revocation list in it",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found:?} is not {expected:?}");
    }
}

/// A bundle is long: what is damaged in it is told with its line.
#[test]
fn a_damaged_section_is_told_with_its_line() {
    let ca = Authority::root("ca");
    let (folder, config) = server_files(&ca, ClientAuth::Optional);
    let whole = std::fs::read_to_string(folder.path().join("ca.pem")).unwrap();
    let damaged = whole.replacen("MII", "M?I", 1);
    folder.write("ca.pem", format!("a comment\n{whole}{damaged}{whole}"));
    let problems = ServerTls::build(&config, folder.path(), Transport::Tcp).unwrap_err();
    let line = whole.lines().count() as u64 + 2;
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    assert!(
        problem.line == line && problem.message.starts_with("not a PEM file"),
        "{problem}, not in line {line}"
    );
}

#[test]
fn client_auth_without_a_ca_is_a_problem() {
    let ca = Authority::root("ca");
    let (folder, mut config) = server_files(&ca, ClientAuth::Optional);
    config.client_ca.clear();
    assert!(ServerTls::build(&config, folder.path(), Transport::Tcp).is_err());
}

#[test]
fn a_section_as_the_contract_writes_it() {
    let text = r#"
certificate: certs/server.pem
private_key: certs/server.key
min_version: "1.3"
client_auth: optional
client_ca: [certs/device-ca.pem]
crl: [certs/device-ca.crl]
crl_stale: allow
crl_missing: deny
resumption: { tickets: false, lifetime: 1h }
sni: { other.example: { certificate: a.pem, private_key: a.key } }
"#;
    let config: TlsConfig = serde_saphyr::from_str(text).unwrap();
    assert_eq!(config.min_version, TlsVersion::Tls13);
    assert!(!config.resumption.tickets);
    assert_eq!(config.files("etc".as_ref()).len(), 6);
    for wrong in [
        "tickets: {}",
        "min_version: \"1.1\"",
        "client_auth: maybe",
        "certificate: b.pem",
    ] {
        assert!(
            serde_saphyr::from_str::<TlsConfig>(&format!("{text}{wrong}\n")).is_err(),
            "{wrong}"
        );
    }
}
