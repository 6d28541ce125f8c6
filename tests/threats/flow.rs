//! What a client may leave unfinished. rows.txt, [limits]

use super::connect;
use super::support::{Broker, Wire};

const UNFINISHED: u16 = 64;

fn publish(wire: &mut Wire, first: &str, identifier: u16) {
    wire.send(&format!("{first} .. s'a' {identifier:04x} <> 'x'"));
}

#[test]
fn lim_04_unfinished_qos_2_messages_are_as_many_as_was_granted() {
    let broker = Broker::lab();
    let mut wire = broker.dial("lab");
    connect(&mut wire, "c");
    for identifier in 1..=UNFINISHED {
        publish(&mut wire, "34", identifier);
        wire.expect(&format!("50 .. {identifier:04x} *"));
    }
    // The same once more takes no second place.
    for _ in 0..3 {
        publish(&mut wire, "3c", 7);
        wire.expect("50 .. 0007 *");
    }
    // One that is finished gives its place to another.
    wire.send("62 02 0001");
    wire.expect("70 .. 0001 *");
    publish(&mut wire, "34", 1000);
    wire.expect("50 .. 03e8 *");
    publish(&mut wire, "34", 1001);
    wire.expect_then_closed("e0 .. 93 *");
}

#[test]
fn lim_04_a_session_that_ends_gives_its_identifiers_back() {
    let broker = Broker::lab();
    for round in 0..3 {
        let mut wire = broker.dial("lab");
        connect(&mut wire, "c");
        for identifier in 1..=UNFINISHED {
            publish(&mut wire, "34", identifier);
            wire.expect(&format!("50 .. {identifier:04x} *"));
        }
        if round == 2 {
            publish(&mut wire, "34", 65_535);
            wire.expect_then_closed("e0 .. 93 *");
        } else {
            wire.drop_connection();
        }
    }
    // A session that goes on keeps them.
    let resume = "10 .. s'MQTT' 05 00 0000 <11 000000ff> s'd'";
    let mut wire = broker.dial("lab");
    wire.send(resume);
    wire.expect_connack(0);
    for identifier in 1..=UNFINISHED {
        publish(&mut wire, "34", identifier);
        wire.expect(&format!("50 .. {identifier:04x} *"));
    }
    wire.drop_connection();
    let mut wire = broker.dial("lab");
    wire.send(resume);
    wire.expect("20 .. 01 00 *");
    publish(&mut wire, "3c", 7);
    wire.expect("50 .. 0007 *");
    publish(&mut wire, "34", 65_535);
    wire.expect_then_closed("e0 .. 93 *");
}

#[test]
fn lim_04_what_no_client_may_say_ends_it() {
    let broker = Broker::lab();
    // Packet Identifier 0, of each kind that has one. [MQTT-2.2.1-3]
    for packet in [
        "32 .. s'a' 0000 <> 'x'",
        "34 .. s'a' 0000 <> 'x'",
        "82 .. 0000 <> s'a' 00",
        "a2 .. 0000 <> s'a'",
    ] {
        let mut wire = broker.dial("lab");
        connect(&mut wire, "c");
        wire.send(packet);
        wire.expect_then_closed("e0 .. ?? *");
    }
    // Receive Maximum 0.
    let mut wire = broker.dial("lab");
    wire.send("10 .. s'MQTT' 05 02 0000 <21 0000> s'c'");
    wire.expect("20 .. 00 82 *");
    wire.expect_end();
}
