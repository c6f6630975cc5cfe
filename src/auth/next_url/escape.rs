//! Percent-encoding as Django and Python do it.

use std::{borrow::Cow, fmt::Write as _};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// What Python's `quote` always leaves alone.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// `urlencode(safe="/")`.
const QUERY_PART: &AsciiSet = &UNRESERVED.remove(b'/');

/// Reserved characters that both a path and a whole URL keep.
const COMMON: &AsciiSet = &QUERY_PART
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'+')
    .remove(b'$')
    .remove(b',')
    .remove(b'!')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// `escape_uri_path`: a path without `;`, `=`, `?` and `%`.
const PATH: &AsciiSet = COMMON;

/// `iri_to_uri`: existing escapes stay, since `%` does.
const URI: &AsciiSet =
    &COMMON.remove(b'#').remove(b'%').remove(b'[').remove(b']').remove(b'=').remove(b';').remove(b'?');

/// Escapes what no URL may hold, and nothing else. Django's `iri_to_uri`.
pub(super) fn iri_to_uri(text: &str) -> String {
    utf8_percent_encode(text, URI).to_string()
}

/// Escapes a name or a value of a query; `/` stays readable.
pub(super) fn query_part(text: &str) -> String {
    utf8_percent_encode(text, QUERY_PART).to_string()
}

/// Decodes a path of a request and escapes it again. Django's `escape_uri_path(request.path)`.
pub(super) fn request_path(path: &[u8]) -> String {
    let bytes: Cow<'_, [u8]> = percent_decode(path).into();
    let mut decoded = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        // Bytes that are no UTF-8 are text from here on: `%FF` becomes `%25FF`.
        for byte in chunk.invalid() {
            let _ = write!(decoded, "%{byte:02X}"); // writing to a String cannot fail
        }
    }
    // Django puts its own slash in place of the first one, wherever that is.
    let rest = decoded.replacen('/', "", 1);
    format!("/{}", utf8_percent_encode(&rest, PATH))
}

/// Decodes a name or a value of a query. Python's `unquote_plus`.
pub(super) fn decode_query_part(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text.as_str();
    // Python decodes each run of ASCII for itself: escapes never join with raw characters beside them.
    while !rest.is_empty() {
        let ascii = rest.find(|c: char| !c.is_ascii()).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(ascii);
        decoded.push_str(&percent_decode(run.as_bytes()).decode_utf8_lossy());
        let other = tail.find(|c: char| c.is_ascii()).unwrap_or(tail.len());
        let (raw, tail) = tail.split_at(other);
        decoded.push_str(raw);
        rest = tail;
    }
    decoded
}
