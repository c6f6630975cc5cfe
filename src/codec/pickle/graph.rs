//! What a pickle describes: values that point at each other, and recipes for objects that nobody here follows.

use std::{borrow::Cow, collections::HashMap};

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

    /// Gives `each` every node that the root needs, once, after those that it needs itself. Errors if a value holds
    /// itself or is nested too deep. With a stack of our own, so that nesting cannot exhaust the thread's.
    pub(super) fn visit(&self, mut each: impl FnMut(Id)) -> Result<(), Error> {
        enum Step {
            Enter(Id),
            Leave(Id),
        }
        const UNSEEN: u16 = 0;
        const OPEN: u16 = u16::MAX;
        // The levels below each node, and one more.
        let mut depths = vec![UNSEEN; self.nodes.len()];
        let mut steps = vec![Step::Enter(self.root)];
        while let Some(step) = steps.pop() {
            match step {
                Step::Enter(id) => match depths[id as usize] {
                    UNSEEN => {
                        depths[id as usize] = OPEN;
                        steps.push(Step::Leave(id));
                        self.for_parts(id, |part| steps.push(Step::Enter(part)));
                    }
                    OPEN => return Err(Error::unreadable("a value of the session holds itself")),
                    _ => {}
                },
                Step::Leave(id) => {
                    let mut below = 0;
                    let mut has_parts = false;
                    self.for_parts(id, |part| {
                        has_parts = true;
                        below = below.max(depths[part as usize]);
                    });
                    let depth = if has_parts { below + 1 } else { 1 };
                    if usize::from(depth) > MAX_DEPTH + 1 {
                        return Err(Error::unreadable(format!(
                            "the session is nested deeper than {MAX_DEPTH} levels"
                        )));
                    }
                    depths[id as usize] = depth;
                    each(id);
                }
            }
        }
        Ok(())
    }

    fn for_parts(&self, id: Id, mut each: impl FnMut(Id)) {
        match self.node(id) {
            Node::List(items) | Node::Set(items) => items.iter().copied().for_each(each),
            Node::Tuple(items) | Node::FrozenSet(items) => items.iter().copied().for_each(each),
            Node::Dict(pairs) => pairs.iter().for_each(|&(key, value)| {
                each(key);
                each(value);
            }),
            &Node::Global(module, name) => [module, name].into_iter().for_each(each),
            Node::Object(pieces) => pieces.iter().for_each(|piece| {
                if let &Piece::Node(part) = piece {
                    each(part);
                }
            }),
            _ => {}
        }
    }

    /// As in Python, the last value of a key counts, in the place of the first. Python's own pickles have no
    /// duplicates. Only keys that are strings are looked at: the others have no JSON of their own anyway.
    fn drop_duplicate_keys(&mut self) {
        if !self.nodes.iter().any(|node| matches!(node, Node::Dict(pairs) if pairs.len() > 1)) {
            return;
        }
        // The first node with the same text, for each node. Each text is looked at once, however often it is named.
        let mut texts: HashMap<&[u8], Id> = HashMap::new();
        let same: Vec<Id> = (0..)
            .zip(&self.nodes)
            .map(|(id, node)| match node {
                Node::Str(text) => *texts.entry(text).or_insert(id),
                _ => id,
            })
            .collect();
        drop(texts);
        let mut places: HashMap<Id, usize> = HashMap::new();
        for node in &mut self.nodes {
            let Node::Dict(pairs) = node else { continue };
            places.clear();
            let mut kept = 0;
            for index in 0..pairs.len() {
                let (key, value) = pairs[index];
                let place = *places.entry(same[key as usize]).or_insert(kept);
                if place == kept {
                    pairs[kept] = (key, value);
                    kept += 1;
                } else {
                    pairs[place].1 = value;
                }
            }
            pairs.truncate(kept);
        }
    }
}
