//! What is judged, and when: a will twice, each filter alone, a topic as it is after its alias. rows.txt, [policy]

use super::support::broker::LAB;
use super::support::{Broker, Setup, Wire};
use super::{connect, with_users};
use std::fs;

const OPEN: &str = "
version: 1
policies:
  - id: open
    who: { any: true }
    allow: [{ publish: 'open/#' }, { subscribe: 'open/#' }]
  - id: wills
    who: { client_id: 'mortal*' }
    allow: [{ publish: 'wills/#' }]
  - id: witness
    who: { client_id: witness }
    allow: [{ subscribe: ['#', '$SYS/#', '$CONTROL/#'] }]
";

/// Sees whatever is published.
fn witness(broker: &Broker, more: &str) -> Wire {
    let mut wire = broker.dial("lab");
    connect(&mut wire, "witness");
    wire.send(&format!("82 .. 0001 <> s'#' 00 {more}"));
    wire.expect("90 .. 0001 <*> *");
    wire
}

/// CONNECT with a will; `flags` say its RETAIN, `delay` in seconds.
fn mortal(flags: &str, delay: u32, topic: &str) -> String {
    format!(
        "10 .. s'MQTT' 05 {flags} 0000 <11 000000ff> s'mortal' <18 {delay:08x}> s'{topic}' s'gone'"
    )
}

#[test]
fn pol_08_a_will_is_judged_before_its_client_comes_in() {
    let broker = Setup::new(LAB).policy(OPEN).start();
    let mut seen = witness(&broker, "s'$SYS/x' 00 s'$CONTROL/#' 00");
    // Plain and retained, and MQTT 3.1.1 with its own code.
    for topic in ["closed/x", "$SYS/x", "$CONTROL/x", "wills"] {
        for flags in ["06", "26"] {
            let expected = if topic == "wills" {
                "20 .. 00 00 *"
            } else {
                "20 .. 00 87 *"
            };
            let mut wire = broker.dial("lab");
            wire.send(&mortal(flags, 0, topic));
            wire.expect(expected);
            if topic == "wills" {
                // A good end: the will goes with it.
                wire.send("e0 00");
            }
            wire.expect_end();
        }
        if topic != "wills" {
            let mut wire = broker.dial("lab");
            wire.send(&format!(
                "10 .. s'MQTT' 04 06 0000 s'mortal' s'{topic}' s'gone'"
            ));
            wire.expect("20 02 00 05");
            wire.expect_end();
        }
    }
    seen.expect_quiet();
}

#[test]
fn pol_08_who_did_not_come_in_has_no_will() {
    let broker = with_users(
        "\nlisteners: { lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password] } }\n",
    )
    .start();
    let mut seen = broker.dial("lab");
    seen.send("10 .. s'MQTT' 05 c2 0000 <> s'seen' s'alice' s'right'");
    seen.expect_connack(0);
    seen.send("82 .. 0001 <> s'#' 00");
    seen.expect("90 .. 0001 <*> 00");
    let mut wire = broker.dial("lab");
    wire.send("10 .. s'MQTT' 05 c6 0000 <> s'mortal' <> s'open/w' s'gone' s'bob' s'wrong'");
    wire.expect("20 .. 00 86 *");
    wire.expect_end();
    seen.expect_quiet();
}

#[test]
fn pol_08_a_will_whose_right_was_withdrawn_is_not_sent() {
    for (flags, delay) in [("06", 0), ("26", 0), ("06", 1)] {
        let broker = Setup::new(LAB).policy(OPEN).start();
        let mut seen = witness(&broker, "");
        let mut wire = broker.dial("lab");
        wire.send(&mortal(flags, delay, "wills/x"));
        wire.expect_connack(0);
        let policies = broker.path().join("policies/open.yaml");
        fs::write(
            &policies,
            OPEN.replace("publish: 'wills/#'", "publish: 'wills'"),
        )
        .unwrap();
        broker.signal("HUP");
        broker.await_audit("the reload", |line| line["reason"] == "reloaded");
        // One that may still be sent goes its way behind it.
        let mut other = broker.dial("lab");
        other.send(&mortal("06", delay, "open/w").replace("'mortal'", "'mortal-2'"));
        other.expect_connack(0);
        wire.drop_connection();
        other.drop_connection();
        seen.expect("30 .. s'open/w' <> 'gone'");
        seen.expect_quiet();
        // Nor is it retained.
        let mut late = witness(&broker, "");
        late.expect_quiet();
    }
}

#[test]
fn pol_09_each_filter_is_judged_alone_wherever_it_stands() {
    let broker = Setup::new(LAB).policy(OPEN).start();
    let mut wire = broker.dial("lab");
    connect(&mut wire, "reader");
    for count in [2_usize, 3, 64] {
        for denied in 0..count {
            let topic = |at: usize| if at == denied { "closed" } else { "open" };
            let filters: String = (0..count)
                .map(|at| format!(" s'{}/{at}' 01", topic(at)))
                .collect();
            let codes: String = (0..count)
                .map(|at| if at == denied { " 87" } else { " 01" })
                .collect();
            wire.send(&format!("82 .. 0001 <>{filters}"));
            wire.expect(&format!("90 .. 0001 <*>{codes}"));
        }
    }
}

#[test]
fn pol_10_a_topic_is_judged_as_it_is_behind_its_alias() {
    let broker = Setup::new(LAB).policy(OPEN).start();
    let mut seen = witness(&broker, "");
    let mut wire = broker.dial("lab");
    connect(&mut wire, "writer");
    // Topic, alias, the code of the answer, and what arrives.
    let rows = [
        ("open/a", 1, "00", Some("open/a")),
        ("", 1, "00", Some("open/a")),
        ("closed/b", 1, "87", None),
        ("", 1, "87", None),
        ("open/c", 2, "00", Some("open/c")),
        ("", 1, "87", None),
        ("", 2, "00", Some("open/c")),
        ("closed/d", 2, "87", None),
        ("open/e", 1, "00", Some("open/e")),
        ("", 1, "00", Some("open/e")),
        ("", 2, "87", None),
    ];
    for (number, (topic, alias, code, arrives)) in (1_u32..).zip(rows) {
        wire.send(&format!(
            "32 .. s'{topic}' {number:04x} <23 {alias:04x}> '{number}'"
        ));
        let answer = if code == "00" {
            format!("40 02 {number:04x}")
        } else {
            format!("40 .. {number:04x} {code} *")
        };
        wire.expect(&answer);
        if let Some(topic) = arrives {
            seen.expect(&format!("30 .. s'{topic}' <> '{number}'"));
        }
    }
    seen.expect_quiet();
}
