//! A client of another project as a process that takes commands and tells events, one line of JSON each.

use super::Way;
use super::support::Broker;
use super::support::wire::PATIENCE;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

#[derive(Clone, Copy)]
pub enum Kind {
    Paho,
    MqttJs,
}

pub struct Client {
    process: Child,
    commands: ChildStdin,
    events: Receiver<Value>,
    /// Came while another event was awaited.
    early: VecDeque<Value>,
    name: String,
}

impl Client {
    /// Connects with a session of its own.
    pub fn start(broker: &Broker, way: Way, id: &str, options: &Value) -> Self {
        Self::connect(broker, way, id, options, false)
    }

    /// Comes back to its session.
    pub fn resume(broker: &Broker, way: Way, id: &str, options: &Value) -> Self {
        Self::connect(broker, way, id, options, true)
    }

    fn connect(broker: &Broker, way: Way, id: &str, options: &Value, resumes: bool) -> Self {
        let mut process = way
            .kind
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, events) = sync_channel(1000);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut client = Self {
            process,
            commands,
            events,
            early: VecDeque::new(),
            name: id.to_owned(),
        };
        let mut hello = json!({
            "id": id,
            "version": way.version,
            "port": broker.port(way.listener),
            "scheme": match way.listener { "tcp" => "mqtt", "tls" => "mqtts", other => other },
            "transport": if way.listener.starts_with('w') { "websockets" } else { "tcp" },
        });
        if matches!(way.listener, "tls" | "wss") {
            hello["ca"] = json!(broker.path().join("device-ca.pem"));
        }
        for (key, value) in options.as_object().unwrap() {
            hello[key] = value.clone();
        }
        client.command(&hello);
        let connected = client.event("connected");
        assert_eq!(connected["code"], 0, "{id}: {connected}");
        assert_eq!(connected["session_present"], resumes, "{id}: {connected}");
        client
    }

    pub fn command(&mut self, command: &Value) {
        writeln!(self.commands, "{command}").unwrap();
        self.commands.flush().unwrap();
    }

    /// The next event of this name; others are kept for later.
    pub fn event(&mut self, name: &str) -> Value {
        if let Some(at) = self.early.iter().position(|event| event["event"] == name) {
            return self.early.remove(at).unwrap();
        }
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                panic!("{}: no event {name}; early: {:?}", self.name, self.early)
            });
            assert_ne!(event["event"], "error", "{}: {event}", self.name);
            if event["event"] == name {
                return event;
            }
            self.early.push_back(event);
        }
    }

    pub fn subscribe(&mut self, topic: &str, qos: u8) {
        self.command(&json!({ "do": "subscribe", "topic": topic, "qos": qos }));
        assert_eq!(
            self.event("subscribed")["codes"],
            json!([qos]),
            "{}",
            self.name
        );
    }

    /// Publishes and waits until the library says that it is done.
    pub fn publish(&mut self, message: &Value) {
        let mut command = message.clone();
        command["do"] = json!("publish");
        self.command(&command);
        self.event("published");
    }

    pub fn message(&mut self) -> Value {
        self.event("message")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Kind {
    fn command(self) -> Command {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let (program, script, installed): (PathBuf, _, _) = match self {
            Self::Paho => (
                tests.join(".venv/bin/python"),
                "clients/paho_client.py",
                tests.join(".venv/bin/python"),
            ),
            Self::MqttJs => (
                "node".into(),
                "clients/mqttjs.js",
                tests.join("node_modules/mqtt"),
            ),
        };
        assert!(
            installed.exists(),
            "{} is missing: run tests/run, which installs it",
            installed.display()
        );
        let mut command = Command::new(program);
        command.arg(tests.join(script)).current_dir(tests);
        command
    }
}
