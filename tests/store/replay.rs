//! Retained messages on their way to a new subscription when the process is killed.

use super::{publisher, setup};
use crate::support::Wire;
use crate::support::packet::Publish;
use std::collections::BTreeSet;

const TOPICS: usize = 300;

/// A session that lasts and takes seven messages at a time.
fn connect(mut wire: Wire, session_present: u8) -> Wire {
    wire.send("10 .. s'MQTT' 05 00 0000 <11 00000fff 21 0007> s'reader'");
    wire.expect(&format!("20 .. {session_present:02x} 00 *"));
    wire
}

/// The next PUBLISH; `None`: it is the packet that was waited for.
fn take(wire: &mut Wire, until: u8) -> Option<Publish> {
    let packet = wire.receive().expect("a retained message");
    (packet[0] != until).then(|| Publish::parse(&packet, 5))
}

fn acknowledge(wire: &mut Wire, publish: &Publish) {
    wire.send(&format!("40 02 {:04x}", publish.packet_identifier.unwrap()));
}

#[test]
fn sto_01_a_subscription_gets_all_that_was_retained_over_any_number_of_crashes() {
    const SUBACK: u8 = 0x90;
    const PINGRESP: u8 = 0xd0;
    let mut broker = setup("").start();
    let mut wire = publisher(broker.dial("lab"));
    for number in 0..TOPICS {
        super::retain(&mut wire, &format!("r/{number:03}"), "old");
    }
    let mut reader = connect(broker.dial("lab"), 0);
    let mut came = Vec::new();
    reader.send("82 .. 0001 <> s'r/#' 01");
    while let Some(publish) = take(&mut reader, SUBACK) {
        came.push(publish);
    }
    assert!(came.len() <= 7, "no more than it takes at a time");
    for publish in &came {
        acknowledge(&mut reader, publish);
    }
    // After the subscription: a live message, and no retained one.
    super::retain(&mut wire, "r/290", "new");
    for taken in [0, 1, 40, 100] {
        for _ in 0..taken {
            let publish = take(&mut reader, PINGRESP).unwrap();
            acknowledge(&mut reader, &publish);
            came.push(publish);
        }
        broker.restart_after_kill();
        reader = connect(broker.dial("lab"), 1);
    }
    let topics = |came: &[Publish]| -> BTreeSet<String> {
        came.iter().map(|publish| publish.topic.clone()).collect()
    };
    while topics(&came).len() < TOPICS {
        let publish = take(&mut reader, PINGRESP).unwrap();
        acknowledge(&mut reader, &publish);
        came.push(publish);
    }
    reader.send("c0 00");
    while let Some(publish) = take(&mut reader, PINGRESP) {
        acknowledge(&mut reader, &publish);
        came.push(publish);
    }
    for publish in came {
        let is_live = publish.topic == "r/290";
        let expected = if is_live { "new" } else { "old" };
        assert_eq!(publish.text(), expected, "{}", publish.topic);
        assert_eq!(publish.retain, !is_live, "{}", publish.topic);
    }
}
