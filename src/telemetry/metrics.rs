//! Numbers for Prometheus: a fixed set of families, no label that a client could choose (LIM-6).

use std::fmt::Write;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::counter::{Counter, Gauge, RareCounter};
use crate::audit::Kind;
use crate::identity::io::HashingCounters;
use crate::limits::{LABELS, Standing};
use crate::router::Counters;

/// All that the broker counts. Fields are bumped where things happen; `render` reads them.
pub struct Metrics {
    pub bytes_received: Counter,
    pub bytes_sent: Counter,
    pub packets_received: Counter,
    pub packets_sent: Counter,
    /// PUBLISH packets from clients, by QoS.
    pub publish_received: [Counter; 3],
    /// PUBLISH packets to clients, by QoS.
    pub publish_sent: [Counter; 3],
    /// Of their payloads alone.
    pub published_bytes_received: Counter,
    pub published_bytes_sent: Counter,
    pub connections_accepted: RareCounter,
    pub connections_admitted: RareCounter,
    pub queued_messages: Gauge,
    pub queued_bytes: Gauge,
    refusals: [RareCounter; Kind::ALL.len()],
    limits: [RareCounter; LABELS.len()],
    pub authentications: RareCounter,
    pub takeovers: RareCounter,
    /// QoS 0 messages and connections of slow consumers, given up under overload.
    pub shed_messages: RareCounter,
    pub shed_consumers: RareCounter,
    pub resident_bytes: Gauge,
    pub lag_microseconds: Gauge,
    pub reloads: RareCounter,
    pub reloads_failed: RareCounter,
    pub certificates_expiring: Gauge,
    pub audit_lines: RareCounter,
    pub audit_summed_up: RareCounter,
    pub audit_lost: RareCounter,
    pub audit_failing: Gauge,
    started: Instant,
    started_at: SystemTime,
}

/// What others count, read when it is shown.
pub struct State<'a> {
    pub counters: &'a Counters,
    pub standing: Standing,
    pub sessions: u64,
    pub subscriptions: u64,
    pub passwords: HashingCounters,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
            packets_received: Counter::default(),
            packets_sent: Counter::default(),
            publish_received: Default::default(),
            publish_sent: Default::default(),
            published_bytes_received: Counter::default(),
            published_bytes_sent: Counter::default(),
            connections_accepted: RareCounter::default(),
            connections_admitted: RareCounter::default(),
            queued_messages: Gauge::default(),
            queued_bytes: Gauge::default(),
            refusals: Default::default(),
            limits: Default::default(),
            authentications: RareCounter::default(),
            takeovers: RareCounter::default(),
            shed_messages: RareCounter::default(),
            shed_consumers: RareCounter::default(),
            resident_bytes: Gauge::default(),
            lag_microseconds: Gauge::default(),
            reloads: RareCounter::default(),
            reloads_failed: RareCounter::default(),
            certificates_expiring: Gauge::default(),
            audit_lines: RareCounter::default(),
            audit_summed_up: RareCounter::default(),
            audit_lost: RareCounter::default(),
            audit_failing: Gauge::default(),
            started: Instant::now(),
            started_at: SystemTime::now(),
        }
    }
}

impl Metrics {
    /// Counts a refusal. The audit log calls this for every one it is told, whether or not a line of its own is written.
    pub fn refused(&self, kind: Kind) {
        let counters = Kind::ALL.iter().zip(&self.refusals);
        for (each, counter) in counters {
            if *each == kind {
                counter.increment();
            }
        }
    }

    pub fn refusals(&self, kind: Kind) -> u64 {
        let mut counters = Kind::ALL.iter().zip(&self.refusals);
        let found = counters.find(|(each, _)| **each == kind);
        found.map_or(0, |(_, counter)| counter.value())
    }

    /// A limit refused, dropped, paused or disconnected. `label` as `Refusal` and `Limiter` give it.
    pub fn limit_reached(&self, label: &str) {
        let counters = LABELS.iter().zip(&self.limits);
        for (each, counter) in counters {
            if *each == label {
                counter.increment();
            }
        }
    }

    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Prometheus text exposition format, version 0.0.4.
    pub fn render(&self, state: &State<'_>) -> String {
        let mut out = Exposition(String::with_capacity(8192));
        out.family("build_info", "gauge", "The version that is running");
        out.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.render_traffic(state.counters, &mut out);
        self.render_state(state, &mut out);
        self.render_security(state.counters, &mut out);
        render_passwords(&state.passwords, &mut out);
        out.0
    }

    fn render_traffic(&self, counters: &Counters, out: &mut Exposition) {
        let rows = [
            (
                "bytes_received_total",
                "Bytes of MQTT from clients",
                self.bytes_received.value(),
            ),
            (
                "bytes_sent_total",
                "Bytes of MQTT to clients",
                self.bytes_sent.value(),
            ),
            (
                "packets_received_total",
                "MQTT packets from clients",
                self.packets_received.value(),
            ),
            (
                "packets_sent_total",
                "MQTT packets to clients",
                self.packets_sent.value(),
            ),
        ];
        for (name, help, value) in rows {
            out.counter(name, help, value);
        }
        for (name, help, counters) in [
            (
                "publish_received_total",
                "PUBLISH packets from clients",
                &self.publish_received,
            ),
            (
                "publish_sent_total",
                "PUBLISH packets to clients",
                &self.publish_sent,
            ),
        ] {
            out.family(name, "counter", help);
            for (qos, counter) in ["0", "1", "2"].iter().zip(counters) {
                out.sample(name, &[("qos", qos)], counter.value());
            }
        }
        let name = "messages_dropped_total";
        out.family(name, "counter", "Messages that went no further, by reason");
        let rows = [
            ("queue_full", counters.dropped.value()),
            ("too_large", counters.too_large.value()),
            ("expired", counters.expired_messages.value()),
            ("denied", counters.withheld.value()),
            ("shed", self.shed_messages.value()),
        ];
        for (reason, value) in rows {
            out.sample(name, &[("reason", reason)], value);
        }
    }

    fn render_state(&self, state: &State<'_>, out: &mut Exposition) {
        let standing = &state.standing;
        let whole = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let rows = [
            (
                "connections",
                "Admitted connections",
                state.counters.connected.value(),
            ),
            (
                "sockets",
                "Connections of clients, admitted or not",
                standing.connections,
            ),
            (
                "handshakes",
                "Connections between accept and CONNACK",
                whole(standing.handshakes),
            ),
            ("sessions", "Sessions, connected or not", state.sessions),
            (
                "subscriptions",
                "Subscriptions of all sessions",
                state.subscriptions,
            ),
            (
                "retained_messages",
                "Retained messages",
                standing.retained_messages,
            ),
            (
                "retained_bytes",
                "Bytes of retained messages",
                standing.retained_bytes,
            ),
            ("bans", "Bans in force", whole(standing.bans)),
            (
                "overload_stage",
                "What is shed: 0 nothing, 1 newcomers, 2 slow consumers too",
                u64::from(standing.shedding.level()),
            ),
        ];
        for (name, help, value) in rows {
            out.gauge(name, help, value);
        }
        let rows = [
            (
                "queued_messages",
                "Messages waiting in queues",
                &self.queued_messages,
            ),
            (
                "queued_bytes",
                "Bytes waiting in queues",
                &self.queued_bytes,
            ),
            (
                "certificates_expiring",
                "Connected clients whose certificate ends soon",
                &self.certificates_expiring,
            ),
            (
                "resident_bytes",
                "Resident memory of this process",
                &self.resident_bytes,
            ),
            (
                "lag_microseconds",
                "How long a task that is ready waited for its turn, last measured",
                &self.lag_microseconds,
            ),
            (
                "audit_failing",
                "1 while the audit log cannot be written",
                &self.audit_failing,
            ),
        ];
        for (name, help, gauge) in rows {
            out.gauge(name, help, gauge.value());
        }
        let since = self.started_at.duration_since(UNIX_EPOCH);
        let since = since.map_or(0, |since| since.as_secs());
        out.gauge("start_time_seconds", "When this process started", since);
    }

    fn render_security(&self, counters: &Counters, out: &mut Exposition) {
        let rows = [
            (
                "connections_accepted_total",
                "Connections accepted by listeners",
                &self.connections_accepted,
            ),
            (
                "connections_admitted_total",
                "Connections that got a good CONNACK",
                &self.connections_admitted,
            ),
            (
                "authentications_total",
                "Good logins",
                &self.authentications,
            ),
            (
                "session_takeovers_total",
                "Connections replaced by a new one of the same client",
                &self.takeovers,
            ),
            (
                "shed_consumers_total",
                "Slow consumers disconnected under overload",
                &self.shed_consumers,
            ),
            ("reloads_total", "Reloads that took effect", &self.reloads),
            (
                "reloads_failed_total",
                "Reloads refused, the running settings kept",
                &self.reloads_failed,
            ),
            (
                "audit_lines_total",
                "Lines written to the audit log",
                &self.audit_lines,
            ),
            (
                "audit_summed_up_total",
                "Refusals counted in a summary line instead of one of their own",
                &self.audit_summed_up,
            ),
            (
                "audit_lost_total",
                "Audit events that found the queue full",
                &self.audit_lost,
            ),
        ];
        for (name, help, counter) in rows {
            out.counter(name, help, counter.value());
        }
        let rows = [
            (
                "wills_sent_total",
                "Will messages published",
                counters.wills_sent.value(),
            ),
            (
                "sessions_expired_total",
                "Sessions whose time was over",
                counters.expired_sessions.value(),
            ),
            (
                "tasks_panicked_total",
                "Tasks ended by a defect of the broker",
                super::panics::count(),
            ),
        ];
        for (name, help, value) in rows {
            out.counter(name, help, value);
        }
        let name = "limits_reached_total";
        out.family(
            name,
            "counter",
            "Times a limit refused, dropped, paused or disconnected, by limit",
        );
        for (label, counter) in LABELS.iter().zip(&self.limits) {
            out.sample(name, &[("limit", label)], counter.value());
        }
        let name = "refusals_total";
        out.family(name, "counter", "Refusals, by what was refused");
        for (kind, counter) in Kind::ALL.iter().zip(&self.refusals) {
            out.sample(name, &[("event", kind.name())], counter.value());
        }
    }
}

/// Prometheus text under construction.
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(
            self.0,
            "# HELP wardgate_{name} {help}\n# TYPE wardgate_{name} {kind}\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.0, "wardgate_{name}");
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }
}

/// The pool that checks passwords; a reload begins with a new one.
fn render_passwords(counters: &HashingCounters, out: &mut Exposition) {
    out.counter(
        "password_checks_total",
        "Password hashes computed for logins",
        counters.checked,
    );
    let name = "password_checks_refused_total";
    let help = "Logins that got no password check, by reason";
    out.family(name, "counter", help);
    let rows = [
        ("queue_full", counters.refused_full),
        ("address_busy", counters.refused_address_full),
        ("late", counters.refused_late),
    ];
    for (reason, value) in rows {
        out.sample(name, &[("reason", reason)], value);
    }
    let help = "Logins that wait for a password check";
    out.gauge("password_checks_waiting", help, counters.waiting);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(metrics: &Metrics) -> String {
        metrics.render(&State {
            counters: &Counters::default(),
            standing: Standing::default(),
            sessions: 0,
            subscriptions: 0,
            passwords: HashingCounters::default(),
        })
    }

    #[test]
    fn lim_06_the_series_do_not_depend_on_traffic() {
        let metrics = Metrics::default();
        let quiet = shown(&metrics).lines().count();
        for _ in 0..1000 {
            metrics.refused(Kind::Authenticate);
            metrics.limit_reached("flapping");
            metrics.bytes_received.add(100);
        }
        let text = shown(&metrics);
        assert_eq!(text.lines().count(), quiet);
        let rows = [
            "wardgate_refusals_total{event=\"authenticate\"} 1000",
            "wardgate_limits_reached_total{limit=\"flapping\"} 1000",
            "wardgate_bytes_received_total 100000",
            "wardgate_connections 0",
        ];
        for row in rows {
            assert!(text.lines().any(|line| line == row), "{row}");
        }
    }

    #[test]
    fn every_sample_has_its_family() {
        let text = shown(&Metrics::default());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
        }
    }
}
