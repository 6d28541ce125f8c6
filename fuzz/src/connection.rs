//! A whole connection: bytes in, with admission, session and router behind them. Whatever a client says, the broker ends it in time and serves the others.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use wardgate::broker;
use wardgate::config::Config;

/// Longer than any answer takes, even on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(600);

const CONFIGURATION: &str = "
node: fuzz
data_dir: ./data
listeners: { lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous] } }
policies: [open.yaml]
store: { kind: memory }
audit: { max_size: 1MiB, on_failure: continue }
limits:
  connections:
    global: { rate: 1000000/s, burst: 1000000, max: 1000 }
    per_ip: { rate: 1000000/s, burst: 1000000, max: 1000 }
  failures: { per_ip: 1000000, per_user: 1000000, window: 1m, ban: 15m }
  state: { sessions: 500, sessions_per_user: 500, retained: { messages: 200, bytes: 1MiB, per_user: 200 } }
";

const POLICY: &str = "
version: 1
policies:
  - { id: open, who: { any: true }, allow: [{ publish: '#' }, { subscribe: '#' }], deny: [{ publish: 'denied/#' }, { subscribe: 'a/+/denied' }] }
";

const CONNECT_V3: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01f";
const CONNECT_V5: &[u8] = b"\x10\x13\x00\x04MQTT\x05\x02\x00\x3c\x05\x11\x00\x00\x00\x05\x00\x01f";
/// A session that waits for the next of its kind, with a small window.
const CONNECT_V5_RESUME: &[u8] =
    b"\x10\x16\x00\x04MQTT\x05\x00\x00\x3c\x08\x11\x00\x00\x00\x3c\x21\x00\x02\x00\x01r";

/// The first byte chooses which CONNECT goes before the others, if any.
pub fn check(bytes: &[u8]) {
    let Some((choice, said)) = bytes.split_first() else {
        return;
    };
    let connect: &[u8] = match choice % 4 {
        0 => b"",
        1 => CONNECT_V3,
        2 => CONNECT_V5,
        _ => CONNECT_V5_RESUME,
    };
    let address = broker();
    let mut stream = dial(address);
    // The broker may hang up before everything is said; then the rest is not for it.
    let _ = stream.write_all(&[connect, said].concat());
    let _ = stream.shutdown(Shutdown::Write);
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "not ended");
    }
    witness(address);
}

/// Another client, connected all the time under a name that nobody can guess: its messages are routed and acknowledged, its connection lives.
fn witness(address: SocketAddr) {
    static WITNESS: Mutex<Option<TcpStream>> = Mutex::new(None);
    let mut witness = WITNESS.lock().unwrap_or_else(PoisonError::into_inner);
    let stream = witness.get_or_insert_with(|| {
        let mut stream = dial(address);
        let connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
        assert_eq!(ask(&mut stream, connect), [0x20, 2, 0, 0], "CONNACK");
        stream
    });
    let publish = b"\x32\x05\x00\x01w\x00\x01";
    assert_eq!(ask(stream, publish), [0x40, 2, 0, 1], "PUBACK");
}

fn ask(stream: &mut TcpStream, packet: &[u8]) -> [u8; 4] {
    let mut answer = [0; 4];
    stream.write_all(packet).expect("the witness lives");
    stream.read_exact(&mut answer).expect("the witness lives");
    answer
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the broker accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// One broker for the whole run, in this process: a panic in any of its tasks ends the fuzzer, and is a finding.
fn broker() -> SocketAddr {
    static BROKER: OnceLock<(tokio::runtime::Runtime, SocketAddr)> = OnceLock::new();
    BROKER
        .get_or_init(|| {
            let (config, file) = configuration();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            let running = runtime
                .block_on(broker::start(config, &file))
                .unwrap_or_else(|error| panic!("{error}"));
            let address = *running.addresses().get("lab").expect("the listener");
            (runtime, address)
        })
        .1
}

fn configuration() -> (Config, PathBuf) {
    let folder = std::env::temp_dir().join(format!("wardgate-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("open.yaml"), POLICY).expect("a policy");
    let file = folder.join("wardgate.yaml");
    fs::write(&file, CONFIGURATION).expect("a configuration");
    let config =
        Config::parse(&file, CONFIGURATION, []).unwrap_or_else(|problems| panic!("{problems:?}"));
    (config, file)
}
