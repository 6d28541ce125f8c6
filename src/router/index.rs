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

/// Nodes in one table, the edges of those with many children in another, level names interned: a filter costs little memory, and matching hashes each level of a
/// topic once. With very many filters the time goes into memory that no cache holds, so a node is one line of it and most steps need no other.
#[derive(Default)]
pub struct Index {
    levels: AHashMap<Name, Level>,
    names: Vec<Option<Name>>,
    free_names: Vec<u32>,
    edges: AHashMap<(NodeId, LevelId), NodeId>,
    nodes: Vec<Node>,
    free_nodes: Vec<NodeId>,
    subscriptions: usize,
}

type NodeId = u32;
type LevelId = u32;
/// A short one lies where it is looked up.
type Name = SmallVec<[u8; 16]>;

/// Also "none" where a child is meant: it is nobody's.
const ROOT: NodeId = 0;
/// The level of a `+`: no name is interned under it.
const PLUS: LevelId = u32::MAX;

struct Level {
    id: LevelId,
    users: u32,
}

#[derive(Default)]
struct Node {
    parent: NodeId,
    level: LevelId,
    /// The child under `+`.
    plus: NodeId,
    /// One child by its name; the others, so many, are in `edges`.
    first: (LevelId, NodeId),
    others: u32,
    /// Filters that end in `#` under here: they match this level too. [MQTT-4.7.1-2]
    multi: Option<Box<Subscribers>>,
    /// Filters that end here.
    exact: Subscribers,
}

/// Those who subscribed to one filter.
#[derive(Default)]
#[expect(
    clippy::box_collection,
    reason = "a node stays within one line of memory"
)]
pub struct Subscribers {
    plain: Plain,
    shared: Option<Box<BTreeMap<ShareName, Arc<Group>>>>,
}

/// Most filters have one subscriber.
#[derive(Default)]
#[expect(
    clippy::box_collection,
    reason = "a node stays within one line of memory"
)]
enum Plain {
    #[default]
    Nobody,
    One(Entry),
    Many(Box<BTreeMap<SessionId, Entry>>),
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

impl Node {
    fn is_needed(&self) -> bool {
        self.plus != ROOT
            || self.first.1 != ROOT
            || self.others > 0
            || self.multi.is_some()
            || !self.exact.is_empty()
    }
}

impl Subscribers {
    pub fn plain(&self) -> impl Iterator<Item = &Entry> {
        let (one, many) = match &self.plain {
            Plain::Nobody => (None, None),
            Plain::One(entry) => (Some(entry), None),
            Plain::Many(entries) => (None, Some(entries.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub fn plain_len(&self) -> usize {
        match &self.plain {
            Plain::Nobody => 0,
            Plain::One(_) => 1,
            Plain::Many(entries) => entries.len(),
        }
    }

    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.shared.iter().flat_map(|groups| groups.values())
    }

    fn is_empty(&self) -> bool {
        matches!(self.plain, Plain::Nobody) && self.shared.is_none()
    }
}

impl Plain {
    /// Whether the session is new here.
    fn insert(&mut self, entry: Entry) -> bool {
        let id = entry.handle.id();
        match self {
            Self::One(known) if known.handle.id() != id => {
                let entries = BTreeMap::from([(known.handle.id(), known.clone()), (id, entry)]);
                *self = Self::Many(Box::new(entries));
                true
            }
            Self::Many(entries) => entries.insert(id, entry).is_none(),
            Self::Nobody | Self::One(_) => {
                let is_new = matches!(self, Self::Nobody);
                *self = Self::One(entry);
                is_new
            }
        }
    }

    fn remove(&mut self, session: SessionId) -> bool {
        let (removed, empty) = match self {
            Self::Nobody => (false, true),
            Self::One(entry) => {
                let is_it = entry.handle.id() == session;
                (is_it, is_it)
            }
            Self::Many(entries) => {
                let removed = entries.remove(&session).is_some();
                (removed, entries.is_empty())
            }
        };
        if empty {
            *self = Self::Nobody;
        }
        removed
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
            None => subscribers.plain.insert(entry),
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
            None => subscribers.plain.remove(session),
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
        let subscribers = match multi {
            true => node.multi.as_deref()?,
            false => &node.exact,
        };
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
            let name = self.levels.get(level.as_bytes()).map(|level| level.id);
            for id in &frontier {
                let Some(node) = self.node(*id) else { continue };
                if wildcards && let Some(multi) = &node.multi {
                    visit(multi);
                }
                next.extend(name.and_then(|name| self.child_of(*id, node, name)));
                if wildcards && node.plus != ROOT {
                    next.push(node.plus);
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
            if let Some(multi) = &node.multi {
                visit(multi);
            }
            if !node.exact.is_empty() {
                visit(&node.exact);
            }
        }
    }

    /// The child under a name, or under `+` by [`PLUS`].
    fn child_of(&self, id: NodeId, node: &Node, level: LevelId) -> Option<NodeId> {
        let child = match level {
            PLUS => node.plus,
            _ if node.first.0 == level && node.first.1 != ROOT => node.first.1,
            _ if node.others == 0 => ROOT,
            _ => *self.edges.get(&(id, level))?,
        };
        (child != ROOT).then_some(child)
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id).ok()?)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id).ok()?)
    }

    fn subscribers_mut(&mut self, node: NodeId, multi: bool) -> Option<&mut Subscribers> {
        let node = self.node_mut(node)?;
        Some(match multi {
            true => node.multi.get_or_insert_default(),
            false => &mut node.exact,
        })
    }

    fn locate(&self, subscription: &Subscription) -> Option<(NodeId, bool)> {
        let mut node = ROOT;
        for level in subscription.filter.levels() {
            let level = match level {
                "#" => return Some((node, true)),
                "+" => PLUS,
                name => self.levels.get(name.as_bytes())?.id,
            };
            node = self.child_of(node, self.node(node)?, level)?;
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
            self.levels.get(name.as_bytes()).map(|level| level.id)
        };
        let child = known.and_then(|level| self.child_of(parent, self.node(parent)?, level));
        if let Some(child) = child {
            return child;
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
        self.tie(parent, level, id);
        id
    }

    fn tie(&mut self, parent: NodeId, level: LevelId, child: NodeId) {
        let Some(node) = self.node_mut(parent) else {
            return;
        };
        if level == PLUS {
            node.plus = child;
        } else if node.first.1 == ROOT {
            node.first = (level, child);
        } else {
            node.others += 1;
            self.edges.insert((parent, level), child);
        }
    }

    fn untie(&mut self, parent: NodeId, level: LevelId) {
        let Some(node) = self.node_mut(parent) else {
            return;
        };
        if level == PLUS {
            node.plus = ROOT;
        } else if node.first.0 == level && node.first.1 != ROOT {
            node.first = (0, ROOT);
        } else {
            node.others -= 1;
            self.edges.remove(&(parent, level));
        }
    }

    fn intern(&mut self, name: &str) -> LevelId {
        let name = Name::from_slice(name.as_bytes());
        if let Some(level) = self.levels.get_mut(&name) {
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
            *slot = Some(name.clone());
        }
        self.levels.insert(name, Level { id, users: 1 });
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
        while let Some(node) = self.node_mut(id) {
            if node.multi.as_ref().is_some_and(|multi| multi.is_empty()) {
                node.multi = None;
            }
            if id == ROOT || node.is_needed() {
                return;
            }
            let (parent, level) = (node.parent, node.level);
            *node = Node::default();
            self.untie(parent, level);
            self.free_nodes.push(id);
            self.release(level);
            id = parent;
        }
    }
}
