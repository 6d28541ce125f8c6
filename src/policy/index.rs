//! Finds the rules that may concern a topic without looking at the others: a trie over their levels.

use super::pattern::{Asked, AskedLevel, Level, Pattern};
use ahash::AHashMap;
use smallvec::SmallVec;

/// Rule numbers, ascending.
pub(super) type Candidates<'a> = SmallVec<[&'a [u32]; 8]>;

/// A level with a placeholder is kept like `+`, so that what is found here is more than what matches: [`Pattern::covers`] decides.
#[derive(Debug)]
pub(super) struct Index {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literal: AHashMap<Box<str>, usize>,
    single: Option<usize>,
    /// Rules whose filter ends here.
    ends: Vec<u32>,
    /// Rules whose filter ends here with `/#`.
    open: Vec<u32>,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }

    /// Rules must come in ascending order.
    pub(super) fn insert(&mut self, rule: u32, pattern: &Pattern) {
        let mut at = 0;
        for level in pattern.levels() {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else {
                return;
            };
            at = match level {
                Level::Literal(literal) => *node.literal.entry(literal.clone()).or_insert(next),
                Level::Single | Level::Value(_) => *node.single.get_or_insert(next),
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            let list = if pattern.is_open() {
                &mut node.open
            } else {
                &mut node.ends
            };
            list.push(rule);
        }
    }

    /// All rules that may cover what is asked for. Visits at most two children of a node for each level.
    pub(super) fn candidates(&self, asked: Asked<'_>) -> Candidates<'_> {
        let mut found = Candidates::new();
        let mut open: SmallVec<[_; 16]> = SmallVec::new();
        open.push((0, asked.levels()));
        while let Some((at, mut levels)) = open.pop() {
            let Some(node) = self.nodes.get(at) else {
                continue;
            };
            if !node.open.is_empty() {
                found.push(&node.open);
            }
            match levels.next() {
                None if !node.ends.is_empty() => found.push(&node.ends),
                None | Some(AskedLevel::Multi) => {}
                Some(AskedLevel::Literal(literal)) => {
                    if let Some(child) = node.literal.get(literal) {
                        open.push((*child, levels.clone()));
                    }
                    open.extend(node.single.map(|child| (child, levels)));
                }
                Some(AskedLevel::Single) => {
                    open.extend(node.single.map(|child| (child, levels)));
                }
            }
        }
        found
    }
}
