//! The pickle virtual machine: its stack, marks and memo.

use std::{borrow::Cow, collections::HashMap};

use super::{
    PickleError,
    graph::{Graph, Node, NodeId, Step},
    opcode as op, wtf8,
};

pub(super) struct Vm<'a> {
    nodes: Vec<Node<'a>>,
    stack: Vec<NodeId>,
    /// The heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: Vec<NodeId>,
    /// Memo entries whose keys are out of sequence.
    sparse_memo: HashMap<u64, NodeId>,
    /// The number of values that were put into containers.
    contained: usize,
}

const MISSING: PickleError = PickleError("the stack is empty");

impl<'a> Vm<'a> {
    pub(super) fn new() -> Self {
        Self {
            nodes: Graph::first_nodes(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            sparse_memo: HashMap::new(),
            contained: 0,
        }
    }

    pub(super) fn into_graph(self, root: NodeId, protocol: u8) -> Graph<'a> {
        Graph::new(self.nodes, root, protocol)
    }

    /// Whether it holds more than so many values, or four times as many references to values: a reference
    /// takes less memory, and at least three bytes of JSON.
    pub(super) fn has_more_than(&self, max_values: usize) -> bool {
        let memo = self.memo.len() + self.sparse_memo.len();
        let references = self.stack.len() + self.marks.len() + memo + self.contained;
        self.nodes.len() > max_values || references > max_values * 4
    }

    pub(super) fn mark(&mut self) {
        self.marks.push(self.stack.len());
    }

    /// Opcodes cannot reach values below the last mark.
    fn mark_height(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<NodeId, PickleError> {
        self.stack.get(self.mark_height()..).and_then(<[NodeId]>::last).copied().ok_or(MISSING)
    }

    pub(super) fn pop(&mut self) -> Result<NodeId, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Pops a value, or a mark with no value above it.
    pub(super) fn pop_any(&mut self) -> Result<(), PickleError> {
        if self.pop().is_err() {
            self.marks.pop().ok_or(MISSING)?;
        }
        Ok(())
    }

    fn pop_many<const N: usize>(&mut self) -> Result<[NodeId; N], PickleError> {
        let above = self.stack.get(self.mark_height()..).unwrap_or_default();
        let many = *above.last_chunk().ok_or(MISSING)?;
        self.stack.truncate(self.stack.len() - N);
        Ok(many)
    }

    /// Pops the last mark and all values above it.
    pub(super) fn pop_mark(&mut self) -> Result<Vec<NodeId>, PickleError> {
        let mark = self.marks.pop().ok_or(PickleError("a mark is missing"))?;
        // `split_off` could allocate as much as the whole stack.
        Ok(self.stack.drain(mark..).collect())
    }

    pub(super) fn dup(&mut self) -> Result<(), PickleError> {
        self.stack.push(self.top()?);
        Ok(())
    }

    pub(super) fn put(&mut self, index: u64) -> Result<(), PickleError> {
        let top = self.top()?;
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        if position == self.memo.len() {
            self.sparse_memo.remove(&index);
            self.memo.push(top);
        } else if let Some(known) = self.memo.get_mut(position) {
            *known = top;
        } else {
            self.sparse_memo.insert(index, top);
        }
        Ok(())
    }

    pub(super) fn memoize(&mut self) -> Result<(), PickleError> {
        self.put((self.memo.len() + self.sparse_memo.len()) as u64)
    }

    pub(super) fn get(&mut self, index: u64) -> Result<(), PickleError> {
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        let known = self.memo.get(position).or_else(|| self.sparse_memo.get(&index));
        self.stack.push(*known.ok_or(PickleError("a memo key is not set"))?);
        Ok(())
    }

    pub(super) fn push_id(&mut self, id: NodeId) {
        self.stack.push(id);
    }

    fn add(&mut self, node: Node<'a>) -> Result<NodeId, PickleError> {
        let id = NodeId::try_from(self.nodes.len()).map_err(|_| PickleError("it has too many values"))?;
        self.nodes.push(node);
        Ok(id)
    }

    pub(super) fn push(&mut self, node: Node<'a>) -> Result<(), PickleError> {
        let id = self.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn text(&mut self, text: &'a [u8]) -> Result<(), PickleError> {
        if !wtf8::is_valid(text) {
            return Err(PickleError("a string is not UTF-8"));
        }
        self.push(Node::Str(text.into()))
    }

    /// Python 2's `str`, which Python 3 decodes as ASCII.
    pub(super) fn ascii(&mut self, text: impl Into<Cow<'a, [u8]>>) -> Result<(), PickleError> {
        let text = text.into();
        if !text.is_ascii() {
            return Err(PickleError("a string of Python 2 is not ASCII"));
        }
        self.push(Node::Str(text))
    }

    pub(super) fn container(&mut self, new: impl FnOnce(Vec<NodeId>) -> Node<'a>) -> Result<(), PickleError> {
        let items = self.pop_mark()?;
        self.contained += items.len();
        self.push(new(items))
    }

    pub(super) fn tuple<const N: usize>(&mut self) -> Result<(), PickleError> {
        let items = self.pop_many::<N>()?;
        self.push(Node::Tuple(items.into()))
    }

    pub(super) fn dict(&mut self) -> Result<(), PickleError> {
        let items = self.pop_mark()?;
        self.contained += items.len();
        self.push(Node::Dict(pairs(&items)?.into()))
    }

    pub(super) fn set_item(&mut self) -> Result<(), PickleError> {
        let [key, value] = self.pop_many()?;
        self.extend(op::SETITEM, &[key, value])
    }

    /// Executes APPEND and BUILD.
    pub(super) fn extend_one(&mut self, opcode: u8) -> Result<(), PickleError> {
        let item = self.pop()?;
        self.extend(opcode, &[item])
    }

    /// Executes APPENDS, SETITEMS and ADDITEMS.
    pub(super) fn extend_many(&mut self, opcode: u8) -> Result<(), PickleError> {
        let items = self.pop_mark()?;
        if items.is_empty() {
            return self.top().map(drop); // Python does not check its type
        }
        self.extend(opcode, &items)
    }

    /// Adds items to the value on top of the stack. An object records them as steps.
    fn extend(&mut self, opcode: u8, items: &[NodeId]) -> Result<(), PickleError> {
        self.contained += items.len();
        let target = self.top()? as usize;
        match (opcode, self.nodes.get_mut(target)) {
            (op::APPEND | op::APPENDS, Some(Node::List(list))) => list.extend_from_slice(items),
            (op::SETITEM | op::SETITEMS, Some(Node::Dict(dict))) => dict.extend_from_slice(pairs(items)?),
            (op::ADDITEMS, Some(Node::Set(set))) => set.extend_from_slice(items),
            (_, Some(Node::Object(steps))) => {
                if opcode == op::SETITEMS {
                    pairs(items)?;
                }
                let many = matches!(opcode, op::APPENDS | op::SETITEMS | op::ADDITEMS);
                steps.extend(many.then_some(Step::Op(op::MARK)));
                steps.extend(items.iter().copied().map(Step::Node));
                steps.push(Step::Op(opcode));
            }
            _ => return Err(PickleError("items are added to a value that is not a container")),
        }
        Ok(())
    }

    fn add_global(&mut self, module: &'a [u8], name: &'a [u8]) -> Result<NodeId, PickleError> {
        if [module, name].iter().any(|text| std::str::from_utf8(text).is_err()) {
            return Err(PickleError("a class name is not UTF-8"));
        }
        let module = self.add(Node::Str(module.into()))?;
        let name = self.add(Node::Str(name.into()))?;
        self.add(Node::Global(module, name))
    }

    pub(super) fn global(&mut self, module: &'a [u8], name: &'a [u8]) -> Result<(), PickleError> {
        let global = self.add_global(module, name)?;
        self.stack.push(global);
        Ok(())
    }

    pub(super) fn stack_global(&mut self) -> Result<(), PickleError> {
        let [module, name] = self.pop_many()?;
        for id in [module, name] {
            if !matches!(self.nodes.get(id as usize), Some(Node::Str(_))) {
                return Err(PickleError("a class name is not a string"));
            }
        }
        self.push(Node::Global(module, name))
    }

    /// Executes REDUCE, NEWOBJ and NEWOBJ_EX, whose operands are a callable, a tuple and perhaps a dict.
    pub(super) fn object<const N: usize>(&mut self, opcode: u8) -> Result<(), PickleError> {
        let operands = self.pop_many::<N>()?;
        let arguments = operands.get(1).and_then(|id| self.nodes.get(*id as usize));
        if !matches!(arguments, Some(Node::Tuple(_))) {
            return Err(PickleError("the arguments of an object are not a tuple"));
        }
        let steps = operands.into_iter().map(Step::Node).chain([Step::Op(opcode)]);
        self.push(Node::Object(steps.collect()))
    }

    /// Executes INST, which names the class, and OBJ, which has it above the mark.
    pub(super) fn instance(&mut self, class: Option<(&'a [u8], &'a [u8])>) -> Result<(), PickleError> {
        let arguments = self.pop_mark()?;
        self.contained += arguments.len();
        let class = class.map(|(module, name)| self.add_global(module, name)).transpose()?;
        if class.is_none() && arguments.is_empty() {
            return Err(PickleError("an object has no class"));
        }
        let nodes = class.into_iter().chain(arguments).map(Step::Node);
        let steps = [Step::Op(op::MARK)].into_iter().chain(nodes).chain([Step::Op(op::OBJ)]);
        self.push(Node::Object(steps.collect()))
    }
}

fn pairs(items: &[NodeId]) -> Result<&[[NodeId; 2]], PickleError> {
    let (pairs, []) = items.as_chunks() else { return Err(PickleError("a key has no value")) };
    Ok(pairs)
}
