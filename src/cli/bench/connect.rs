//! A storm of connections: each dials, secures, connects and leaves.

use super::super::client_arguments::Failure;
use super::Common;
use super::histogram::Histogram;
use super::process::cpu_time;
use super::report::Report;
use super::rig::numbered;
use crate::client::io::{Connection, Stream, dial};
use crate::client::{Client, Options};
use crate::mqtt::ReasonCode;
use bytes::Bytes;
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Connections per second, and the broker's CPU time for each up to CONNACK
///
/// Example: wardgate bench connect --url mqtts://localhost:8883 --ca ca.pem --cert dev.pem --key dev.key --connections 10000 --concurrency 50
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// Connections under way at once
    #[arg(long, default_value_t = 50)]
    concurrency: u32,
    /// Resume TLS sessions; without it every handshake is a full one
    #[arg(long)]
    resume: bool,
}

pub(super) async fn measure(arguments: Arguments) -> Result<Report, Failure> {
    let broker = arguments.common.broker_pid.map(|pid| pid.to_string());
    let password = arguments.common.client.password()?;
    let storm = Rc::new(Storm {
        common: arguments.common.clone(),
        password,
        left: Cell::new(0),
        number: Cell::new(0),
        done: Cell::new(0),
        resumed: Cell::new(0),
        times: RefCell::new(Histogram::new()),
        first_failure: RefCell::new(None),
        failed: Cell::new(0),
    });
    let concurrency = arguments.concurrency.max(1);
    let mut workers = Vec::new();
    for _ in 0..concurrency {
        workers.push(storm.tls(arguments.resume)?);
    }
    // One each for a ticket, and for the broker to warm up.
    storm.run(&workers, concurrency).await;
    storm.forget();
    let before = broker.as_deref().map(cpu_time).transpose()?;
    let start = Instant::now();
    storm.run(&workers, arguments.connections).await;
    let seconds = start.elapsed().as_secs_f64();
    // What the broker does after the last goodbye belongs to the connection as well.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let after = broker.as_deref().map(cpu_time).transpose()?;

    let done = storm.done.get();
    let mut report = Report::default();
    report.add("connections", done);
    report.add("failed", storm.failed.get());
    if let Some(failure) = storm.first_failure.borrow().as_ref() {
        report.add("first_failure", failure.as_str());
    }
    report.add("resumed", storm.resumed.get());
    report.add_rounded("connections_per_second", f64::from(done) / seconds);
    let times = storm.times.borrow();
    report.add_rounded("p50_ms", times.per_mille(500) as f64 / 1e6);
    report.add_rounded("p99_ms", times.per_mille(990) as f64 / 1e6);
    if let (Some(after), Some(before)) = (after, before) {
        let each = (after - before).as_secs_f64() * 1e3 / f64::from(done.max(1));
        report.add(
            "broker_ms_per_connection",
            (each * 10_000.0).round() / 10_000.0,
        );
    }
    Ok(report)
}

struct Storm {
    common: Common,
    password: Option<Bytes>,
    left: Cell<u32>,
    number: Cell<usize>,
    done: Cell<u32>,
    resumed: Cell<u32>,
    times: RefCell<Histogram>,
    first_failure: RefCell<Option<String>>,
    failed: Cell<u32>,
}

impl Storm {
    /// Each worker has its own tickets: a ticket is good for one connection.
    fn tls(&self, resume: bool) -> Result<Option<Arc<ClientConfig>>, Failure> {
        if !self.common.client.url.scheme.is_secure() {
            return Ok(None);
        }
        let config = self.common.client.tls_files().build()?;
        let mut config = ClientConfig::clone(&config);
        config.resumption = match resume {
            true => Resumption::in_memory_sessions(8),
            false => Resumption::disabled(),
        };
        Ok(Some(Arc::new(config)))
    }

    fn forget(&self) {
        self.done.set(0);
        self.resumed.set(0);
        *self.times.borrow_mut() = Histogram::new();
    }

    async fn run(self: &Rc<Self>, workers: &[Option<Arc<ClientConfig>>], connections: u32) {
        self.left.set(connections);
        let mut tasks = JoinSet::new();
        for tls in workers {
            let (storm, tls) = (Rc::clone(self), tls.clone());
            tasks.spawn_local(async move { storm.work(tls).await });
        }
        tasks.join_all().await;
    }

    async fn work(&self, tls: Option<Arc<ClientConfig>>) {
        while let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            let start = Instant::now();
            match self.once(tls.as_ref()).await {
                Ok(resumed) => {
                    self.done.set(self.done.get() + 1);
                    self.resumed.set(self.resumed.get() + u32::from(resumed));
                    let time = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    self.times.borrow_mut().record(time);
                }
                Err(failure) => {
                    self.failed.set(self.failed.get() + 1);
                    self.first_failure
                        .borrow_mut()
                        .get_or_insert(failure.to_string());
                }
            }
        }
    }

    /// Connects and leaves; tells if TLS was resumed.
    async fn once(&self, tls: Option<&Arc<ClientConfig>>) -> Result<bool, Failure> {
        let number = self.number.get();
        self.number.set(number + 1);
        let client = &self.common.client;
        let mut connect = client.connect(self.password.clone());
        connect.client_identifier = numbered(&client.client_id, "c", number)?;
        let stream = dial(&client.url, tls).await?;
        let resumed = handshake(&stream) == Some(HandshakeKind::Resumed);
        let client = Client::new(connect, Options::default(), Instant::now());
        let (mut connection, _) = Connection::open(client, stream).await?;
        connection.client().disconnect(ReasonCode::Success);
        connection.flush().await?;
        Ok(resumed)
    }
}

fn handshake(stream: &Stream) -> Option<HandshakeKind> {
    match stream {
        Stream::Tls(stream) => stream.get_ref().1.handshake_kind(),
        Stream::Tcp(_) | Stream::WebSocket(_) | Stream::SecureWebSocket(_) => None,
    }
}
