//! JSON text as opcodes. Pickles are written in the order of JSON, so nothing is built in between.

use super::{
    MAX_DEPTH,
    number::{self, MAX_DIGITS},
    opcode as op,
    write::{Opcodes, unescape},
};
use crate::Error;

/// Appends a value. A key that comes twice is written twice, and Python takes the last as it does in JSON.
///
/// Errors if it is nested too deep, or holds an integer that is too long for Python. `depth` is that of the value.
pub(super) fn value(text: &str, depth: usize, out: &mut Opcodes) -> Result<(), Error> {
    // What is open: where its first item begins.
    let mut open: Vec<usize> = Vec::new();
    let mut rest = text;
    while let Some(byte) = rest.bytes().next() {
        let length = match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' => 1,
            b'[' | b'{' => {
                if depth + open.len() >= MAX_DEPTH {
                    return Err(Error::value(format!(
                        "a value is nested too deep for a pickle: at most {MAX_DEPTH} levels"
                    )));
                }
                out.op(if byte == b'[' { op::EMPTY_LIST } else { op::EMPTY_DICT });
                out.op(op::MARK);
                open.push(out.0.len());
                1
            }
            b']' | b'}' => {
                if open.pop().ok_or_else(not_json)? == out.0.len() {
                    out.0.pop(); // the mark of an empty one
                } else {
                    out.op(if byte == b']' { op::APPENDS } else { op::SETITEMS });
                }
                1
            }
            b'"' => {
                let raw = string(rest).ok_or_else(not_json)?;
                out.text(|out| unescape(raw, out));
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

/// Appends the string whose text between the quotes is `raw`.
pub(super) fn key(raw: &str, out: &mut Opcodes) {
    out.text(|out| unescape(raw, out));
}

/// What stands between the first quote and the one that ends it.
fn string(text: &str) -> Option<&str> {
    let inner = text.get(1..)?;
    let mut escaped = false;
    let end = inner.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    inner.get(..end?)
}

fn word_or_number(text: &str, out: &mut Opcodes) -> Result<(), Error> {
    match text {
        "null" => out.op(op::NONE),
        "true" => out.bool(true),
        "false" => out.bool(false),
        "NaN" => out.float(f64::NAN),
        "Infinity" => out.float(f64::INFINITY),
        "-Infinity" => out.float(f64::NEG_INFINITY),
        _ if text.contains(['.', 'e', 'E']) => out.float(text.parse().map_err(|_| not_json())?),
        _ => match number::from_decimal(text) {
            Some(value) => out.integer(&value),
            None => {
                return Err(Error::value(format!(
                    "an integer is too long for Python: at most {MAX_DIGITS} digits"
                )));
            }
        },
    }
    Ok(())
}

fn not_json() -> Error {
    Error::value("a value of the session is not JSON")
}
