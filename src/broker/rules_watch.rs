//! By option: settings and policies are read again when their files change. Contract section 5

use super::running::Running;
use crate::config::Config;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const INTERVAL: Duration = Duration::from_millis(500);

/// What tells that a file was written, replaced, added or removed.
pub(super) type Stamps = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// Looks until the runtime ends. `read` is what the running settings were read from. What does not load changes nothing, and is told.
pub(super) async fn watch(running: Running, read: Stamps) {
    let (mut known, mut seen) = (Some(read), None);
    loop {
        tokio::time::sleep(INTERVAL).await;
        let config = running.config();
        if !config.reload.watch {
            (known, seen) = (None, None);
            continue;
        }
        let file = running.file().to_path_buf();
        let looked = tokio::task::spawn_blocking(move || stamps(&config, &file)).await;
        let Ok(now) = looked else { continue };
        if known.is_none() {
            known = Some(now.clone());
        }
        // Whoever writes is done when two looks see the same.
        let stands_still = seen.as_ref() == Some(&now);
        if stands_still && known.as_ref() != Some(&now) {
            reload(&running).await;
            known = Some(now.clone());
        }
        seen = Some(now);
    }
}

async fn reload(running: &Running) {
    match running.reload().await {
        Ok(()) => tracing::info!("files changed: reloaded"),
        Err(problems) => problems.iter().for_each(
            |problem| tracing::error!(%problem, "files changed, and were not taken over"),
        ),
    }
}

pub(super) fn stamps(config: &Config, file: &Path) -> Stamps {
    let mut paths = vec![file.to_path_buf()];
    for policies in &config.policies {
        let path = config.base.join(policies);
        if let Ok(entries) = std::fs::read_dir(&path) {
            paths.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
        paths.push(path);
    }
    paths.sort();
    let stamp = |path: PathBuf| {
        let metadata = std::fs::metadata(&path).ok();
        let stamp = metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        (path, stamp)
    };
    paths.into_iter().map(stamp).collect()
}
