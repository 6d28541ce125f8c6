//! Files whose change must bite within a second: revocation lists, client CAs, users.

use super::running::Running;
use crate::config::Config;
use crate::identity::io::logins::Logins;
use crate::mqtt::ReasonCode;
use crate::net::{ServerTls, TlsConfig, tls};
use crate::router::End;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const INTERVAL: Duration = Duration::from_millis(300);

/// What tells that a file was written or replaced.
type Stamp = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// By listener.
pub(super) type Stamps = Vec<(String, Stamp)>;

/// Looks until the runtime ends. `stamps` were taken before anything was read. A file that does not load leaves what is in force as it is, and is told (TRN-6).
pub(super) async fn watch(running: Running, mut stamps: Stamps) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (asked, known) = (running.clone(), stamps);
        let looked = tokio::task::spawn_blocking(move || look(&asked, known)).await;
        refresh_keys(&running);
        stamps = match looked {
            Ok(stamps) => stamps,
            Err(error) => {
                tracing::error!(%error, "the watch over certificate and user files failed");
                return;
            }
        };
    }
}

fn look(running: &Running, known: Stamps) -> Stamps {
    let now = stamps(&running.config());
    let mut changed = false;
    // A reload may have changed which listeners there are: a new one was built from what is there now.
    for (name, stamp) in &now {
        let old = known.iter().find(|(known, _)| known == name);
        if old.is_some_and(|(_, old)| old != stamp) {
            changed |= renew_tls(running, name);
        }
    }
    let back_ends = running.node().back_ends.load_full();
    if back_ends.have_changed() {
        match back_ends.reload() {
            Ok(concerns_somebody) => changed |= concerns_somebody,
            Err(problems) => problems
                .iter()
                .for_each(|problem| tracing::warn!(%problem, "the users file was not taken over")),
        }
    }
    changed |= back_ends.keys_went();
    end_with_their_logins(running, back_ends.logins());
    if changed {
        let router = &running.node().router;
        router.registry().for_each(|handle| {
            router.regroup(handle, |identity| back_ends.regrouped(identity));
            handle.outbox().rejudge();
        });
    }
    now
}

/// Keys that nobody's login asks for are fetched for those who are here: one that its issuer has withdrawn is to be missed (IDN-11).
fn refresh_keys(running: &Running) {
    let back_ends = running.node().back_ends.load_full();
    if !back_ends.keys_are_due() {
        return;
    }
    let mut somebody = false;
    running.node().router.registry().for_each(|handle| {
        somebody |= handle.outbox().is_online()
            && back_ends.lives_by_url(&handle.rights().subject().identity);
    });
    if somebody {
        tokio::spawn(async move { back_ends.fetch_keys().await });
    }
}

/// A login that has ended, by time or by word, takes its live connections with it (IDN-11).
fn end_with_their_logins(running: &Running, logins: &Logins) {
    let now = SystemTime::now();
    let ended: BTreeSet<_> = logins.take_ended(now).into_iter().collect();
    // The connections first: a disk may take its time.
    if !ended.is_empty() {
        running.node().router.registry().for_each(|handle| {
            let rights = handle.rights();
            let came_by = rights.subject().identity.login.as_ref();
            if came_by.is_some_and(|name| ended.contains(name)) {
                handle.end(End {
                    reason_code: ReasonCode::NotAuthorized,
                    reason: "the login has ended".into(),
                });
            }
        });
    }
    if let Err(error) = logins.write(now) {
        tracing::error!(%error, "the logins could not be written down");
    }
}

/// Builds the listener's TLS anew: a new generation, whose tickets resume nothing of the old one (TRN-5).
fn renew_tls(running: &Running, name: &str) -> bool {
    let config = running.config();
    let doors = running.doors();
    let (Some(door), Some(listener)) = (doors.get(name), config.listeners.get(name)) else {
        return false;
    };
    let Some(tls_config) = &listener.tls else {
        return false;
    };
    match ServerTls::build(tls_config, &config.base, listener.transport) {
        Ok(tls) => {
            let rules = door.rules.load_full();
            door.rules.store(Arc::new(rules.with_tls(tls)));
            running.node().record_renewal(name, &[]);
            tracing::info!(
                listener = name,
                "certificates and revocation lists were read again"
            );
            for problem in tls::out_of_date(tls_config, &config.base, SystemTime::now()) {
                tracing::error!(listener = name, %problem, "a certificate that is shown to clients is out of date");
            }
            true
        }
        Err(problems) => {
            running.node().record_renewal(name, &problems);
            problems.iter().for_each(|problem| tracing::error!(listener = name, %problem, "the old certificates and revocation lists stay in force"));
            false
        }
    }
}

pub(super) fn stamps(config: &Config) -> Stamps {
    config
        .listeners
        .iter()
        .filter_map(|(name, listener)| {
            Some((name.clone(), stamp(&config.base, listener.tls.as_ref()?)))
        })
        .collect()
}

fn stamp(base: &Path, tls: &TlsConfig) -> Stamp {
    let stamp = |path: PathBuf| {
        let metadata = std::fs::metadata(&path).ok();
        let stamp = metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        (path, stamp)
    };
    tls.files(base).into_iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::config::CertificateFiles;

    #[test]
    fn every_file_that_a_listener_is_made_from_is_watched() {
        let mut tls = TlsConfig::new("server.pem", "server.key");
        tls.client_ca = vec!["ca.pem".into()];
        tls.crl = vec!["ca.crl".into()];
        let files = CertificateFiles {
            certificate: "named.pem".into(),
            private_key: "named.key".into(),
        };
        tls.sni.insert("gate.example".into(), files);
        let watched = stamp(Path::new("base"), &tls);
        let mut names: Vec<String> = watched
            .iter()
            .map(|(path, _)| path.display().to_string())
            .collect();
        names.sort();
        assert_eq!(
            names.join(" "),
            "base/ca.crl base/ca.pem base/named.key base/named.pem base/server.key base/server.pem"
        );
    }
}
