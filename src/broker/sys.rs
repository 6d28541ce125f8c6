//! `$SYS/broker/…` under the names that Mosquitto's exporters read. Contract section 9

use super::node::Node;
use crate::identity::{Identity, Method, Subject};
use crate::mqtt::{QoS, Text, TopicLimits, TopicName};
use crate::policy::Policies;
use crate::router::{RouteCache, Wakes};
use crate::session::{Content, SessionId};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The broker is judged like everybody else, by a policy of its own that no configuration can widen.
const POLICY: &str = "version: 1\npolicies:\n  - id: the-broker-itself\n    who: { auth: system }\n    allow:\n      - publish: \"$SYS/#\"\n";

/// Publishes every `interval` until the runtime ends.
pub async fn publish_forever(node: Arc<Node>, interval: Duration) {
    let Ok(policies) = Policies::parse(&[(PathBuf::from("(built in)"), POLICY.to_owned())]) else {
        tracing::error!("the built-in policy for $SYS does not load");
        return;
    };
    let rights = Arc::new(policies).compile(&Arc::new(broker_subject()));
    let (mut loads, mut ticks) = (Loads::default(), tokio::time::interval(interval));
    let started = Instant::now();
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let readings = readings(&node, started);
        let loads = loads.advance(&readings, interval);
        let mut wakes = Wakes::default();
        let mut routes = RouteCache::default();
        for (topic, value) in readings
            .into_iter()
            .filter(|(topic, _)| *topic != ADMITTED)
            .map(|(topic, value)| (topic.to_owned(), value.to_string()))
            .chain(loads)
            .chain(fixed(started))
        {
            let topic = Text::try_from(format!("$SYS/broker/{topic}").as_str())
                .ok()
                .and_then(|text| TopicName::new(text, TopicLimits::default()).ok());
            let Some(permit) =
                topic.and_then(|topic| rights.permit_publish(topic, QoS::AtMostOnce, true).ok())
            else {
                continue;
            };
            let content = Content::from_session(SessionId::default(), Bytes::from(value), None);
            let published =
                node.router
                    .publish(&permit, content, &mut routes, Instant::now(), &mut wakes);
            debug_assert!(published.is_ok(), "the broker's own messages have no cap");
        }
        wakes.wake();
    }
}

fn broker_subject() -> Subject {
    let identity = Identity::new(
        Method::SYSTEM,
        Arc::from(Method::SYSTEM.0),
        Arc::from("wardgate"),
    );
    Subject {
        identity,
        client_id: Arc::from("$SYS"),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        listener: Arc::from("(none)"),
        protocol: "system",
    }
}

fn fixed(started: Instant) -> [(String, String); 2] {
    [
        (
            "version".to_owned(),
            format!("wardgate version {}", env!("CARGO_PKG_VERSION")),
        ),
        (
            "uptime".to_owned(),
            format!("{} seconds", started.elapsed().as_secs()),
        ),
    ]
}

fn readings(node: &Node, _started: Instant) -> Vec<(&'static str, u64)> {
    let (metrics, counters) = (&node.metrics, node.counters());
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let (total, connected) = (
        count(node.router.registry().len()),
        counters.connected.value(),
    );
    let (retained, retained_bytes) = node.router.retained().load();
    // As the last look at all sessions found them: another look is not for this thread.
    let [queued, queued_bytes] = [&metrics.queued_messages, &metrics.queued_bytes]
        .map(|gauge| u64::try_from(gauge.value()).unwrap_or(0));
    let publish_received: u64 = metrics
        .publish_received
        .iter()
        .map(|counter| counter.value())
        .sum();
    let publish_sent: u64 = metrics
        .publish_sent
        .iter()
        .map(|counter| counter.value())
        .sum();
    let disconnected = total.saturating_sub(connected);
    vec![
        ("clients/total", total),
        ("clients/connected", connected),
        ("clients/active", connected),
        ("clients/disconnected", disconnected),
        ("clients/inactive", disconnected),
        ("clients/maximum", counters.connected_maximum.value()),
        ("clients/expired", counters.expired_sessions.value()),
        (
            "subscriptions/count",
            count(node.router.subscription_count()),
        ),
        ("retained messages/count", count(retained)),
        ("store/messages/count", count(retained) + queued),
        ("store/messages/bytes", retained_bytes + queued_bytes),
        ("messages/stored", count(retained) + queued),
        ("messages/received", metrics.packets_received.value()),
        ("messages/sent", metrics.packets_sent.value()),
        ("publish/messages/received", publish_received),
        ("publish/messages/sent", publish_sent),
        (
            "publish/messages/dropped",
            counters.dropped.value() + counters.too_large.value(),
        ),
        (
            "publish/bytes/received",
            metrics.published_bytes_received.value(),
        ),
        ("publish/bytes/sent", metrics.published_bytes_sent.value()),
        ("bytes/received", metrics.bytes_received.value()),
        ("bytes/sent", metrics.bytes_sent.value()),
        (
            "connections/socket/count",
            metrics.connections_accepted.value(),
        ),
        (ADMITTED, metrics.connections_admitted.value()),
    ]
}

/// Moving averages per minute over 1, 5 and 15 minutes of what the totals grow by, as Mosquitto computes them.
#[derive(Default)]
struct Loads {
    known: BTreeMap<&'static str, ([f64; 3], u64)>,
}

/// CONNECTs that were taken, since the start: only what it grows by is published.
const ADMITTED: &str = "connections admitted";

const LOADS: [(&str, &str); 9] = [
    ("messages/received", "load/messages/received"),
    ("messages/sent", "load/messages/sent"),
    ("publish/messages/received", "load/publish/received"),
    ("publish/messages/sent", "load/publish/sent"),
    ("publish/messages/dropped", "load/publish/dropped"),
    ("bytes/received", "load/bytes/received"),
    ("bytes/sent", "load/bytes/sent"),
    ("connections/socket/count", "load/sockets"),
    (ADMITTED, "load/connections"),
];

impl Loads {
    fn advance(
        &mut self,
        readings: &[(&'static str, u64)],
        interval: Duration,
    ) -> Vec<(String, String)> {
        let seconds = interval.as_secs_f64().max(1.0);
        let mut values = Vec::new();
        for (source, name) in LOADS {
            let Some((_, total)) = readings.iter().find(|(topic, _)| *topic == source) else {
                continue;
            };
            let (averages, last) = self.known.entry(name).or_default();
            let grown = u32::try_from(total.saturating_sub(*last))
                .map_or(f64::from(u32::MAX), f64::from)
                * 60.0
                / seconds;
            *last = *total;
            for ((average, minutes), label) in averages
                .iter_mut()
                .zip([1.0, 5.0, 15.0])
                .zip(["1min", "5min", "15min"])
            {
                let weight = (-seconds / (60.0 * minutes)).exp();
                *average = grown + weight * (*average - grown);
                values.push((format!("{name}/{label}"), format!("{average:.2}")));
            }
        }
        values
    }
}
