//! The node's own pulse: memory and scheduling measured in one task, load shed when they pass their marks, gauges of all sessions kept.

use super::node::Node;
use super::running::Running;
use super::{shed, withheld};
use crate::audit::{Event, Kind, Outcome};
use crate::limits::{Overload, Reading, Stage};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const INTERVAL: Duration = Duration::from_millis(250);
/// Beats between two looks at all sessions.
const SWEEP: u32 = 20;

/// Beats until the runtime ends.
pub(super) async fn beat(running: Running) {
    let node = Arc::clone(running.node());
    let mut overload = Overload::default();
    let mut swept = SystemTime::now();
    let mut beats = 0_u32;
    loop {
        let reading = read().await;
        let marks = node.limits.config().state;
        let stage = overload.judge(&marks, reading, Instant::now());
        node.metrics
            .resident_bytes
            .set(i64::try_from(reading.memory).unwrap_or(i64::MAX));
        node.metrics
            .lag_microseconds
            .set(i64::try_from(reading.lag.as_micros()).unwrap_or(i64::MAX));
        enter(&node, stage, reading);
        withheld::tell(&node);
        if stage == Stage::SlowConsumers {
            shed::slow_consumers(&node);
        }
        if beats.is_multiple_of(SWEEP) {
            let (asked, last) = (running.clone(), swept);
            swept = SystemTime::now();
            // A million sessions take longer than one turn may.
            let looked = tokio::task::spawn_blocking(move || sweep(&asked, last)).await;
            if let Err(error) = looked {
                tracing::error!(%error, "the look at all sessions failed");
            }
        }
        beats = beats.wrapping_add(1);
    }
}

/// Takes one interval: how late a sleeper wakes, and how long a new task waits for its turn.
async fn read() -> Reading {
    let asleep = Instant::now();
    tokio::time::sleep(INTERVAL).await;
    let late = asleep.elapsed().saturating_sub(INTERVAL);
    let queued = Instant::now();
    let waited = tokio::spawn(async move { queued.elapsed() })
        .await
        .unwrap_or_default();
    Reading {
        memory: resident(),
        lag: late.max(waited),
    }
}

/// Resident bytes; 0 where the system does not tell.
pub(super) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// Puts a stage in force, and tells when it is another.
fn enter(node: &Node, stage: Stage, reading: Reading) {
    let before = node.limits.shed(stage);
    if before == stage {
        return;
    }
    let what = match stage {
        Stage::Nothing => "nothing is shed any more",
        Stage::Newcomers => "connections from addresses without a recent good login are refused",
        Stage::SlowConsumers => {
            "QoS 0 messages that wait for slow consumers are dropped, and those whose session survives it are disconnected"
        }
    };
    let (resident, lag) = (reading.memory, reading.lag);
    let reason = format!("overload: {resident} bytes resident, tasks wait {lag:?}: {what}");
    let outcome = match stage {
        Stage::Nothing => Outcome::Permitted,
        Stage::Newcomers | Stage::SlowConsumers => Outcome::Failed,
    };
    tracing::warn!(resident, ?lag, ?stage, "overload");
    node.record(Event {
        kind: Kind::Limit,
        outcome,
        reason,
        ..Event::default()
    });
}

/// What only a look at every session tells.
fn sweep(running: &Running, last: SystemTime) {
    let node = running.node();
    let ahead = running
        .config()
        .authentication
        .certificate
        .expiry_warning
        .get();
    let now = SystemTime::now();
    let (mut messages, mut bytes, mut expiring) = (0_usize, 0_usize, 0_i64);
    node.router.registry().for_each(|handle| {
        let load = handle.outbox().load();
        messages = messages.saturating_add(load.0);
        bytes = bytes.saturating_add(load.1);
        let rights = handle.rights();
        let identity = &rights.subject().identity;
        let Some(until) = identity
            .valid_until
            .filter(|_| identity.certificate.is_some())
        else {
            return;
        };
        if !handle.outbox().is_online() || until > now + ahead {
            return;
        }
        expiring = expiring.saturating_add(1);
        // Those who log in within the time are told of at their login.
        if until > last + ahead {
            warn_of_end(&identity.username, until, now);
        }
    });
    let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    node.metrics.queued_messages.set(gauge(messages));
    node.metrics.queued_bytes.set(gauge(bytes));
    node.metrics.certificates_expiring.set(expiring);
}

/// A live session whose certificate ends soon, and the session with it. Contract section 4
pub(super) fn warn_of_end(username: &str, until: SystemTime, now: SystemTime) {
    let hours = until.duration_since(now).unwrap_or_default().as_secs() / 3600;
    tracing::warn!(username = %crate::telemetry::Escaped(username), hours, "a client's certificate ends soon, and its session with it");
}
