//! The admin listener: opened with the others, its certificates watched like theirs.

use super::desk::Desk;
use super::running::Running;
use super::start::StartError;
use crate::admin::{AdminConfig, Server, Tokens};
use crate::config::Config;
use crate::net::{ServerTls, listener};
use arc_swap::ArcSwap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;

/// Bound, but not yet open: nothing of it can fail any more.
pub(super) struct Office {
    config: AdminConfig,
    tls: ServerTls,
    stamps: Stamps,
    api: TcpListener,
    metrics: Option<TcpListener>,
    pub(super) address: SocketAddr,
}

const INTERVAL: Duration = Duration::from_millis(500);

impl Office {
    /// `None`: the configuration has no `admin`.
    pub(super) fn prepare(config: &Config) -> Result<Option<Self>, StartError> {
        let Some(admin) = &config.admin else {
            return Ok(None);
        };
        // Before anything is read: what changes meanwhile is noticed.
        let stamps = stamps(admin, &config.base);
        admin
            .check_est(&config.base)
            .map_err(|problem| StartError::Problems(vec![problem]))?;
        let tls = admin
            .server_tls(&config.base)
            .map_err(StartError::Problems)?;
        let (api, address) = bound("admin", admin.bind)?;
        let metrics = admin
            .metrics_bind
            .map(|address| bound("admin.metrics", address))
            .transpose()?;
        Ok(Some(Self {
            config: admin.clone(),
            tls,
            stamps,
            api,
            metrics: metrics.map(|(socket, _)| socket),
            address,
        }))
    }

    pub(super) fn open(self, running: &Running) {
        let tls = Arc::new(ArcSwap::from_pointee(self.tls));
        let config = Arc::new(ArcSwap::from_pointee(self.config));
        let desk = Arc::new(Desk {
            running: running.clone(),
            admin: Arc::clone(&config),
        });
        let tokens = Tokens::in_folder(&running.config().data_dir);
        let logins = Arc::clone(running.node().back_ends.load().logins());
        let base = running.config().base.clone();
        let server = Server::new(
            desk,
            Arc::clone(&config),
            tokens,
            logins,
            Arc::clone(&tls),
            base,
        );
        tokio::spawn(server.clone().serve(self.api));
        if let Some(metrics) = self.metrics {
            tokio::spawn(server.serve_metrics(metrics));
        }
        tokio::spawn(watch(running.clone(), config, tls, self.stamps));
    }
}

fn bound(name: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let socket = listener::bind(address)
        .and_then(|socket| socket.local_addr().map(|address| (socket, address)));
    socket.map_err(|source: io::Error| StartError::Bind {
        name: name.into(),
        address,
        source,
    })
}

/// Takes over roles, methods, certificates and revocation lists within a second of a change; what cannot be read leaves the old ones in force.
async fn watch(
    running: Running,
    config: Arc<ArcSwap<AdminConfig>>,
    tls: Arc<ArcSwap<ServerTls>>,
    stamps_before: Stamps,
) {
    let base = running.config().base.clone();
    let settings = |admin: &AdminConfig| (admin.tls.clone(), admin.est.clone());
    let mut known = (settings(&config.load()), stamps_before);
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Some(admin) = &running.config().admin {
            config.store(Arc::new(admin.clone()));
        }
        let admin = config.load_full();
        let now = (settings(&admin), stamps(&admin, &base));
        if now == known {
            continue;
        }
        known = now;
        match admin.server_tls(&base) {
            Ok(built) => {
                tls.store(Arc::new(built));
                running.node().record_renewal("admin", &[]);
            }
            Err(problems) => {
                running.node().record_renewal("admin", &problems);
                let error = StartError::Problems(problems);
                tracing::error!(%error, "the admin listener keeps its old certificates and revocation lists")
            }
        }
    }
}

/// What tells that a file was written or replaced.
type Stamps = Vec<Option<(SystemTime, u64)>>;

fn stamps(config: &AdminConfig, base: &Path) -> Stamps {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    config.tls_files(base).iter().map(stamp).collect()
}
