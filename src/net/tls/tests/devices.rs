//! A listener that lets devices in beside its own clients, and never takes one for the other.

use super::certificates::peer;
use super::*;
use crate::net::config::ClientAuth;
use crate::net::tls::CertificateRefused as R;
use crate::net::tls::fixtures::{Authority, Device, client, days, server_files};
use rustls::version::{TLS12, TLS13};
use std::time::{Duration, SystemTime};

/// The authority of the listener's own clients, that of the devices, and a listener for both; each has a list that names serial number 6.
struct Lab {
    operators: Authority,
    devices: Authority,
    folder: Folder,
    config: TlsConfig,
    device_config: TlsConfig,
}

impl Lab {
    fn new(client_auth: ClientAuth) -> Self {
        let (operators, devices) = (Authority::root("operators"), Authority::root("devices"));
        let (folder, mut config) = server_files(&operators, client_auth);
        folder.write("devices.pem", devices.certificate.pem());
        folder.write("operators.crl", operators.crl(&[6]));
        folder.write("devices.crl", devices.crl(&[6]));
        let mut device_config = TlsConfig::new("server.pem", "server.key");
        device_config.client_auth = ClientAuth::Optional;
        device_config.client_ca = vec!["devices.pem".into()];
        device_config.crl = vec!["devices.crl".into()];
        if client_auth == ClientAuth::Off {
            config.client_ca.clear();
        } else {
            config.crl = vec!["operators.crl".into()];
        }
        Self {
            operators,
            devices,
            folder,
            config,
            device_config,
        }
    }

    fn server(&self) -> ServerTls {
        let devices = Some(&self.device_config);
        let path = self.folder.path();
        ServerTls::build_with_devices(&self.config, devices, path, Transport::Websocket).unwrap()
    }
}

fn refusal<T>(refused: Result<T, TlsError>) -> Option<R> {
    match refused {
        Ok(_) => None,
        Err(TlsError::Certificate(reason)) => Some(reason),
        Err(error) => panic!("{error}"),
    }
}

fn expired(authority: &Authority) -> Device {
    authority.device_with(5, |params| {
        params.not_before = days(-3);
        params.not_after = days(-1);
    })
}

/// What the handshake says, and then what the two doors behind it say.
#[tokio::test]
async fn each_is_let_in_for_what_it_is_or_refused_for_its_true_reason() {
    let lab = Lab::new(ClientAuth::Optional);
    let server = lab.server();
    let stranger = Authority::root("stranger");
    let rows = [
        ("operator", lab.operators.device(5), None, (true, false)),
        ("device", lab.devices.device(5), None, (false, true)),
        (
            "revoked operator",
            lab.operators.device(6),
            Some(R::Revoked),
            (false, false),
        ),
        (
            "revoked device",
            lab.devices.device(6),
            Some(R::Revoked),
            (false, false),
        ),
        (
            "expired operator",
            expired(&lab.operators),
            Some(R::Expired),
            (false, false),
        ),
        (
            "expired device",
            expired(&lab.devices),
            Some(R::Expired),
            (false, false),
        ),
        (
            "stranger",
            stranger.device(5),
            Some(R::UnknownIssuer),
            (false, false),
        ),
    ];
    for (name, device, expected, (as_client, as_device)) in rows {
        for version in [&TLS12, &TLS13] {
            let client = Arc::new(client(&lab.operators, Some(&device), &[version]));
            let (peer, _) = connect(&server, &client, "localhost").await;
            assert_eq!(refusal(peer), expected, "{name} {version:?}");
        }
        let (shown, now) = (peer(device.chain.clone()), SystemTime::now());
        assert_eq!(server.judge(&shown, now).is_ok(), as_client, "{name}");
        assert_eq!(
            server.judge_device(&shown, now).is_ok(),
            as_device,
            "{name}"
        );
    }
}

#[tokio::test]
async fn who_shows_nothing_is_no_device() {
    for auth in [ClientAuth::Off, ClientAuth::Optional] {
        let lab = Lab::new(auth);
        let (server, now) = (lab.server(), SystemTime::now());
        let client = Arc::new(client(&lab.operators, None, &[&TLS13]));
        for _ in 0..2 {
            let (shown, _) = connect(&server, &client, "localhost").await;
            let shown = shown.unwrap();
            assert!(server.judge(&shown, now).is_ok(), "{auth:?}");
            let judged = server.judge_device(&shown, now);
            assert!(matches!(judged, Err(TlsError::NoCertificate)), "{auth:?}");
        }
    }
    let lab = Lab::new(ClientAuth::Optional);
    let path = lab.folder.path();
    let alone = ServerTls::build(&lab.config, path, Transport::Websocket).unwrap();
    let shown = peer(lab.devices.device(5).chain);
    let judged = alone.judge_device(&shown, SystemTime::now());
    assert!(
        matches!(judged, Err(TlsError::Certificate(R::NotAskedFor))),
        "{judged:?}"
    );
}

/// A listener that asks nobody else still asks devices, and takes them for nothing else.
#[tokio::test]
async fn trn_05_a_device_is_judged_again_when_it_resumes() {
    let month = Duration::from_secs(30 * 86_400);
    for auth in [ClientAuth::Off, ClientAuth::Optional] {
        let lab = Lab::new(auth);
        // Lists that outlive the certificates.
        for (name, authority) in [("operators", &lab.operators), ("devices", &lab.devices)] {
            let list = authority.crl_with(&[6], |crl| crl.next_update = days(365));
            lab.folder.write(&format!("{name}.crl"), list);
        }
        let (server, device) = (lab.server(), lab.devices.device(5));
        for version in [&TLS12, &TLS13] {
            let client = Arc::new(client(&lab.operators, Some(&device), &[version]));
            for resumed in [false, true] {
                let (shown, _) = connect(&server, &client, "localhost").await;
                let shown = shown.unwrap();
                assert_eq!(shown.resumed, resumed, "{auth:?} {version:?}");
                assert!(server.judge(&shown, SystemTime::now()).is_err());
            }
        }
        let stranger = Authority::root("stranger");
        let rows = [
            ("good", lab.devices.device(5), month, None),
            (
                "expired since",
                lab.devices.device(5),
                month * 4,
                Some(R::Expired),
            ),
            ("revoked", lab.devices.device(6), month, Some(R::Revoked)),
            (
                "stranger",
                stranger.device(5),
                month,
                Some(R::UnknownIssuer),
            ),
        ];
        for (name, device, later, expected) in rows {
            let judged = server.judge_resumed(&peer(device.chain), SystemTime::now() + later);
            let told = refusal(judged);
            assert_eq!(told, expected, "{auth:?} {name}");
        }
        assert_eq!(
            refusal(server.judge_resumed(&peer(vec![]), SystemTime::now())),
            None
        );
    }
}

#[test]
fn the_lists_of_devices_are_among_those_to_watch() {
    for (auth, expected) in [
        (ClientAuth::Off, vec!["CN=devices"]),
        (ClientAuth::Optional, vec!["CN=operators", "CN=devices"]),
    ] {
        let lists = Lab::new(auth).server().revocation_lists();
        let issuers: Vec<&str> = lists.iter().map(|list| list.issuer.as_str()).collect();
        assert_eq!(issuers, expected, "{auth:?}");
    }
}
