//! Bans over crashes and stops: what was answered holds, whatever ends the process.

use super::{ADMIN, as_admin, run, setup};
use crate::support::broker::Broker;

fn ctl(broker: &Broker, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = ["ctl"].iter().chain(arguments).copied().collect();
    run(&mut as_admin(broker, "operator", &arguments)).unwrap()
}

/// The code of the CONNACK that a client of this name gets.
fn knock(broker: &Broker, name: &str) -> u8 {
    let mut wire = broker.dial("lab");
    wire.send(&format!("10 .. s'MQTT' 05 02 0000 <> s'{name}'"));
    let connack = wire.receive().expect("a CONNACK");
    connack[3]
}

#[test]
fn a_ban_that_was_answered_survives_kill_9_and_so_does_its_end() {
    let mut broker = setup(ADMIN).start();
    // Each time with nothing in between: the answer is the promise.
    for number in 0..5 {
        let (name, subject) = (format!("c-{number}"), format!("client_id:c-{number}"));
        assert_eq!(knock(&broker, &name), 0);
        ctl(&broker, &["ban", &subject, "--reason", "abuse"]);
        broker.restart_after_kill();
        assert_ne!(knock(&broker, &name), 0, "{name} is banned");
        assert!(ctl(&broker, &["bans"]).contains(&name));
        ctl(&broker, &["unban", &subject]);
        broker.restart_after_kill();
        assert_eq!(knock(&broker, &name), 0, "{name} is banned no longer");
    }
}
