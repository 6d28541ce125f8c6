//! Rows RTE: what one client's message can do to another.

use super::connect;
use super::support::Broker;
use super::support::packet::Publish;
use std::time::{Duration, Instant};

#[test]
fn rte_01_a_poison_message_stops_at_its_publisher() {
    let broker = Broker::lab();
    let mut narrow = broker.dial("lab");
    narrow.send("10 .. s'MQTT' 05 02 0000 <27 00000040> s'narrow'");
    narrow.expect_connack(0);
    let mut wide = broker.dial("lab");
    connect(&mut wide, "wide");
    let mut old = broker.dial("lab");
    old.send("10 .. s'MQTT' 04 02 0000 s'old'");
    old.expect_connack(0);
    for wire in [&mut narrow, &mut wide] {
        wire.send("82 .. 0001 <> s'#' 00");
        wire.expect("90 .. 0001 <*> 00");
    }
    old.send("82 .. 0001 s'#' 00");
    old.expect("90 .. 0001 00");
    // Each is its publisher's mistake.
    let poison = [
        "30 .. s't' <11 00000001> 'session expiry'",
        "30 .. s't' <0b 01> 'subscription identifier'",
        "30 .. s't' <21 0001> 'receive maximum'",
        "30 .. s't' <08 s'a/#'> 'response topic with a wildcard'",
        "30 .. s't' <08 s''> 'empty response topic'",
        "30 .. s't' <01 02> 'payload format of 2'",
        "30 .. s't' <03 0001 ff> 'content type'",
        "30 .. s't' <26 s'k' 0001 00> 'user property'",
        "30 .. s't' <02 00000001 02 00000002> 'expiry twice'",
    ];
    for packet in poison {
        let mut publisher = broker.dial("lab");
        publisher.name = packet.into();
        connect(&mut publisher, "publisher");
        publisher.send(packet);
        publisher.expect("e0 .. ?? *");
        publisher.expect_closed();
    }
    // Too large for one subscriber: his copy is dropped, the connection stays.
    let mut publisher = broker.dial("lab");
    connect(&mut publisher, "publisher");
    publisher.send("30 .. s't' <26 s'key' s'v'*100> 'x'");
    publisher.send("30 .. s't' <> 'small'");
    narrow.expect("30 .. s't' <> 'small'");
    narrow.expect_quiet();
    wide.expect("30 .. s't' <26 s'key' s'v'*100> 'x'");
    wide.expect("30 .. s't' <> 'small'");
    wide.expect_quiet();
    old.expect("30 .. s't' 'x'");
    old.expect("30 .. s't' 'small'");
    old.expect_quiet();
}

#[test]
fn rte_02_facts_that_the_broker_adds_cannot_be_forged() {
    let broker = Broker::lab();
    let mut reader = broker.dial("lab");
    connect(&mut reader, "reader");
    reader.send("82 .. 0001 <> s'#' 00");
    reader.expect("90 .. 0001 <*> 00");
    let mut forger = broker.dial("lab");
    forger.send("10 .. s'MQTT' 05 06 0000 <> s'forger' <26 s'wardgate-publisher' s'admin' 26 s'k' s'v'> s'w' s'gone'");
    forger.expect_connack(0);
    forger.send(
        "30 .. s't' <26 s'wardgate-publisher' s'admin' 26 s'k' s'v' 26 s'wardgate-time' s'0'> 'x'",
    );
    let message = Publish::parse(&reader.receive().unwrap(), 5);
    assert_eq!(message.property(0x26), [b"k=v"]);
    forger.drop_connection();
    let will = Publish::parse(&reader.receive().unwrap(), 5);
    assert_eq!(
        (will.topic.as_str(), will.property(0x26)),
        ("w", vec![b"k=v".as_slice()])
    );
}

#[test]
fn rte_03_one_frozen_subscriber_delays_nobody() {
    let broker = Broker::lab();
    let mut frozen = broker.dial("lab");
    connect(&mut frozen, "frozen");
    frozen.send("82 .. 0001 <> s't' 01 s'$share/g/u' 01");
    frozen.expect("90 .. 0001 <*> 01 01");
    let mut lively: Vec<_> = (0..10)
        .map(|number| {
            let mut wire = broker.dial("lab");
            connect(&mut wire, &format!("lively-{number}"));
            wire.send("82 .. 0001 <> s't' 00 s'$share/g/u' 00");
            wire.expect("90 .. 0001 <*> 00 00");
            wire
        })
        .collect();
    let mut publisher = broker.dial("lab");
    connect(&mut publisher, "publisher");
    let before = broker.memory();
    let begin = Instant::now();
    for number in 0..300 {
        publisher.send("30 .. s't' <> 'p'*60000");
        for wire in &mut lively {
            let message = Publish::parse(&wire.receive().unwrap(), 5);
            assert_eq!(message.payload.len(), 60000, "{number}");
        }
    }
    assert!(
        begin.elapsed() < Duration::from_secs(60),
        "{:?}",
        begin.elapsed()
    );
    // 300 times 60 kB came to 18 MB; what is kept for the frozen one is bounded by its queue.
    assert!(broker.memory().saturating_sub(before) < 80 * 1024);
    for _ in 0..200 {
        publisher.send("32 .. s'u' 0001 <> 'shared'");
        publisher.expect("40 .. 0001 *");
    }
    publisher.expect_quiet();
}
