//! The range of each number in the configuration (LIM-7).

use serde_json::Value;

use crate::problem::Problem;
use crate::units::{ByteSize, Period};
use crate::yaml::tree::Node;

/// A setting, `*` standing for any name, and what it may be.
pub(super) struct Range {
    pub(super) path: &'static str,
    bounds: Bounds,
}

#[derive(Clone, Copy)]
enum Bounds {
    Number(u64, u64),
    Size(ByteSize, ByteSize),
    Time(Period, Period),
}

const fn number(path: &'static str, least: u64, most: u64) -> Range {
    Range {
        path,
        bounds: Bounds::Number(least, most),
    }
}

const fn size(path: &'static str, least: ByteSize, most: ByteSize) -> Range {
    Range {
        path,
        bounds: Bounds::Size(least, most),
    }
}

const fn time(path: &'static str, least: Period, most: Period) -> Range {
    Range {
        path,
        bounds: Bounds::Time(least, most),
    }
}

const SECOND: Period = Period::from_secs(1);
const MINUTE: Period = Period::from_minutes(1);
const HOUR: Period = Period::from_hours(1);
const DAY: Period = Period::from_days(1);
const YEAR: Period = Period::from_hours(365 * 24);

/// Beyond what the units' own parsers refuse. What limits calls `Count` is from 1 to 1,000,000,000 already.
pub(super) const RANGES: [Range; 41] = [
    number("listeners.*.max_connections", 1, 10_000_000),
    size(
        "listeners.*.max_packet_size",
        ByteSize::bytes(128),
        ByteSize::mib(256),
    ),
    time(
        "listeners.*.tls.resumption.lifetime",
        MINUTE,
        Period::from_hours(12),
    ),
    time(
        "admin.tls.resumption.lifetime",
        MINUTE,
        Period::from_hours(12),
    ),
    number("admin.est.days", 1, 3650),
    number("admin.est.certificates_per_name", 1, 1_000_000),
    time(
        "authentication.certificate.expiry_warning",
        Period::ZERO,
        YEAR,
    ),
    time("authentication.cookie.ttl", SECOND, Period::from_days(30)),
    time(
        "authentication.cookie.max_age",
        SECOND,
        Period::from_days(90),
    ),
    number("authentication.password.hashing.concurrent", 0, 1024),
    size(
        "authentication.password.hashing.memory",
        ByteSize::mib(32),
        ByteSize::gib(64),
    ),
    number("authentication.password.hashing.queue", 1, 1_000_000),
    number("authentication.password.hashing.queue_per_ip", 1, 1_000_000),
    time(
        "authentication.password.hashing.timeout",
        Period::from_millis(100),
        MINUTE,
    ),
    time(
        "limits.connections.handshakes.timeout",
        Period::from_millis(100),
        Period::from_minutes(5),
    ),
    size(
        "limits.unauthenticated.max_packet_size",
        ByteSize::bytes(128),
        ByteSize::mib(1),
    ),
    time("limits.failures.window", SECOND, DAY),
    time("limits.failures.ban", SECOND, YEAR),
    time("limits.flapping.window", SECOND, DAY),
    time("limits.flapping.ban", SECOND, YEAR),
    time("limits.state.lag", Period::ZERO, MINUTE),
    size(
        "limits.state.store_free",
        ByteSize::bytes(0),
        ByteSize::gib(1 << 20),
    ),
    time("mqtt.keep_alive.max", SECOND, Period::from_secs(65_535)),
    number("mqtt.receive_maximum", 1, 65_535),
    number("mqtt.max_inflight", 1, 65_535),
    number("mqtt.topic_alias_maximum", 0, 65_535),
    time(
        "mqtt.session_expiry.max",
        Period::ZERO,
        Period::from_hours(10 * 365),
    ),
    number("mqtt.max_subscriptions_per_client", 1, 1_000_000),
    number("mqtt.max_topic_levels", 1, 1024),
    number("mqtt.max_topic_length", 1, 65_535),
    number("mqtt.max_client_id_length", 1, 65_535),
    number("mqtt.max_filters_per_packet", 1, 10_000),
    number("mqtt.max_user_properties", 0, 10_000),
    number("mqtt.queue.messages", 1, 1_000_000_000),
    size("mqtt.queue.bytes", ByteSize::kib(1), ByteSize::gib(1 << 10)),
    time("mqtt.sys_interval", Period::ZERO, HOUR),
    size("audit.max_size", ByteSize::kib(64), ByteSize::gib(1 << 10)),
    number("audit.refusals_per_minute", 10, 1_000_000),
    time("store.flush_interval", Period::from_millis(10), HOUR),
    size("store.cache", ByteSize::mib(1), ByteSize::gib(1 << 10)),
    time("shutdown.grace", Period::ZERO, Period::from_minutes(10)),
];

/// Every setting of `effective` (the settings in force as JSON) that is out of its range, at its place in the tree.
pub(super) fn problems(effective: &Value, root: &Node) -> Vec<Problem> {
    let rows = RANGES.iter();
    rows.flat_map(|range| {
        let steps: Vec<&str> = range.path.split('.').collect();
        matching(effective, &steps, &mut Vec::new())
            .into_iter()
            .filter_map(|(path, value)| {
                let wrong = range.wrong(value)?;
                let name = path.last().map(String::as_str).unwrap_or_default();
                let place = root.place_of(path.iter().map(String::as_str));
                Some(place.problem(format!("{name}: {wrong}")))
            })
            .collect::<Vec<_>>()
    })
    .collect()
}

/// The values that a path with `*` in it leads to, each with its own path.
fn matching<'a>(
    value: &'a Value,
    steps: &[&str],
    path: &mut Vec<String>,
) -> Vec<(Vec<String>, &'a Value)> {
    let Some((step, rest)) = steps.split_first() else {
        return vec![(path.clone(), value)];
    };
    let Some(fields) = value.as_object() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, inner) in fields
        .iter()
        .filter(|(name, _)| *step == "*" || name == step)
    {
        path.push(name.clone());
        found.extend(matching(inner, rest, path));
        path.pop();
    }
    found
}

impl Range {
    /// What is wrong with a value; nothing when it is in range or not there.
    fn wrong(&self, value: &Value) -> Option<String> {
        let text = || value.as_str().unwrap_or_default();
        match self.bounds {
            Bounds::Number(least, most) => {
                let number = value.as_u64()?;
                outside(&number, &least, &most)
            }
            Bounds::Size(least, most) => outside(&text().parse().ok()?, &least, &most),
            Bounds::Time(least, most) => outside(&text().parse().ok()?, &least, &most),
        }
    }
}

fn outside<T: PartialOrd + std::fmt::Display>(value: &T, least: &T, most: &T) -> Option<String> {
    let inside = least <= value && value <= most;
    (!inside).then(|| format!("{value} is out of range: from {least} to {most}"))
}
