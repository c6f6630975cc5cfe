//! Converts a decoded pickle to session data: JSON where that is exact, opcodes where it is not.

use std::sync::Arc;

use super::{
    Budget, encoder,
    graph::{Children, Graph, Node, NodeId, Step},
    integer::{self, Int},
    known_types::JsonForm,
    wtf8,
};
use crate::{
    Error,
    codec::{
        SessionData, json,
        members::{Fragment, PickledValue},
    },
};

/// How faithfully JSON represents a value, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fidelity {
    /// Python reads an equal value of the same type.
    Exact,
    /// Information is lost, such as that a list was a tuple.
    Lossy,
    /// There is no JSON form.
    None,
}

/// Errors if the root is not a dictionary, or the JSON and opcodes exceed the budget.
pub(super) fn session_data(graph: &Graph<'_>, budget: &mut Budget) -> Result<SessionData, Error> {
    let Node::Dict(pairs) = graph.node(graph.root) else {
        return Err(Error::unreadable("the session's pickle is not a dictionary"));
    };
    let mut writer = JsonWriter { graph, fidelity: vec![Fidelity::None; graph.len()] };
    graph.post_order(|id| writer.fidelity[id as usize] = writer.classify(id))?;
    let mut source = String::new();
    let mut members = Vec::with_capacity(pairs.len());
    for [key, value] in pairs {
        let is_string = matches!(graph.node(*key), Node::Str(_));
        let mut key = writer.fragment(*key, is_string, &mut source, budget)?;
        if let Fragment::Source(quoted) = &mut key {
            *quoted = quoted.start + 1..quoted.end - 1;
        }
        members.push((key, writer.fragment(*value, true, &mut source, budget)?));
    }
    Ok(SessionData::from_members(source, members))
}

struct JsonWriter<'a> {
    graph: &'a Graph<'a>,
    /// By node. Nodes that the root does not reach have none.
    fidelity: Vec<Fidelity>,
}

impl JsonWriter<'_> {
    /// The fidelity of a value whose children are classified already.
    fn classify(&self, id: NodeId) -> Fidelity {
        let worst = || self.graph.children(id).filter_map(Step::node).map(|id| self.fidelity(id)).max();
        match self.graph.node(id) {
            Node::None | Node::Bool(_) | Node::Int(_) | Node::Float(_) => Fidelity::Exact,
            Node::Str(text) if wtf8::has_surrogate_pair(text) => Fidelity::Lossy,
            Node::Str(_) => Fidelity::Exact,
            Node::List(_) => worst().unwrap_or(Fidelity::Exact),
            Node::Tuple(_) => worst().unwrap_or(Fidelity::Lossy).max(Fidelity::Lossy),
            Node::Dict(_) => self.dict_fidelity(self.graph.children(id)),
            Node::Object(_) => match self.graph.json_form(id) {
                Some(JsonForm::Text(_) | JsonForm::SameAs(_)) => Fidelity::Lossy,
                Some(JsonForm::Dict(steps)) => {
                    self.dict_fidelity(Children::Steps(steps.iter())).max(Fidelity::Lossy)
                }
                None => Fidelity::None,
            },
            Node::Bytes(_) | Node::ByteArray(_) | Node::Set(_) | Node::FrozenSet(_) | Node::Global(..) => {
                Fidelity::None
            }
        }
    }

    fn dict_fidelity(&self, children: Children<'_>) -> Fidelity {
        let mut children = children.filter_map(Step::node);
        let mut worst = Fidelity::Exact;
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            let key = match self.graph.node(key) {
                Node::Str(_) => self.fidelity(key),
                // json.dumps turns these keys into strings.
                Node::None | Node::Bool(_) | Node::Int(_) | Node::Float(_) => Fidelity::Lossy,
                _ => Fidelity::None,
            };
            worst = worst.max(key).max(self.fidelity(value));
        }
        worst
    }

    fn fidelity(&self, id: NodeId) -> Fidelity {
        self.fidelity.get(id as usize).copied().unwrap_or(Fidelity::None)
    }

    /// A key or value of the session. It becomes JSON in `source` if that is exact and `json_allowed`.
    fn fragment(
        &self,
        id: NodeId,
        json_allowed: bool,
        source: &mut String,
        budget: &mut Budget,
    ) -> Result<Fragment, Error> {
        let start = source.len();
        if self.fidelity(id) == Fidelity::Exact && json_allowed {
            self.json(id, source, budget)?;
            return Ok(Fragment::Source(start..source.len()));
        }
        let mut json = String::new();
        if self.fidelity(id) == Fidelity::None {
            json = format!("<{}>", self.graph.class_name(id));
            budget.spend(json.len())?;
        } else {
            self.json(id, &mut json, budget)?;
        }
        let opcodes = encoder::encode(self.graph, id, budget)?;
        Ok(Fragment::Pickled(Arc::new(PickledValue {
            json: json.into(),
            opcodes,
            protocol: self.graph.protocol,
        })))
    }

    /// Appends a value as Python's `json` writes it. The stack is on the heap, so nesting cannot overflow the
    /// thread's.
    fn json(&self, id: NodeId, out: &mut String, budget: &mut Budget) -> Result<(), Error> {
        let mut open: Vec<Container<'_>> = Vec::new();
        let mut next = Some(id);
        loop {
            let before = out.len();
            match next {
                Some(id) if open.last().is_some_and(Container::is_at_key) => self.key(id, out),
                Some(id) => open.extend(self.open(id, out)),
                None => match open.pop() {
                    Some(done) => out.push(if done.is_dict { '}' } else { ']' }),
                    None => return Ok(()),
                },
            }
            next = open.last_mut().and_then(|last| last.next(out));
            budget.spend(out.len() - before)?;
        }
    }

    /// Appends a scalar, or opens a container.
    fn open<'b>(&'b self, mut id: NodeId, out: &mut String) -> Option<Container<'b>> {
        let form = self.graph.json_form(id);
        if let Some(JsonForm::SameAs(other)) = form {
            id = other;
        }
        let (children, is_dict) = match (self.graph.node(id), form) {
            (Node::List(_) | Node::Tuple(_), _) => (self.graph.children(id), false),
            (Node::Dict(_), _) => (self.graph.children(id), true),
            (Node::Object(_), Some(JsonForm::Dict(steps))) => (Children::Steps(steps.iter()), true),
            (Node::Object(_), Some(JsonForm::Text(text))) => {
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
        Some(Container { children, is_dict, taken: 0 })
    }

    fn key(&self, id: NodeId, out: &mut String) {
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

/// A list or an object that is being written.
struct Container<'a> {
    children: Children<'a>,
    is_dict: bool,
    /// The number of children written. In a dict the first, third and so on are keys.
    taken: usize,
}

impl Container<'_> {
    /// Returns the next child, after appending its separator.
    fn next(&mut self, out: &mut String) -> Option<NodeId> {
        let child = self.children.find_map(Step::node)?;
        if self.is_dict && self.taken % 2 == 1 {
            out.push(':');
        } else if self.taken > 0 {
            out.push(',');
        }
        self.taken += 1;
        Some(child)
    }

    /// Returns whether the last child is a key.
    fn is_at_key(&self) -> bool {
        self.is_dict && self.taken % 2 == 1
    }
}

fn push_scalar(node: &Node<'_>, out: &mut String) {
    match node {
        Node::None => out.push_str("null"),
        Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Node::Int(Int::Small(value)) => out.push_str(&value.to_string()),
        Node::Int(Int::Big(bytes)) => out.push_str(&integer::to_decimal(bytes)),
        Node::Float(value) if value.is_nan() => out.push_str("NaN"),
        Node::Float(value) if value.is_infinite() => {
            out.push_str(if *value > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Node::Float(value) => out.push_str(&json::to_json(value).unwrap_or_default()),
        _ => {} // has no JSON form
    }
}

/// Appends a quoted string, with lone surrogates as `\udXXX`.
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
