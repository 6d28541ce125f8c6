//! Listeners as they are opened, moved and closed while the broker runs; those that did not change are left alone.

use super::gatekeeper;
use super::node::Node;
use super::panics::keep_running;
use super::start::StartError;
use crate::admission::{Door, Rules};
use crate::config::{Config, ListenerConfig};
use crate::limits::Tally;
use crate::mqtt::ReasonCode;
use crate::net::{Descriptors, Listener};
use crate::router::End;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The listeners of this process.
pub(super) struct Listening {
    descriptors: Descriptors,
    open: Mutex<BTreeMap<String, Open>>,
}

struct Open {
    door: Arc<Door>,
    /// As configured: port 0 is another than the one taken.
    bind: SocketAddr,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Sockets that a configuration asks for and that were not there: bound, not yet open.
pub(super) struct Bound(BTreeMap<String, (Listener, SocketAddr)>);

impl Listening {
    pub(super) fn new() -> Self {
        Self {
            descriptors: Descriptors::of_process(),
            open: Mutex::default(),
        }
    }

    /// Binds what is new or has moved. Dropping the result undoes it.
    pub(super) fn bind(&self, config: &Config) -> Result<Bound, StartError> {
        let mut bound = BTreeMap::new();
        let open = self.open.lock();
        for (name, listener) in &config.listeners {
            if open
                .get(name)
                .is_some_and(|open| open.bind == listener.bind)
            {
                continue;
            }
            let failed = |source| StartError::Bind {
                name: name.clone(),
                address: listener.bind,
                source,
            };
            let socket = Listener::bind(listener.bind, self.descriptors.clone()).map_err(failed)?;
            let address = socket.local_addr().map_err(failed)?;
            bound.insert(name.clone(), (socket, address));
        }
        Ok(Bound(bound))
    }

    /// Where each configured listener listens, or will once `bound` is open.
    pub(super) fn addresses(&self, config: &Config, bound: &Bound) -> BTreeMap<String, SocketAddr> {
        let open = self.open.lock();
        let names = config.listeners.keys();
        names
            .filter_map(|name| {
                let new = bound.0.get(name).map(|(_, address)| *address);
                let address = new.or_else(|| Some(open.get(name)?.address))?;
                Some((name.clone(), address))
            })
            .collect()
    }

    /// Puts all of it in force: cannot fail. Listeners that are in `config` no more are closed, and their clients with them.
    pub(super) fn open(
        &self,
        config: &Config,
        mut bound: Bound,
        mut rules: BTreeMap<String, Rules>,
        node: &Arc<Node>,
    ) {
        let mut open = self.open.lock();
        let gone: Vec<String> = open
            .keys()
            .filter(|name| !config.listeners.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(removed) = open.remove(&name) {
                close(removed);
                end_clients(name, config, node);
            }
        }
        for (name, listener) in &config.listeners {
            let Some(rules) = rules.remove(name) else {
                continue;
            };
            let before = open.remove(name);
            let socket = bound.0.remove(name);
            let opened = match (socket, before) {
                (None, Some(same)) => {
                    same.door.rules.store(Arc::new(rules));
                    same
                }
                // Moved: its clients stay, and go on under the same door's rules.
                (Some((socket, address)), Some(before)) => {
                    before.door.rules.store(Arc::new(rules));
                    let door = Arc::clone(&before.door);
                    close(before);
                    start(socket, door, (listener.bind, address), node)
                }
                (Some((socket, address)), None) => {
                    let door = door(name, listener, rules, node);
                    start(socket, door, (listener.bind, address), node)
                }
                (None, None) => continue,
            };
            open.insert(name.clone(), opened);
        }
    }

    pub(super) fn doors(&self) -> BTreeMap<String, Arc<Door>> {
        let open = self.open.lock();
        let doors = open.iter();
        doors
            .map(|(name, open)| (name.clone(), Arc::clone(&open.door)))
            .collect()
    }

    /// Accepts nobody any more.
    pub(super) async fn stop(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        for (_, open) in open {
            let _ = open.stop.send(true);
            let _ = open.task.await;
        }
    }
}

fn door(name: &str, listener: &ListenerConfig, rules: Rules, node: &Node) -> Arc<Door> {
    Arc::new(Door {
        name: Arc::from(name),
        transport: listener.transport,
        rules: ArcSwap::from_pointee(rules),
        limits: Arc::clone(&node.limits),
        connections: Arc::new(Tally::default()),
    })
}

fn start(
    socket: Listener,
    door: Arc<Door>,
    (bind, address): (SocketAddr, SocketAddr),
    node: &Arc<Node>,
) -> Open {
    let (stop, stopped) = watch::channel(false);
    let (socket, through, of) = (Arc::new(socket), Arc::clone(&door), Arc::clone(node));
    let task = keep_running(node, move || {
        gatekeeper::keep(
            Arc::clone(&socket),
            Arc::clone(&through),
            Arc::clone(&of),
            stopped.clone(),
        )
    });
    Open {
        door,
        bind,
        address,
        stop,
        task,
    }
}

fn close(open: Open) {
    let _ = open.stop.send(true);
}

/// Who came in through a listener that is no more; those whose login was still under way too.
fn end_clients(name: String, config: &Config, node: &Arc<Node>) {
    let node = Arc::clone(node);
    let longest = config.limits.connections.handshakes.timeout.get();
    tokio::spawn(async move {
        for pause in [Duration::ZERO, longest] {
            tokio::time::sleep(pause).await;
            node.router.registry().for_each(|handle| {
                let is_here = *handle.rights().subject().listener == *name;
                if is_here && handle.outbox().is_online() {
                    handle.end(End {
                        reason_code: ReasonCode::AdministrativeAction,
                        reason: "its listener was removed".into(),
                    });
                }
            });
        }
    });
}
