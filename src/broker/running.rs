//! A broker that serves: what can be asked of it while it does.

use super::doors::Common;
use super::node::Node;
use crate::admission::Door;
use crate::audit::{Event, Kind, Outcome};
use crate::config::Config;
use crate::identity::io::BackEnds;
use crate::mqtt::ReasonCode;
use crate::problem::Problem;
use crate::router::End;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Shared by the signals, the watcher and the admin API.
#[derive(Clone)]
pub struct Running(Arc<Inner>);

struct Inner {
    node: Arc<Node>,
    config: Mutex<Arc<Config>>,
    /// Where it was read from.
    file: PathBuf,
    doors: BTreeMap<String, Arc<Door>>,
    addresses: BTreeMap<String, SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

impl Running {
    pub(super) fn new(
        node: Arc<Node>,
        (config, file): (Config, &Path),
        doors: BTreeMap<String, Arc<Door>>,
        addresses: BTreeMap<String, SocketAddr>,
        stop: watch::Sender<bool>,
        tasks: Vec<JoinHandle<()>>,
    ) -> Self {
        let config = Mutex::new(Arc::new(config));
        Self(Arc::new(Inner {
            node,
            config,
            file: file.to_path_buf(),
            doors,
            addresses,
            stop,
            tasks: Mutex::new(tasks),
            reloading: tokio::sync::Mutex::new(()),
        }))
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.0.config.lock())
    }

    /// Where each listener really listens.
    pub fn addresses(&self) -> &BTreeMap<String, SocketAddr> {
        &self.0.addresses
    }

    pub(super) fn doors(&self) -> &BTreeMap<String, Arc<Door>> {
        &self.0.doors
    }

    /// Puts a new configuration in force, all or nothing: policies, users, limits, certificates. When it returns every live session was asked to judge itself
    /// again. Listeners that were added, moved or removed need a restart, and that is said.
    pub async fn reload(&self, config: Config) -> Result<(), Vec<Problem>> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let result = self.try_reload(config);
        let node = &self.0.node;
        let (outcome, reason) = match &result {
            Ok(()) => (Outcome::Permitted, String::from("reloaded")),
            Err(problems) => (
                Outcome::Failed,
                problems
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ),
        };
        node.record(Event {
            kind: Kind::Reload,
            outcome,
            reason,
            ..Event::default()
        });
        match &result {
            Ok(()) => node.metrics.reloads.add(1),
            Err(_) => node.metrics.reloads_failed.add(1),
        }
        result
    }

    /// Reads the file again and puts it in force.
    pub async fn reload_file(&self) -> Result<(), Vec<Problem>> {
        let config = Config::load(&self.0.file, std::env::vars_os())?;
        self.reload(config).await
    }

    fn try_reload(&self, config: Config) -> Result<(), Vec<Problem>> {
        let node = &self.0.node;
        self.same_listeners(&config)?;
        let policies = Arc::new(config.load_policies()?);
        let logins = Arc::clone(node.back_ends.load().logins());
        let back_ends =
            BackEnds::open_with(&config.authentication, &config.base, Arc::clone(&logins))?;
        let mqtt = Arc::new(config.mqtt.clone());
        let common = Common {
            config: &config,
            back_ends: &back_ends,
            policies: &policies,
            mqtt: &mqtt,
            addresses: &self.0.addresses,
        };
        let mut rules = common.all_rules()?;
        // Nothing can fail from here on.
        node.settings.store(mqtt);
        logins.reconfigure(&config.authentication.cookie);
        node.back_ends.store(back_ends);
        node.limits.reconfigure(config.limits.clone());
        for (name, door) in &self.0.doors {
            if let Some(rules) = rules.remove(name) {
                door.rules.store(Arc::new(rules));
            }
        }
        node.router.replace(policies, config.mqtt.clone());
        *self.0.config.lock() = Arc::new(config);
        Ok(())
    }

    fn same_listeners(&self, config: &Config) -> Result<(), Vec<Problem>> {
        let running = self.config();
        let moved = |name: &String| {
            let (old, new) = (running.listeners.get(name), config.listeners.get(name));
            match (old, new) {
                (Some(old), Some(new)) => old.bind != new.bind || old.transport != new.transport,
                _ => true,
            }
        };
        let names = running.listeners.keys().chain(config.listeners.keys());
        let problems: Vec<Problem> = names
            .filter(|name| moved(name))
            .map(|name| Problem::whole(&config.base, format!("listeners.{name}: a listener that is added, removed or moved needs a restart")))
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Stops accepting, tells every client (v5: 0x8B), and waits for them to go, `grace` at the most.
    pub async fn stop(&self, grace: Duration) {
        let _ = self.0.stop.send(true);
        let tasks = std::mem::take(&mut *self.0.tasks.lock());
        for task in tasks {
            let _ = task.await;
        }
        let node = &self.0.node;
        let end = End {
            reason_code: ReasonCode::ServerShuttingDown,
            reason: "the server is shutting down".into(),
        };
        let deadline = Instant::now() + grace;
        while node.counters().connected.value() > 0 && Instant::now() < deadline {
            node.router
                .registry()
                .for_each(|handle| handle.end(end.clone()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        node.router.store().close();
        node.audit.close(grace);
    }
}
