//! The texts that a session may hold for a user's primary key, by the rules of Django's fields.

use super::UserKey;

impl UserKey {
    /// Converts the JSON that a session holds under `_auth_user_id`. `None` if no user can have such a key:
    /// Django raises for some of them, and here nobody is logged in.
    pub(crate) fn of_json(self, json: &str) -> Option<String> {
        match serde_json::from_str(json).ok()? {
            serde_json::Value::String(text) => self.of_text(&text),
            serde_json::Value::Number(number) => match self {
                Self::Integer => {
                    number.as_i64().map(|n| n.to_string()).or_else(|| of_float(number.as_f64()?))
                }
                Self::Uuid => number.as_u64().map(|n| dashed(u128::from(n))),
                Self::Text => Some(json.trim().to_owned()),
            },
            serde_json::Value::Bool(yes) => match self {
                Self::Integer => Some(u8::from(yes).to_string()),
                Self::Uuid => Some(dashed(u128::from(yes))),
                Self::Text => Some(if yes { "True" } else { "False" }.to_owned()),
            },
            _ => None,
        }
    }

    /// Converts a text to the form in which Django stores the key: decimal digits, a UUID in lower case with
    /// dashes, or the text as it is.
    pub(crate) fn of_text(self, text: &str) -> Option<String> {
        match self {
            Self::Integer => of_python_int(text).map(|n| n.to_string()),
            Self::Uuid => of_python_uuid(text).map(dashed),
            Self::Text => (!text.contains('\0')).then(|| text.to_owned()),
        }
    }
}

/// Python's `int(1.9)`.
fn of_float(number: f64) -> Option<String> {
    let whole = number.trunc();
    (whole.abs() < 9e15).then(|| (whole as i64).to_string())
}

/// Python's `int(text)`, as far as 64 bits go: blanks around it, a sign, digits of any script, single
/// underscores between them.
fn of_python_int(text: &str) -> Option<i64> {
    // In ASCII, Python's int knows the blanks of C alone, otherwise those of str.isspace.
    let text = match text.is_ascii() {
        true => text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']),
        false => text.trim_matches(is_python_space),
    };
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mut value, mut after_digit) = (0i64, false);
    for c in digits.chars() {
        match decimal_digit(c) {
            Some(digit) => {
                value = value.checked_mul(10)?.checked_add(i64::from(digit))?;
                after_digit = true;
            }
            None if c == '_' && after_digit => after_digit = false,
            None => return None,
        }
    }
    after_digit.then_some(if negative { -value } else { value })
}

pub(crate) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The zeros of the scripts whose digits Python's `int` reads (category Nd), each followed by its nine others.
const ZEROS: [u32; 37] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50,
    0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
    0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
];

fn decimal_digit(c: char) -> Option<u32> {
    let c = u32::from(c);
    let zero = ZEROS.iter().rev().find(|zero| **zero <= c)?;
    (c - zero < 10).then_some(c - zero)
}

/// Python's `UUID(text)`: `urn:uuid:`, braces and dashes anywhere are ignored.
fn of_python_uuid(text: &str) -> Option<u128> {
    let text = text.replace("urn:", "").replace("uuid:", "");
    let hex = text.trim_matches(['{', '}']).replace('-', "");
    let is_hex = hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(&hex, 16).ok()).flatten()
}

fn dashed(uuid: u128) -> String {
    let hex = format!("{uuid:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_python_reads_them() {
        for one in [
            "\"1\"",
            "1",
            "\" 1 \"",
            "\"1\\n\"",
            "\"+1\"",
            "\"01\"",
            "\"１\"",
            "1.0",
            "1.9",
            "true",
            "\"\\u001c１\"",
        ] {
            assert_eq!(UserKey::Integer.of_json(one).as_deref(), Some("1"), "{one}");
        }
        assert_eq!(UserKey::Integer.of_json("\"1_0\"").as_deref(), Some("10"));
        assert_eq!(UserKey::Integer.of_json("\"-1\"").as_deref(), Some("-1"));
        let refused =
            ["null", "\"\"", "\"abc\"", "\"1.0\"", "\"1e0\"", "\"0x1\"", "\"1\\u0000\"", "[]", "{}"];
        for bad in refused.into_iter().chain([
            "\"1__0\"",
            "\"_1\"",
            "\"1_\"",
            "\"\\u001c1\"",
            "\"9223372036854775808\"",
            "1e300",
        ]) {
            assert_eq!(UserKey::Integer.of_json(bad), None, "{bad}");
        }
        assert_eq!(UserKey::Integer.of_json(&format!("\"{}\"", "9".repeat(5000))), None);
    }

    #[test]
    fn uuids_are_read_as_python_reads_them() {
        let expected = "0123abcd-0123-4567-89ab-0123456789ab";
        for text in [
            "0123ABCD-0123-4567-89ab-0123456789ab",
            "0123abcd0123456789ab0123456789ab",
            "{0123abcd-0123-4567-89ab-0123456789ab}",
            "urn:uuid:0123abcd-0123-4567-89ab-0123456789ab",
        ] {
            assert_eq!(UserKey::Uuid.of_text(text).as_deref(), Some(expected), "{text}");
        }
        for one in ["1", "true"] {
            assert_eq!(UserKey::Uuid.of_json(one).as_deref(), Some("00000000-0000-0000-0000-000000000001"));
        }
        for bad in ["", "1", "0123abcd-0123-4567-89ab-0123456789ab ", "g123abcd0123456789ab0123456789ab"] {
            assert_eq!(UserKey::Uuid.of_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn texts_stay_as_they_are() {
        assert_eq!(UserKey::Text.of_json("\" Ann \"").as_deref(), Some(" Ann "));
        assert_eq!(UserKey::Text.of_json("true").as_deref(), Some("True"));
        assert_eq!(UserKey::Text.of_text("a\0b"), None);
        assert_eq!(UserKey::Text.of_json("null"), None);
    }
}
