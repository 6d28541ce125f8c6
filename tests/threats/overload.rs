//! Too much asked of the machine: what is shed, in which order, and who is told. Contract section 6, `state.memory`

use super::support::broker::LAB;
use super::support::wire::PATIENCE;
use super::support::{Broker, Setup, Wire};
use super::{ADMIN, connect, ctl, with_users};
use std::fs;
use std::time::Instant;

const CALM: &str = "
limits: { state: { memory: 0 } }
";
const OVERLOADED: &str = "
limits: { state: { memory: 1MiB } }
";

fn reload_with(broker: &Broker, from: &str, to: &str) {
    let path = broker.path().join("wardgate.yaml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).unwrap();
    broker.signal("HUP");
}

fn await_stage(broker: &Broker, stage: &str) {
    let line = format!("wardgate_overload_stage {stage}");
    let deadline = Instant::now() + PATIENCE;
    while !ctl(broker, &["stats"]).lines().any(|found| found == line) {
        assert!(Instant::now() < deadline, "never {line}");
    }
}

#[test]
fn overload_sheds_newcomers_and_everybody_can_see_it() {
    let broker = Setup::new(&format!("{LAB}{OVERLOADED}{ADMIN}")).start();
    let line = broker.await_audit("the overload", |line| {
        line["event"] == "limit" && line["outcome"] == "failed"
    });
    assert!(
        line["reason"].as_str().unwrap().starts_with("overload: "),
        "{line}"
    );
    let mut newcomer = broker.dial("lab");
    newcomer.send("10 .. s'MQTT' 05 02 0000 <> s'new'");
    newcomer.expect_closed();
    broker.await_audit("the newcomer", |line| {
        line["event"] == "limit"
            && line["reason"]
                .as_str()
                .unwrap_or_default()
                .starts_with("overloaded")
    });
    let status: serde_json::Value =
        serde_json::from_str(&ctl(&broker, &["status", "--json"])).unwrap();
    assert_eq!(status["ready"], false, "{status}");
    assert!(
        status["not_ready_because"]
            .as_str()
            .unwrap()
            .contains("overloaded"),
        "{status}"
    );
    assert_ne!(status["limits"]["shedding"], "nothing", "{status}");
    let stats = ctl(&broker, &["stats"]);
    assert!(
        stats.contains("wardgate_limits_reached_total{limit=\"overload\"} 1"),
        "{stats}"
    );
    reload_with(&broker, OVERLOADED, CALM);
    await_stage(&broker, "0");
    connect(&mut broker.dial("lab"), "new");
    let status: serde_json::Value =
        serde_json::from_str(&ctl(&broker, &["status", "--json"])).unwrap();
    assert_eq!(status["ready"], true, "{status}");
}

#[test]
fn overload_lets_in_those_with_a_good_record() {
    let by_password = LAB.replace("anonymous", "password");
    let broker = with_users(&format!("{by_password}{CALM}{ADMIN}")).start();
    let mut before = broker.dial("lab");
    super::login(&mut before, "a", true, "alice", "right");
    before.expect_connack(0);
    reload_with(&broker, CALM, OVERLOADED);
    await_stage(&broker, "2");
    let mut again = broker.dial("lab");
    super::login(&mut again, "b", true, "alice", "right");
    again.expect_connack(0);
}

#[test]
fn overload_takes_slow_consumers_but_nothing_that_was_acknowledged() {
    const MESSAGES: usize = 100;
    let broker = Setup::new(&format!("{LAB}{CALM}{ADMIN}")).start();
    let session = "10 .. s'MQTT' 05 00 0000 <11 0000ffff 21 0001> s'slow'";
    let mut slow = broker.dial("lab");
    slow.send(session);
    slow.expect_connack(0);
    slow.send("82 .. 0001 <> s't/#' 01");
    slow.expect("90 .. 0001 <*> 01");
    let mut publisher = broker.dial("lab");
    connect(&mut publisher, "publisher");
    let payload = "x".repeat(2000);
    for number in 1..=MESSAGES {
        publisher.send(&format!("32 .. s't/1' {number:04x} <> '{payload}'"));
        publisher.send(&format!("30 .. s't/0' <> '{payload}'"));
        publisher.expect(&format!("40 .. {number:04x} *"));
    }
    // The first of QoS 1 fills the client's window: all others wait.
    assert_eq!(slow.receive().unwrap()[0] & 0xf6, 0x32);
    reload_with(&broker, CALM, OVERLOADED);
    let told = end_of(&mut slow);
    assert_eq!(told, Some(0x89), "server busy");
    broker.await_audit("the slow consumer", |line| {
        line["client_id"] == "slow" && line["reason"] == "overload: a slow consumer"
    });
    reload_with(&broker, OVERLOADED, CALM);
    await_stage(&broker, "0");
    let mut back = broker.dial("lab");
    back.send(session);
    back.expect_connack(0);
    let mut received = 0;
    while received < MESSAGES {
        let packet = back.receive().unwrap();
        assert_eq!(packet[0] & 0xf6, 0x32, "only QoS 1 is left");
        let topic = usize::from(packet[4]);
        let (high, low) = (packet[5 + topic], packet[6 + topic]);
        back.send_bytes(&[0x40, 2, high, low]);
        received += 1;
    }
}

/// The reason code of the DISCONNECT before the end, whatever came before it.
fn end_of(wire: &mut Wire) -> Option<u8> {
    let mut told = None;
    while let Some(packet) = wire.receive() {
        if packet[0] == 0xe0 {
            told = packet.get(2).copied();
        }
    }
    told
}
