//! Sockets of ours that are in the way of others, such as 0.0.0.0:1883 of 127.0.0.1:1883: given up last, and taken back where that was in vain.

use super::listening::{Bound, Listening, Serving, serve, wanted};
use super::node::Node;
use super::start::StartError;
use crate::config::Config;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

impl Listening {
    /// The last step of a reload that can fail: sockets that are in the way of others are closed, and bound again where one of those fails.
    pub(super) async fn make_room(
        &self,
        config: &Config,
        bound: &mut Bound,
        node: &Arc<Node>,
    ) -> Result<(), StartError> {
        let waiting = std::mem::take(&mut bound.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let given_up = self.give_up(config, bound, &waiting);
        for (_, serving) in &given_up {
            let _ = serving.stop.send(true);
        }
        let mut names = Vec::new();
        for (name, Serving { socket, task, .. }) in given_up {
            drop(socket);
            // The task holds the socket too.
            let _ = task.await;
            names.push(name);
        }
        let made: Result<BTreeMap<_, _>, StartError> = waiting
            .into_iter()
            .map(|(name, bind)| Ok((name.clone(), self.listen(&name, bind)?)))
            .collect();
        match made {
            Ok(made) => {
                bound.sockets.extend(made);
                Ok(())
            }
            Err(error) => {
                self.take_back(names, node);
                Err(error)
            }
        }
    }

    fn give_up(
        &self,
        config: &Config,
        bound: &Bound,
        waiting: &BTreeMap<String, SocketAddr>,
    ) -> Vec<(String, Serving)> {
        let is_handed_over = |serving: &Serving| {
            let mut sockets = bound.sockets.values();
            sockets.any(|(socket, _)| Arc::ptr_eq(socket, &serving.socket))
        };
        let mut open = self.open.lock();
        let in_the_way = open.iter_mut().filter(|(name, open)| {
            let mut ports = waiting.values().map(SocketAddr::port);
            open.is_left(wanted(config, name)) && ports.any(|port| port == open.address.port())
        });
        let given_up = in_the_way.filter_map(|(name, open)| {
            let serving = open.serving.take_if(|serving| !is_handed_over(serving))?;
            Some((name.clone(), serving))
        });
        given_up.collect()
    }

    /// As it was before they were given up.
    fn take_back(&self, names: Vec<String>, node: &Arc<Node>) {
        let mut open = self.open.lock();
        for name in names {
            let Some(open) = open.get_mut(&name) else {
                continue;
            };
            match self.listen(&name, open.address) {
                Ok((socket, _)) => open.serving = Some(serve(socket, &open.door, node)),
                // Somebody else was faster.
                Err(error) => {
                    tracing::error!(%error, "the listener is closed until a reload finds its address free")
                }
            }
        }
    }
}
