//! Writes values as opcodes that every Python 3 reads, and Python 2.3 and newer for what JSON can hold.

use super::{
    Broken, Budget,
    graph::{Graph, Id, Node, Parts, Piece},
    lines,
    number::Int,
    opcode as op,
};
use crate::Error;

/// The protocol that all of JSON needs.
pub(super) const PROTOCOL: u8 = 2;

/// Opcodes as they grow.
#[derive(Debug, Default)]
pub(super) struct Opcodes(pub(super) Vec<u8>);

impl Opcodes {
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
            self.big(super::number::shortest(&value.to_le_bytes()));
        }
    }

    fn big(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(length) => self.op_with(op::LONG1, &[length]),
            // Its length is bounded by number::MAX_DIGITS.
            Err(_) => self.op_with(op::LONG4, &(bytes.len() as u32).to_le_bytes()),
        }
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn float(&mut self, value: f64) {
        self.op_with(op::BINFLOAT, &value.to_be_bytes());
    }

    /// A string, whose UTF-8 (surrogates allowed) `fill` appends.
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

    /// Begins what `close` ends and takes from a mark on.
    fn open(&mut self, empty: Option<u8>, close: u8) -> Option<u8> {
        self.0.extend(empty);
        self.op(op::MARK);
        Some(close)
    }

    /// By the opcode whose names end at newlines, as all protocols have it.
    fn global(&mut self, module: &[u8], name: &[u8]) -> Result<(), Broken> {
        for text in [module, name] {
            if text.is_empty() || text.contains(&b'\n') || std::str::from_utf8(text).is_err() {
                return Err(Broken("the name of a class is no name"));
            }
        }
        self.op_with(op::GLOBAL, module);
        self.0.push(b'\n');
        self.0.extend_from_slice(name);
        self.0.push(b'\n');
        Ok(())
    }
}

/// The opcodes that make a value, without a memo. Ends when they exceed what is left of the budget: what a pickle
/// names many times is written as many times. With a stack of our own, so that nesting cannot exhaust the thread's.
pub(super) fn fragment(graph: &Graph<'_>, value: Id, budget: &mut Budget) -> Result<Box<[u8]>, Error> {
    let mut out = Opcodes::default();
    // What is open: its parts that are still to come, and the opcode that ends it.
    let mut open: Vec<(Parts<'_>, Option<u8>)> = Vec::new();
    let mut next = Some(Piece::Node(value));
    loop {
        let before = out.0.len();
        match next {
            Some(Piece::Node(id)) => {
                if let Some(close) = begin(graph, id, &mut out)? {
                    open.push((graph.parts(id), close));
                }
            }
            Some(Piece::Op(opcode)) => out.op(opcode),
            None => {
                let Some((_, close)) = open.pop() else { return Ok(out.0.into()) };
                out.0.extend(close);
            }
        }
        budget.spend(out.0.len() - before)?;
        next = open.last_mut().and_then(|(parts, _)| parts.next());
    }
}

/// Writes a value that has no parts, or the beginning of one that has; of that the opcode that ends it, if any.
fn begin(graph: &Graph<'_>, id: Id, out: &mut Opcodes) -> Result<Option<Option<u8>>, Error> {
    match graph.node(id) {
        Node::None => out.op(op::NONE),
        Node::Bool(value) => out.bool(*value),
        Node::Int(value) => out.int(*value),
        Node::Big(bytes) => out.big(bytes),
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
            let text = |id: &Id| match graph.node(*id) {
                Node::Str(text) => &**text,
                _ => b"",
            };
            out.global(text(module), text(name))?;
        }
        Node::Object(_) => return Ok(Some(None)),
    }
    Ok(None)
}

/// The text between a JSON string's quotes as UTF-8, with surrogates that have no other half.
pub(super) fn unescape(raw: &str, out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut escape = rest[at + 1..].chars();
        match escape.next() {
            Some('b') => out.push(8),
            Some('f') => out.push(12),
            Some('n') => out.push(b'\n'),
            Some('r') => out.push(b'\r'),
            Some('t') => out.push(b'\t'),
            Some('u') => {
                let first = four_digits(escape.as_str());
                let mut after = escape.as_str().get(4..).unwrap_or_default();
                let mut code = first.unwrap_or(0xfffd);
                let second = after.strip_prefix("\\u").and_then(four_digits);
                if let (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) = (code, second) {
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    after = after.get(6..).unwrap_or_default();
                }
                lines::push_code_point(out, code);
                rest = after;
                continue;
            }
            Some(other) => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {}
        }
        rest = escape.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

fn four_digits(text: &str) -> Option<u32> {
    u32::from_str_radix(text.get(..4)?, 16).ok()
}
