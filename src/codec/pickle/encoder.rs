//! Encodes values as opcodes. Python 3 reads all of them, and Python 2.3 those of JSON values.

use super::{
    Budget, PickleError,
    graph::{Children, Graph, Node, NodeId, Step},
    integer::{self, Int},
    opcode as op,
};
use crate::Error;

/// The protocol of JSON values. Objects may need a higher one.
pub(super) const MIN_PROTOCOL: u8 = 2;

/// Appends opcodes to a buffer.
#[derive(Debug, Default)]
pub(super) struct Encoder(pub(super) Vec<u8>);

impl Encoder {
    pub(super) fn op(&mut self, opcode: u8) {
        self.0.push(opcode);
    }

    fn op_with(&mut self, opcode: u8, bytes: &[u8]) {
        self.0.push(opcode);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.op(if value { op::NEWTRUE } else { op::NEWFALSE });
    }

    pub(super) fn integer(&mut self, value: &Int) {
        match value {
            Int::Small(value) => self.int(*value),
            Int::Big(bytes) => self.big(bytes),
        }
    }

    fn int(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.op_with(op::BININT1, &[byte]);
        } else if let Ok(short) = u16::try_from(value) {
            self.op_with(op::BININT2, &short.to_le_bytes());
        } else if let Ok(int) = i32::try_from(value) {
            self.op_with(op::BININT, &int.to_le_bytes());
        } else {
            self.big(integer::shortest(&value.to_le_bytes()));
        }
    }

    fn big(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(length) => self.op_with(op::LONG1, &[length]),
            // `integer::MAX_DIGITS` bounds the length.
            Err(_) => self.op_with(op::LONG4, &(bytes.len() as u32).to_le_bytes()),
        }
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn float(&mut self, value: f64) {
        self.op_with(op::BINFLOAT, &value.to_be_bytes());
    }

    /// Appends a string, whose bytes (see [`wtf8`](super::wtf8)) `fill` appends.
    pub(super) fn text(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        self.op_with(op::BINUNICODE, &[0; 4]);
        let start = self.0.len();
        fill(&mut self.0);
        let length = self.0.len() - start;
        match u32::try_from(length) {
            Ok(length) => self.0[start - 4..start].copy_from_slice(&length.to_le_bytes()),
            Err(_) => {
                let length = (length as u64).to_le_bytes();
                self.0.splice(start - 5..start, [op::BINUNICODE8].into_iter().chain(length));
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match (u8::try_from(bytes.len()), u32::try_from(bytes.len())) {
            (Ok(length), _) => self.op_with(op::SHORT_BINBYTES, &[length]),
            (_, Ok(length)) => self.op_with(op::BINBYTES, &length.to_le_bytes()),
            _ => self.op_with(op::BINBYTES8, &(bytes.len() as u64).to_le_bytes()),
        }
        self.0.extend_from_slice(bytes);
    }

    fn byte_array(&mut self, bytes: &[u8]) {
        self.op_with(op::BYTEARRAY8, &(bytes.len() as u64).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// Opens a container that the opcode `close` completes from the mark on.
    fn open(&mut self, empty: Option<u8>, close: u8) -> Option<u8> {
        self.0.extend(empty);
        self.op(op::MARK);
        Some(close)
    }

    /// Appends GLOBAL, which every protocol has. Its names end at newlines.
    fn global(&mut self, module: &[u8], name: &[u8]) -> Result<(), PickleError> {
        for text in [module, name] {
            if text.is_empty() || text.contains(&b'\n') || std::str::from_utf8(text).is_err() {
                return Err(PickleError("a class name is empty or has a newline"));
            }
        }
        self.op_with(op::GLOBAL, module);
        self.0.push(b'\n');
        self.0.extend_from_slice(name);
        self.0.push(b'\n');
        Ok(())
    }
}

/// Encodes a value without a memo: a value that a pickle refers to many times is written as many times, up to
/// the budget. The stack is on the heap, so nesting cannot overflow the thread's.
pub(super) fn encode(graph: &Graph<'_>, value: NodeId, budget: &mut Budget) -> Result<Box<[u8]>, Error> {
    let mut out = Encoder::default();
    // Open containers: the children to come, and the closing opcode.
    let mut open: Vec<(Children<'_>, Option<u8>)> = Vec::new();
    let mut next = Some(Step::Node(value));
    loop {
        let before = out.0.len();
        match next {
            Some(Step::Node(id)) => {
                if let Some(close) = begin(graph, id, &mut out)? {
                    open.push((graph.children(id), close));
                }
            }
            Some(Step::Op(opcode)) => out.op(opcode),
            None => {
                let Some((_, close)) = open.pop() else { return Ok(out.0.into()) };
                out.0.extend(close);
            }
        }
        budget.spend(out.0.len() - before)?;
        next = open.last_mut().and_then(|(children, _)| children.next());
    }
}

/// Encodes a scalar, or opens a container. Returns a container's closing opcode, which objects lack.
fn begin(graph: &Graph<'_>, id: NodeId, out: &mut Encoder) -> Result<Option<Option<u8>>, Error> {
    match graph.node(id) {
        Node::None => out.op(op::NONE),
        Node::Bool(value) => out.bool(*value),
        Node::Int(value) => out.integer(value),
        Node::Float(value) => out.float(*value),
        Node::Str(text) => out.text(|out| out.extend_from_slice(text)),
        Node::Bytes(bytes) => out.bytes(bytes),
        Node::ByteArray(bytes) => out.byte_array(bytes),
        Node::List(items) if items.is_empty() => out.op(op::EMPTY_LIST),
        Node::Set(items) if items.is_empty() => out.op(op::EMPTY_SET),
        Node::Dict(pairs) if pairs.is_empty() => out.op(op::EMPTY_DICT),
        Node::List(_) => return Ok(Some(out.open(Some(op::EMPTY_LIST), op::APPENDS))),
        Node::Set(_) => return Ok(Some(out.open(Some(op::EMPTY_SET), op::ADDITEMS))),
        Node::Dict(_) => return Ok(Some(out.open(Some(op::EMPTY_DICT), op::SETITEMS))),
        Node::FrozenSet(_) => return Ok(Some(out.open(None, op::FROZENSET))),
        Node::Tuple(items) => match items.len() {
            0 => out.op(op::EMPTY_TUPLE),
            1 => return Ok(Some(Some(op::TUPLE1))),
            2 => return Ok(Some(Some(op::TUPLE2))),
            3 => return Ok(Some(Some(op::TUPLE3))),
            _ => return Ok(Some(out.open(None, op::TUPLE))),
        },
        Node::Global(module, name) => {
            let text = |id: &NodeId| match graph.node(*id) {
                Node::Str(text) => &**text,
                _ => b"",
            };
            out.global(text(module), text(name))?;
        }
        Node::Object(_) => return Ok(Some(None)),
    }
    Ok(None)
}
