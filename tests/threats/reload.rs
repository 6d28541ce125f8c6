//! A running broker takes over what changed, all or nothing, and leaves the rest alone. Contract section 5

use super::connect;
use super::support::broker::LAB;
use super::support::certificates::Certificates;
use super::support::{Broker, Setup};
use std::fs;
use time::OffsetDateTime;

pub(super) fn rewrite(broker: &Broker, name: &str, change: impl Fn(&str) -> String) {
    let path = broker.path().join(name);
    let text = fs::read_to_string(&path).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed, "nothing was changed in {name}");
    // Whole at once, as an editor does it.
    fs::write(path.with_extension("new"), changed).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

pub const SECOND: &str =
    "  second: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous] }\n";

#[test]
fn what_needs_a_restart_or_cannot_listen_changes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let elsewhere = SECOND.replace("127.0.0.1:0", &address.to_string());
    let rows = [
        (
            "data_dir: ./data".to_owned(),
            "data_dir: ./other".to_owned(),
            "wardgate.yaml:3:11: data_dir: a change of this needs a restart".to_owned(),
        ),
        (
            "  lab:".to_owned(),
            format!("{elsewhere}  lab:"),
            format!("wardgate.yaml:20:19: listener second: cannot listen on {address}"),
        ),
    ];
    for (from, to, told) in rows {
        let broker = Setup::new(LAB).start();
        rewrite(&broker, "wardgate.yaml", |text| {
            text.replace(&from, &to)
                .replace("node: test", "node: other")
        });
        rewrite(&broker, "policies/open.yaml", |text| {
            text.replace("publish: '#'", "publish: 'x'")
        });
        broker.signal("HUP");
        let line = broker.await_audit("the reload", |line| {
            line["event"] == "reload" && line["outcome"] == "failed"
        });
        assert!(
            line["reason"].as_str().unwrap().contains(&told),
            "{told} in {line}"
        );
        let mut wire = broker.dial("lab");
        connect(&mut wire, "c");
        wire.send("32 .. s'still/open' 0001 <> 'x'");
        wire.expect("40 .. 0001 10 *");
    }
}

#[test]
fn watched_files_are_taken_over_by_themselves() {
    let broker = Setup::new(LAB).with("reload: { watch: true }\n").start();
    let mut wire = broker.dial("lab");
    connect(&mut wire, "c");
    wire.send("32 .. s'a' 0001 <> 'x'");
    wire.expect("40 .. 0001 10 *");
    rewrite(&broker, "policies/open.yaml", |text| {
        text.replace("publish: '#'", "publish: 'b'")
    });
    broker.await_audit("the reload", |line| {
        line["event"] == "reload" && line["outcome"] == "permitted"
    });
    wire.send("32 .. s'a' 0001 <> 'x'");
    wire.expect("40 .. 0001 87 *");
    // What is wrong is told and changes nothing.
    rewrite(&broker, "policies/open.yaml", |text| {
        text.replace("allow:", "alow:")
    });
    broker.await_audit("the refusal", |line| {
        line["event"] == "reload" && line["outcome"] == "failed"
    });
    wire.send("32 .. s'b' 0001 <> 'x'");
    wire.expect("40 .. 0001 10 *");
}

const TLS: &str = "
listeners:
  lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous] }
  tls: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous], tls: { certificate: server.pem, private_key: server.key } }
";

#[test]
fn a_certificate_that_has_ended_refuses_a_start_and_no_reload() {
    let ended = |certificates: &Certificates| {
        let mut params = Certificates::device_params("localhost");
        params.not_before = OffsetDateTime::now_utc() - time::Duration::days(9);
        params.not_after = OffsetDateTime::now_utc() - time::Duration::days(1);
        certificates.sign(&params)
    };
    let setup = Setup::new(TLS);
    ended(&setup.certificates).write(setup.path(), "server");
    let why = Broker::try_start(setup).err().unwrap();
    assert!(
        why.contains("server.pem:1:1: the certificate ended on"),
        "{why}"
    );

    let broker = Setup::new(TLS).start();
    ended(broker.certificates()).write(broker.path(), "server");
    broker.signal("HUP");
    broker.await_audit("the reload", |line| {
        line["event"] == "reload" && line["outcome"] == "permitted"
    });
}

#[test]
fn a_broker_without_policies_starts_and_permits_nothing() {
    let setup = Setup::new(LAB).replacing("policies: [policies/]", "policies: []");
    let broker = setup.start();
    assert!(
        broker.stderr().contains("there is no policy"),
        "{}",
        broker.stderr()
    );
    let mut wire = broker.dial("lab");
    connect(&mut wire, "nobody");
    // SUBSCRIBE to `a`: Not authorized.
    wire.send("82 .. 0001 <> s'a' 00");
    wire.expect("90 .. 0001 <*> 87");
}

#[test]
fn the_smaller_packet_size_holds_before_login_too() {
    // More than 5000 bytes, for the sake of the will.
    let long = "10 .. s'MQTT' 05 06 0000 <> s'long' <> s'w' 1388 61*5000";
    let small = LAB.replace("[anonymous]", "[anonymous], max_packet_size: 4KiB");
    let broker = Setup::new(&small).start();
    let mut wire = broker.dial("lab");
    wire.send(long);
    wire.expect_end();
    connect(&mut broker.dial("lab"), "short");
    let broker = Setup::new(LAB).start();
    let mut wire = broker.dial("lab");
    wire.send(long);
    wire.expect_connack(0);
}

#[test]
fn what_stops_a_start_is_named_where_it_is() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let rows = [
        (
            ("127.0.0.1:0", address.as_str()),
            format!("wardgate.yaml:20:16: listener lab: cannot listen on {address}"),
        ),
        (
            ("path: data/audit", "path: /proc/nope"),
            "/proc/nope: the audit log cannot be opened".to_owned(),
        ),
        (
            ("data_dir: ./data", "data_dir: ./wardgate.yaml"),
            "wardgate.yaml:1:1: data_dir: not a folder".to_owned(),
        ),
    ];
    for ((part, by), expected) in rows {
        let setup = Setup::new(LAB).replacing(part, by);
        let why = Broker::try_start(setup).err().unwrap();
        assert!(why.contains(&expected), "{expected}: {why}");
    }
}
