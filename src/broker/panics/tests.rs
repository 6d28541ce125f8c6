//! Panics on purpose: in a client's task, and in one that everybody needs.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::broker::{self, Running};
use crate::config::Config;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const CONFIGURATION: &str = "
node: test
data_dir: ./data
listeners: { lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous] } }
policies: [open.yaml]
store: { kind: memory }
";

const POLICY: &str = "version: 1\npolicies:\n  - { id: open, who: { any: true }, allow: [{ publish: '#' }, { subscribe: '#' }] }\n";

/// A broker in this process, and the folder it lives in.
struct Lab {
    running: Running,
    runtime: tokio::runtime::Runtime,
    folder: PathBuf,
}

impl Lab {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("wardgate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("open.yaml"), POLICY).unwrap();
        let file = folder.join("wardgate.yaml");
        let config = Config::parse(&file, CONFIGURATION, []).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let running = runtime.block_on(broker::start(config, &file)).unwrap();
        Self {
            running,
            runtime,
            folder,
        }
    }

    fn connect(&self, client_id: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.running.addresses()["lab"]).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let length = u8::try_from(client_id.len()).unwrap();
        let head = [
            0x10,
            13 + length,
            0,
            4,
            77,
            81,
            84,
            84,
            5,
            2,
            0,
            0,
            0,
            0,
            length,
        ];
        stream.write_all(&head).unwrap();
        stream.write_all(client_id.as_bytes()).unwrap();
        let connack = packet(&mut stream).unwrap();
        assert_eq!((connack[0], connack[3]), (0x20, 0));
        stream
    }

    fn audit(&self) -> String {
        let files = std::fs::read_dir(self.folder.join("data/audit")).unwrap();
        let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        texts.collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The next short packet; `None` at the end.
fn packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut packet = vec![0; 2];
    stream.read_exact(&mut packet).ok()?;
    let length = usize::from(packet[1]);
    packet.resize(2 + length, 0);
    stream.read_exact(&mut packet[2..]).unwrap();
    Some(packet)
}

fn ping(stream: &mut TcpStream) {
    stream.write_all(&[0xc0, 0]).unwrap();
    assert_eq!(packet(stream).unwrap(), [0xd0, 0]);
}

/// Often enough that each thread has had one, and lost what it lent.
const PANICS: u32 = 8;

#[test]
fn trn_15_a_panic_in_one_connection_ends_that_connection_alone() {
    let lab = Lab::start("panic");
    let mut neighbours = [lab.connect("n1"), lab.connect("n2"), lab.connect("n3")];
    for _ in 0..PANICS {
        let mut victim = lab.connect("victim");
        victim
            .write_all(b"\x30\x16\x00\x0ftripwire/canary\x00word")
            .unwrap();
        // Told that something went wrong and not what, and closed.
        assert_eq!(packet(&mut victim).unwrap()[..3], [0xe0, 1, 0x80]);
        assert_eq!(packet(&mut victim), None);
        neighbours.iter_mut().for_each(ping);
    }
    ping(&mut lab.connect("victim"));
    lab.runtime
        .block_on(lab.running.stop(Duration::from_secs(5)));
    let audit = lab.audit();
    let told = |line: &&str| line.contains("\"internal\"") && line.contains("\"victim\"");
    assert!(audit.lines().any(|line| told(&line)), "{audit}");
    assert!(!audit.contains("canary"), "{audit}");
}

#[test]
fn trn_15_what_everybody_needs_begins_anew() {
    let lab = Lab::start("panic-task");
    let begun = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&begun);
    let task = move || {
        let turn = counted.fetch_add(1, Ordering::SeqCst);
        async move { assert!(turn > 0, "the first time") }
    };
    lab.runtime.block_on(async {
        keep_running(lab.running.node(), task).await.unwrap();
    });
    assert_eq!(begun.load(Ordering::SeqCst), 2);
}
