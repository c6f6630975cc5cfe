//! A pickled dictionary as session data: JSON where that says all, and Python's own where it does not.

use std::sync::Arc;

use super::{
    Budget,
    graph::{Graph, Id, Node},
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
        let worst = |ids: &[Id]| ids.iter().map(|id| self.of(*id)).max().unwrap_or(View::Exact);
        match self.graph.node(id) {
            Node::None | Node::Bool(_) | Node::Int(_) | Node::Big(_) | Node::Float(_) => View::Exact,
            Node::Str(text) if has_split_pair(text) => View::Lossy,
            Node::Str(_) => View::Exact,
            Node::List(items) => worst(items),
            Node::Tuple(items) => worst(items).max(View::Lossy),
            Node::Dict(pairs) => self.judge_dict(pairs),
            Node::Object(_) => match self.graph.form(id) {
                Some(Form::Text(_) | Form::As(_)) => View::Lossy,
                Some(Form::Dict(pairs)) => self.judge_dict(&pairs).max(View::Lossy),
                None => View::None,
            },
            Node::Bytes(_) | Node::ByteArray(_) | Node::Set(_) | Node::FrozenSet(_) | Node::Global(..) => {
                View::None
            }
        }
    }

    fn judge_dict(&self, pairs: &[(Id, Id)]) -> View {
        let pair = |&(key, value): &(Id, Id)| {
            let key = match self.graph.node(key) {
                Node::Str(_) => self.of(key),
                // As json.dumps, which makes strings of these.
                Node::None | Node::Bool(_) | Node::Int(_) | Node::Big(_) | Node::Float(_) => View::Lossy,
                _ => View::None,
            };
            key.max(self.of(value))
        };
        pairs.iter().map(pair).max().unwrap_or(View::Exact)
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
        let mut steps = vec![Step::Value(id)];
        while let Some(step) = steps.pop() {
            let before = out.len();
            match step {
                Step::Text(text) => out.push_str(text),
                Step::Value(id) => self.value(id, out, &mut steps),
                Step::Key(id) => self.key(id, out),
            }
            budget.spend(out.len() - before)?;
        }
        Ok(())
    }

    /// Writes the beginning of a value and puts off the rest of it.
    fn value(&self, id: Id, out: &mut String, steps: &mut Vec<Step>) {
        match self.graph.node(id) {
            Node::List(items) => put_off_items(items, out, steps),
            Node::Tuple(items) => put_off_items(items, out, steps),
            Node::Dict(pairs) => put_off_pairs(pairs, out, steps),
            Node::Str(text) => push_string(text, out),
            Node::Object(_) => match self.graph.form(id) {
                Some(Form::Text(text)) => out.extend(["\"", &text, "\""]),
                Some(Form::As(other)) => steps.push(Step::Value(other)),
                Some(Form::Dict(pairs)) => put_off_pairs(&pairs, out, steps),
                None => {} // has no view
            },
            scalar => push_scalar(scalar, out),
        }
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
        out.push(':');
    }
}

enum Step {
    Text(&'static str),
    Key(Id),
    Value(Id),
}

fn put_off_items(items: &[Id], out: &mut String, steps: &mut Vec<Step>) {
    out.push('[');
    steps.push(Step::Text("]"));
    for (index, item) in items.iter().enumerate().rev() {
        steps.push(Step::Value(*item));
        if index > 0 {
            steps.push(Step::Text(","));
        }
    }
}

fn put_off_pairs(pairs: &[(Id, Id)], out: &mut String, steps: &mut Vec<Step>) {
    out.push('{');
    steps.push(Step::Text("}"));
    for (index, (key, value)) in pairs.iter().enumerate().rev() {
        steps.extend([Step::Value(*value), Step::Key(*key)]);
        if index > 0 {
            steps.push(Step::Text(","));
        }
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
