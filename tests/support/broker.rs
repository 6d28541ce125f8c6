//! The real binary as a process of its own, in a folder of its own, gone when dropped.

use super::certificates::{Certificates, Identity};
use super::wire::{PATIENCE, Transport, Wire};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a broker is started with: `wardgate.yaml` and the files it names.
pub struct Setup {
    folder: Folder,
    yaml: String,
    environment: Vec<(String, String)>,
    pub certificates: Certificates,
}

/// One listener without TLS for anybody on this machine.
pub const LAB: &str = "
listeners:
  lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous] }
";

/// Every transport, for anybody: `tcp`, `tls`, `ws`, `wss`.
pub const EVERY_TRANSPORT: &str = "
listeners:
  tcp: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous] }
  tls: { bind: '127.0.0.1:0', transport: tcp, tls: { certificate: server.pem, private_key: server.key }, authenticate: [anonymous] }
  ws: { bind: '127.0.0.1:0', transport: websocket, authenticate: [anonymous] }
  wss: { bind: '127.0.0.1:0', transport: websocket, tls: { certificate: server.pem, private_key: server.key }, authenticate: [anonymous] }
";

/// Anybody may do anything, `$SYS` included.
pub const OPEN_POLICY: &str = "
version: 1
policies:
  - id: open
    who: { any: true }
    allow:
      - publish: '#'
      - subscribe: '#'
      - subscribe: '$SYS/#'
";

/// What every broker in the tests has in common: nothing on disk that is not in its folder, limits that tests do not meet by chance.
const COMMON: &str = "
node: test
data_dir: ./data
policies: [policies/]
store: { kind: memory }
audit: { path: data/audit }
";

/// Most tests are about something else; `STORE=embedded` runs them all over a store that keeps.
fn common() -> String {
    match std::env::var("STORE") {
        Ok(kind) => COMMON.replace("kind: memory", &format!("kind: {kind}")),
        Err(_) => COMMON.to_owned(),
    }
}

const WIDE_LIMITS: &str = "
limits:
  connections:
    global: { rate: 100000/s, burst: 100000, max: 100000 }
    per_ip: { rate: 100000/s, burst: 100000, max: 100000 }
  messages:
    per_client: { rate: 1000000/s, burst: 1000000 }
    per_user: { rate: 1000000/s, burst: 1000000 }
  bytes:
    per_client: { rate: 1GiB/s, burst: 1GiB }
  failures: { per_ip: 100000, per_user: 100000, window: 1m, ban: 15m }
";

impl Setup {
    /// `yaml` is what differs from the common part: listeners, and sections of the test's own.
    pub fn new(yaml: &str) -> Self {
        let setup = Self::bare(&format!(
            "{}{}{yaml}",
            common(),
            if yaml.contains("\nlimits:") {
                ""
            } else {
                WIDE_LIMITS
            }
        ));
        setup.file("policies/open.yaml", OPEN_POLICY)
    }

    /// Nothing but this configuration and the server's certificate.
    pub fn bare(yaml: &str) -> Self {
        let folder = Folder::new();
        let certificates = Certificates::new("Test device CA");
        if yaml.contains("tls:") {
            certificates.server().write(&folder.0, "server");
            fs::write(folder.0.join("device-ca.pem"), certificates.pem()).unwrap();
        }
        Self {
            folder,
            yaml: yaml.to_owned(),
            environment: Vec::new(),
            certificates,
        }
    }

    pub fn lab() -> Self {
        Self::new(LAB)
    }

    /// More configuration behind what is there.
    pub fn with(mut self, yaml: &str) -> Self {
        if yaml.contains("\nlimits:") {
            self.yaml = self.yaml.replace(WIDE_LIMITS, "");
        }
        self.yaml.push_str(yaml);
        self
    }

    /// The configuration with one part written otherwise.
    pub fn replacing(mut self, part: &str, by: &str) -> Self {
        assert!(self.yaml.contains(part), "{part} in {}", self.yaml);
        self.yaml = self.yaml.replace(part, by);
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Writes a file into the broker's folder.
    pub fn file(self, name: &str, text: &str) -> Self {
        write_private(&self.folder.0.join(name), text);
        self
    }

    pub fn policy(self, text: &str) -> Self {
        self.file("policies/open.yaml", text)
    }

    pub fn path(&self) -> &Path {
        &self.folder.0
    }

    pub fn start(self) -> Broker {
        Broker::start(self)
    }
}

pub struct Broker {
    child: Child,
    ports: BTreeMap<String, u16>,
    stderr: Arc<Mutex<String>>,
    setup: Setup,
}

impl Broker {
    /// The broker most tests speak to: [`LAB`].
    pub fn lab() -> Self {
        Setup::lab().start()
    }

    pub fn start(setup: Setup) -> Self {
        Self::try_start(setup).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Says how the process ended when it refuses to serve.
    pub fn try_start(setup: Setup) -> Result<Self, String> {
        let mut child = launch(&setup);
        let stderr = collect(child.stderr.take().unwrap());
        let mut broker = Self {
            child,
            ports: BTreeMap::new(),
            stderr,
            setup,
        };
        broker.await_ready()?;
        Ok(broker)
    }

    /// Kills the process and starts another on the same folder.
    pub fn restart_after_kill(&mut self) {
        self.kill();
        self.start_again();
    }

    /// SIGKILL: not a line of its code runs after this.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Another process on the same folder, after the one before has ended.
    pub fn start_again(&mut self) {
        let _ = fs::remove_file(self.setup.path().join("ports.json"));
        self.child = launch(&self.setup);
        self.stderr = collect(self.child.stderr.take().unwrap());
        self.await_ready().unwrap_or_else(|why| panic!("{why}"));
    }

    fn await_ready(&mut self) -> Result<(), String> {
        let ports = self.setup.path().join("ports.json");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.stderr().contains("wardgate ready")
                && let Ok(text) = fs::read_to_string(&ports)
                && let Ok(ports) = serde_json::from_str(&text)
            {
                self.ports = ports;
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                std::thread::sleep(Duration::from_millis(50));
                return Err(format!(
                    "the broker ended with {status}:\n{}",
                    self.stderr()
                ));
            }
            if Instant::now() >= deadline {
                return Err(format!("the broker is not ready:\n{}", self.stderr()));
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    pub fn port(&self, listener: &str) -> u16 {
        *self
            .ports
            .get(listener)
            .unwrap_or_else(|| panic!("no listener {listener} in {:?}", self.ports))
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port(listener)).into()
    }

    /// Plain bytes to this listener.
    pub fn dial(&self, listener: &str) -> Wire {
        Wire::dial(self.address(listener), &Transport::Tcp)
    }

    /// The transport that the listener's name says, in [`EVERY_TRANSPORT`].
    pub fn dial_as_named(&self, listener: &str) -> Wire {
        let transport = match listener {
            "tls" => Transport::Tls(self.setup.certificates.client(None)),
            "ws" => Transport::Ws,
            "wss" => Transport::Wss(self.setup.certificates.client(None)),
            _ => Transport::Tcp,
        };
        Wire::dial(self.address(listener), &transport)
    }

    pub fn certificates(&self) -> &Certificates {
        &self.setup.certificates
    }

    pub fn device(&self, common_name: &str) -> Identity {
        self.setup.certificates.device(common_name)
    }

    pub fn path(&self) -> &Path {
        self.setup.path()
    }

    /// All it has said so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Every line of the audit log, parsed.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.path().join("data/audit"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        files.sort();
        files
            .iter()
            .flat_map(|file| {
                let text = fs::read_to_string(file).unwrap_or_default();
                text.lines()
                    .filter_map(|line| serde_json::from_str(line).ok())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Waits until a line of the audit log satisfies `wanted`.
    pub fn await_audit(
        &self,
        what: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.audit();
            if let Some(line) = lines.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            assert!(
                Instant::now() < deadline,
                "no audit line about {what} in {lines:#?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the process to end by itself.
    pub fn await_end(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the broker does not end:\n{}",
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the process has used of the processor so far.
    pub fn processor_time(&self) -> Duration {
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        TICK * ticks.map(|ticks| ticks.parse::<u32>().unwrap()).sum()
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the broker said:\n{}", self.stderr());
        }
    }
}

/// From the folder above, with a relative path: whatever the configuration names is beside it all the same.
fn launch(setup: &Setup) -> Child {
    let (above, name) = (setup.path().parent(), setup.path().file_name());
    let config = Path::new(name.unwrap()).join("wardgate.yaml");
    fs::write(setup.path().join("wardgate.yaml"), &setup.yaml).unwrap();
    wardgate()
        .args(["serve", "--config"])
        .arg(config)
        .arg("--port-file")
        .arg(setup.path().join("ports.json"))
        .envs(setup.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(above.unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The program under test.
pub fn wardgate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wardgate"))
}

fn collect(stderr: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let said = Arc::new(Mutex::new(String::new()));
    let writer = Arc::clone(&said);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut said = writer.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
    said
}

/// A folder of this test's own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("wardgate-test-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("policies")).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn write_private(path: &Path, text: &str) {
    use std::io::Write;
    let _ = fs::remove_file(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).unwrap();
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
