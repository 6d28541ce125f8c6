//! From a configuration to a broker that serves, all or nothing.

use super::bans;
use super::directory_watch;
use super::doors::Common;
use super::good_logins;
use super::kept::keep;
use super::listening::Listening;
use super::node::Node;
use super::office::Office;
use super::panics::keep_running;
use super::pulse;
use super::rules_watch;
use super::running::Running;
use super::sys;
use super::watch as file_watch;
use crate::admin::Denials;
use crate::admission::Rules;
use crate::config::{Config, NO_POLICY, problem_at};
use crate::identity::io::BackEnds;
use crate::identity::io::logins::Logins;
use crate::policy::Policies;
use crate::problem::Problem;
use crate::router::{Restored, Router, Store};
use crate::store::{self, Embedded};
use crate::telemetry::{AuditLog, Metrics};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{}", join(.0))]
    Problems(Vec<Problem>),
    #[error("listener {name}: cannot listen on {address}: {source}")]
    Bind {
        name: String,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("{}: the audit log cannot be opened: {source}", path.display())]
    Audit {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Store(#[source] store::OpenError),
}

impl StartError {
    pub(super) fn is_address_in_use(&self) -> bool {
        matches!(self, Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }

    /// An address that cannot be had is told where `file` names it.
    pub(super) fn placed(self, file: &Path) -> Self {
        let path = match &self {
            Self::Problems(_) | Self::Audit { .. } | Self::Store(_) => return self,
            Self::Bind { name, .. } if name == "admin" => vec!["admin", "bind"],
            Self::Bind { name, .. } if name == "admin.metrics" => vec!["admin", "metrics_bind"],
            Self::Bind { name, .. } => vec!["listeners", name, "bind"],
        };
        Self::Problems(vec![problem_at(file, &path, self.to_string())])
    }
}

fn join(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Starts everything that the configuration names. Returns when every listener accepts.
pub async fn start(config: Config, file: &Path) -> Result<Running, StartError> {
    // Before anything is read: what changes meanwhile is noticed.
    let stamps = rules_watch::stamps(&config, file);
    let trusted = file_watch::stamps(&config);
    let out_of_date = config.out_of_date(SystemTime::now());
    if !out_of_date.is_empty() {
        return Err(StartError::Problems(out_of_date));
    }
    let node = Arc::new(node(&config)?);
    let listening = Listening::new();
    let placed = |error: StartError| error.placed(file);
    let bound = listening.bind(&config).map_err(placed)?;
    let office = Office::prepare(&config).map_err(placed)?;
    let mut addresses = listening.addresses(&config, &bound);
    if let Some(office) = &office {
        addresses.insert("admin".into(), office.address);
    }
    let rules = rules(&config, &node, &addresses)?;
    listening.open(&config, bound, rules, &node);
    let of = Arc::clone(&node);
    keep_running(&node, move || keep_time(Arc::clone(&of)));
    if !config.mqtt.sys_interval.is_zero() {
        let (of, interval) = (Arc::clone(&node), config.mqtt.sys_interval.get());
        keep_running(&node, move || {
            sys::publish_forever(Arc::clone(&of), interval)
        });
    }
    for kept in &node.kept {
        let (of, kept) = (Arc::clone(&node), Arc::clone(kept));
        keep_running(&node, move || keep(Arc::clone(&of), Arc::clone(&kept)));
    }
    let running = Running::new(Arc::clone(&node), (config, file), listening, addresses);
    if let Some(office) = office {
        office.open(&running);
    }
    let of = running.clone();
    keep_running(&node, move || {
        file_watch::watch(of.clone(), trusted.clone())
    });
    let of = running.clone();
    keep_running(&node, move || pulse::beat(of.clone()));
    let of = Arc::clone(&node);
    keep_running(&node, move || directory_watch::watch(Arc::clone(&of)));
    let of = running.clone();
    keep_running(&node, move || {
        rules_watch::watch(of.clone(), stamps.clone())
    });
    Ok(running)
}

fn node(config: &Config) -> Result<Node, StartError> {
    let policies = Arc::new(config.load_policies().map_err(StartError::Problems)?);
    warn_of_no_policy(&policies);
    if config.data_dir.exists() && !config.data_dir.is_dir() {
        let problem = Problem::whole(&config.data_dir, "data_dir: not a folder");
        return Err(StartError::Problems(vec![problem]));
    }
    let logins = Logins::open(&config.data_dir.join("logins.json"))
        .map_err(|problem| StartError::Problems(vec![problem]))?;
    logins.reconfigure(&config.authentication.cookie);
    let back_ends = BackEnds::open_with(&config.authentication, &config.base, Arc::new(logins))
        .map_err(StartError::Problems)?;
    let metrics = Arc::new(Metrics::default());
    let audit = AuditLog::open(&config.audit, &config.audit_folder(), Arc::clone(&metrics))
        .map_err(|source| StartError::Audit {
            path: config.audit_folder(),
            source,
        })?;
    let now = Instant::now();
    let (limits, good_logins) = good_logins::limits(&config.limits, &config.data_dir, now);
    let limits = Arc::new(limits);
    bans::restore_bans(&limits, &config.data_dir)
        .map_err(|problem| StartError::Problems(vec![problem]))?;
    let bans = Arc::new(bans::kept(&limits, &config.data_dir));
    let good_logins = good_logins.map(Arc::new);
    let kept = [Some(Arc::clone(&bans)), good_logins].into_iter().flatten();
    let (embedded, restored) = match store(config, now)? {
        Some((store, restored)) => (Some(store), restored),
        None => (None, Restored::default()),
    };
    let store: Arc<dyn Store> = match &embedded {
        Some(store) => Arc::<Embedded>::clone(store),
        None => Arc::new(store::Memory),
    };
    let router = Router::new(policies, config.mqtt.clone(), store, Arc::clone(&limits));
    router.restore(restored, now);
    Ok(Node {
        router,
        limits,
        kept: kept.collect(),
        bans,
        settings: ArcSwap::from_pointee(config.mqtt.clone()),
        back_ends: ArcSwap::new(back_ends),
        audit: Arc::new(audit),
        metrics,
        embedded,
        denials: Denials::default(),
    })
}

/// Safe, and hardly meant.
pub(super) fn warn_of_no_policy(policies: &Policies) {
    if policies.is_empty() {
        tracing::warn!("{NO_POLICY}");
    }
}

type Opened = (Arc<Embedded>, Restored);

/// The store, and what the last process left in it; `None`: nothing is kept.
fn store(config: &Config, now: Instant) -> Result<Option<Opened>, StartError> {
    if config.store.kind == store::Kind::Memory {
        return Ok(None);
    }
    let options = store::Options {
        durability: config.store.durability,
        flush_interval: config.store.flush_interval.get(),
        cache: config.store.cache.as_usize(),
        store_free: config.limits.state.store_free.get(),
    };
    let path = config.store.path.clone();
    Embedded::open(path, options, now, SystemTime::now())
        .map(Some)
        .map_err(StartError::Store)
}

/// The rules of every listener, or every problem of all of them.
fn rules(
    config: &Config,
    node: &Node,
    addresses: &BTreeMap<String, SocketAddr>,
) -> Result<BTreeMap<String, Rules>, StartError> {
    let common = Common {
        config,
        back_ends: &node.back_ends.load(),
        policies: &node.router.policies(),
        mqtt: &node.settings.load_full(),
        addresses,
    };
    common.all_rules().map_err(StartError::Problems)
}

/// Does what is due in the router: expired sessions, delayed wills, expired retained messages.
async fn keep_time(node: Arc<Node>) {
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(1);
    loop {
        let now = Instant::now();
        let next = node.router.handle_timeout(now).map_or(LONGEST, |next| {
            next.saturating_duration_since(now).min(LONGEST)
        });
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            () = node.router.timers().earlier() => {}
        }
    }
}
