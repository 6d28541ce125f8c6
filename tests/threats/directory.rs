//! A real directory behind a real broker: what changes there reaches those who are in.

use super::support::wire::PATIENCE;
use super::support::{Broker, Setup, Transport, Wire};
use super::{add_user, login};
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[path = "../../src/identity/io/directory/slapd.rs"]
mod slapd;

const POLICY: &str = "
version: 1
policies:
  - id: staff
    who: { auth: ldap, group: staff }
    allow: [{ subscribe: 'staff/#' }]
";

fn setup(slapd: &slapd::Slapd) -> Setup {
    let section = format!(
        "
listeners: {{ lab: {{ bind: '127.0.0.1:0', transport: tcp, authenticate: [ldap] }} }}
authentication:
  ldap:
    url: 'ldaps://localhost:{}'
    ca: '{}'
    mode: search_bind
    search: {{ base: 'dc=example,dc=org', filter: '(&(objectClass=person)(uid={{username}}))', bind_dn: 'cn=finder,dc=example,dc=org', bind_password: finder-secret }}
    groups: {{ base: 'ou=groups,dc=example,dc=org', filter: '(member={{dn}})' }}
    cache: 1s
",
        slapd.tls,
        slapd.folder.join("ca.pem").display()
    );
    Setup::new(&section).policy(POLICY)
}

#[tokio::test]
async fn idn_11_who_leaves_the_directory_or_a_group_loses_what_it_gave() {
    let mut slapd = slapd::Slapd::start().await;
    let broker = setup(&slapd).start();
    let mut alice = broker.dial("lab");
    login(&mut alice, "desk", true, "Alice", "secret");
    alice.expect_connack(0);
    alice.send("82 .. 0001 00 s'staff/news' 00");
    alice.expect("90 .. 0001 00 00");
    let mut bob = broker.dial("lab");
    login(&mut bob, "phone", true, "bob", "bob-secret");
    bob.expect_connack(0);
    slapd.modify(
        "dn: cn=staff,ou=groups,dc=example,dc=org\nchangetype: modify\ndelete: member\nmember: uid=Alice,ou=people,dc=example,dc=org\n",
    );
    await_withdrawn(&mut alice);
    slapd.modify("dn: uid=Alice,ou=people,dc=example,dc=org\nchangetype: delete\n");
    alice.expect_then_closed("e0 .. 87 *");
    // A directory that does not answer puts nobody out.
    slapd.stop();
    std::thread::sleep(Duration::from_millis(2500));
    bob.expect_quiet();
    slapd.resume().await;
    bob.expect_quiet();
}

/// Asks for the subscription again until it is refused.
fn await_withdrawn(wire: &mut Wire) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        wire.send("82 .. 0002 00 s'staff/news' 00");
        let answer = wire.expect("90 .. 0002 00 ??");
        if answer.last() == Some(&0x87) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the group is gone and its rights are not"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Names of the file first, then those of the directory; and a listener for certificates beside it.
fn beside_others(slapd: &slapd::Slapd) -> Broker {
    let section = format!(
        "
listeners:
  lab: {{ bind: '127.0.0.1:0', transport: tcp, authenticate: [password, ldap] }}
  mqtts:
    bind: '127.0.0.1:0'
    transport: tcp
    tls: {{ certificate: server.pem, private_key: server.key, client_auth: required, client_ca: [device-ca.pem] }}
    authenticate: [certificate]
authentication:
  password: {{ file: users.yaml }}
  ldap:
    url: 'ldap://127.0.0.1:{}'
    starttls: false
    mode: search_bind
    search: {{ base: 'dc=example,dc=org', filter: '(&(objectClass=person)(uid={{username}}))', bind_dn: 'cn=finder,dc=example,dc=org', bind_password: finder-secret }}
    timeout: 3s
    cache: 0s
",
        slapd.plain
    );
    let setup = Setup::new(&section);
    add_user(setup.path(), "local", "right");
    setup.start()
}

/// CONNECT of somebody whom only the directory knows; the answer may take its time.
fn ask_directory(broker: &Broker, id: &str) -> Wire {
    let mut wire = broker.dial("lab");
    wire.name = id.to_owned();
    login(&mut wire, id, true, "Alice", "secret");
    wire
}

/// Whoever needs no directory is let in, whatever it does.
fn others_come_in(broker: &Broker) {
    let device = broker.certificates().client(Some(&broker.device("pump")));
    let mut pump = Wire::dial(broker.address("mqtts"), &Transport::Tls(device));
    super::connect(&mut pump, "pump");
    let mut local = broker.dial("lab");
    login(&mut local, "local", true, "local", "right");
    local.expect_connack(0);
}

/// Refused with what a client may know, and with the cause where the operator looks.
fn is_refused(broker: &Broker, wire: &mut Wire, id: &str, causes: &[&str]) {
    wire.expect_then_closed("20 .. 00 88 *");
    let line = broker.await_audit(id, |line| {
        line["event"] == "authenticate" && line["client_id"] == id
    });
    assert_eq!(
        (&line["outcome"], &line["username"]),
        (&"refused".into(), &"Alice".into())
    );
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.starts_with("ldap could not answer: "), "{line}");
    assert!(causes.iter().any(|cause| reason.contains(cause)), "{line}");
}

/// Without a word to the broker.
fn comes_back(broker: &Broker, id: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut wire = ask_directory(broker, id);
        let connack = wire.receive().unwrap_or_default();
        if connack.get(3) == Some(&0) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the directory is back, and {connack:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn signal(slapd: &slapd::Slapd, name: &str) {
    let pid = std::fs::read_to_string(slapd.folder.join("pid")).unwrap();
    let status = Command::new("kill").args([name, pid.trim()]).status();
    assert!(status.unwrap().success());
}

/// In the directory's place: whoever connects is told `bytes`, and hears nothing more.
struct Impostor {
    port: u16,
    stopped: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Impostor {
    fn at(port: u16, bytes: &'static [u8]) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", port)) {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < deadline, "{port}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let stopped = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            let mut held = Vec::new();
            while let Ok((mut socket, _)) = listener.accept() {
                if asked.load(Ordering::SeqCst) {
                    return;
                }
                let _ = socket.write_all(bytes);
                held.push(socket);
            }
        });
        Self {
            port,
            stopped,
            thread: Some(thread),
        }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[tokio::test]
async fn idn_01_a_directory_that_is_stopped_slow_or_mad_refuses_its_own_and_nobody_else() {
    let mut slapd = slapd::Slapd::start().await;
    let broker = beside_others(&slapd);
    comes_back(&broker, "before");
    others_come_in(&broker);
    // Slow: it takes connections and says nothing. More logins than the pool has places wait; the others do not.
    signal(&slapd, "-STOP");
    let waiting: Vec<_> = (0..20)
        .map(|number| {
            let id = format!("slow-{number}");
            (ask_directory(&broker, &id), id)
        })
        .collect();
    others_come_in(&broker);
    let causes = ["in time", "timed out", "no answer", "busy"];
    for (mut wire, id) in waiting {
        is_refused(&broker, &mut wire, &id, &causes);
    }
    signal(&slapd, "-CONT");
    comes_back(&broker, "after-slow");
    // Gone: nobody listens.
    slapd.stop();
    let mut wire = ask_directory(&broker, "gone");
    others_come_in(&broker);
    is_refused(&broker, &mut wire, "gone", &["onnection"]);
    // Mad: somebody listens, and it is no directory.
    let rows: [(&str, &'static [u8]); 5] = [
        ("http", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("noise", &[0xff; 300]),
        ("huge", b"\x30\x84\xff\xff\xff\xff"),
        ("empty", b"\x30\x00"),
        // A bind that succeeded, for a question that nobody asked.
        (
            "success",
            b"\x30\x0c\x02\x01\x63\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
        ),
    ];
    for (id, bytes) in rows {
        let _impostor = Impostor::at(slapd.plain, bytes);
        let mut wire = ask_directory(&broker, id);
        others_come_in(&broker);
        is_refused(&broker, &mut wire, id, &["in time", "is not LDAP"]);
    }
    slapd.resume().await;
    comes_back(&broker, "after-all");
    others_come_in(&broker);
}
