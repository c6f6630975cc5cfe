//! The object graph of a pickle. Objects are kept as the steps that would construct them.

use std::{borrow::Cow, collections::HashMap, slice};

use super::{MAX_DEPTH, integer::Int};
use crate::Error;

/// The index of a node.
pub(super) type NodeId = u32;

/// One value. Its children are ids, since a pickle can refer to a value many times.
#[derive(Debug)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(Int),
    Float(f64),
    /// See [`wtf8`](super::wtf8).
    Str(Cow<'a, [u8]>),
    Bytes(&'a [u8]),
    ByteArray(&'a [u8]),
    List(Vec<NodeId>),
    Tuple(Box<[NodeId]>),
    Dict(Vec<[NodeId; 2]>),
    Set(Vec<NodeId>),
    FrozenSet(Box<[NodeId]>),
    /// A class or function: its module and its name.
    Global(NodeId, NodeId),
    /// Any other object, as the steps by which Python would construct it.
    Object(Vec<Step>),
}

/// A step of an object's construction, in the order of the pickle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Node(NodeId),
    Op(u8),
}

impl Step {
    pub(super) fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(id) => Some(id),
            Self::Op(_) => None,
        }
    }
}

/// The children of a value in the order of the pickle. A dict alternates keys and values.
#[derive(Clone, Debug)]
pub(super) enum Children<'a> {
    Ids(slice::Iter<'a, NodeId>),
    Steps(slice::Iter<'a, Step>),
}

impl Iterator for Children<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        match self {
            Self::Ids(ids) => ids.next().copied().map(Step::Node),
            Self::Steps(steps) => steps.next().copied(),
        }
    }
}

/// Constants, which are the first nodes of every graph.
pub(super) const NONE: NodeId = 0;
pub(super) const FALSE: NodeId = 1;
pub(super) const TRUE: NodeId = 2;
pub(super) const EMPTY_TUPLE: NodeId = 3;

/// A decoded pickle.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    pub(super) root: NodeId,
    pub(super) protocol: u8,
}

impl<'a> Graph<'a> {
    pub(super) fn first_nodes() -> Vec<Node<'a>> {
        vec![Node::None, Node::Bool(false), Node::Bool(true), Node::Tuple([].into())]
    }

    pub(super) fn new(nodes: Vec<Node<'a>>, root: NodeId, protocol: u8) -> Self {
        let mut graph = Self { nodes, root, protocol };
        graph.drop_duplicate_keys();
        graph
    }

    pub(super) fn node(&self, id: NodeId) -> &Node<'a> {
        // The VM creates ids only for existing nodes.
        self.nodes.get(id as usize).unwrap_or(&Node::None)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Calls `each` once with every node reachable from the root, children first. Errors if a value contains
    /// itself or nesting is too deep. The stack is on the heap, so nesting cannot overflow the thread's.
    pub(super) fn post_order(&self, mut each: impl FnMut(NodeId)) -> Result<(), Error> {
        const UNVISITED: u16 = 0;
        const OPEN: u16 = u16::MAX;
        // The height of each node: 1 for a leaf.
        let mut heights = vec![UNVISITED; self.nodes.len()];
        let mut open: Vec<(NodeId, Children<'_>, u16)> = Vec::new();
        let mut next = Some(self.root);
        loop {
            if let Some(id) = next.take() {
                match heights[id as usize] {
                    UNVISITED => {
                        heights[id as usize] = OPEN;
                        open.push((id, self.children(id), 1));
                    }
                    OPEN => return Err(Error::unreadable("a value of the session contains itself")),
                    known => {
                        if let Some((_, _, height)) = open.last_mut() {
                            *height = (*height).max(known + 1);
                        }
                    }
                }
            }
            let Some((id, children, height)) = open.last_mut() else { return Ok(()) };
            if usize::from(*height) > MAX_DEPTH + 1 {
                return Err(too_deep());
            }
            next = children.find_map(Step::node);
            if next.is_none() {
                each(*id);
                heights[*id as usize] = *height;
                // Visited again, to add its height to its parent's.
                next = Some(*id);
                open.pop();
                if open.is_empty() {
                    return Ok(());
                }
            } else if open.len() > MAX_DEPTH {
                return Err(too_deep());
            }
        }
    }

    pub(super) fn children(&self, id: NodeId) -> Children<'_> {
        match self.node(id) {
            Node::List(items) | Node::Set(items) => Children::Ids(items.iter()),
            Node::Tuple(items) | Node::FrozenSet(items) => Children::Ids(items.iter()),
            Node::Dict(pairs) => Children::Ids(pairs.as_flattened().iter()),
            Node::Object(steps) => Children::Steps(steps.iter()),
            _ => Children::Ids([].iter()),
        }
    }

    /// Keeps the last value of duplicate keys, in the place of the first, as Python does. Only string keys
    /// matter: dicts with other keys are written back as opcodes, and Python compares those keys itself.
    fn drop_duplicate_keys(&mut self) {
        if !self.nodes.iter().any(|node| matches!(node, Node::Dict(pairs) if pairs.len() > 1)) {
            return;
        }
        // For each string node the first node with equal text, so that each text is hashed once.
        let mut texts: HashMap<&[u8], NodeId> = HashMap::new();
        let first_equal: Vec<Option<NodeId>> = (0..)
            .zip(&self.nodes)
            .map(|(id, node)| match node {
                Node::Str(text) => Some(*texts.entry(text).or_insert(id)),
                _ => None,
            })
            .collect();
        drop(texts);
        let text = |key: NodeId| first_equal.get(key as usize).copied().flatten();
        // By text: the last dict that has it as a key, and the last value there.
        let mut last: Vec<(usize, NodeId)> = vec![(0, 0); self.nodes.len()];
        for (number, node) in (1..).zip(&mut self.nodes) {
            let Node::Dict(pairs) = node else { continue };
            for [key, value] in pairs.iter() {
                if let Some(text) = text(*key) {
                    last[text as usize] = (number, *value);
                }
            }
            // The first pair of a key takes the last value. Later pairs find the mark gone.
            pairs.retain_mut(|[key, value]| match text(*key).map(|text| &mut last[text as usize]) {
                None => true,
                Some((dict, last)) if *dict == number => {
                    (*dict, *value) = (0, *last);
                    true
                }
                Some(_) => false,
            });
        }
    }
}

fn too_deep() -> Error {
    Error::unreadable(format!("the session is nested deeper than {MAX_DEPTH} levels"))
}
