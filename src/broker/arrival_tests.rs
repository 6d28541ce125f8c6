//! What changes while somebody is let in holds for him too.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::broker::{self, Running};
use crate::config::Config;
use crate::identity::password_hash::hash;
use crate::identity::{Identity, Method};
use crate::limits::BanSubject;
use crate::mqtt::{QoS, TopicLimits, TopicName, Will};
use crate::router::Departure;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};

const CONFIGURATION: &str = "
node: test
data_dir: ./data
listeners: { lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [password] } }
authentication: { password: { file: users.yaml, hashing: { timeout: 1m } } }
policies: [open.yaml]
store: { kind: memory }
limits: { connections: { handshakes: { timeout: 5m } } }
";

const POLICY: &str =
    "version: 1\npolicies:\n  - { id: open, who: { any: true }, allow: [{ publish: '#' }] }\n";

fn write_users(folder: &Path, group: &str) {
    let hash = hash(b"secret", &[7; 16]).unwrap();
    let users = format!("users:\n  alice: {{ hash: \"{hash}\", groups: [{group}] }}\n");
    std::fs::write(folder.join("users.yaml"), users).unwrap();
}

fn folder() -> PathBuf {
    let name = format!("wardgate-arrival-{:032x}", rand::random::<u128>());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("open.yaml"), POLICY).unwrap();
    folder
}

/// A broker in this process.
struct Lab {
    running: Running,
    runtime: tokio::runtime::Runtime,
    folder: PathBuf,
}

impl Lab {
    fn start() -> Self {
        let folder = folder();
        write_users(&folder, "staff");
        let file = folder.join("wardgate.yaml");
        std::fs::write(&file, CONFIGURATION).unwrap();
        let config = Config::load(&file, []).unwrap();
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

    /// A CONNECT of alice's `phone` that waits for the earlier connection to go, which was proved with what held until now.
    fn connect_and_wait(&self, flags: u8) -> TcpStream {
        let mut phone = TcpStream::connect(self.running.addresses()["lab"]).unwrap();
        phone
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        let mut connect =
            b"\x10\x21\0\x04MQTT\x05\xc0\0\0\0\0\x05phone\0\x05alice\0\x06secret".to_vec();
        connect[9] |= flags;
        phone.write_all(&connect).unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.running.node().metrics.takeovers.value() == 0 {
            assert!(Instant::now() < deadline, "the login did not come so far");
            std::thread::sleep(Duration::from_millis(5));
        }
        phone
    }

    fn stop(self) {
        self.runtime
            .block_on(self.running.stop(Duration::from_secs(30)));
        std::fs::remove_dir_all(self.folder).unwrap();
    }
}

/// An earlier connection of alice's `phone`, which the test alone can end.
fn earlier(running: &Running) -> Arc<SessionHandle> {
    let router = &running.node().router;
    let rights = router.rights(&Arc::new(Subject {
        identity: Identity::new(Method::PASSWORD, "password".into(), "alice".into()),
        client_id: "phone".into(),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        listener: "lab".into(),
        protocol: "mqtt",
    }));
    match router.claim(&rights, false, 0, Instant::now()) {
        Claim::New(handle) => Some(handle),
        Claim::Resumed(..) | Claim::Wait(_) | Claim::Refused(_) => None,
    }
    .unwrap()
}

const CLEAN_START: u8 = 2;

#[test]
fn idn_11_groups_that_change_during_a_login_are_those_of_the_session() {
    let lab = Lab::start();
    let (node, before) = (Arc::clone(lab.running.node()), earlier(&lab.running));
    let mut phone = lab.connect_and_wait(CLEAN_START);
    write_users(&lab.folder, "visitors");
    lab.runtime.block_on(lab.running.reload()).unwrap();
    let departure = Departure {
        parked: Parked::default(),
        session_expiry_interval: 0,
        will: None,
    };
    node.router.depart(&before, departure, Instant::now());
    let mut connack = [0; 4];
    phone.read_exact(&mut connack).unwrap();
    assert_eq!((connack[0], connack[3]), (0x20, 0));
    let handle = node.router.registry().find("phone").unwrap();
    assert_eq!(
        handle.rights().subject().identity.groups,
        [Arc::from("visitors")]
    );
    lab.stop();
}

#[test]
fn ses_02_a_login_refused_at_the_last_moment_takes_nothing_from_the_session() {
    for clean_start in [0, CLEAN_START] {
        let lab = Lab::start();
        let (node, before) = (Arc::clone(lab.running.node()), earlier(&lab.running));
        let mut phone = lab.connect_and_wait(clean_start);
        let ban = (
            BanSubject::Username("alice".into()),
            ("abuse".to_owned(), "an operator".to_owned()),
        );
        let now = Instant::now();
        node.limits
            .ban(ban.0, None, ban.1, now, SystemTime::now())
            .unwrap();
        let topic = TopicName::new(Text::try_from("gone").unwrap(), TopicLimits::default());
        let will = Will {
            qos: QoS::AtMostOnce,
            retain: false,
            topic: topic.unwrap(),
            payload: b"x"[..].into(),
            will_delay_interval: Some(100),
            properties: None,
        };
        let departure = Departure {
            parked: Parked::default(),
            session_expiry_interval: 1000,
            will: Some(will),
        };
        node.router.depart(&before, departure, now);
        let mut connack = [0; 4];
        phone.read_exact(&mut connack).unwrap();
        assert_eq!((connack[0], connack[3]), (0x20, 0x8a), "banned");
        let handle = node.router.registry().find("phone").unwrap();
        assert_eq!(handle.id(), before.id());
        let wills = || node.counters().wills_sent.value();
        assert_eq!(wills(), 0, "it waits on");
        node.router.handle_timeout(now + Duration::from_secs(101));
        assert_eq!(wills(), 1, "it comes when it is due");
        node.router.handle_timeout(now + Duration::from_secs(1001));
        assert!(
            node.router.registry().find("phone").is_none(),
            "in its time"
        );
        lab.stop();
    }
}
