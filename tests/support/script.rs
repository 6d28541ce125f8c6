//! Conversations with a broker written as text, one step a line, so that tables of them can judge any broker from outside.
//!
//! | step | means |
//! |------|-------|
//! | `a > 30 .. s't' <> 'hi'` | the client `a` (which dials at its first step) sends these bytes |
//! | `a < d0 00` | the next packet that `a` receives is this |
//! | `a connects v5 keep alive=10 <11 0000000a>` | CONNECT and a successful CONNACK without a session; `v5` (else `v3` or `v31`), a clean start unless `keep`; properties |
//! | `a resumes v5 <…>` | the same with Clean Start 0 and Session Present 1 |
//! | `b=a connects` | the client `b` uses the client identifier `a` |
//! | `a subscribes 't/#' 01 <0b 05>` | SUBSCRIBE with packet identifier 1 and its SUBACK, the maximum QoS granted |
//! | `a publishes 30 …` | the same as `>`, then one round trip: the broker has taken it |
//! | `a has 13 0e10` | the CONNACK carried this property (`a has 12`: with any value) |
//! | `a lacks 1a` | it did not |
//! | `a quiet` | nothing is on its way to `a` |
//! | `a closed` | the broker closes without another byte |
//! | `a ends` | the broker closes, whatever it says before |
//! | `a drops` | the connection is lost |
//! | `wait 1200` | milliseconds pass |

use super::wire::{Wire, show};
use super::{notation, packet};
use std::collections::BTreeMap;
use std::time::Duration;

struct Client {
    wire: Wire,
    version: u8,
    connack: Vec<u8>,
}

/// Runs the steps; panics with the line that failed.
pub fn run(script: &str, mut dial: impl FnMut() -> Wire) {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    for line in script.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (who, step) = line
            .split_once(' ')
            .unwrap_or_else(|| panic!("what is {line}"));
        if who == "wait" {
            std::thread::sleep(Duration::from_millis(step.trim().parse().unwrap()));
            continue;
        }
        let (name, identifier) = who.split_once('=').unwrap_or((who, who));
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        let client = clients.entry(name.to_owned()).or_insert_with(|| Client {
            wire: dial(),
            version: 5,
            connack: Vec::new(),
        });
        client.wire.name = format!("in `{line}`");
        match verb {
            ">" => client.wire.send(rest),
            "<" => drop(client.wire.expect(rest)),
            "connects" => client.connect(identifier, rest, false),
            "resumes" => client.connect(identifier, rest, true),
            "subscribes" => client.subscribe(rest),
            "publishes" => {
                client.wire.send(rest);
                client.wire.expect_quiet();
            }
            "has" => assert!(client.has(rest), "in `{line}`: {}", show(&client.connack)),
            "lacks" => assert!(!client.has(rest), "in `{line}`: {}", show(&client.connack)),
            "quiet" => client.wire.expect_quiet(),
            "closed" => client.wire.expect_closed(),
            "ends" => client.wire.expect_end(),
            "drops" => {
                if let Some(client) = clients.remove(name) {
                    client.wire.drop_connection();
                }
            }
            _ => panic!("what is {line}"),
        }
    }
}

impl Client {
    fn connect(&mut self, identifier: &str, options: &str, resumes: bool) {
        let (words, properties) = match options.split_once('<') {
            Some((words, properties)) => (words, format!("<{properties}")),
            None => (options, "<>".to_owned()),
        };
        let mut clean = !resumes;
        let mut keep_alive = 0_u16;
        for word in words.split_whitespace() {
            match word {
                "v5" => self.version = 5,
                "v3" => self.version = 4,
                "v31" => self.version = 3,
                "keep" => clean = false,
                word => match word.strip_prefix("alive=") {
                    Some(seconds) => keep_alive = seconds.parse().unwrap(),
                    None => panic!("what is {word} in {options}"),
                },
            }
        }
        let name = if self.version == 3 { "MQIsdp" } else { "MQTT" };
        let flags = if clean { 2 } else { 0 };
        let properties = if self.version == 5 {
            properties
        } else {
            String::new()
        };
        let version = self.version;
        self.wire.send(&format!(
            "10 .. s'{name}' {version:02x} {flags:02x} {keep_alive:04x} {properties} s'{identifier}'"
        ));
        let present = if version == 3 {
            "??".into()
        } else {
            format!("{:02x}", u8::from(resumes))
        };
        if self.version == 5 {
            let asked = packet::properties(&mut notation::bytes(&properties).as_slice());
            // Whatever comes must fit. [MQTT-3.1.2-24]
            self.wire.maximum = packet::find(&asked, 0x27).map(|value| {
                usize::try_from(u32::from_be_bytes(value.try_into().unwrap())).unwrap()
            });
        }
        self.connack = self.wire.expect(&format!("20 .. {present} 00 *"));
    }

    fn has(&self, property: &str) -> bool {
        let wanted = notation::bytes(property);
        packet::connack_properties(&self.connack)
            .iter()
            .any(|(identifier, value)| {
                *identifier == wanted[0] && (wanted.len() == 1 || value == &wanted[1..])
            })
    }

    fn subscribe(&mut self, rest: &str) {
        let (filter, properties) = match rest.split_once('<') {
            Some((filter, properties)) => (filter, format!("<{properties}")),
            None => (rest, "<>".to_owned()),
        };
        let properties = if self.version == 5 {
            properties
        } else {
            String::new()
        };
        let any = if self.version == 5 { "<*>" } else { "" };
        let (filter, options) = filter.trim().rsplit_once(' ').unwrap();
        let granted = notation::bytes(options)[0] & 3;
        self.wire
            .send(&format!("82 .. 0001 {properties} s{filter} {options}"));
        self.wire.expect(&format!("90 .. 0001 {any} {granted:02x}"));
    }
}
