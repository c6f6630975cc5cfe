//! Finds the members of a JSON object by the grammar of Python's `json`, without parsing their values.
//!
//! serde_json rejects `NaN`, lone surrogates and deep nesting, which Python accepts.

use std::ops::Range;

use super::max_values;
use crate::Error;

/// The ranges of a member in the text.
pub(super) struct MemberRange {
    /// Without the quotes.
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Returns the members of a JSON object in source order, duplicates included.
///
/// Errors if they take more memory than a session of `max_bytes` may.
pub(super) fn scan_object(text: &str, max_bytes: usize) -> Result<Vec<MemberRange>, Error> {
    let max_members = max_values(max_bytes);
    let mut scan = Scanner::new(text);
    if scan.peek() != Some(b'{') {
        return Err(Error::unreadable("the session data is not a JSON object"));
    }
    scan.skip(1);
    let mut members = Vec::with_capacity(8);
    if scan.peek() == Some(b'}') {
        scan.skip(1);
        return scan.end(members);
    }
    loop {
        let key = scan.key()?;
        scan.skip_whitespace();
        let start = scan.at();
        scan.value()?;
        if members.len() == max_members {
            return Err(Error::too_many_values(max_members, max_bytes));
        }
        members.push(MemberRange { key, value: start..scan.at() });
        match scan.peek() {
            Some(b',') => scan.skip(1),
            Some(b'}') => {
                scan.skip(1);
                return scan.end(members);
            }
            _ => return Err(scan.invalid()),
        }
    }
}

/// Errors unless the text is one JSON value.
pub(super) fn check_value(text: &str) -> Result<(), Error> {
    let mut scan = Scanner::new(text);
    scan.value()?;
    scan.end(())
}

struct Scanner<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { all: text.as_bytes(), rest: text.as_bytes() }
    }

    fn at(&self) -> usize {
        self.all.len() - self.rest.len()
    }

    #[cold]
    fn invalid(&self) -> Error {
        Error::unreadable(format!("the session data is not valid JSON at byte {}", self.at()))
    }

    /// Skips bytes that the caller has matched.
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    #[inline]
    fn skip_whitespace(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Skips whitespace and peeks at the next byte.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        self.skip_whitespace();
        self.rest.first().copied()
    }

    /// Errors unless only whitespace is left.
    fn end<T>(&mut self, found: T) -> Result<T, Error> {
        if self.peek().is_none() { Ok(found) } else { Err(self.invalid()) }
    }

    /// Skips a key and its colon. Returns the range of the key without quotes.
    fn key(&mut self) -> Result<Range<usize>, Error> {
        if self.peek() != Some(b'"') {
            return Err(self.invalid());
        }
        let start = self.at() + 1;
        self.string()?;
        let key = start..self.at() - 1;
        if self.peek() != Some(b':') {
            return Err(self.invalid());
        }
        self.skip(1);
        Ok(key)
    }

    /// Skips a value. The stack is on the heap, so nesting cannot overflow the thread's.
    fn value(&mut self) -> Result<(), Error> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.peek() {
                Some(b'{') => {
                    self.skip(1);
                    if self.peek() != Some(b'}') {
                        open.push(b'}');
                        self.key()?;
                        continue;
                    }
                    self.skip(1);
                }
                Some(b'[') => {
                    self.skip(1);
                    if self.peek() != Some(b']') {
                        open.push(b']');
                        continue;
                    }
                    self.skip(1);
                }
                Some(b'"') => self.string()?,
                _ => self.number_or_word()?,
            }
            // After a value: close the containers that it completes, then go on to the next value.
            loop {
                let Some(&close) = open.last() else { return Ok(()) };
                let next = self.peek();
                if next == Some(close) {
                    self.skip(1);
                    open.pop();
                } else if next == Some(b',') {
                    self.skip(1);
                    if close == b'}' {
                        self.key()?;
                    }
                    break;
                } else {
                    return Err(self.invalid());
                }
            }
        }
    }

    /// Skips a string whose first quote the caller has matched.
    fn string(&mut self) -> Result<(), Error> {
        let mut rest = self.rest.get(1..).unwrap_or_default();
        loop {
            rest = skip_plain(rest);
            rest = match rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Ok(());
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => rest,
                [b'\\', b'u', a, b, c, d, rest @ ..]
                    if [a, b, c, d].iter().all(|hex| hex.is_ascii_hexdigit()) =>
                {
                    rest
                }
                _ => {
                    self.rest = rest;
                    return Err(self.invalid());
                }
            }
        }
    }

    fn number_or_word(&mut self) -> Result<(), Error> {
        let word: &[u8] = match self.rest {
            [b'n', ..] => b"null",
            [b't', ..] => b"true",
            [b'f', ..] => b"false",
            [b'N', ..] => b"NaN",
            [b'I', ..] => b"Infinity",
            [b'-', b'I', ..] => b"-Infinity",
            _ => return self.number(),
        };
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.invalid()),
        }
    }

    /// Stops before an incomplete fraction or exponent, as Python. It then fails as trailing text.
    fn number(&mut self) -> Result<(), Error> {
        let whole = self.rest.strip_prefix(b"-").unwrap_or(self.rest);
        let Some(mut rest) = whole.strip_prefix(b"0").or_else(|| digits(whole)) else {
            return Err(self.invalid());
        };
        if let Some(fraction) = rest.strip_prefix(b".").and_then(digits) {
            rest = fraction;
        }
        if let [b'e' | b'E', exponent @ ..] = rest {
            let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
            rest = digits(exponent).unwrap_or(rest);
        }
        self.rest = rest;
        Ok(())
    }
}

/// Skips digits. `None` if there are none.
fn digits(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(count..).filter(|_| count > 0)
}

/// Skips to the next quote, backslash or control character, eight bytes at a time.
#[inline]
fn skip_plain(mut text: &[u8]) -> &[u8] {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // Sets the high bit of each byte less than `bound`. False positives occur only above a true one.
    let less = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word & HIGH;
    let is = |word: u64, byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    while let Some((eight, rest)) = text.split_first_chunk() {
        let word = u64::from_le_bytes(*eight);
        let special = less(word, 0x20) | is(word, b'"') | is(word, b'\\');
        if special != 0 {
            return text.get(special.trailing_zeros() as usize / 8..).unwrap_or_default();
        }
        text = rest;
    }
    while let [byte, rest @ ..] = text
        && !matches!(byte, 0..0x20 | b'"' | b'\\')
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_python() {
        for good in ["NaN", "-Infinity", "[1,[],{}]", r#"{"a":{"b":[null]}}"#, "1E+5", "-0", "[ 1 , 2 ]"] {
            assert!(check_value(good).is_ok(), "{good}");
        }
        for bad in ["nan", "01", "1.", ".5", "+1", "-", "[1,]", r#"{"a"}"#, r#"{"a":1,}"#, "'a'", r#""\x""#] {
            assert!(check_value(bad).is_err(), "{bad}");
        }
        check_value(&format!("{}{}", "[".repeat(200_000), "]".repeat(200_000))).unwrap();
    }

    /// A special byte must be found at every offset within eight bytes.
    #[test]
    fn special_bytes_are_found_at_every_offset() {
        for length in 0..40 {
            let text = "\u{e9}x~ ".repeat(10).chars().take(length).collect::<String>();
            let string = format!("\"{text}\"");
            assert!(check_value(&string).is_ok(), "{string}");
            assert!(check_value(&format!("{string}\"")).is_err(), "{string} and a quote");
            for at in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
                let with =
                    |inserted: &str| check_value(&format!("\"{}{inserted}{}\"", &text[..at], &text[at..]));
                for good in ["\\\\", "\\\"", "\\u00e9", "\u{7f}", "\u{80}"] {
                    assert!(with(good).is_ok(), "{good:?} at {at} of {string}");
                }
                for bad in ["\"", "\0", "\n", "\u{1f}", "\\x", "\\u00g0"] {
                    assert!(with(bad).is_err(), "{bad:?} at {at} of {string}");
                }
            }
        }
    }
}
