//! What ends soon, or has ended: certificates, authorities, revocation lists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Findings;
use crate::config::Config;
use crate::net::config::Doubt;
use crate::net::{self, ServerTls, TlsConfig, Transport};

const DAY: u64 = 24 * 60 * 60;

pub(super) fn examine(config: &Config, now: SystemTime, findings: &mut Findings) {
    let ahead = config.authentication.certificate.expiry_warning.get();
    let mut judged = BTreeSet::new();
    for (tls, transport) in config.tls_sections() {
        for path in certificates(&tls, &config.base) {
            // Listeners share files.
            if judged.insert(path.clone()) {
                judge_file(&path, now, ahead, findings);
            }
        }
        judge_lists(config, (&tls, transport), now, findings);
    }
}

fn certificates(tls: &TlsConfig, base: &Path) -> Vec<PathBuf> {
    std::iter::once(&tls.certificate)
        .chain(tls.sni.values().map(|files| &files.certificate))
        .chain(&tls.client_ca)
        .map(|path| base.join(path))
        .collect()
}

fn judge_file(path: &Path, now: SystemTime, ahead: Duration, findings: &mut Findings) {
    // Unreadable: told by `check` already.
    for term in net::tls::terms(path) {
        let until = system_time(term.not_after.timestamp());
        let at = format!("{} ({})", path.display(), term.subject);
        let from = system_time(term.not_before.timestamp());
        if from > now {
            findings.serious(
                "expiry",
                at,
                format!("is not valid before {}", term.not_before),
                "the clock of this machine, or another certificate",
            );
            continue;
        }
        match until.duration_since(now) {
            Err(_) => findings.serious(
                "expiry",
                at,
                format!("ended {} ago", days(now, until)),
                "a new certificate: it is taken over without a restart",
            ),
            Ok(left) if left <= ahead => findings.warning(
                "expiry",
                at,
                format!("ends in {}", days(until, now)),
                "a new certificate: it is taken over without a restart",
            ),
            Ok(_) => {}
        }
    }
}

fn judge_lists(
    config: &Config,
    (tls, transport): (&TlsConfig, Transport),
    now: SystemTime,
    findings: &mut Findings,
) {
    if tls.client_ca.is_empty() {
        return;
    }
    if tls.crl.is_empty() {
        findings.warning(
            "revocation",
            tls.client_ca
                .iter()
                .map(|path| config.base.join(path).display().to_string())
                .collect::<Vec<_>>()
                .join(", "),
            "no revocation list: a stolen key is good until its certificate ends",
            "tls.crl, with what wardgate ca crl writes",
        );
        return;
    }
    // What cannot be built was told by `check` already.
    let Ok(built) = ServerTls::build(tls, &config.base, transport) else {
        return;
    };
    for list in net::tls::foreign_lists(tls, &config.base) {
        findings.warning(
            "revocation",
            list.file.display().to_string(),
            list.message,
            "tls.crl, with what wardgate ca crl writes for the authorities of client_ca",
        );
    }
    for list in built.revocation_lists() {
        let at = format!("{} ({})", list.file.display(), list.issuer);
        let span = list
            .next_update
            .duration_since(list.this_update)
            .unwrap_or_default();
        match list.next_update.duration_since(now) {
            Err(_) if tls.crl_stale == Doubt::Deny => findings.serious(
                "expiry",
                at,
                format!(
                    "is {} past its next update: no certificate of this issuer gets in",
                    days(now, list.next_update)
                ),
                "wardgate ca crl, regularly",
            ),
            Err(_) => findings.serious(
                "expiry",
                at,
                format!(
                    "is {} past its next update and still believed: what was revoked since gets in",
                    days(now, list.next_update)
                ),
                "wardgate ca crl, regularly; and crl_stale: deny",
            ),
            // A list that is renewed in time is never in its last fifth.
            Ok(left) if left < span / 5 => findings.warning(
                "expiry",
                at,
                format!("its next update is due in {}", days(list.next_update, now)),
                "wardgate ca crl, regularly",
            ),
            Ok(_) => {}
        }
    }
}

fn system_time(unix_seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(unix_seconds.unsigned_abs());
    let time = if unix_seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn days(later: SystemTime, earlier: SystemTime) -> String {
    let seconds = later.duration_since(earlier).unwrap_or_default().as_secs();
    match seconds / DAY {
        0 => format!("{} hours", seconds / 3600),
        days => format!("{days} days"),
    }
}
