//! Arguments of the opcodes of protocol 0: lines of text.

use std::borrow::Cow;

use super::{
    PickleError,
    integer::{self, Int},
    wtf8,
};

/// The argument of GET and PUT.
pub(super) fn index(line: &[u8]) -> Result<u64, PickleError> {
    let digits = std::str::from_utf8(line).ok().filter(|text| !text.starts_with('+'));
    digits.and_then(|text| text.parse().ok()).ok_or(PickleError("a memo key is malformed"))
}

/// The argument of INT and LONG.
pub(super) fn integer(line: &[u8]) -> Result<Int, PickleError> {
    let malformed = PickleError("an integer has more than 4300 digits, or is malformed");
    let text = std::str::from_utf8(line).map_err(|_| malformed)?;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    // Python rejects leading zeros, which once meant octal.
    if digits.starts_with('0') && digits.bytes().any(|byte| byte != b'0') {
        return Err(malformed);
    }
    integer::from_decimal(text).ok_or(malformed)
}

/// The argument of FLOAT.
pub(super) fn float(line: &[u8]) -> Result<f64, PickleError> {
    let malformed = PickleError("a float is malformed");
    let text = std::str::from_utf8(line).map_err(|_| malformed)?;
    let value: f64 = text.parse().map_err(|_| malformed)?;
    // Python writes infinity as `inf`, and rejects numbers that overflow to it.
    let overflows = value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit());
    if overflows { Err(malformed) } else { Ok(value) }
}

/// The argument of STRING: Python 2's `repr` of a `str`.
pub(super) fn string(line: &[u8]) -> Result<Vec<u8>, PickleError> {
    let inner = match line {
        [quote @ (b'\'' | b'"'), inner @ .., last] if quote == last => inner,
        _ => return Err(PickleError("a string has no quotes")),
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let [escape, after @ ..] = rest else { return Err(PickleError("a string is malformed")) };
        rest = after;
        let unescaped = match escape {
            b'\\' | b'\'' | b'"' => *escape,
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            b'x' => {
                let (code, after) = hex(rest, 2).ok_or(PickleError("a string is malformed"))?;
                rest = after;
                code as u8 // two digits
            }
            b'0'..=b'7' => {
                let mut code = u32::from(escape - b'0');
                for _ in 0..2 {
                    let [digit @ b'0'..=b'7', after @ ..] = rest else { break };
                    code = code * 8 + u32::from(digit - b'0');
                    rest = after;
                }
                code as u8 // Python keeps the lowest eight bits, too
            }
            _ => {
                out.push(b'\\');
                *escape
            }
        };
        out.push(unescaped);
    }
    Ok(out)
}

/// The argument of UNICODE: Python's raw-unicode-escape, which is latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode(line: &[u8]) -> Result<Cow<'_, [u8]>, PickleError> {
    if line.is_ascii() && !line.contains(&b'\\') {
        return Ok(line.into());
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [byte, after @ ..] = rest {
        rest = after;
        let [b'\\', next] = [*byte, rest.first().copied().unwrap_or_default()] else {
            wtf8::push_code_point(&mut out, u32::from(*byte));
            continue;
        };
        let count = match next {
            b'u' => 4,
            b'U' => 8,
            _ => {
                out.push(b'\\');
                // A second backslash does not start an escape.
                if next == b'\\' {
                    out.push(next);
                    rest = &rest[1..];
                }
                continue;
            }
        };
        let code = hex(&rest[1..], count).filter(|(code, _)| *code <= 0x10_ffff);
        let (code, after) = code.ok_or(PickleError("a string is malformed"))?;
        wtf8::push_code_point(&mut out, code);
        rest = after;
    }
    Ok(out.into())
}

fn hex(bytes: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(count)?;
    let code =
        digits.iter().try_fold(0_u32, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))?;
    Some((code, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_python_reads_them() {
        assert_eq!(string(br#"'a\n\x41\101\\\'\q"'"#), Ok(b"a\nAA\\'\\q\"".to_vec()));
        assert!(["a", "'a", "'a\"", "'", "'\\'", "'\\x4'"].iter().all(|bad| string(bad.as_bytes()).is_err()));
        let text = raw_unicode(br"a\u00e9\\u0041\x\U0001f600\ud83d").map(Cow::into_owned);
        assert_eq!(text, Ok([r"aé\\u0041\x😀".as_bytes(), b"\xed\xa0\xbd"].concat()));
        assert_eq!(raw_unicode(b"\xe9\\").map(Cow::into_owned), Ok("é\\".as_bytes().to_vec()));
        assert!([r"\u12", r"\U00110000", r"\u+123"].iter().all(|bad| raw_unicode(bad.as_bytes()).is_err()));
        assert_eq!(integer(b"-12"), Ok(Int::Small(-12)));
        assert!(["012", "", "0x1", "1L", " 1"].iter().all(|bad| integer(bad.as_bytes()).is_err()));
        assert_eq!(float(b"-inf"), Ok(f64::NEG_INFINITY));
        assert!(["1e999", "", "1_0"].iter().all(|bad| float(bad.as_bytes()).is_err()));
        assert!(["-1", "+1", "", "99999999999999999999"].iter().all(|bad| index(bad.as_bytes()).is_err()));
    }
}
