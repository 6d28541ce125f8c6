//! The accept loop of one listener: refuses before any work, and starts an arrival for everybody else.

use super::arrival::{arrive, arrive_proxied};
use super::node::Node;
use crate::admission::{Door, Proxied, Screened};
use crate::net::{Accepted, Listener};
use std::sync::Arc;
use tokio::sync::watch;

/// Accepts until told to stop.
pub async fn keep(
    listener: Arc<Listener>,
    door: Arc<Door>,
    node: Arc<Node>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => welcome(accepted, &door, &node),
            Err(error) => {
                tracing::error!(listener = %door.name, %error, "the listener failed and is gone");
                return;
            }
        }
    }
}

/// Cheap on purpose: whoever is refused here costs a look at a table, no task and no byte read.
fn welcome(accepted: Accepted, door: &Arc<Door>, node: &Arc<Node>) {
    node.metrics.connections_accepted.add(1);
    let node = Arc::clone(node);
    let proxied = door.rules.load().proxy_protocol.is_some();
    let refused = if proxied {
        match Proxied::new(accepted, door) {
            Ok((proxied, handshake)) => {
                tokio::spawn(arrive_proxied(node, proxied, handshake, Arc::clone(door)));
                return;
            }
            Err(refused) => refused,
        }
    } else {
        match Screened::new(accepted, door) {
            Ok((screened, handshake)) => {
                tokio::spawn(arrive(node, screened, handshake));
                return;
            }
            Err(refused) => refused,
        }
    };
    node.record_refused(&refused);
}
