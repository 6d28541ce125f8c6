//! A broker that serves: what can be asked of it while it does.

use super::doors::Common;
use super::listening::Listening;
use super::node::Node;
use super::start::StartError;
use crate::admission::Door;
use crate::audit::{Event, Kind, Outcome};
use crate::config::{Config, problem_at};
use crate::identity::io::BackEnds;
use crate::mqtt::ReasonCode;
use crate::problem::Problem;
use crate::router::End;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Shared by the signals, the watcher and the admin API.
#[derive(Clone)]
pub struct Running(Arc<Inner>);

struct Inner {
    node: Arc<Node>,
    config: Mutex<Arc<Config>>,
    /// Where it was read from.
    file: PathBuf,
    listening: Listening,
    addresses: ArcSwap<BTreeMap<String, SocketAddr>>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

impl Running {
    pub(super) fn new(
        node: Arc<Node>,
        (config, file): (Config, &Path),
        listening: Listening,
        addresses: BTreeMap<String, SocketAddr>,
    ) -> Self {
        let config = Mutex::new(Arc::new(config));
        Self(Arc::new(Inner {
            node,
            config,
            file: file.to_path_buf(),
            listening,
            addresses: ArcSwap::from_pointee(addresses),
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
    pub fn addresses(&self) -> Arc<BTreeMap<String, SocketAddr>> {
        self.0.addresses.load_full()
    }

    /// Where the settings were read from.
    pub(super) fn file(&self) -> &Path {
        &self.0.file
    }

    pub(super) fn doors(&self) -> BTreeMap<String, Arc<Door>> {
        self.0.listening.doors()
    }

    /// Reads the file again and puts it in force, all or nothing: policies, users, limits, certificates, listeners that were added, changed or removed. When it
    /// returns every live session was asked to judge itself again. What needs a restart is told, and then nothing changes.
    pub async fn reload(&self) -> Result<(), Vec<Problem>> {
        let (running, runtime) = (self.clone(), tokio::runtime::Handle::current());
        // On a thread of its own: whoever asked may go away, and half a reload must not be what is left; and clients need not wait while files are read and a million
        // sessions judged.
        let reloading = move || runtime.block_on(running.reload_now());
        let reloaded = tokio::task::spawn_blocking(reloading).await;
        reloaded.unwrap_or_else(|error| Err(vec![Problem::whole(&self.0.file, error.to_string())]))
    }

    async fn reload_now(&self) -> Result<(), Vec<Problem>> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let result = match Config::load(&self.0.file, std::env::vars_os()) {
            Ok(config) => self.try_reload(config).await,
            Err(problems) => Err(problems),
        };
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

    async fn try_reload(&self, config: Config) -> Result<(), Vec<Problem>> {
        let node = &self.0.node;
        self.needs_no_restart(&config)?;
        let policies = Arc::new(config.load_policies()?);
        let logins = Arc::clone(node.back_ends.load().logins());
        let back_ends =
            BackEnds::open_with(&config.authentication, &config.base, Arc::clone(&logins))?;
        let mqtt = Arc::new(config.mqtt.clone());
        let told = |error: StartError| match error.placed(&self.0.file) {
            StartError::Problems(problems) => problems,
            other @ (StartError::Bind { .. } | StartError::Audit { .. } | StartError::Store(_)) => {
                vec![Problem::whole(&self.0.file, other.to_string())]
            }
        };
        let mut bound = self.0.listening.bind(&config).map_err(told)?;
        let mut addresses = self.0.listening.addresses(&config, &bound);
        if let Some(admin) = self.addresses().get("admin") {
            addresses.insert("admin".into(), *admin);
        }
        let common = Common {
            config: &config,
            back_ends: &back_ends,
            policies: &policies,
            mqtt: &mqtt,
            addresses: &addresses,
        };
        let rules = common.all_rules()?;
        if let Some(admin) = &config.admin {
            admin
                .check_est(&config.base)
                .map_err(|problem| vec![problem])?;
        }
        let listening = &self.0.listening;
        listening
            .make_room(&config, &mut bound, node)
            .await
            .map_err(told)?;
        // Nothing can fail from here on. A certificate that ended while we ran is no reason to hold back a policy.
        super::start::warn_of_no_policy(&policies);
        for problem in config.out_of_date(SystemTime::now()) {
            tracing::error!(%problem, "a certificate that is shown to clients is out of date");
        }
        node.settings.store(mqtt);
        logins.reconfigure(&config.authentication.cookie);
        back_ends.take_over(&node.back_ends.load());
        node.back_ends.store(back_ends);
        node.limits.reconfigure(config.limits.clone());
        self.0.listening.open(&config, bound, rules, node);
        self.0.addresses.store(Arc::new(addresses));
        let registry = node.router.registry();
        let back_ends = node.back_ends.load_full();
        registry.for_each(|handle| {
            node.router
                .regroup(handle, |identity| back_ends.regrouped(identity));
        });
        node.router.replace(policies, config.mqtt.clone());
        *self.0.config.lock() = Arc::new(config);
        Ok(())
    }

    fn needs_no_restart(&self, config: &Config) -> Result<(), Vec<Problem>> {
        let running = self.config();
        let (old, new) = (fixed(&running), fixed(config));
        let settings = old.iter().zip(&new).filter(|(old, new)| old != new);
        let told = |name: &str| {
            let path: Vec<&str> = name.split('.').collect();
            let message = format!("{name}: a change of this needs a restart");
            problem_at(&self.0.file, &path, message)
        };
        let problems: Vec<Problem> = settings.map(|((name, _), _)| told(name)).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Stops accepting, tells every client (v5: 0x8B), and waits for them to go, `grace` at the most.
    pub async fn stop(&self, grace: Duration) {
        self.0.listening.stop().await;
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
        node.kept.iter().for_each(|kept| kept.write(&node.limits));
        node.audit.close(grace);
    }
}

/// What is opened once: settings that a running node cannot take over.
fn fixed(config: &Config) -> Vec<(&'static str, serde_json::Value)> {
    let admin = config.admin.as_ref();
    vec![
        ("data_dir", serde_json::json!(config.data_dir)),
        ("store", serde_json::json!(config.store)),
        ("audit", serde_json::json!(config.audit)),
        ("log", serde_json::json!(config.log)),
        (
            "mqtt.sys_interval",
            serde_json::json!(config.mqtt.sys_interval),
        ),
        (
            "admin.bind",
            serde_json::json!(admin.map(|admin| admin.bind)),
        ),
        (
            "admin.metrics_bind",
            serde_json::json!(admin.map(|admin| admin.metrics_bind)),
        ),
    ]
}

#[cfg(test)]
#[path = "running_tests.rs"]
mod tests;
