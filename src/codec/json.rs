//! Values and keys as Python's `json` module writes and reads them.

use std::{borrow::Cow, io};

use serde::{Serialize, de::DeserializeOwned, de::IntoDeserializer};
use serde_json::ser::Formatter;

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
        write_escaped(writer, fragment, |c| c > '~')
    }

    /// Raw JSON from the application: what is not ASCII can only stand in a string.
    fn write_raw_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_escaped(writer, fragment, |c| !c.is_ascii())
    }
}

/// Writes text with some of its characters as `\uXXXX`.
fn write_escaped<W: io::Write + ?Sized>(
    writer: &mut W,
    text: &str,
    escape: fn(char) -> bool,
) -> io::Result<()> {
    let mut rest = text;
    while let Some(at) = rest.find(escape) {
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

/// JSON text as the bytes that Django reads as latin-1. What does not fit into one can only stand in a string.
pub(super) fn to_latin1(text: String) -> Vec<u8> {
    if text.is_ascii() {
        return text.into_bytes();
    }
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) => out.push(byte),
            Err(_) => {
                let units = c
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect::<String>();
                out.extend_from_slice(units.as_bytes());
            }
        }
    }
    out
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
}
