//! The session cookie: read from a request's headers, written to a response's.

use std::{borrow::Cow, fmt::Write, time::SystemTime};

use actix_web::http::header::{self, HeaderMap, HeaderValue, HttpDate};
use cookie::SameSite;

use crate::{
    SessionSettings,
    datetime::{from_micros, micros},
};

/// A cookie of a request.
pub(crate) struct RequestCookie<'a> {
    pub(crate) value: Cow<'a, [u8]>,
    /// Whether another one of its name has another value. A browser also sends those of parent domains and
    /// other paths.
    pub(crate) is_ambiguous: bool,
}

/// The session cookie as Django reads it: the last one of its name, unquoted.
///
/// Not parsed by a library, since one broken cookie in the header must not lose this one.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<RequestCookie<'a>> {
    let lines = headers.get_all(header::COOKIE);
    let chunks = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    let mut values = chunks.filter_map(|chunk| {
        let equals = chunk.iter().position(|&byte| byte == b'=')?;
        let (found, value) = chunk.split_at(equals);
        (found.trim_ascii() == name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    });
    let first = values.next()?;
    let (mut last, mut is_ambiguous) = (first, false);
    for value in values {
        is_ambiguous |= value != last;
        last = value;
    }
    Some(RequestCookie { value: unquote(last), is_ambiguous })
}

/// Python's `http.cookies._unquote`: double quotes, with backslash and three-digit octal escapes.
fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = value else { return Cow::Borrowed(value) };
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    loop {
        rest = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                out.push(*escaped);
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
            [] => return Cow::Owned(out),
        };
    }
}

/// The `Set-Cookie` line that sets (`Some`) or deletes (`None`) the cookie. One function for both, so that
/// the two always name the same cookie.
///
/// `age` in seconds; none for a cookie that the browser drops when it closes. Attributes are in Django's
/// order.
pub(crate) fn set_cookie(settings: &SessionSettings, value: Option<&str>, age: Option<f64>) -> HeaderValue {
    let now = SystemTime::now();
    set_cookie_at(settings, value, age, now)
}

fn set_cookie_at(
    settings: &SessionSettings,
    value: Option<&str>,
    age: Option<f64>,
    now: SystemTime,
) -> HeaderValue {
    let name = &settings.cookie_name;
    // As long as most are, so that it is not moved while it grows.
    let mut line = String::with_capacity(192);
    line.push_str(name);
    line.push('=');
    match value {
        Some(value) => push_quoted(&mut line, value),
        None => line.push_str("\"\""),
    }
    if let Some(domain) = settings.cookie_domain.as_ref().filter(|domain| !domain.is_empty()) {
        line.push_str("; Domain=");
        line.push_str(domain);
    }
    let (age, expires) = match value {
        Some(_) => (age, age.map(|age| later(now, age))),
        None => (Some(0.0), Some(SystemTime::UNIX_EPOCH)),
    };
    // Writing to a String cannot fail.
    if let Some(expires) = expires {
        let _ = write!(line, "; expires={}", http_date(expires));
    }
    let prefix = settings.name_prefix();
    let http_only = if value.is_some() { settings.cookie_httponly } else { prefix.http_only };
    if http_only {
        line.push_str("; HttpOnly");
    }
    if let Some(age) = age {
        let _ = write!(line, "; Max-Age={}", age as i64);
    }
    if settings.cookie_partitioned {
        line.push_str("; Partitioned");
    }
    if !settings.cookie_path.is_empty() {
        line.push_str("; Path=");
        line.push_str(&settings.cookie_path);
    }
    match settings.cookie_samesite {
        Some(SameSite::Lax) => line.push_str("; SameSite=Lax"),
        Some(SameSite::Strict) => line.push_str("; SameSite=Strict"),
        Some(SameSite::None) => line.push_str("; SameSite=None"),
        None => {}
    }
    let secure = match value {
        Some(_) => settings.cookie_secure,
        // Django's rule: where a browser would refuse to delete it otherwise.
        None => {
            settings.cookie_samesite == Some(SameSite::None) || prefix.secure || settings.cookie_partitioned
        }
    };
    if secure {
        line.push_str("; Secure");
    }
    // Settings are checked when they are given, the value is quoted: nothing here can be refused.
    HeaderValue::try_from(line).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Python's `http.cookies._quote`. Session keys of Django's own making never need it.
fn push_quoted(out: &mut String, value: &str) {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&b);
    if value.bytes().all(legal) && !value.is_empty() {
        out.push_str(value);
        return;
    }
    out.push('"');
    for byte in value.bytes() {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            // Python also writes these two as escapes, since they would end the value or the cookie.
            b',' | b';' | 0..=0x1f | 0x7f.. => out.push_str(&format!("\\{byte:03o}")),
            _ => out.push(char::from(byte)),
        }
    }
    out.push('"');
}

fn later(now: SystemTime, seconds: f64) -> SystemTime {
    from_micros(micros(now).saturating_add((seconds * 1e6) as i64))
}

fn http_date(time: SystemTime) -> HttpDate {
    // It writes no year before 1970; a browser takes any past date as "delete".
    HttpDate::from(time.max(SystemTime::UNIX_EPOCH))
}

/// Adds `Cookie` to `Vary`. Django's `patch_vary_headers(response, ("Cookie",))`.
pub(crate) fn vary_on_cookie(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::VARY);
    match (lines.next(), lines.next()) {
        (None, _) => {
            headers.insert(header::VARY, HeaderValue::from_static("Cookie"));
        }
        (Some(line), None) if line == "Cookie" => {}
        _ => vary_on(headers, "Cookie"),
    }
}

/// Adds the name of a header to `Vary`. Django's `patch_vary_headers`.
pub(crate) fn vary_on(headers: &mut HeaderMap, name: &str) {
    let present: Vec<String> = headers
        .get_all(header::VARY)
        .flat_map(|line| {
            String::from_utf8_lossy(line.as_bytes())
                .split(',')
                .map(|item| item.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|item| !item.is_empty())
        .collect();
    let merged = if present.iter().any(|item| item == "*") {
        "*".to_owned()
    } else if present.iter().any(|item| item.eq_ignore_ascii_case(name)) {
        present.join(", ")
    } else {
        present.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(", ")
    };
    if let Ok(merged) = HeaderValue::from_str(&merged) {
        headers.insert(header::VARY, merged);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::http::header::HeaderName;
    use serde_json::Value;

    use super::*;

    /// Headers that real Django read and wrote, made by tests/django/make_vectors.py.
    fn vectors(kind: &str) -> Vec<Value> {
        let file = include_str!("../../tests/vectors/headers.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let all = file["vectors"].as_array().unwrap();
        let found: Vec<Value> = all.iter().filter(|v| v["kind"] == kind).cloned().collect();
        assert!(found.len() > 5, "{kind}");
        found
    }

    fn latin1(text: &Value) -> Vec<u8> {
        text.as_str().unwrap().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
    }

    fn headers(name: HeaderName, lines: &[Value]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_bytes(&latin1(line)).unwrap());
        }
        headers
    }

    #[test]
    fn our_cookie_is_found_as_django_finds_it() {
        for v in vectors("parse").iter().chain(&vectors("parse-many")) {
            let headers = headers(header::COOKIE, v["headers"].as_array().unwrap());
            let found = find(&headers, "sessionid").map(|cookie| cookie.value);
            // No key has anything but ASCII in it, so how other bytes are decoded does not matter.
            let ascii = |text: &Value| text.as_str().is_none_or(str::is_ascii);
            if ascii(&v["asgi"]) && v["headers"].as_array().unwrap().iter().all(ascii) {
                assert_eq!(found.as_deref(), v["asgi"].as_str().map(str::as_bytes), "{v}");
            } else {
                assert_eq!(found.is_some(), v["asgi"].is_string(), "{v}");
            }
        }
    }

    fn settings(v: &Value) -> SessionSettings {
        let mut settings = SessionSettings::default()
            .cookie_name(v["cookie"].as_str().unwrap())
            .cookie_path(v["path"].as_str().unwrap())
            .cookie_httponly(v["httponly"] == true)
            .cookie_secure(v["secure"] == true)
            .cookie_samesite(match v["samesite"].as_str() {
                None => None,
                Some("Lax") => Some(SameSite::Lax),
                Some("Strict") => Some(SameSite::Strict),
                Some(_) => Some(SameSite::None),
            });
        settings.cookie_domain = v["domain"].as_str().map(str::to_owned);
        settings
    }

    #[test]
    fn set_cookie_is_djangos_to_the_byte() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for v in vectors("set") {
            // No key has other values, and SameSite is no free text here.
            if !v["value"].as_str().is_some_and(str::is_ascii)
                || v["samesite"].as_str().is_some_and(|s| !["Lax", "Strict", "None"].contains(&s))
            {
                continue;
            }
            let age = v["age"].as_f64();
            let line = set_cookie_at(&settings(&v), v["value"].as_str(), age, now);
            assert_eq!(line.as_bytes(), latin1(&v["header"]), "{v}");
        }
        for v in vectors("delete") {
            // Django's rule looks at httponly nowhere, nor do we.
            let line = set_cookie_at(&settings(&v), None, None, now);
            assert_eq!(line.as_bytes(), latin1(&v["header"]), "{v}");
        }
    }

    #[test]
    fn values_are_quoted_as_python_quotes_them() {
        for v in vectors("quote") {
            if v["value"].as_str().is_some_and(str::is_ascii) {
                let mut written = String::new();
                push_quoted(&mut written, v["value"].as_str().unwrap());
                assert_eq!(written, v["written"].as_str().unwrap(), "{v}");
            }
        }
    }

    #[test]
    fn vary_is_patched_as_django_patches_it() {
        for v in vectors("vary") {
            let before: Vec<Value> =
                v["before"].is_string().then(|| v["before"].clone()).into_iter().collect();
            let mut headers = headers(header::VARY, &before);
            vary_on_cookie(&mut headers);
            let after = headers.get(header::VARY).unwrap();
            assert_eq!(after.as_bytes(), latin1(&v["after"]), "{v}");
        }
    }
}
