//! Listeners that come, change and go while the broker runs; the others do not notice. Contract section 5

use super::connect;
use super::reload::{SECOND, rewrite};
use super::support::broker::LAB;
use super::support::wire::PATIENCE;
use super::support::{Broker, Setup, Transport, Wire};
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

fn await_ports(
    broker: &Broker,
    wanted: impl Fn(&BTreeMap<String, u16>) -> bool,
) -> BTreeMap<String, u16> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(broker.path().join("ports.json")).unwrap();
        if let Ok(ports) = serde_json::from_str(&text)
            && wanted(&ports)
        {
            return ports;
        }
        assert!(Instant::now() < deadline, "{text}\n{}", broker.stderr());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn dial(port: u16) -> Wire {
    Wire::dial(
        ([127, 0, 0, 1], port).into(),
        &super::support::Transport::Tcp,
    )
}

#[test]
fn listeners_come_and_go_and_the_others_do_not_notice() {
    let broker = Setup::new(LAB).start();
    let mut stays = broker.dial("lab");
    connect(&mut stays, "stays");
    rewrite(&broker, "wardgate.yaml", |text| {
        text.replace("  lab:", &format!("{SECOND}  lab:"))
    });
    broker.signal("HUP");
    let ports = await_ports(&broker, |ports| ports.contains_key("second"));
    assert_eq!(ports["lab"], broker.port("lab"));
    let mut goes = dial(ports["second"]);
    connect(&mut goes, "goes");
    rewrite(&broker, "wardgate.yaml", |text| text.replace(SECOND, ""));
    broker.signal("HUP");
    await_ports(&broker, |ports| !ports.contains_key("second"));
    goes.expect_then_closed("e0 .. 98 *");
    let again = Wire::try_dial(
        ([127, 0, 0, 1], ports["second"]).into(),
        &super::support::Transport::Tcp,
    );
    if let Ok(mut again) = again {
        again.expect_end();
    }
    stays.expect_quiet();
}

#[test]
fn a_listener_that_moves_keeps_its_clients() {
    let broker = Setup::new(LAB).start();
    let mut before = broker.dial("lab");
    connect(&mut before, "before");
    // Another loopback address is another place.
    rewrite(&broker, "wardgate.yaml", |text| {
        text.replace("'127.0.0.1:0'", "'127.0.0.2:0'")
    });
    broker.signal("HUP");
    let ports = await_ports(&broker, |ports| ports["lab"] != broker.port("lab"));
    let mut after = Wire::dial(
        ([127, 0, 0, 2], ports["lab"]).into(),
        &super::support::Transport::Tcp,
    );
    connect(&mut after, "after");
    before.expect_quiet();
}

/// Reloads, and gives what the audit trail says of it.
fn reload(broker: &Broker, change: impl Fn(&str) -> String) -> String {
    let of_reloads = |lines: Vec<serde_json::Value>| {
        let reasons = lines.into_iter().filter(|line| line["event"] == "reload");
        reasons
            .map(|line| line["reason"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let before = of_reloads(broker.audit()).len();
    rewrite(broker, "wardgate.yaml", change);
    broker.signal("HUP");
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(reason) = of_reloads(broker.audit()).get(before) {
            return reason.clone();
        }
        assert!(Instant::now() < deadline, "no reload\n{}", broker.stderr());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// On the port of `lab`, at the last of the loopback addresses that is given.
fn place(broker: &Broker, last: u8) -> SocketAddr {
    ([127, 0, 0, last], broker.port("lab")).into()
}

fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

fn comes_in(broker: &Broker, transport: &Transport, client_id: &str) -> Wire {
    let mut wire = Wire::dial(place(broker, 1), transport);
    connect(&mut wire, client_id);
    wire
}

#[test]
fn a_listener_becomes_narrower_and_wider_on_its_port() {
    let wide = LAB
        .replace("127.0.0.1:0", "0.0.0.0:0")
        .replace("[anonymous]", "[anonymous], allow_insecure: true");
    let broker = Setup::new(&wide).start();
    let port = broker.port("lab");
    let mut stays = comes_in(&broker, &Transport::Tcp, "stays");
    assert!(is_open(place(&broker, 2)));
    let mut bind = "0.0.0.0:0".to_owned();
    for (next, is_wide) in [
        ("127.0.0.1", false),
        ("0.0.0.0", true),
        ("127.0.0.1", false),
    ] {
        let next = format!("{next}:{port}");
        assert_eq!(
            reload(&broker, |text| text.replace(&bind, &next)),
            "reloaded"
        );
        assert_eq!(is_open(place(&broker, 2)), is_wide, "{next}");
        connect(&mut Wire::dial(place(&broker, 1), &Transport::Tcp), "comes");
        stays.send("c0 00");
        stays.expect("d0 00");
        bind = next;
    }
}

#[test]
fn a_listener_that_cannot_become_wider_stays_as_it_is() {
    let broker = Setup::new(LAB).start();
    let port = broker.port("lab");
    let mut stays = comes_in(&broker, &Transport::Tcp, "stays");
    // Somebody else has a part of what it would have.
    let other = std::net::TcpListener::bind(place(&broker, 2)).unwrap();
    let told = reload(&broker, |text| {
        text.replace(
            "'127.0.0.1:0'",
            &format!("'0.0.0.0:{port}', allow_insecure: true"),
        )
        .replace("node: test", "node: other")
    });
    let expected = format!("wardgate.yaml:20:16: listener lab: cannot listen on 0.0.0.0:{port}");
    assert!(told.contains(&expected), "{told}");
    stays.send("c0 00");
    stays.expect("d0 00");
    connect(&mut broker.dial("lab"), "comes");
    // And once there is room it goes there.
    drop(other);
    assert_eq!(reload(&broker, |text| format!("{text}\n")), "reloaded");
    connect(&mut Wire::dial(place(&broker, 2), &Transport::Tcp), "comes");
    stays.expect_quiet();
}

#[test]
fn a_listener_changes_its_transport_on_its_port() {
    const SERVER: &str = "tls: { certificate: server.pem, private_key: server.key }";
    let setup = Setup::new(&format!(
        "{LAB}  tls: {{ bind: '127.0.0.1:0', transport: tcp, {SERVER}, authenticate: [anonymous] }}\n"
    ));
    let broker = setup.start();
    let tls = || broker.certificates().client(None);
    let rows = [
        ("websocket", "", Transport::Ws),
        ("websocket", SERVER, Transport::Wss(tls())),
        ("tcp", SERVER, Transport::Tls(tls())),
        ("tcp", "", Transport::Tcp),
    ];
    let (mut lab, mut stay) = ("transport: tcp, authenticate".to_owned(), Vec::new());
    let mut last = Transport::Tcp;
    for (transport, tls, by) in rows {
        stay.push(comes_in(&broker, &last, &format!("c-{}", stay.len())));
        let next = format!(
            "transport: {transport}, {tls}{}authenticate",
            if tls.is_empty() { "" } else { ", " }
        );
        assert_eq!(
            reload(&broker, |text| text.replacen(&lab, &next, 1)),
            "reloaded"
        );
        (lab, last) = (next, by);
    }
    stay.push(comes_in(&broker, &last, "last"));
    for mut wire in stay {
        wire.send("c0 00");
        wire.expect("d0 00");
    }
}

#[test]
fn listeners_take_each_others_places() {
    let broker = Setup::new(&format!("{LAB}{SECOND}")).start();
    let (lab, second) = (broker.port("lab"), broker.port("second"));
    let mut stays = comes_in(&broker, &Transport::Tcp, "stays");
    let by_name =
        |ports: &BTreeMap<String, u16>| (ports.get("lab").copied(), ports.get("second").copied());
    // With the ports that were taken; then the other way round; then one of them under a third name.
    let steps = [
        (
            vec![
                (
                    "lab: { bind: '127.0.0.1:0'".to_owned(),
                    format!("lab: {{ bind: '127.0.0.1:{second}'"),
                ),
                (
                    "second: { bind: '127.0.0.1:0'".to_owned(),
                    format!("second: {{ bind: '127.0.0.1:{lab}'"),
                ),
            ],
            (Some(second), Some(lab)),
        ),
        (
            vec![
                (format!("'127.0.0.1:{lab}'"), "'x'".to_owned()),
                (
                    format!("'127.0.0.1:{second}'"),
                    format!("'127.0.0.1:{lab}'"),
                ),
                ("'x'".to_owned(), format!("'127.0.0.1:{second}'")),
            ],
            (Some(lab), Some(second)),
        ),
        (
            vec![("  second:".to_owned(), "  third:".to_owned())],
            (Some(lab), None),
        ),
    ];
    for (changes, expected) in steps {
        let told = reload(&broker, |text| {
            changes
                .iter()
                .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
        });
        assert_eq!(told, "reloaded");
        await_ports(&broker, |ports| by_name(ports) == expected);
        for port in [lab, second] {
            connect(&mut dial(port), "comes");
        }
        stays.send("c0 00");
        stays.expect("d0 00");
    }
}
