//! Failed logins and who suffers for them, over restarts of the real process. Contract section 6, `failures`

use super::support::{Broker, Certificates, Setup, Transport, Wire, bytes};
use super::with_users;
use std::fs;

/// Whose addresses are what a proxy on this machine says.
const PROXIED: &str = "
listeners:
  proxied: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password], allow_insecure: true, proxy_protocol: { trusted: [127.0.0.0/8] } }
limits:
  connections: { per_ip: { rate: 100000/s, burst: 100000 } }
  failures: { per_ip: 3, per_user: 100, window: 10m, ban: 15m }
";
const HER_ADDRESS: &str = "192.0.2.1";
const GOOD: Option<u8> = Some(0);

/// The code of the CONNACK; `None`: closed without one.
fn login(broker: &Broker, address: &str, name: &str, password: &str) -> Option<u8> {
    let mut wire = broker.dial_as_named("proxied");
    let header = format!("PROXY TCP4 {address} 192.0.2.254 4000 1883\r\n");
    wire.send_bytes(header.as_bytes());
    // The broker may have closed: the answer tells.
    let connect = format!("10 .. s'MQTT' 05 C2 0000 <> s'{name}' s'{name}' s'{password}'");
    let _ = wire.try_send(&bytes(&connect));
    wire.receive().map(|connack| connack[3])
}

fn restart(broker: &mut Broker) {
    broker.signal("TERM");
    broker.await_end();
    broker.start_again();
}

#[test]
fn idn_13_bans_and_good_records_outlive_a_restart() {
    let setup: Setup = with_users(PROXIED);
    let table = setup.path().join("data/good-logins");
    let mut broker = setup.start();
    assert_eq!(login(&broker, HER_ADDRESS, "alice", "right"), GOOD);
    // A neighbour behind her address guesses until it is banned.
    for _ in 0..3 {
        assert_ne!(login(&broker, HER_ADDRESS, "bob", "wrong"), GOOD);
    }
    for again in ["at once", "after a restart", "after another"] {
        assert_ne!(login(&broker, HER_ADDRESS, "bob", "right"), GOOD, "{again}");
        assert_eq!(
            login(&broker, HER_ADDRESS, "alice", "right"),
            GOOD,
            "{again}"
        );
        assert_eq!(login(&broker, "192.0.2.2", "bob", "right"), GOOD, "{again}");
        restart(&mut broker);
    }
    broker.signal("TERM");
    broker.await_end();
    let mut damaged = fs::read(&table).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&table, damaged).unwrap();
    broker.start_again();
    let told = broker.stderr();
    assert!(
        told.contains("good logins of earlier are forgotten"),
        "{told}"
    );
    assert_ne!(
        login(&broker, HER_ADDRESS, "alice", "right"),
        GOOD,
        "forgotten"
    );
    assert_eq!(login(&broker, "192.0.2.3", "alice", "right"), GOOD);
}

const BY_CERTIFICATE: &str = "
listeners:
  mqtts:
    bind: '127.0.0.1:0'
    transport: tcp
    tls: { certificate: server.pem, private_key: server.key, client_auth: required, client_ca: [device-ca.pem] }
    authenticate: [certificate]
limits:
  failures: { per_ip: 3, per_user: 100, window: 10m, ban: 15m }
";

/// Whether a client with this certificate comes in.
fn is_let_in(broker: &Broker, transport: &Transport) -> bool {
    let Ok(mut wire) = Wire::try_dial(broker.address("mqtts"), transport) else {
        return false;
    };
    let _ = wire.try_send(&bytes("10 .. s'MQTT' 05 02 0000 <> s'pump'"));
    wire.receive().is_some_and(|connack| connack[3] == 0)
}

#[test]
fn idn_13_wrong_certificates_ban_their_address_but_nobody_who_is_known_there() {
    for known in [false, true] {
        let broker = Setup::new(BY_CERTIFICATE).start();
        let stranger = Certificates::new("Another CA").device("pump");
        let with = |device| Transport::Tls(broker.certificates().client(Some(device)));
        let (good, wrong) = (with(&broker.device("pump")), with(&stranger));
        if known {
            assert!(is_let_in(&broker, &good));
        }
        for _ in 0..3 {
            assert!(!is_let_in(&broker, &wrong));
        }
        let ban = broker.await_audit("the ban", |line| line["event"] == "ban");
        let reason = ban["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("3 failed logins by certificate"),
            "{reason}"
        );
        assert_eq!(is_let_in(&broker, &good), known, "known: {known}");
    }
}
