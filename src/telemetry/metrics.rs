//! Numbers for Prometheus: a fixed set of families, no label that a client could choose (LIM-6).

use std::fmt::Write;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::counter::{Counter, Gauge, RareCounter};
use crate::audit::Kind;

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
    /// Messages that did not reach a queue or left it undelivered, by reason.
    dropped: [Counter; Drop::ALL.len()],
    pub connections: Gauge,
    pub connections_accepted: RareCounter,
    pub connections_admitted: RareCounter,
    pub handshakes: Gauge,
    pub sessions: Gauge,
    pub subscriptions: Gauge,
    pub retained_messages: Gauge,
    pub retained_bytes: Gauge,
    pub queued_messages: Gauge,
    pub queued_bytes: Gauge,
    refusals: [RareCounter; Kind::ALL.len()],
    pub authentications: RareCounter,
    pub takeovers: RareCounter,
    pub wills_sent: RareCounter,
    pub bans: Gauge,
    pub tasks_panicked: RareCounter,
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

/// Why a message went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    QueueFull,
    Expired,
    TooLarge,
    Denied,
    Limited,
    NoSubscriber,
    SessionEnded,
}

impl Drop {
    const ALL: [(Self, &'static str); 7] = [
        (Self::QueueFull, "queue_full"),
        (Self::Expired, "expired"),
        (Self::TooLarge, "too_large"),
        (Self::Denied, "denied"),
        (Self::Limited, "limited"),
        (Self::NoSubscriber, "no_subscriber"),
        (Self::SessionEnded, "session_ended"),
    ];
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
            dropped: Default::default(),
            connections: Gauge::default(),
            connections_accepted: RareCounter::default(),
            connections_admitted: RareCounter::default(),
            handshakes: Gauge::default(),
            sessions: Gauge::default(),
            subscriptions: Gauge::default(),
            retained_messages: Gauge::default(),
            retained_bytes: Gauge::default(),
            queued_messages: Gauge::default(),
            queued_bytes: Gauge::default(),
            refusals: Default::default(),
            authentications: RareCounter::default(),
            takeovers: RareCounter::default(),
            wills_sent: RareCounter::default(),
            bans: Gauge::default(),
            tasks_panicked: RareCounter::default(),
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
    pub fn dropped(&self, reason: Drop, messages: u64) {
        let counters = Drop::ALL.iter().zip(&self.dropped);
        for ((each, _), counter) in counters {
            if *each == reason {
                counter.add(messages);
            }
        }
    }

    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(Counter::value).sum()
    }

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

    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Prometheus text exposition format, version 0.0.4.
    pub fn render(&self) -> String {
        let mut out = Exposition(String::with_capacity(8192));
        out.family("build_info", "gauge", "The version that is running");
        out.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.render_traffic(&mut out);
        self.render_state(&mut out);
        self.render_security(&mut out);
        out.0
    }

    fn render_traffic(&self, out: &mut Exposition) {
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
        for ((_, reason), counter) in Drop::ALL.iter().zip(&self.dropped) {
            out.sample(name, &[("reason", reason)], counter.value());
        }
    }

    fn render_state(&self, out: &mut Exposition) {
        let rows = [
            ("connections", "Admitted connections", &self.connections),
            (
                "handshakes",
                "Connections between accept and CONNACK",
                &self.handshakes,
            ),
            ("sessions", "Sessions, connected or not", &self.sessions),
            (
                "subscriptions",
                "Subscriptions of all sessions",
                &self.subscriptions,
            ),
            (
                "retained_messages",
                "Retained messages",
                &self.retained_messages,
            ),
            (
                "retained_bytes",
                "Bytes of retained messages",
                &self.retained_bytes,
            ),
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
            ("bans", "Bans in force", &self.bans),
            (
                "certificates_expiring",
                "Connected clients whose certificate ends soon",
                &self.certificates_expiring,
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

    fn render_security(&self, out: &mut Exposition) {
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
                "wills_sent_total",
                "Will messages published",
                &self.wills_sent,
            ),
            (
                "tasks_panicked_total",
                "Tasks ended by a defect of the broker",
                &self.tasks_panicked,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lim_06_the_series_do_not_depend_on_traffic() {
        let metrics = Metrics::default();
        let quiet = metrics.render().lines().count();
        for _ in 0..1000 {
            metrics.refused(Kind::Authenticate);
            metrics.dropped(Drop::QueueFull, 3);
            metrics.bytes_received.add(100);
        }
        let text = metrics.render();
        assert_eq!(text.lines().count(), quiet);
        let rows = [
            "wardgate_refusals_total{event=\"authenticate\"} 1000",
            "wardgate_messages_dropped_total{reason=\"queue_full\"} 3000",
            "wardgate_bytes_received_total 100000",
            "wardgate_connections 0",
        ];
        for row in rows {
            assert!(text.lines().any(|line| line == row), "{row}");
        }
    }

    #[test]
    fn every_sample_has_its_family() {
        let text = Metrics::default().render();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
        }
    }
}
