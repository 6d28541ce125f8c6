//! A certificate that is taken back: its live sessions, its tickets and its next login end, and nobody else notices. Rows TRN-5, TRN-6, IDN-11

use super::connect;
use super::support::broker::{Broker, Setup, wardgate};
use super::support::certificates::Identity;
use super::support::wire::PATIENCE;
use super::support::{Transport, Wire};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

const LISTENERS: &str = "
listeners:
  mqtts:
    bind: '127.0.0.1:0'
    tls: { certificate: server.pem, private_key: server.key, client_auth: required, client_ca: [ca/device-ca.pem], crl: [ca/device-ca.crl] }
    authenticate: [certificate]
  wss:
    bind: '127.0.0.1:0'
    transport: websocket
    tls: { certificate: server.pem, private_key: server.key, client_auth: required, client_ca: [ca/device-ca.pem], crl: [ca/device-ca.crl] }
    authenticate: [certificate]
";

fn ca(folder: &Path, arguments: &[&str]) {
    let status = wardgate()
        .arg("ca")
        .args(arguments)
        .arg("--dir")
        .arg(folder)
        .current_dir(folder)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "ca {arguments:?}");
}

fn issued(folder: &Path, name: &str) -> Identity {
    ca(folder, &["issue", name, "--out", name]);
    let read =
        |kind: &str| fs::read_to_string(folder.join(format!("{name}/{name}.{kind}"))).unwrap();
    Identity {
        certificate: read("pem"),
        key: read("key"),
    }
}

/// The same TLS client each time, so that it offers the tickets that it was given.
fn transports(broker: &Broker, device: &Identity) -> [(&'static str, Transport); 2] {
    let client = || broker.certificates().client(Some(device));
    [
        ("mqtts", Transport::Tls(client())),
        ("wss", Transport::Wss(client())),
    ]
}

/// Whether the door is shut, at the handshake or after it.
fn is_refused(broker: &Broker, listener: &str, transport: &Transport) -> bool {
    let Ok(mut wire) = Wire::try_dial(broker.address(listener), transport) else {
        return true;
    };
    wire.send("10 .. s'MQTT' 05 02 0000 <> s'again'");
    while let Some(packet) = wire.receive() {
        if packet.starts_with(&[0x20]) && packet.get(3) == Some(&0) {
            return false;
        }
    }
    true
}

#[test]
fn trn_05_idn_11_what_the_ca_revokes_ends_on_every_listener_and_resumes_nothing() {
    let setup = Setup::new(LISTENERS);
    ca(setup.path(), &["init"]);
    let (bad, good) = (
        issued(setup.path(), "pump-7"),
        issued(setup.path(), "pump-8"),
    );
    let broker = setup.start();
    let (bad, good) = (transports(&broker, &bad), transports(&broker, &good));
    let open = |name: &str, transports: &[(&'static str, Transport); 2]| -> Vec<Wire> {
        transports
            .iter()
            .map(|(listener, transport)| {
                let mut wire = Wire::dial(broker.address(listener), transport);
                wire.name = format!("{name} over {listener}");
                connect(&mut wire, &format!("{name}-{listener}"));
                wire
            })
            .collect()
    };
    let (ending, mut staying) = (open("pump-7", &bad), open("pump-8", &good));
    ca(
        broker.path(),
        &["revoke", "pump-7", "--reason", "key-compromise"],
    );
    for mut wire in ending {
        wire.expect_then_closed("e0 .. 87 *");
    }
    for (listener, transport) in &bad {
        assert!(is_refused(&broker, listener, transport), "{listener}");
    }
    for wire in &mut staying {
        wire.expect_quiet();
    }
    for (listener, transport) in &good {
        assert!(!is_refused(&broker, listener, transport), "{listener}");
    }
    broker.await_audit("the end of the session", |line| {
        line["username"] == "pump-7"
            && line["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("revoked"))
    });
}

#[test]
fn idn_11_a_ca_that_is_trusted_no_more_ends_its_devices() {
    let setup = Setup::new(LISTENERS);
    ca(setup.path(), &["init"]);
    let device = issued(setup.path(), "pump-7");
    let broker = setup.start();
    let other = broker.path().join("other");
    fs::create_dir(&other).unwrap();
    ca(&other, &["init"]);
    let [(listener, transport), _] = transports(&broker, &device);
    let mut wire = Wire::dial(broker.address(listener), &transport);
    connect(&mut wire, "pump-7");
    for file in ["device-ca.crl", "device-ca.pem"] {
        fs::rename(
            other.join("ca").join(file),
            broker.path().join("ca").join(file),
        )
        .unwrap();
    }
    wire.expect_then_closed("e0 .. 87 *");
    assert!(is_refused(&broker, listener, &transport));
}

/// Puts the CA's list into `list.der`, whole.
fn write_der(folder: &Path) {
    let pem = fs::read(folder.join("ca/device-ca.crl")).unwrap();
    let der = CertificateRevocationListDer::from_pem_slice(&pem).unwrap();
    fs::write(folder.join("list.new"), der.as_ref()).unwrap();
    fs::rename(folder.join("list.new"), folder.join("list.der")).unwrap();
}

#[test]
fn trn_06_a_list_in_der_is_watched_like_one_in_pem() {
    let setup = Setup::new(&LISTENERS.replace("ca/device-ca.crl", "list.der"));
    ca(setup.path(), &["init"]);
    let (bad, good) = (
        issued(setup.path(), "pump-7"),
        issued(setup.path(), "pump-8"),
    );
    write_der(setup.path());
    let broker = setup.start();
    let [(listener, bad), _] = transports(&broker, &bad);
    let [(_, good), _] = transports(&broker, &good);
    let mut ending = Wire::dial(broker.address(listener), &bad);
    connect(&mut ending, "pump-7");
    let mut staying = Wire::dial(broker.address(listener), &good);
    connect(&mut staying, "pump-8");
    ca(broker.path(), &["revoke", "pump-7"]);
    write_der(broker.path());
    ending.expect_then_closed("e0 .. 87 *");
    assert!(is_refused(&broker, listener, &bad));
    staying.expect_quiet();
    assert!(!is_refused(&broker, listener, &good));
}

/// An alarm for the one, and a line for the other.
#[test]
fn trn_06_what_becomes_of_a_list_that_changes_is_audited() {
    let setup = Setup::new(&format!("{LISTENERS}{OFFICE}"));
    ca(setup.path(), &["init"]);
    let device = issued(setup.path(), "pump-7");
    let broker = setup.start();
    let [(listener, transport), _] = transports(&broker, &device);
    let mut staying = Wire::dial(broker.address(listener), &transport);
    connect(&mut staying, "pump-7");
    let await_renewals = |outcome: &str, reason: &str| {
        for listener in ["mqtts", "wss", "admin"] {
            broker.await_audit(&format!("{outcome} on {listener}"), |line| {
                line["event"] == "reload"
                    && line["outcome"] == outcome
                    && line["listener"] == listener
                    && line["reason"]
                        .as_str()
                        .is_some_and(|told| told.contains(reason))
            });
        }
    };
    fs::write(broker.path().join("ca/device-ca.crl"), "no list").unwrap();
    await_renewals("failed", "device-ca.crl:1:1: not a usable revocation list");
    ca(broker.path(), &["crl"]);
    await_renewals("permitted", "were read again");
    staying.expect_quiet();
}

#[test]
fn idn_11_a_session_ends_with_its_certificate() {
    let tls = "tls: { certificate: server.pem, private_key: server.key, client_auth: required, client_ca: [device-ca.pem] }";
    let broker = Setup::new(&format!(
        "\nlisteners: {{ mqtts: {{ bind: '127.0.0.1:0', {tls}, authenticate: [certificate] }} }}\n"
    ))
    .start();
    let lasting = broker.device("pump-8");
    let lasting = Transport::Tls(broker.certificates().client(Some(&lasting)));
    let mut staying = Wire::dial(broker.address("mqtts"), &lasting);
    connect(&mut staying, "pump-8");
    // Short enough to wait for, and longer where the machine took too long to connect.
    for seconds in [4, 15, 40] {
        let mut params = super::support::Certificates::device_params("pump-7");
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        let device = broker.certificates().sign(&params);
        let transport = Transport::Tls(broker.certificates().client(Some(&device)));
        if is_refused(&broker, "mqtts", &transport) {
            continue;
        }
        let Ok(mut wire) = Wire::try_dial(broker.address("mqtts"), &transport) else {
            continue;
        };
        wire.send("10 .. s'MQTT' 05 02 0000 <> s'pump-7'");
        let Some(answer) = wire.receive() else {
            continue;
        };
        if answer.get(3) != Some(&0) {
            continue;
        }
        wire.expect_then_closed("e0 .. 87 *");
        // A certificate has whole seconds.
        let early = time::OffsetDateTime::now_utc() + time::Duration::seconds(2);
        assert!(
            early > params.not_after,
            "ended long before its certificate"
        );
        while time::OffsetDateTime::now_utc() <= params.not_after {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(is_refused(&broker, "mqtts", &transport), "after its end");
        staying.expect_quiet();
        return;
    }
    panic!("no certificate lasted until its session was open");
}

const OFFICE: &str = "
admin:
  bind: '127.0.0.1:0'
  tls: { certificate: server.pem, private_key: server.key, client_auth: optional, client_ca: [ca/device-ca.pem], crl: [ca/device-ca.crl] }
  certificate_roles: { pump-7: viewer }
";

/// What the admin port answers over one connection that stays; `None`: it is gone.
fn status(stream: &mut (impl Read + Write)) -> Option<u16> {
    stream
        .write_all(b"GET /api/v1/session HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .ok()?;
    let mut answer = Vec::new();
    let text = loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.unwrap().parse().unwrap() {
            break text.into_owned();
        }
    };
    text.split(' ').nth(1)?.parse().ok()
}

#[test]
fn trn_06_a_list_binds_the_admin_port_and_the_connections_that_are_there() {
    let setup = Setup::new(&format!("{LISTENERS}{OFFICE}"));
    ca(setup.path(), &["init"]);
    let device = issued(setup.path(), "pump-7");
    let broker = setup.start();
    let config = broker.certificates().client(Some(&device));
    let open = || {
        let tcp = TcpStream::connect(broker.address("admin")).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = "localhost".try_into().unwrap();
        let tls = rustls::ClientConnection::new(config.clone(), name).unwrap();
        rustls::StreamOwned::new(tls, tcp)
    };
    let mut stream = open();
    assert_eq!(status(&mut stream), Some(200));
    ca(broker.path(), &["revoke", "pump-7"]);
    let deadline = Instant::now() + PATIENCE;
    while status(&mut stream) == Some(200) {
        assert!(
            Instant::now() < deadline,
            "still believed after {PATIENCE:?}"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // A new connection is refused in the handshake, with the ticket of the old one too.
    assert_eq!(status(&mut open()), None);
    assert_eq!(status(&mut open()), None);
}
