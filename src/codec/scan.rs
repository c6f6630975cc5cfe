//! Finds where the members of a JSON object stand, by Python's rules, without parsing what they hold.

use std::ops::Range;

use crate::Error;

/// Where a member's key (without its quotes) and value stand in the text.
pub(super) type Member = (Range<usize>, Range<usize>);

/// The members of a JSON object, in their order, duplicates included.
pub(super) fn scan_object(text: &str) -> Result<Vec<Member>, Error> {
    let mut scan = Scanner { bytes: text.as_bytes(), at: 0 };
    scan.blanks();
    if scan.peek() != Some(b'{') {
        return Err(Error::unreadable("the session data is not a JSON object"));
    }
    scan.at += 1;
    let mut members = Vec::with_capacity(8);
    scan.blanks();
    if scan.take(b'}') {
        scan.end()?;
        return Ok(members);
    }
    loop {
        let key = scan.key()?;
        scan.blanks();
        let start = scan.at;
        scan.value()?;
        members.push((key, start..scan.at));
        scan.blanks();
        if scan.take(b'}') {
            scan.end()?;
            return Ok(members);
        }
        scan.expect(b',')?;
    }
}

/// Errors unless `text` is one JSON value in Python's eyes.
pub(super) fn check_value(text: &str) -> Result<(), Error> {
    let mut scan = Scanner { bytes: text.as_bytes(), at: 0 };
    scan.value()?;
    scan.end()
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.take(byte) { Ok(()) } else { Err(self.bad()) }
    }

    fn bad(&self) -> Error {
        Error::unreadable(format!("the session data is not valid JSON at byte {}", self.at))
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        self.blanks();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.bad()) }
    }

    /// `"key" :`, answering where the key's text stands.
    fn key(&mut self) -> Result<Range<usize>, Error> {
        self.blanks();
        let start = self.at + 1;
        self.string()?;
        let key = start..self.at - 1;
        self.blanks();
        self.expect(b':')?;
        Ok(key)
    }

    /// One value of any depth. A stack of our own, so that nesting cannot exhaust the thread's.
    fn value(&mut self) -> Result<(), Error> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    self.blanks();
                    if self.peek() != Some(b'}') {
                        open.push(b'}');
                        self.key()?;
                        continue;
                    }
                    self.at += 1;
                }
                Some(b'[') => {
                    self.at += 1;
                    self.blanks();
                    if self.peek() != Some(b']') {
                        open.push(b']');
                        continue;
                    }
                    self.at += 1;
                }
                Some(b'"') => self.string()?,
                _ => self.number_or_word()?,
            }
            // A value has ended: close what ends with it, then go on to the next one.
            loop {
                let Some(&close) = open.last() else { return Ok(()) };
                self.blanks();
                if self.take(close) {
                    open.pop();
                } else {
                    self.expect(b',')?;
                    if close == b'}' {
                        self.key()?;
                    }
                    break;
                }
            }
        }
    }

    fn string(&mut self) -> Result<(), Error> {
        self.expect(b'"')?;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            let digits = self.bytes.get(self.at + 1..self.at + 5);
                            if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
                                return Err(self.bad());
                            }
                            self.at += 5;
                        }
                        _ => return Err(self.bad()),
                    }
                }
                Some(0..0x20) | None => return Err(self.bad()),
                Some(_) => self.at += 1,
            }
        }
    }

    fn number_or_word(&mut self) -> Result<(), Error> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        for word in ["null", "true", "false", "NaN", "Infinity", "-Infinity"] {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(());
            }
        }
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        // As Python's pattern: a fraction or exponent that is not whole is not part of the number,
        // and what is left of it then fails as trailing text.
        let before = self.at;
        if self.take(b'.') && self.digits().is_err() {
            self.at = before;
        }
        let before = self.at;
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            if self.digits().is_err() {
                self.at = before;
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.bad()) }
    }
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
}
