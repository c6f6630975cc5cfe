//! Encodes JSON text as opcodes, without an intermediate tree: both have the same order.

use super::{
    MAX_DEPTH,
    encoder::Encoder,
    integer::{self, MAX_DIGITS},
    opcode as op, wtf8,
};
use crate::{Error, codec::json};

/// Appends a value at a nesting depth. Duplicate keys are written as they are: in both formats the last wins.
///
/// Errors if nesting is too deep, or an integer is too long for Python.
pub(super) fn value(text: &str, depth: usize, out: &mut Encoder) -> Result<(), Error> {
    // Where the first item of each open container starts.
    let mut open: Vec<usize> = Vec::new();
    let mut rest = text;
    while let Some(byte) = rest.bytes().next() {
        let length = match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' => 1,
            b'[' | b'{' => {
                if depth + open.len() >= MAX_DEPTH {
                    return Err(Error::value(format!(
                        "a value is nested deeper than a pickle allows ({MAX_DEPTH} levels)"
                    )));
                }
                out.op(if byte == b'[' { op::EMPTY_LIST } else { op::EMPTY_DICT });
                out.op(op::MARK);
                open.push(out.0.len());
                1
            }
            b']' | b'}' => {
                if open.pop().ok_or_else(not_json)? == out.0.len() {
                    out.0.pop(); // the mark of an empty container
                } else {
                    out.op(if byte == b']' { op::APPENDS } else { op::SETITEMS });
                }
                1
            }
            b'"' => {
                let raw = unquote(rest).ok_or_else(not_json)?;
                string(raw, out);
                raw.len() + 2
            }
            _ => {
                let end = rest.find([' ', '\t', '\r', '\n', ',', ':', ']', '}']).unwrap_or(rest.len());
                word_or_number(rest.get(..end).unwrap_or_default(), out)?;
                end
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    if open.is_empty() { Ok(()) } else { Err(not_json()) }
}

/// Appends a JSON string, given without quotes.
pub(super) fn string(raw: &str, out: &mut Encoder) {
    out.text(|out| json::unescape_into(raw, out, wtf8::push_code_point));
}

/// The text between the leading quote and the closing one.
fn unquote(text: &str) -> Option<&str> {
    let inner = text.get(1..)?;
    let mut escaped = false;
    let end = inner.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    inner.get(..end?)
}

fn word_or_number(text: &str, out: &mut Encoder) -> Result<(), Error> {
    match text {
        "null" => out.op(op::NONE),
        "true" => out.bool(true),
        "false" => out.bool(false),
        "NaN" => out.float(f64::NAN),
        "Infinity" => out.float(f64::INFINITY),
        "-Infinity" => out.float(f64::NEG_INFINITY),
        _ if text.contains(['.', 'e', 'E']) => out.float(text.parse().map_err(|_| not_json())?),
        _ => match integer::from_decimal(text) {
            Some(value) => out.integer(&value),
            None => {
                return Err(Error::value(format!(
                    "an integer has more digits than Python reads ({MAX_DIGITS})"
                )));
            }
        },
    }
    Ok(())
}

fn not_json() -> Error {
    Error::value("a value of the session is not JSON")
}
