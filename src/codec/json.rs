//! JSON the way Python's `json` module reads and writes it.
//!
//! Reading only finds where values begin and end: they are parsed when somebody asks for one. That keeps
//! what `serde_json` could not: integers of any size, `NaN`, `Infinity`, lone surrogates, `5.0`
//! against `5`.

use std::{borrow::Cow, io, ops::Range};

use serde::{Serialize, de::DeserializeOwned, de::IntoDeserializer};
use serde_json::ser::{CompactFormatter, Formatter};

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

/// Whether `text` is one JSON value in Python's eyes.
#[cfg(test)]
fn is_value(text: &str) -> bool {
    let mut scan = Scanner { bytes: text.as_bytes(), at: 0 };
    scan.value().and_then(|()| scan.end()).is_ok()
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

/// Whether the text between a key's quotes means `wanted`.
pub(super) fn key_is(raw: &str, wanted: &str) -> bool {
    if raw.contains('\\') { unescape(raw) == wanted } else { raw == wanted }
}

/// What the text between a key's quotes means. A lone surrogate, which Rust cannot hold, becomes U+FFFD.
pub(super) fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut units: Vec<u16> = Vec::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let c = match (c, c == '\\') {
            (c, false) => c,
            _ => match chars.next() {
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => {
                    let hex: String = chars.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&hex, 16).unwrap_or(0xfffd));
                    continue;
                }
                Some(other) => other,
                None => break,
            },
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    Cow::Owned(String::from_utf16_lossy(&units))
}

/// The text between a key's quotes, as Python writes it.
pub(super) fn escape_key(key: &str) -> String {
    let quoted = to_json(key).unwrap_or_default(); // a str always serialises
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// A value of the application as the JSON text that Python would write for it.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut out = Vec::with_capacity(32);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, PythonFormatter))?;
    // Only ASCII is ever written.
    Ok(String::from_utf8(out).unwrap_or_default())
}

/// JSON text as a value of the application.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    let not_finite = match text {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ => return serde_json::from_str(text),
    };
    let number: serde::de::value::F64Deserializer<serde_json::Error> = not_finite.into_deserializer();
    T::deserialize(number)
}

/// Python's `json.dumps(value, separators=(",", ":"))`: ASCII only, floats by `repr`.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write_float(writer, &format!("{value:e}"))
    }

    fn write_f32<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        write_float(writer, &format!("{value:e}"))
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| !(' '..='~').contains(&c)) {
            let (plain, tail) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut chars = tail.chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    /// Raw JSON from the application: what is not ASCII can only stand in a string.
    fn write_raw_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.is_ascii() {
            CompactFormatter.write_raw_fragment(writer, fragment)
        } else {
            self.write_string_fragment(writer, fragment)
        }
    }
}

/// Python's `repr(float)` from Rust's shortest scientific form: an exponent only below -4 or from 16 on.
fn write_float<W: io::Write + ?Sized>(writer: &mut W, scientific: &str) -> io::Result<()> {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(positive) => ("-", positive),
        None => ("", mantissa),
    };
    if !(-4..16).contains(&exponent) {
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return write!(writer, "{sign}{mantissa}e{exponent_sign}{:02}", exponent.abs());
    }
    let digits = mantissa.replace('.', "");
    let digits = digits.as_str();
    match usize::try_from(exponent) {
        Err(_) => {
            let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
            write!(writer, "{sign}0.{zeros}{digits}")
        }
        Ok(whole) if whole + 1 >= digits.len() => {
            let zeros = "0".repeat(whole + 1 - digits.len());
            write!(writer, "{sign}{digits}{zeros}.0")
        }
        Ok(whole) => {
            let (whole, fraction) = digits.split_at(whole + 1);
            write!(writer, "{sign}{whole}.{fraction}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        // Expectations by Python: json.dumps of the same literals.
        for (value, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (5e-324, "5e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (100.5, "100.5"),
            (1e22, "1e+22"),
            (0.00012345, "0.00012345"),
        ] {
            assert_eq!(to_json(&value).unwrap(), expected);
        }
    }

    #[test]
    fn strings_are_ascii_with_lower_case_escapes() {
        assert_eq!(to_json("a\u{7f}é\u{1f600}\n/\"").unwrap(), r#""a\u007f\u00e9\ud83d\ude00\n/\"""#);
    }

    #[test]
    fn what_python_reads_is_a_value() {
        for good in ["NaN", "-Infinity", "[1,[],{}]", r#"{"a":{"b":[null]}}"#, "1E+5", "-0", "[ 1 , 2 ]"] {
            assert!(is_value(good), "{good}");
        }
        for bad in ["nan", "01", "1.", ".5", "+1", "-", "[1,]", r#"{"a"}"#, r#"{"a":1,}"#, "'a'", r#""\x""#] {
            assert!(!is_value(bad), "{bad}");
        }
        assert!(is_value(&format!("{}{}", "[".repeat(200_000), "]".repeat(200_000))));
    }

    #[test]
    fn a_key_is_recognised_however_it_was_escaped() {
        assert!(key_is(r"\u00E9\/", "é/"));
        assert!(!key_is(r"\ud800", "\u{fffe}"));
    }
}
