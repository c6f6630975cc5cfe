//! Finds where the members of a JSON object stand, by Python's rules, without parsing what they hold.

use std::ops::Range;

use crate::Error;

/// Where a member stands in the text.
pub(super) struct Member {
    /// Without its quotes.
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// The members of a JSON object, in their order, duplicates included.
pub(super) fn scan_object(text: &str) -> Result<Vec<Member>, Error> {
    let mut scan = Scanner::new(text);
    if scan.next() != Some(b'{') {
        return Err(Error::unreadable("the session data is not a JSON object"));
    }
    scan.skip(1);
    let mut members = Vec::with_capacity(8);
    if scan.next() == Some(b'}') {
        scan.skip(1);
        return scan.end(members);
    }
    loop {
        let key = scan.key()?;
        scan.blanks();
        let start = scan.at();
        scan.value()?;
        members.push(Member { key, value: start..scan.at() });
        match scan.next() {
            Some(b',') => scan.skip(1),
            Some(b'}') => {
                scan.skip(1);
                return scan.end(members);
            }
            _ => return Err(scan.bad()),
        }
    }
}

/// Errors unless `text` is one JSON value in Python's eyes.
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
    fn bad(&self) -> Error {
        Error::unreadable(format!("the session data is not valid JSON at byte {}", self.at()))
    }

    /// Goes on by so many bytes, which the caller has seen.
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    #[inline]
    fn blanks(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// The next byte that is no blank.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        self.blanks();
        self.rest.first().copied()
    }

    /// Errors unless only blanks are left.
    fn end<T>(&mut self, found: T) -> Result<T, Error> {
        if self.next().is_none() { Ok(found) } else { Err(self.bad()) }
    }

    /// A key with its colon; where it stands without its quotes.
    fn key(&mut self) -> Result<Range<usize>, Error> {
        if self.next() != Some(b'"') {
            return Err(self.bad());
        }
        let start = self.at() + 1;
        self.string()?;
        let key = start..self.at() - 1;
        if self.next() != Some(b':') {
            return Err(self.bad());
        }
        self.skip(1);
        Ok(key)
    }

    /// One value of any depth. A stack of our own, so that nesting cannot exhaust the thread's.
    fn value(&mut self) -> Result<(), Error> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.next() {
                Some(b'{') => {
                    self.skip(1);
                    if self.next() != Some(b'}') {
                        open.push(b'}');
                        self.key()?;
                        continue;
                    }
                    self.skip(1);
                }
                Some(b'[') => {
                    self.skip(1);
                    if self.next() != Some(b']') {
                        open.push(b']');
                        continue;
                    }
                    self.skip(1);
                }
                Some(b'"') => self.string()?,
                _ => self.number_or_word()?,
            }
            // A value has ended: close what ends with it, then go on to the next one.
            loop {
                let Some(&close) = open.last() else { return Ok(()) };
                let next = self.next();
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
                    return Err(self.bad());
                }
            }
        }
    }

    /// A string, whose first quote the caller has seen.
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
                    return Err(self.bad());
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
            None => Err(self.bad()),
        }
    }

    /// As Python's pattern: a fraction or exponent that is not whole is not part of the number, and what is left of it then
    /// fails as trailing text.
    fn number(&mut self) -> Result<(), Error> {
        let whole = self.rest.strip_prefix(b"-").unwrap_or(self.rest);
        let Some(mut rest) = whole.strip_prefix(b"0").or_else(|| digits(whole)) else {
            return Err(self.bad());
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

/// What follows the digits, if there is one.
fn digits(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(count..).filter(|_| count > 0)
}

/// From the next quote, backslash or control character on.
#[inline]
fn skip_plain(mut text: &[u8]) -> &[u8] {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is less than `bound`. Wrong only above one that is right.
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
    fn what_python_reads_is_a_value() {
        for good in ["NaN", "-Infinity", "[1,[],{}]", r#"{"a":{"b":[null]}}"#, "1E+5", "-0", "[ 1 , 2 ]"] {
            assert!(check_value(good).is_ok(), "{good}");
        }
        for bad in ["nan", "01", "1.", ".5", "+1", "-", "[1,]", r#"{"a"}"#, r#"{"a":1,}"#, "'a'", r#""\x""#] {
            assert!(check_value(bad).is_err(), "{bad}");
        }
        check_value(&format!("{}{}", "[".repeat(200_000), "]".repeat(200_000))).unwrap();
    }

    /// Strings are read eight bytes at a time: wherever a special byte stands, it is seen.
    #[test]
    fn strings_end_where_they_end() {
        for length in 0..40 {
            let text = "\u{e9}x~ ".repeat(10).chars().take(length).collect::<String>();
            let string = format!("\"{text}\"");
            assert!(check_value(&string).is_ok(), "{string}");
            assert!(check_value(&format!("{string}\"")).is_err(), "what comes after it is not a part of it");
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
