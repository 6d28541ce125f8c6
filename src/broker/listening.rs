//! Listeners as they are opened, moved and closed while the broker runs; those that did not change are left alone.

use super::gatekeeper;
use super::node::Node;
use super::panics::keep_running;
use super::start::StartError;
use crate::admission::{Door, Rules};
use crate::config::Config;
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
    pub(super) open: Mutex<BTreeMap<String, Open>>,
}

pub(super) struct Open {
    pub(super) door: Arc<Door>,
    /// As configured: port 0 is another than the one taken.
    bind: SocketAddr,
    pub(super) address: SocketAddr,
    /// `None`: its socket was given up for another, and could not be had again.
    pub(super) serving: Option<Serving>,
}

pub(super) struct Serving {
    pub(super) socket: Arc<Listener>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) task: JoinHandle<()>,
}

/// Sockets that a configuration asks for and that were not there: bound, not yet open.
#[derive(Default)]
pub(super) struct Bound {
    pub(super) sockets: BTreeMap<String, (Arc<Listener>, SocketAddr)>,
    /// Whose places are taken by sockets of ours that the configuration has no more.
    pub(super) waiting: BTreeMap<String, SocketAddr>,
}

impl Listening {
    pub(super) fn new() -> Self {
        Self {
            descriptors: Descriptors::of_process(),
            open: Mutex::default(),
        }
    }

    /// Binds what is new or has moved. Dropping the result undoes it.
    pub(super) fn bind(&self, config: &Config) -> Result<Bound, StartError> {
        let mut bound = Bound::default();
        let open = self.open.lock();
        for (name, listener) in &config.listeners {
            let bind = listener.bind;
            if open.get(name).is_some_and(|open| !open.is_left(Some(bind))) {
                continue;
            }
            let left = open
                .iter()
                .filter(|(name, open)| open.is_left(wanted(config, name)))
                .map(|(_, open)| open);
            // The same place under another name: no connection is lost on the way.
            let same = left
                .clone()
                .find(|open| open.bind == bind && bind.port() != 0);
            if let Some(socket) = same.and_then(|open| open.serving.as_ref()) {
                let socket = Arc::clone(&socket.socket);
                bound.sockets.insert(name.clone(), (socket, bind));
                continue;
            }
            let mut in_the_way = left.filter(|open| open.address.port() == bind.port());
            match self.listen(name, bind) {
                Ok(place) => {
                    bound.sockets.insert(name.clone(), place);
                }
                Err(error) if error.is_address_in_use() && in_the_way.next().is_some() => {
                    bound.waiting.insert(name.clone(), bind);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(bound)
    }

    pub(super) fn listen(
        &self,
        name: &str,
        bind: SocketAddr,
    ) -> Result<(Arc<Listener>, SocketAddr), StartError> {
        let failed = |source| StartError::Bind {
            name: name.to_owned(),
            address: bind,
            source,
        };
        let socket = Listener::bind(bind, self.descriptors.clone()).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok((Arc::new(socket), address))
    }

    /// Where each configured listener listens, or will once `bound` is open.
    pub(super) fn addresses(&self, config: &Config, bound: &Bound) -> BTreeMap<String, SocketAddr> {
        let open = self.open.lock();
        let names = config.listeners.keys();
        names
            .filter_map(|name| {
                let new = bound.sockets.get(name).map(|(_, address)| *address);
                let new = new.or_else(|| bound.waiting.get(name).copied());
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
                removed.close();
                end_clients(name, config, node);
            }
        }
        for (name, listener) in &config.listeners {
            let Some(rules) = rules.remove(name) else {
                continue;
            };
            let before = open.remove(name);
            let socket = bound.sockets.remove(name);
            let opened = match (socket, before) {
                (None, Some(same)) => {
                    same.door.rules.store(Arc::new(rules));
                    same
                }
                // Moved: its clients stay, and go on under the same door's rules.
                (Some(place), Some(before)) => {
                    before.door.rules.store(Arc::new(rules));
                    let door = Arc::clone(&before.door);
                    before.close();
                    Open::new(place, door, listener.bind, node)
                }
                (Some(place), None) => {
                    Open::new(place, door(name, rules, node), listener.bind, node)
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
        for serving in open.into_values().filter_map(|open| open.serving) {
            let _ = serving.stop.send(true);
            let _ = serving.task.await;
        }
    }
}

impl Open {
    fn new(
        (socket, address): (Arc<Listener>, SocketAddr),
        door: Arc<Door>,
        bind: SocketAddr,
        node: &Arc<Node>,
    ) -> Self {
        let serving = Some(serve(socket, &door, node));
        Self {
            door,
            bind,
            address,
            serving,
        }
    }

    /// Whether its place is not the one that is wanted now.
    pub(super) fn is_left(&self, wanted: Option<SocketAddr>) -> bool {
        wanted != Some(self.bind) || self.serving.is_none()
    }

    fn close(self) {
        if let Some(serving) = self.serving {
            let _ = serving.stop.send(true);
        }
    }
}

pub(super) fn wanted(config: &Config, name: &str) -> Option<SocketAddr> {
    config.listeners.get(name).map(|listener| listener.bind)
}

fn door(name: &str, rules: Rules, node: &Node) -> Arc<Door> {
    Arc::new(Door {
        name: Arc::from(name),
        rules: ArcSwap::from_pointee(rules),
        limits: Arc::clone(&node.limits),
        connections: Arc::new(Tally::default()),
    })
}

pub(super) fn serve(socket: Arc<Listener>, door: &Arc<Door>, node: &Arc<Node>) -> Serving {
    let (stop, stopped) = watch::channel(false);
    let (listener, door, of) = (Arc::clone(&socket), Arc::clone(door), Arc::clone(node));
    let task = keep_running(node, move || {
        gatekeeper::keep(
            Arc::clone(&listener),
            Arc::clone(&door),
            Arc::clone(&of),
            stopped.clone(),
        )
    });
    Serving { socket, stop, task }
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
