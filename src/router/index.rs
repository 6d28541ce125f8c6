//! The topic index: a trie over filter levels whose cost grows with a topic's depth and its matching subscribers, not with the number of subscriptions.

use super::handle::SessionHandle;
use super::shared::Group;
use crate::mqtt::{
    ShareName, Subscription, SubscriptionIdentifier, SubscriptionOptions, TopicName,
};
use crate::session::SessionId;
use ahash::AHashMap;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nodes in one table, edges in another, level names interned: a filter costs little memory, and matching hashes each level of a topic once.
#[derive(Default)]
pub struct Index {
    levels: AHashMap<Box<str>, Level>,
    names: Vec<Option<Box<str>>>,
    free_names: Vec<u32>,
    edges: AHashMap<(NodeId, LevelId), NodeId>,
    nodes: Vec<Node>,
    free_nodes: Vec<NodeId>,
    subscriptions: usize,
}

type NodeId = u32;
type LevelId = u32;

const ROOT: NodeId = 0;
/// The edge of a `+`: no name is interned under it.
const PLUS: LevelId = u32::MAX;

struct Level {
    id: LevelId,
    users: u32,
}

#[derive(Default)]
struct Node {
    parent: NodeId,
    level: LevelId,
    children: u32,
    /// Filters that end here.
    exact: Subscribers,
    /// Filters that end in `#` under here: they match this level too. [MQTT-4.7.1-2]
    multi: Subscribers,
}

/// Those who subscribed to one filter.
#[derive(Default)]
pub struct Subscribers {
    plain: BTreeMap<SessionId, Entry>,
    shared: Option<BTreeMap<ShareName, Arc<Group>>>,
}

/// One subscription of one session.
#[derive(Clone)]
pub struct Entry {
    pub handle: Arc<SessionHandle>,
    pub options: SubscriptionOptions,
    pub identifier: Option<SubscriptionIdentifier>,
    /// A deny overlaps a part of the filter: each message is judged at delivery (POL-1).
    pub checked: bool,
}

impl Subscribers {
    pub fn plain(&self) -> impl Iterator<Item = &Entry> {
        self.plain.values()
    }

    pub fn plain_len(&self) -> usize {
        self.plain.len()
    }

    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.shared.iter().flat_map(|groups| groups.values())
    }

    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.shared.is_none()
    }
}

impl Index {
    pub fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
            ..Self::default()
        }
    }

    /// Subscriptions held.
    pub fn len(&self) -> usize {
        self.subscriptions
    }

    /// Adds or replaces a session's subscription. [MQTT-3.8.4-3]
    pub fn insert(&mut self, subscription: &Subscription, entry: Entry) {
        let (node, multi) = self.locate_or_make(subscription);
        let Some(subscribers) = self.subscribers_mut(node, multi) else {
            return;
        };
        let added = match &subscription.share {
            None => subscribers.plain.insert(entry.handle.id(), entry).is_none(),
            Some(share) => {
                let groups = subscribers.shared.get_or_insert_default();
                groups
                    .entry(share.clone())
                    .or_insert_with(|| Arc::new(Group::new(subscription.clone())))
                    .join(entry)
            }
        };
        self.subscriptions += usize::from(added);
    }

    pub fn remove(&mut self, subscription: &Subscription, session: SessionId) -> bool {
        let Some((node, multi)) = self.locate(subscription) else {
            return false;
        };
        let Some(subscribers) = self.subscribers_mut(node, multi) else {
            return false;
        };
        let removed = match &subscription.share {
            None => subscribers.plain.remove(&session).is_some(),
            Some(share) => subscribers.shared.as_mut().is_some_and(|groups| {
                let Some(group) = groups.get(share) else {
                    return false;
                };
                let (left, empty) = group.leave(session);
                if empty {
                    groups.remove(share);
                }
                left
            }),
        };
        if subscribers
            .shared
            .as_ref()
            .is_some_and(|groups| groups.is_empty())
        {
            subscribers.shared = None;
        }
        self.subscriptions -= usize::from(removed);
        self.prune(node);
        removed
    }

    pub fn group(&self, subscription: &Subscription) -> Option<Arc<Group>> {
        let (node, multi) = self.locate(subscription)?;
        let node = self.node(node)?;
        let subscribers = if multi { &node.multi } else { &node.exact };
        subscribers
            .shared
            .as_ref()?
            .get(subscription.share.as_ref()?)
            .cloned()
    }

    /// Visits the subscribers of every filter that matches. Iterative, bounded by the nodes that exist (LIM-1, LIM-2).
    pub fn matching<'a>(&'a self, topic: &TopicName, mut visit: impl FnMut(&'a Subscribers)) {
        let mut frontier: SmallVec<[NodeId; 32]> = SmallVec::from_slice(&[ROOT]);
        let mut next: SmallVec<[NodeId; 32]> = SmallVec::new();
        // A wildcard at the first level does not match `$` names. [MQTT-4.7.2-1]
        let mut wildcards = !topic.is_reserved();
        for level in topic.levels() {
            let name = self.levels.get(level).map(|level| level.id);
            for id in &frontier {
                let Some(node) = self.node(*id) else { continue };
                if wildcards && !node.multi.is_empty() {
                    visit(&node.multi);
                }
                if node.children == 0 {
                    continue;
                }
                if let Some(child) = name.and_then(|name| self.edges.get(&(*id, name))) {
                    next.push(*child);
                }
                if wildcards && let Some(child) = self.edges.get(&(*id, PLUS)) {
                    next.push(*child);
                }
            }
            wildcards = true;
            frontier.clear();
            std::mem::swap(&mut frontier, &mut next);
            if frontier.is_empty() {
                return;
            }
        }
        for id in &frontier {
            let Some(node) = self.node(*id) else { continue };
            for subscribers in [&node.multi, &node.exact] {
                if !subscribers.is_empty() {
                    visit(subscribers);
                }
            }
        }
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id).ok()?)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id).ok()?)
    }

    fn subscribers_mut(&mut self, node: NodeId, multi: bool) -> Option<&mut Subscribers> {
        self.node_mut(node).map(|node| {
            if multi {
                &mut node.multi
            } else {
                &mut node.exact
            }
        })
    }

    fn locate(&self, subscription: &Subscription) -> Option<(NodeId, bool)> {
        let mut node = ROOT;
        for level in subscription.filter.levels() {
            let level = match level {
                "#" => return Some((node, true)),
                "+" => PLUS,
                name => self.levels.get(name)?.id,
            };
            node = *self.edges.get(&(node, level))?;
        }
        Some((node, false))
    }

    fn locate_or_make(&mut self, subscription: &Subscription) -> (NodeId, bool) {
        let mut node = ROOT;
        for level in subscription.filter.levels() {
            if level == "#" {
                return (node, true);
            }
            node = self.child(node, level);
        }
        (node, false)
    }

    fn child(&mut self, parent: NodeId, name: &str) -> NodeId {
        let known = if name == "+" {
            Some(PLUS)
        } else {
            self.levels.get(name).map(|level| level.id)
        };
        if let Some(child) = known.and_then(|level| self.edges.get(&(parent, level))) {
            return *child;
        }
        let level = if name == "+" { PLUS } else { self.intern(name) };
        let node = Node {
            parent,
            level,
            ..Node::default()
        };
        let id = match self.free_nodes.pop() {
            Some(id) => id,
            None => {
                self.nodes.push(Node::default());
                NodeId::try_from(self.nodes.len() - 1).unwrap_or(ROOT)
            }
        };
        if let Some(slot) = self.node_mut(id) {
            *slot = node;
        }
        self.edges.insert((parent, level), id);
        if let Some(parent) = self.node_mut(parent) {
            parent.children += 1;
        }
        id
    }

    fn intern(&mut self, name: &str) -> LevelId {
        if let Some(level) = self.levels.get_mut(name) {
            level.users += 1;
            return level.id;
        }
        let id = match self.free_names.pop() {
            Some(id) => id,
            None => {
                self.names.push(None);
                LevelId::try_from(self.names.len() - 1).unwrap_or(PLUS - 1)
            }
        };
        if let Some(slot) = usize::try_from(id)
            .ok()
            .and_then(|index| self.names.get_mut(index))
        {
            *slot = Some(name.into());
        }
        self.levels.insert(name.into(), Level { id, users: 1 });
        id
    }

    fn release(&mut self, level: LevelId) {
        if level == PLUS {
            return;
        }
        let Some(slot) = usize::try_from(level)
            .ok()
            .and_then(|index| self.names.get_mut(index))
        else {
            return;
        };
        let Some(name) = slot.as_deref() else { return };
        let unused = self.levels.get_mut(name).is_some_and(|level| {
            level.users -= 1;
            level.users == 0
        });
        if unused {
            self.levels.remove(name);
            *slot = None;
            self.free_names.push(level);
        }
    }

    /// Gives back the nodes that nobody needs any more, upwards.
    fn prune(&mut self, mut id: NodeId) {
        while id != ROOT {
            let Some(node) = self.node_mut(id) else {
                return;
            };
            if node.children > 0 || !node.exact.is_empty() || !node.multi.is_empty() {
                return;
            }
            let (parent, level) = (node.parent, node.level);
            *node = Node::default();
            self.edges.remove(&(parent, level));
            self.free_nodes.push(id);
            self.release(level);
            if let Some(parent) = self.node_mut(parent) {
                parent.children -= 1;
            }
            id = parent;
        }
    }
}
