//! Other ways to the answers that the crate gives.

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// Bytes as Django reads a payload.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// JSON without the blanks around it.
pub fn bare(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// Whether Python's `json.loads` makes a dict of it: what `serde_json` reads, and three words more.
pub fn is_dict(text: &str) -> bool {
    bare(text).starts_with('{') && is_json(text)
}

/// Whether Python's `json.loads` reads it.
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(&without_words(text)).is_ok()
}

/// The dictionary, if nothing in it is Python's alone, or too much for `serde_json`.
pub fn dict(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

/// `null` for the words that only Python knows, outside of strings.
fn without_words(text: &str) -> String {
    let (mut out, mut rest, mut in_string) = (String::with_capacity(text.len()), text, false);
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| rest.starts_with(word));
        let length = match (in_string, c, word) {
            (false, _, Some(word)) => {
                out.push_str("null");
                rest = &rest[word.len()..];
                continue;
            }
            // With what it escapes, so that an escaped quote does not count.
            (true, '\\', _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => c.len_utf8(),
        };
        in_string ^= c == '"';
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// The result of decompressing a zlib stream.
pub enum Inflated {
    /// The bytes of a complete stream; data after the stream does not matter.
    Whole(Vec<u8>),
    /// More than the limit, if not an error behind it.
    TooLarge,
    /// An error, or an end before the end.
    Broken,
}

/// By another implementation than the crate's.
pub fn inflate(stream: &[u8], limit: usize) -> Inflated {
    match decompress_to_vec_zlib_with_limit(stream, limit) {
        Ok(whole) => Inflated::Whole(whole),
        Err(error) if error.status == TINFLStatus::HasMoreOutput => Inflated::TooLarge,
        Err(_) => Inflated::Broken,
    }
}

/// Django's `parse_cookie` and Python's `_unquote`, on bytes, with the blanks that HTTP knows.
pub fn cookie(lines: &[&[u8]], name: &str) -> Option<Vec<u8>> {
    let mut found = None;
    // A server joins lines of Cookie.
    for chunk in lines.join(&b';').split(|byte| *byte == b';') {
        let mut halves = chunk.splitn(2, |byte| *byte == b'=');
        let key = halves.next().unwrap_or_default().trim_ascii();
        if let Some(value) = halves.next()
            && key == name.as_bytes()
        {
            found = Some(unquoted(value.trim_ascii()));
        }
    }
    found
}

fn unquoted(value: &[u8]) -> Vec<u8> {
    if value.len() < 2 || value[0] != b'"' || value[value.len() - 1] != b'"' {
        return value.to_vec();
    }
    let (value, mut out, mut at) = (&value[1..value.len() - 1], Vec::new(), 0);
    while at < value.len() {
        let octal = value.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = octal.filter(|digits| !digits.starts_with('+'));
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if value[at] != b'\\' || at + 1 == value.len() {
            out.push(value[at]);
            at += 1;
        } else if let Some(byte) = octal {
            out.push(byte);
            at += 4;
        } else {
            out.push(value[at + 1]);
            at += 2;
        }
    }
    out
}
