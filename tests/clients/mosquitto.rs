//! mosquitto_pub and mosquitto_sub from Debian, at the three protocol versions.

use super::support::broker::EVERY_TRANSPORT;
use super::support::{Broker, Setup};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

fn broker() -> Broker {
    Setup::new(EVERY_TRANSPORT).start()
}

fn command(broker: &Broker, program: &str, version: &str, arguments: &[&str]) -> Command {
    let port = broker.port("tcp").to_string();
    // Lines as they come: into a pipe they would be held back.
    let mut command = Command::new("stdbuf");
    command
        .args([
            "-oL",
            program,
            "-V",
            version,
            "-h",
            "127.0.0.1",
            "-p",
            &port,
        ])
        .args(arguments);
    command
}

fn publish(broker: &Broker, version: &str, arguments: &[&str]) {
    let output = command(broker, "mosquitto_pub", version, arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.expect("mosquitto_pub is missing: run tests/run, which installs it");
    assert!(
        output.status.success(),
        "{version} {arguments:?}: {output:?}"
    );
}

/// A mosquitto_sub that has subscribed: it says so with `-d`.
struct Subscriber {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Subscriber {
    fn start(broker: &Broker, version: &str, arguments: &[&str]) -> Self {
        let mut process = command(broker, "mosquitto_sub", version, arguments)
            .args(["-d", "-W", "20", "-F", "> %t %q %r %l %p"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut subscriber = Self { process, output };
        subscriber.line_with("Subscribed (mid:");
        subscriber
    }

    fn line_with(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).unwrap();
            assert!(
                read > 0,
                "mosquitto_sub ended before {start:?} (tests/run installs mosquitto-clients)"
            );
            if let Some(rest) = line.trim_end().strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// `topic qos retain length payload`
    fn message(&mut self) -> String {
        self.line_with("> ")
    }

    fn stop(mut self) {
        let status = Command::new("kill")
            .arg(self.process.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
        self.process.wait().unwrap();
        let mut rest = Vec::new();
        let _ = self.output.read_to_end(&mut rest);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn publishes_at_every_qos() {
    for version in VERSIONS {
        let broker = broker();
        let mut reader = Subscriber::start(&broker, version, &["-t", "t/#", "-q", "2"]);
        for qos in ["0", "1", "2"] {
            publish(&broker, version, &["-t", "t/x", "-q", qos, "-m", "hello"]);
            assert_eq!(
                reader.message(),
                format!("t/x {qos} 0 5 hello"),
                "{version}"
            );
        }
    }
}

#[test]
fn finds_what_was_retained() {
    for version in VERSIONS {
        let broker = broker();
        publish(
            &broker,
            version,
            &["-t", "state", "-q", "1", "-r", "-m", "on"],
        );
        let mut reader = Subscriber::start(&broker, version, &["-t", "state", "-q", "1"]);
        assert_eq!(reader.message(), "state 1 1 2 on", "{version}");
    }
}

#[test]
fn leaves_a_will() {
    for version in VERSIONS {
        let broker = broker();
        let mut reader = Subscriber::start(&broker, version, &["-t", "wills/#", "-q", "1"]);
        let will = [
            "-t",
            "x",
            "--will-topic",
            "wills/a",
            "--will-payload",
            "gone",
            "--will-qos",
            "1",
        ];
        let mut mortal = Subscriber::start(&broker, version, &will);
        mortal.process.kill().unwrap();
        assert_eq!(reader.message(), "wills/a 1 0 4 gone", "{version}");
        // SIGTERM makes mosquitto_sub say DISCONNECT: no will. With MQTT 5 it says 0x04, which keeps the will.
        Subscriber::start(&broker, version, &will).stop();
        if version == "mqttv5" {
            assert_eq!(reader.message(), "wills/a 1 0 4 gone", "{version}");
        }
        publish(
            &broker,
            version,
            &["-t", "wills/marker", "-q", "1", "-m", "last"],
        );
        assert_eq!(reader.message(), "wills/marker 1 0 4 last", "{version}");
    }
}

#[test]
fn finds_what_came_while_it_was_away() {
    for version in VERSIONS {
        let broker = broker();
        // For version 5 `-c` means a session that does not expire.
        let durable = ["-t", "t", "-q", "1", "-i", "reader", "-c"];
        Subscriber::start(&broker, version, &durable).stop();
        for text in ["one", "two", "three"] {
            publish(&broker, version, &["-t", "t", "-q", "1", "-m", text]);
        }
        let mut reader = command(&broker, "mosquitto_sub", version, &durable)
            .args(["-C", "3", "-W", "20"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        reader
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert!(reader.wait().unwrap().success());
        assert_eq!(text, "one\ntwo\nthree\n", "{version}");
    }
}

#[test]
fn shares_a_subscription() {
    for version in VERSIONS {
        let broker = broker();
        let mut members: Vec<Subscriber> = (0..2)
            .map(|_| Subscriber::start(&broker, version, &["-t", "$share/group/t", "-q", "1"]))
            .collect();
        for text in ["1", "2", "3", "4"] {
            publish(&broker, version, &["-t", "t", "-q", "1", "-m", text]);
        }
        let mut seen: Vec<String> = members
            .iter_mut()
            .flat_map(|member| [member.message(), member.message()])
            .collect();
        seen.sort();
        assert_eq!(
            seen,
            ["t 1 0 1 1", "t 1 0 1 2", "t 1 0 1 3", "t 1 0 1 4"],
            "{version}"
        );
    }
}

#[test]
fn carries_a_large_payload() {
    for version in VERSIONS {
        let broker = broker();
        let mut reader = Subscriber::start(&broker, version, &["-t", "t", "-q", "1"]);
        let mut writer = command(
            &broker,
            "mosquitto_pub",
            version,
            &["-t", "t", "-q", "1", "-s"],
        )
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
        let payload = "12345678".repeat(65536);
        writer
            .stdin
            .take()
            .unwrap()
            .write_all(payload.as_bytes())
            .unwrap();
        assert!(writer.wait().unwrap().success());
        let message = reader.message();
        assert!(
            message == format!("t 1 0 524288 {payload}"),
            "{version}: {} bytes",
            message.len()
        );
    }
}

#[test]
fn asks_and_is_answered() {
    let broker = broker();
    let mut service = Subscriber::start(&broker, "mqttv5", &["-t", "ask", "-q", "1"]);
    let asker = command(
        &broker,
        "mosquitto_rr",
        "mqttv5",
        &["-t", "ask", "-e", "answers/asker", "-m", "the time"],
    )
    .args(["-W", "20", "-q", "1"])
    .stdout(Stdio::piped())
    .spawn()
    .expect("mosquitto_rr is missing: run tests/run, which installs it");
    assert_eq!(service.message(), "ask 1 0 8 the time");
    publish(
        &broker,
        "mqttv5",
        &["-t", "answers/asker", "-q", "1", "-m", "noon"],
    );
    let output = asker.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "noon\n");
}

#[test]
fn verifies_the_server_over_tls() {
    let broker = broker();
    let ca = broker.path().join("device-ca.pem");
    let port = broker.port("tls").to_string();
    for version in VERSIONS {
        let status = Command::new("mosquitto_pub")
            .args(["-V", version, "-h", "localhost", "-p", &port, "--cafile"])
            .arg(&ca)
            .args(["-t", "t", "-q", "1", "-m", "hello"])
            .status()
            .unwrap();
        assert!(status.success(), "{version}");
    }
}
