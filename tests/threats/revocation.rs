//! A certificate that is taken back: its live sessions, its tickets and its next login end, and nobody else notices. Rows TRN-5, TRN-6, IDN-11

use super::connect;
use super::support::broker::{Broker, Setup, wardgate};
use super::support::certificates::Identity;
use super::support::{Transport, Wire};
use std::fs;
use std::path::Path;
use std::process::Stdio;

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
