//! Values and keys as Python's `json` module writes and reads them.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
};

use serde::{Serialize, de::DeserializeOwned, de::IntoDeserializer};
use serde_json::ser::Formatter;

/// Resolves the escapes of a JSON string, given without quotes. A lone surrogate, which a Rust string cannot
/// hold, becomes U+FFFD.
pub(super) fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    unescape_into(raw, &mut out, |out, _| out.extend_from_slice("\u{fffd}".as_bytes()));
    Cow::Owned(String::from_utf8(out).unwrap_or_default())
}

/// Appends a JSON string, given without quotes, as UTF-8. `push_surrogate` appends a lone surrogate.
pub(super) fn unescape_into(raw: &str, out: &mut Vec<u8>, push_surrogate: fn(&mut Vec<u8>, u32)) {
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let mut chars = escape.chars();
        let mut c = match chars.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(other) => other,
            None => return,
        };
        rest = chars.as_str();
        if c == 'u' {
            let mut code = code_unit(rest).unwrap_or(0xfffd);
            rest = rest.get(4..).unwrap_or_default();
            let low = rest.strip_prefix("\\u").and_then(code_unit);
            if let (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) = (code, low) {
                code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                rest = rest.get(6..).unwrap_or_default();
            }
            match char::from_u32(code) {
                Some(known) => c = known,
                None => {
                    push_surrogate(out, code);
                    continue;
                }
            }
        }
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    out.extend_from_slice(rest.as_bytes());
}

/// The UTF-16 code unit in the four digits of a `\u` escape.
fn code_unit(text: &str) -> Option<u32> {
    u32::from_str_radix(text.get(..4)?, 16).ok()
}

/// A string as Python's `json` writes it, without quotes. Nearly all keys are written as they are.
pub(super) fn escape_key(key: &str) -> Cow<'_, str> {
    if key.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        return Cow::Borrowed(key);
    }
    let quoted = to_json(key).unwrap_or_default(); // a str always serializes
    Cow::Owned(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned())
}

/// Serializes a value to the JSON text that Python's `json` writes.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut out = Vec::with_capacity(128); // most values need no more
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, PythonFormatter))?;
    Ok(String::from_utf8(out).unwrap_or_default()) // the formatter writes ASCII only
}

/// Deserializes JSON text, including Python's `NaN` and `Infinity`.
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
    fn write_f64<W: Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write_float(writer, value)
    }

    fn write_f32<W: Write + ?Sized>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        write_float(writer, value)
    }

    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        write_escaped(writer, text, b'~')
    }

    /// The application's own JSON text. Characters beyond ASCII can only occur in strings.
    fn write_raw_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        write_escaped(writer, text, b'\x7f')
    }
}

/// Writes text, with the characters beyond `last` as `\uXXXX`.
fn write_escaped<W: Write + ?Sized>(writer: &mut W, text: &str, last: u8) -> io::Result<()> {
    let mut rest = text;
    // Bytes are compared: those of a character beyond ASCII are all greater, and the first one comes first.
    while let Some(at) = rest.bytes().position(|byte| byte > last) {
        let (plain, tail) = rest.split_at(at);
        writer.write_all(plain.as_bytes())?;
        let mut chars = tail.chars();
        if let Some(c) = chars.next() {
            write_unicode_escape(writer, c)?;
        }
        rest = chars.as_str();
    }
    writer.write_all(rest.as_bytes())
}

/// Writes `\uXXXX`, twice for a character beyond the Basic Multilingual Plane.
pub(super) fn write_unicode_escape<W: Write + ?Sized>(writer: &mut W, c: char) -> io::Result<()> {
    c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))
}

/// Writes Python's `repr(float)`. Rust's `Debug` switches to an exponent at the same magnitudes, but writes
/// it without its plus sign and leading zero.
fn write_float<W: Write + ?Sized>(writer: &mut W, value: impl fmt::Debug) -> io::Result<()> {
    let text = format!("{value:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return writer.write_all(text.as_bytes());
    };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    write!(writer, "{mantissa}e{sign}{digits:0>2}")
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
            (9999999999999998.0, "9999999999999998.0"),
            (1e15, "1000000000000000.0"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00009999999999999999, "9.999999999999999e-05"),
            (0.00001, "1e-05"),
            (-1.5e-10, "-1.5e-10"),
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
    fn surrogates_are_joined_or_replaced() {
        assert_eq!(unescape(r"\ud83d\ude00 \ud83d \ude00\ud83d"), "\u{1f600} \u{fffd} \u{fffd}\u{fffd}");
        assert_eq!(unescape(r#"\b\f\n\r\t\/\\\"\u0041"#), "\u{8}\u{c}\n\r\t/\\\"A");
    }
}
