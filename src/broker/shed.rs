//! Load given up under pressure: what waits for slow consumers, then their connections; never what was acknowledged.

use super::node::Node;
use crate::mqtt::{QoS, ReasonCode};
use crate::router::{End, SessionHandle};
use std::sync::Arc;

/// Bytes waiting from which a consumer is slow.
const SLOW: usize = 64 * 1024;
/// Consumers shed in one beat, the slowest first.
const STEP: usize = 64;

pub(super) fn slow_consumers(node: &Node) {
    let mut slow: Vec<(usize, Arc<SessionHandle>)> = Vec::new();
    node.router.registry().for_each(|handle| {
        let (_, bytes) = handle.outbox().load();
        if bytes >= SLOW && handle.outbox().is_online() {
            slow.push((bytes, Arc::clone(handle)));
        }
    });
    slow.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    for (_, handle) in slow.iter().take(STEP) {
        shed(node, handle);
    }
}

fn shed(node: &Node, handle: &SessionHandle) {
    let dropped = handle
        .outbox()
        .withdraw(|delivery| delivery.qos > QoS::AtMostOnce || delivery.ticket.is_some());
    node.metrics
        .shed_messages
        .add(u64::try_from(dropped.len()).unwrap_or(u64::MAX));
    // What is left was acknowledged to its publishers: it stays, with a session that outlives its connection.
    let (left, _) = handle.outbox().load();
    if left > 0 && handle.is_durable() {
        node.metrics.shed_consumers.increment();
        handle.end(End {
            reason_code: ReasonCode::ServerBusy,
            reason: "overload: a slow consumer".into(),
        });
    }
}
