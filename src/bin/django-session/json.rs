//! A session as JSON in one line or indented, with every number and string as it was stored.
//!
//! `serde_json` would not do: Python also writes `NaN`, integers of any length and lone surrogates.

use actix_django_session::codec::SessionData;

/// The dictionary in one line. An object that has no JSON is shown as its class: `"<datetime.timedelta>"`.
pub(crate) fn line(data: &SessionData) -> String {
    let items = data.items();
    if !items.iter().any(|(_, value)| is_object(value)) {
        return one_line(&data.to_json());
    }
    let items = items.iter().map(|(key, value)| format!("{}:{}", quoted(key), one_line(&json_of(value))));
    format!("{{{}}}", items.collect::<Vec<_>>().join(","))
}

/// The dictionary as `json.dumps(…, indent=2)` writes it.
pub(crate) fn pretty(data: &SessionData) -> String {
    let items = data.items();
    if items.is_empty() {
        return "{}".to_owned();
    }
    let items =
        items.iter().map(|(key, value)| format!("  {}: {}", quoted(key), indented(&json_of(value), 1)));
    format!("{{\n{}\n}}", items.collect::<Vec<_>>().join(",\n"))
}

/// Whether the value is `<its class>`, for an object that has no JSON.
fn is_object(value: &str) -> bool {
    value.starts_with('<')
}

fn json_of(value: &str) -> String {
    if is_object(value) { quoted(value) } else { value.to_owned() }
}

fn quoted(text: &str) -> String {
    one_line(&serde_json::Value::from(text).to_string())
}

/// Without control characters: they become blanks between values, and escapes in strings.
fn one_line(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    walk(json, |c, in_string| push(&mut out, c, in_string));
    out
}

fn indented(json: &str, depth: usize) -> String {
    let (mut out, mut depth, mut empty) = (String::with_capacity(json.len() * 2), depth, false);
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    walk(json, |c, in_string| {
        if in_string {
            if empty {
                new_line(&mut out, depth);
                empty = false;
            }
            return push(&mut out, c, true);
        }
        let closes = matches!(c, '}' | ']');
        if c.is_whitespace() {
            return;
        }
        if closes {
            depth = depth.saturating_sub(1);
        }
        if empty != closes {
            new_line(&mut out, depth);
        }
        empty = matches!(c, '{' | '[');
        out.push(c);
        match c {
            '{' | '[' => depth += 1,
            ',' => new_line(&mut out, depth),
            ':' => out.push(' '),
            _ => {}
        }
    });
    out
}

/// Visits each character, and whether it belongs to a string (quotes included).
fn walk(json: &str, mut visit: impl FnMut(char, bool)) {
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        let quote = c == '"' && !escaped;
        visit(c, inside || quote);
        inside ^= quote;
        escaped = inside && c == '\\' && !escaped;
    }
}

fn push(out: &mut String, c: char, in_string: bool) {
    match (c.is_control(), in_string) {
        (false, _) => out.push(c),
        (true, true) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        (true, false) => out.push(' '),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(json: &str) -> SessionData {
        SessionData::from_json(json).unwrap()
    }

    #[test]
    fn a_line_is_one_line_and_keeps_values_as_they_are() {
        let text = r#"{"a":12345678901234567890123,"b":NaN,"c":[1.0, "x\"y"],"a":2}"#;
        assert_eq!(line(&data(text)), text);
        assert_eq!(
            line(&data("{\"a\": [1,\n2], \"b\u{9b}\": \"\u{7f}\"}")),
            r#"{"a":[1, 2],"b\u009b":"\u007f"}"#
        );
    }

    #[test]
    fn pretty_is_what_python_writes() {
        assert_eq!(pretty(&data("{}")), "{}");
        let json = r#"{"a": {"b": [], "c": [1,[2,{}]], "d": "{[,]}\\"}, "e": [{"f": -0.0}]}"#;
        let python = concat!(
            "{\n  \"a\": {\n    \"b\": [],\n    \"c\": [\n      1,\n      [\n        2,\n        {}\n",
            "      ]\n    ],\n    \"d\": \"{[,]}\\\\\"\n  },\n  \"e\": [\n    {\n      \"f\": -0.0\n    }\n  ]\n}",
        );
        assert_eq!(pretty(&data(json)), python);
    }
}
