//! A pickled dictionary as session data: JSON where that says all, and Python's own where it does not.

use std::sync::Arc;

use super::{
    Budget,
    graph::{Graph, Id, Node, Parts, Piece},
    number,
    recognise::Form,
    write,
};
use crate::{
    Error,
    codec::{
        SessionData,
        data::{Python, Text},
        json,
    },
};

/// How well JSON shows a value, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum View {
    /// Python reads the very same value from it.
    Exact,
    /// Something of it is lost, such as that a list was a tuple.
    Lossy,
    None,
}

/// Errors if the pickle holds anything but a dictionary, or its parts exceed the budget, `max_bytes`.
pub(super) fn session(graph: &Graph<'_>, budget: &mut Budget) -> Result<SessionData, Error> {
    let Node::Dict(pairs) = graph.node(graph.root) else {
        return Err(Error::unreadable("the session's pickle does not hold a dictionary"));
    };
    let mut views = Views { graph, of: vec![View::None; graph.len()] };
    graph.visit(|id| views.of[id as usize] = views.judge(id))?;
    let mut source = String::new();
    let mut members = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let is_name = matches!(graph.node(*key), Node::Str(_));
        let mut key = views.text(*key, is_name, &mut source, budget)?;
        if let Text::Read(quoted) = &mut key {
            *quoted = quoted.start + 1..quoted.end - 1;
        }
        members.push((key, views.text(*value, true, &mut source, budget)?));
    }
    Ok(SessionData::from_parts(source, members))
}

struct Views<'a> {
    graph: &'a Graph<'a>,
    of: Vec<View>,
}

impl Views<'_> {
    /// The view of a value whose parts have one already.
    fn judge(&self, id: Id) -> View {
        let worst = || self.graph.parts(id).filter_map(Piece::node).map(|id| self.of(id)).max();
        match self.graph.node(id) {
            Node::None | Node::Bool(_) | Node::Int(_) | Node::Big(_) | Node::Float(_) => View::Exact,
            Node::Str(text) if has_split_pair(text) => View::Lossy,
            Node::Str(_) => View::Exact,
            Node::List(_) => worst().unwrap_or(View::Exact),
            Node::Tuple(_) => worst().unwrap_or(View::Lossy).max(View::Lossy),
            Node::Dict(_) => self.judge_dict(self.graph.parts(id)),
            Node::Object(_) => match self.graph.form(id) {
                Some(Form::Text(_) | Form::As(_)) => View::Lossy,
                Some(Form::Dict(pieces)) => self.judge_dict(Parts::Pieces(pieces.iter())).max(View::Lossy),
                None => View::None,
            },
            Node::Bytes(_) | Node::ByteArray(_) | Node::Set(_) | Node::FrozenSet(_) | Node::Global(..) => {
                View::None
            }
        }
    }

    fn judge_dict(&self, parts: Parts<'_>) -> View {
        let mut parts = parts.filter_map(Piece::node);
        let mut worst = View::Exact;
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            let key = match self.graph.node(key) {
                Node::Str(_) => self.of(key),
                // As json.dumps, which makes strings of these.
                Node::None | Node::Bool(_) | Node::Int(_) | Node::Big(_) | Node::Float(_) => View::Lossy,
                _ => View::None,
            };
            worst = worst.max(key).max(self.of(value));
        }
        worst
    }

    fn of(&self, id: Id) -> View {
        self.of.get(id as usize).copied().unwrap_or(View::None)
    }

    /// A key or value of the session; as JSON that is part of `source` if that says all and `may_be_json`.
    fn text(
        &self,
        id: Id,
        may_be_json: bool,
        source: &mut String,
        budget: &mut Budget,
    ) -> Result<Text, Error> {
        let start = source.len();
        if self.of(id) == View::Exact && may_be_json {
            self.json(id, source, budget)?;
            return Ok(Text::Read(start..source.len()));
        }
        let mut json = String::new();
        if self.of(id) == View::None {
            json = format!("<{}>", self.graph.class(id));
            budget.spend(json.len())?;
        } else {
            self.json(id, &mut json, budget)?;
        }
        let pickle = write::fragment(self.graph, id, budget)?;
        Ok(Text::Python(Arc::new(Python { json: json.into(), pickle, protocol: self.graph.protocol })))
    }

    /// Appends the JSON of a value that has a view, as Python writes it. With a stack of our own, as nesting must not
    /// exhaust the thread's.
    fn json(&self, id: Id, out: &mut String, budget: &mut Budget) -> Result<(), Error> {
        let mut open: Vec<Open<'_>> = Vec::new();
        let mut next = Some(id);
        loop {
            let before = out.len();
            match next {
                Some(id) if open.last().is_some_and(Open::is_at_key) => self.key(id, out),
                Some(id) => open.extend(self.begin(id, out)),
                None => match open.pop() {
                    Some(done) => out.push(if done.is_dict { '}' } else { ']' }),
                    None => return Ok(()),
                },
            }
            next = open.last_mut().and_then(|last| last.next(out));
            budget.spend(out.len() - before)?;
        }
    }

    /// Writes a value, or the beginning of one that holds others.
    fn begin<'b>(&'b self, mut id: Id, out: &mut String) -> Option<Open<'b>> {
        let form = self.graph.form(id);
        if let Some(Form::As(other)) = form {
            id = other;
        }
        let (parts, is_dict) = match (self.graph.node(id), form) {
            (Node::List(_) | Node::Tuple(_), _) => (self.graph.parts(id), false),
            (Node::Dict(_), _) => (self.graph.parts(id), true),
            (Node::Object(_), Some(Form::Dict(pieces))) => (Parts::Pieces(pieces.iter()), true),
            (Node::Object(_), Some(Form::Text(text))) => {
                out.extend(["\"", &text, "\""]);
                return None;
            }
            (Node::Str(text), _) => {
                push_string(text, out);
                return None;
            }
            (scalar, _) => {
                push_scalar(scalar, out);
                return None;
            }
        };
        out.push(if is_dict { '{' } else { '[' });
        Some(Open { parts, is_dict, taken: 0 })
    }

    fn key(&self, id: Id, out: &mut String) {
        match self.graph.node(id) {
            Node::Str(text) => push_string(text, out),
            other => {
                out.push('"');
                push_scalar(other, out);
                out.push('"');
            }
        }
    }
}

/// A list or an object whose JSON is being written.
struct Open<'a> {
    parts: Parts<'a>,
    is_dict: bool,
    /// How many of its parts were taken; of a dict the first, third and so on are keys.
    taken: usize,
}

impl Open<'_> {
    /// The next part, after what must stand before it.
    fn next(&mut self, out: &mut String) -> Option<Id> {
        let part = self.parts.find_map(Piece::node)?;
        if self.is_dict && self.taken % 2 == 1 {
            out.push(':');
        } else if self.taken > 0 {
            out.push(',');
        }
        self.taken += 1;
        Some(part)
    }

    /// Whether the part that was taken last is a key.
    fn is_at_key(&self) -> bool {
        self.is_dict && self.taken % 2 == 1
    }
}

fn push_scalar(node: &Node<'_>, out: &mut String) {
    match node {
        Node::None => out.push_str("null"),
        Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Node::Int(value) => out.push_str(&value.to_string()),
        Node::Big(bytes) => out.push_str(&number::to_decimal(bytes)),
        Node::Float(value) if value.is_nan() => out.push_str("NaN"),
        Node::Float(value) if value.is_infinite() => {
            out.push_str(if *value > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Node::Float(value) => out.push_str(&json::to_json(value).unwrap_or_default()),
        _ => {} // has no view
    }
}

/// Appends a string with its quotes, lone surrogates as `\udXXX`.
fn push_string(text: &[u8], out: &mut String) {
    out.push('"');
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.iter().all(is_plain) {
        out.push_str(std::str::from_utf8(text).unwrap_or_default());
        out.push('"');
        return;
    }
    let mut rest = text;
    loop {
        let valid = match std::str::from_utf8(rest) {
            Ok(valid) => valid,
            Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
        };
        out.push_str(&json::escape_key(valid));
        match rest.get(valid.len()..) {
            Some([high, middle, low, after @ ..]) => {
                let bits = |byte: &u8, mask: u8| u32::from(byte & mask);
                let unit = bits(high, 0xf) << 12 | bits(middle, 0x3f) << 6 | bits(low, 0x3f);
                out.push_str(&format!("\\u{unit:04x}"));
                rest = after;
            }
            _ => break,
        }
    }
    out.push('"');
}

/// Whether two surrogates stand side by side that JSON would take for one character.
fn has_split_pair(text: &[u8]) -> bool {
    text.windows(6).any(|w| matches!(w, [0xed, 0xa0..=0xaf, _, 0xed, 0xb0..=0xbf, _]))
}
