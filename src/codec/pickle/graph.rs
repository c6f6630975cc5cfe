//! What a pickle describes: values that point at each other, and recipes for objects that nobody here follows.

use std::{borrow::Cow, collections::HashMap, slice};

use super::MAX_DEPTH;
use crate::Error;

/// The number of a node.
pub(super) type Id = u32;

/// One value. Its parts are numbers of other nodes, since a pickle may name a value many times.
#[derive(Debug)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Beyond 64 bits: two's complement, the lowest byte first.
    Big(Box<[u8]>),
    Float(f64),
    /// UTF-8 that may have lone surrogates too, as Python's strings do.
    Str(Cow<'a, [u8]>),
    Bytes(&'a [u8]),
    ByteArray(&'a [u8]),
    List(Vec<Id>),
    Tuple(Box<[Id]>),
    Dict(Vec<(Id, Id)>),
    Set(Vec<Id>),
    FrozenSet(Box<[Id]>),
    /// A class or function, by the nodes of its module's name and its own.
    Global(Id, Id),
    /// Anything else, as the recipe by which Python would make it.
    Object(Vec<Piece>),
}

/// A step of a recipe, in the order of the pickle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Piece {
    Node(Id),
    Op(u8),
}

impl Piece {
    pub(super) fn node(self) -> Option<Id> {
        match self {
            Self::Node(id) => Some(id),
            Self::Op(_) => None,
        }
    }
}

/// What a value is made of, in the order of the pickle; of a dict key and value in turn.
#[derive(Clone, Debug)]
pub(super) enum Parts<'a> {
    Ids(slice::Iter<'a, Id>),
    Pairs(slice::Iter<'a, (Id, Id)>, Option<Id>),
    Pieces(slice::Iter<'a, Piece>),
}

impl Iterator for Parts<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        match self {
            Self::Ids(ids) => ids.next().copied().map(Piece::Node),
            Self::Pairs(pairs, value) => match value.take() {
                Some(value) => Some(Piece::Node(value)),
                None => pairs.next().map(|(key, of_key)| {
                    *value = Some(*of_key);
                    Piece::Node(*key)
                }),
            },
            Self::Pieces(pieces) => pieces.next().copied(),
        }
    }
}

/// Values that every pickle may use, made once.
pub(super) const NONE: Id = 0;
pub(super) const FALSE: Id = 1;
pub(super) const TRUE: Id = 2;
pub(super) const EMPTY_TUPLE: Id = 3;

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    pub(super) root: Id,
    pub(super) protocol: u8,
}

impl<'a> Graph<'a> {
    pub(super) fn first_nodes() -> Vec<Node<'a>> {
        vec![Node::None, Node::Bool(false), Node::Bool(true), Node::Tuple([].into())]
    }

    pub(super) fn new(nodes: Vec<Node<'a>>, root: Id, protocol: u8) -> Self {
        let mut graph = Self { nodes, root, protocol };
        graph.drop_duplicate_keys();
        graph
    }

    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        // Only the reader makes ids, and only of nodes that it has made.
        self.nodes.get(id as usize).unwrap_or(&Node::None)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Gives `each` every value that the root needs, once, after those that it needs itself. Errors if a value holds
    /// itself or is nested too deep. With a stack of our own, so that nesting cannot exhaust the thread's.
    pub(super) fn visit(&self, mut each: impl FnMut(Id)) -> Result<(), Error> {
        const UNSEEN: u16 = 0;
        const OPEN: u16 = u16::MAX;
        // The levels below each node, and one more.
        let mut depths = vec![UNSEEN; self.nodes.len()];
        let mut open: Vec<(Id, Parts<'_>, u16)> = Vec::new();
        let mut next = Some(self.root);
        loop {
            if let Some(id) = next.take() {
                match depths[id as usize] {
                    UNSEEN => {
                        depths[id as usize] = OPEN;
                        open.push((id, self.parts(id), 1));
                    }
                    OPEN => return Err(Error::unreadable("a value of the session holds itself")),
                    known => {
                        if let Some((_, _, depth)) = open.last_mut() {
                            *depth = (*depth).max(known + 1);
                        }
                    }
                }
            }
            let Some((id, parts, depth)) = open.last_mut() else { return Ok(()) };
            if usize::from(*depth) > MAX_DEPTH + 1 {
                return Err(too_deep());
            }
            next = parts.find_map(Piece::node);
            if next.is_none() {
                each(*id);
                depths[*id as usize] = *depth;
                // Looked at once more, as a part of what holds it.
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

    pub(super) fn parts(&self, id: Id) -> Parts<'_> {
        match self.node(id) {
            Node::List(items) | Node::Set(items) => Parts::Ids(items.iter()),
            Node::Tuple(items) | Node::FrozenSet(items) => Parts::Ids(items.iter()),
            Node::Dict(pairs) => Parts::Pairs(pairs.iter(), None),
            Node::Object(pieces) => Parts::Pieces(pieces.iter()),
            _ => Parts::Ids([].iter()),
        }
    }

    /// As in Python, the last value of a key counts, in the place of the first. Python's own pickles have no
    /// duplicates. Only keys that are strings matter: dicts with others are not read as JSON alone, and Python
    /// finds out by itself which are equal.
    fn drop_duplicate_keys(&mut self) {
        if !self.nodes.iter().any(|node| matches!(node, Node::Dict(pairs) if pairs.len() > 1)) {
            return;
        }
        // Of each string the first node with the same text. Each is looked at once, however often it is named.
        let mut texts: HashMap<&[u8], Id> = HashMap::new();
        let same: Vec<Option<Id>> = (0..)
            .zip(&self.nodes)
            .map(|(id, node)| match node {
                Node::Str(text) => Some(*texts.entry(text).or_insert(id)),
                _ => None,
            })
            .collect();
        drop(texts);
        for node in &mut self.nodes {
            let Node::Dict(pairs) = node else { continue };
            let text = |key: Id| same.get(key as usize).copied().flatten();
            let repeats = |(index, (key, _)): (usize, &(Id, Id))| {
                text(*key).is_some() && pairs[..index].iter().any(|(other, _)| text(*other) == text(*key))
            };
            if pairs.len() <= FEW && !pairs.iter().enumerate().any(repeats) {
                continue;
            }
            let mut values: HashMap<Id, Id> =
                pairs.iter().filter_map(|(key, value)| Some((text(*key)?, *value))).collect();
            // The first of each key takes the last value, which leaves nothing to the others.
            pairs.retain_mut(|(key, value)| match text(*key) {
                Some(text) => values.remove(&text).map(|last| *value = last).is_some(),
                None => true,
            });
        }
    }
}

/// Up to so many pairs it is quicker to compare each with each than to make a map.
const FEW: usize = 8;

fn too_deep() -> Error {
    Error::unreadable(format!("the session is nested deeper than {MAX_DEPTH} levels"))
}
