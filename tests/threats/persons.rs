//! Nobody is somebody before a login, and a name proved in two ways is two people.

use super::support::{Transport, Wire, bytes};
use super::{login, with_users};

const LISTENERS: &str = "
listeners:
  lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password] }
  open: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous] }
  mqtts:
    bind: '127.0.0.1:0'
    transport: tcp
    tls: { certificate: server.pem, private_key: server.key, client_auth: required, client_ca: [device-ca.pem] }
    authenticate: [certificate]
";

#[test]
fn idn_03_nothing_is_done_for_whoever_has_not_logged_in() {
    let broker = with_users(LISTENERS).start();
    let mut watcher = broker.dial("open");
    super::connect(&mut watcher, "watcher");
    watcher.send("82 .. 0001 <> s'#' 00");
    watcher.expect("90 .. 0001 <> 00");
    // A first packet of every kind but CONNECT.
    let first = [
        "31 .. s'x' 'y'",
        "31 .. s'x' <> 'y'",
        "33 .. s'x' 0001 <> 'y'",
        "35 .. s'x' 0001 <> 'y'",
        "82 .. 0001 00 s'#' 00",
        "a2 .. 0001 00 s'#'",
        "c0 00",
        "d0 00",
        "e0 00",
        "20 02 00 00",
        "40 02 0001",
        "62 02 0001",
        "f0 00",
    ];
    for packet in first {
        let mut wire = broker.dial("lab");
        wire.name = packet.to_owned();
        wire.send(packet);
        wire.expect_closed();
    }
    // Behind a CONNECT that is refused, in the same bytes.
    let connects = [
        ("10 .. s'MQTT' 05 02 0000 <> s'c'", "20 .. 00 87 *"),
        (
            "10 .. s'MQTT' 05 c2 0000 <> s'c' s'alice' s'wrong'",
            "20 .. 00 86 *",
        ),
        ("10 .. s'MQTT' 05 82 0000 <> s'c' s'alice'", "20 .. 00 86 *"),
        (
            "10 .. s'MQTT' 04 c2 0000 s'c' s'nobody' s'right'",
            "20 02 00 04",
        ),
    ];
    for (connect, refusal) in connects {
        for packet in &first[..4] {
            let mut wire = broker.dial("lab");
            wire.name = format!("{packet} behind {connect}");
            wire.send_bytes(&[bytes(connect), bytes(packet)].concat());
            wire.expect_then_closed(refusal);
        }
    }
    // Nothing came, and nothing was kept.
    let mut late = broker.dial("open");
    super::connect(&mut late, "late");
    late.send("82 .. 0001 <> s'#' 00");
    late.expect("90 .. 0001 <> 00");
    late.send("30 .. s'end' <> ''");
    for wire in [&mut watcher, &mut late] {
        wire.expect("30 .. s'end' <> ''");
    }
}

const POLICY: &str = "
version: 1
policies:
  - id: administrator
    who: { auth: password, username: alice }
    allow: [{ publish: 'admin/#' }]
  - id: devices
    who: { auth: certificate }
    allow: [{ subscribe: 'devices/#' }]
";

#[test]
fn idn_04_a_name_from_a_certificate_and_the_same_from_a_file_are_two_people() {
    let broker = with_users(LISTENERS).policy(POLICY).start();
    let device = || {
        let device = broker.certificates().client(Some(&broker.device("alice")));
        Wire::dial(broker.address("mqtts"), &Transport::Tls(device))
    };
    let mut by_certificate = device();
    by_certificate.send("10 .. s'MQTT' 05 02 0000 <11 000000ff> s'c'");
    by_certificate.expect_connack(0);
    by_certificate.send("82 .. 0001 <> s'devices/x' 01");
    by_certificate.expect("90 .. 0001 <> 01");
    // The device has none of the administrator's rights.
    by_certificate.send("32 .. s'admin/x' 0001 <> 'y'");
    by_certificate.expect("40 .. 0001 87 *");
    // The administrator takes over none of the device's sessions, live or left behind.
    for is_connected in [true, false] {
        if !is_connected {
            by_certificate.send("e0 .. 00 00");
            by_certificate.expect_closed();
        }
        let mut by_password = broker.dial("lab");
        by_password.name = format!("version 5, connected: {is_connected}");
        login(&mut by_password, "c", false, "alice", "right");
        by_password.expect_then_closed("20 .. 00 85 *");
        let mut by_password = broker.dial("lab");
        by_password.name = format!("version 3, connected: {is_connected}");
        by_password.send("10 .. s'MQTT' 04 c0 0000 s'c' s'alice' s'right'");
        by_password.expect_then_closed("20 02 00 02");
        if is_connected {
            by_certificate.expect_quiet();
        }
    }
    let mut again = device();
    again.send("10 .. s'MQTT' 05 00 0000 <11 000000ff> s'c'");
    again.expect("20 .. 01 00 <*>");
    // Under a name of its own she has her rights, and not the device's.
    let mut by_password = broker.dial("lab");
    login(&mut by_password, "d", true, "alice", "right");
    by_password.expect_connack(0);
    by_password.send("32 .. s'admin/x' 0001 <> 'y'");
    by_password.expect("40 .. 0001 10 *");
    by_password.send("82 .. 0001 <> s'devices/x' 01");
    by_password.expect("90 .. 0001 <> 87");
}
