//! The stack and the memo that a pickle's opcodes work on.

use std::{borrow::Cow, collections::HashMap};

use super::{
    Broken,
    graph::{Graph, Id, Node, Piece},
    lines,
    number::Int,
    opcode as op,
};

pub(super) struct Machine<'a> {
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// The heights of the stack at which the open MARKs stand.
    marks: Vec<usize>,
    /// The values that have a number: those numbered in turn, and the others.
    memo: Vec<Id>,
    odd_memo: HashMap<u64, Id>,
}

const MISSING: Broken = Broken("a value is missing");

impl<'a> Machine<'a> {
    pub(super) fn new() -> Self {
        let nodes = Graph::first_nodes();
        Self { nodes, stack: Vec::new(), marks: Vec::new(), memo: Vec::new(), odd_memo: HashMap::new() }
    }

    pub(super) fn into_graph(self, root: Id, protocol: u8) -> Graph<'a> {
        Graph::new(self.nodes, root, protocol)
    }

    pub(super) fn mark(&mut self) {
        self.marks.push(self.stack.len());
    }

    /// Nothing below the last mark can be reached.
    fn fence(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, Broken> {
        self.stack.get(self.fence()..).and_then(<[Id]>::last).copied().ok_or(MISSING)
    }

    pub(super) fn pop(&mut self) -> Result<Id, Broken> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// A value, or a mark that nothing stands above.
    pub(super) fn pop_any(&mut self) -> Result<(), Broken> {
        if self.pop().is_err() {
            self.marks.pop().ok_or(MISSING)?;
        }
        Ok(())
    }

    fn pop_many<const N: usize>(&mut self) -> Result<[Id; N], Broken> {
        let above = self.stack.get(self.fence()..).unwrap_or_default();
        let many = *above.last_chunk().ok_or(MISSING)?;
        self.stack.truncate(self.stack.len() - N);
        Ok(many)
    }

    /// Takes all that stands above the last mark, and the mark.
    pub(super) fn since_mark(&mut self) -> Result<Vec<Id>, Broken> {
        let mark = self.marks.pop().ok_or(Broken("a mark is missing"))?;
        // Not split_off: that may allocate as much as the whole stack has.
        Ok(self.stack.drain(mark..).collect())
    }

    pub(super) fn dup(&mut self) -> Result<(), Broken> {
        self.stack.push(self.top()?);
        Ok(())
    }

    pub(super) fn put(&mut self, index: u64) -> Result<(), Broken> {
        let top = self.top()?;
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        if place == self.memo.len() {
            self.odd_memo.remove(&index);
            self.memo.push(top);
        } else if let Some(known) = self.memo.get_mut(place) {
            *known = top;
        } else {
            self.odd_memo.insert(index, top);
        }
        Ok(())
    }

    pub(super) fn memoize(&mut self) -> Result<(), Broken> {
        self.put((self.memo.len() + self.odd_memo.len()) as u64)
    }

    pub(super) fn get(&mut self, index: u64) -> Result<(), Broken> {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let known = self.memo.get(place).or_else(|| self.odd_memo.get(&index));
        self.stack.push(*known.ok_or(Broken("it names a value that is not there"))?);
        Ok(())
    }

    pub(super) fn push_known(&mut self, id: Id) {
        self.stack.push(id);
    }

    fn add(&mut self, node: Node<'a>) -> Result<Id, Broken> {
        let id = Id::try_from(self.nodes.len()).map_err(|_| Broken("it has too many values"))?;
        self.nodes.push(node);
        Ok(id)
    }

    pub(super) fn push(&mut self, node: Node<'a>) -> Result<(), Broken> {
        let id = self.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn integer(&mut self, value: Int) -> Result<(), Broken> {
        self.push(match value {
            Int::Small(value) => Node::Int(value),
            Int::Big(bytes) => Node::Big(bytes),
        })
    }

    pub(super) fn text(&mut self, text: &'a [u8]) -> Result<(), Broken> {
        if !lines::is_text(text) {
            return Err(Broken("a string is not UTF-8"));
        }
        self.push(Node::Str(text.into()))
    }

    /// Python 2's `str`, which Python 3 takes for ASCII.
    pub(super) fn ascii(&mut self, text: impl Into<Cow<'a, [u8]>>) -> Result<(), Broken> {
        let text = text.into();
        if !text.is_ascii() {
            return Err(Broken("a string of Python 2 is not ASCII"));
        }
        self.push(Node::Str(text))
    }

    pub(super) fn tuple<const N: usize>(&mut self) -> Result<(), Broken> {
        let items = self.pop_many::<N>()?;
        self.push(Node::Tuple(items.into()))
    }

    pub(super) fn dict(&mut self) -> Result<(), Broken> {
        let items = self.since_mark()?;
        self.push(Node::Dict(pairs(&items)?.collect()))
    }

    pub(super) fn set_item(&mut self) -> Result<(), Broken> {
        let [key, value] = self.pop_many()?;
        self.fill(op::SETITEM, &[key, value])
    }

    /// APPEND and BUILD.
    pub(super) fn fill_one(&mut self, opcode: u8) -> Result<(), Broken> {
        let item = self.pop()?;
        self.fill(opcode, &[item])
    }

    /// APPENDS, SETITEMS and ADDITEMS.
    pub(super) fn fill_many(&mut self, opcode: u8) -> Result<(), Broken> {
        let items = self.since_mark()?;
        if items.is_empty() {
            return self.top().map(drop); // Python does not look at what it is
        }
        self.fill(opcode, &items)
    }

    /// Puts what an opcode has into the value on the stack's top.
    fn fill(&mut self, opcode: u8, items: &[Id]) -> Result<(), Broken> {
        let target = self.top()? as usize;
        match (opcode, self.nodes.get_mut(target)) {
            (op::APPEND | op::APPENDS, Some(Node::List(list))) => list.extend_from_slice(items),
            (op::SETITEM | op::SETITEMS, Some(Node::Dict(dict))) => dict.extend(pairs(items)?),
            (op::ADDITEMS, Some(Node::Set(set))) => set.extend_from_slice(items),
            (_, Some(Node::Object(pieces))) => {
                if opcode == op::SETITEMS {
                    drop(pairs(items)?);
                }
                let many = matches!(opcode, op::APPENDS | op::SETITEMS | op::ADDITEMS);
                pieces.extend(many.then_some(Piece::Op(op::MARK)));
                pieces.extend(items.iter().copied().map(Piece::Node));
                pieces.push(Piece::Op(opcode));
            }
            _ => return Err(Broken("something is put into a value that cannot hold it")),
        }
        Ok(())
    }

    fn add_global(&mut self, module: &'a [u8], name: &'a [u8]) -> Result<Id, Broken> {
        if [module, name].iter().any(|text| std::str::from_utf8(text).is_err()) {
            return Err(Broken("the name of a class is not UTF-8"));
        }
        let module = self.add(Node::Str(module.into()))?;
        let name = self.add(Node::Str(name.into()))?;
        self.add(Node::Global(module, name))
    }

    pub(super) fn global(&mut self, module: &'a [u8], name: &'a [u8]) -> Result<(), Broken> {
        let global = self.add_global(module, name)?;
        self.stack.push(global);
        Ok(())
    }

    pub(super) fn stack_global(&mut self) -> Result<(), Broken> {
        let [module, name] = self.pop_many()?;
        for id in [module, name] {
            if !matches!(self.nodes.get(id as usize), Some(Node::Str(_))) {
                return Err(Broken("the name of a class is no string"));
            }
        }
        self.push(Node::Global(module, name))
    }

    /// REDUCE, NEWOBJ and NEWOBJ_EX: a class or function, a tuple of arguments, perhaps a dict of named ones.
    pub(super) fn object<const N: usize>(&mut self, opcode: u8) -> Result<(), Broken> {
        let parts = self.pop_many::<N>()?;
        let arguments = parts.get(1).and_then(|id| self.nodes.get(*id as usize));
        if !matches!(arguments, Some(Node::Tuple(_))) {
            return Err(Broken("the arguments of an object are no tuple"));
        }
        let pieces = parts.into_iter().map(Piece::Node).chain([Piece::Op(opcode)]);
        self.push(Node::Object(pieces.collect()))
    }

    /// INST, where the class is named, and OBJ, where it stands after the mark.
    pub(super) fn instance(&mut self, class: Option<(&'a [u8], &'a [u8])>) -> Result<(), Broken> {
        let parts = self.since_mark()?;
        let class = class.map(|(module, name)| self.add_global(module, name)).transpose()?;
        if class.is_none() && parts.is_empty() {
            return Err(Broken("an object has no class"));
        }
        let nodes = class.into_iter().chain(parts).map(Piece::Node);
        let pieces = [Piece::Op(op::MARK)].into_iter().chain(nodes).chain([Piece::Op(op::OBJ)]);
        self.push(Node::Object(pieces.collect()))
    }
}

fn pairs(items: &[Id]) -> Result<impl Iterator<Item = (Id, Id)>, Broken> {
    let (pairs, []) = items.as_chunks::<2>() else { return Err(Broken("a key has no value")) };
    Ok(pairs.iter().map(|[key, value]| (*key, *value)))
}
