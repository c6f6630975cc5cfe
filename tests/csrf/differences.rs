//! Where we leave Django on purpose.

use serde_json::{Value, json};

use super::recording::{Case, Recording};

const UNKNOWN_URL: &str = "a request to an unknown URL is checked too: a default service may handle it";
const LOWER_METHOD: &str = "a method is taken as sent: `get` is not GET, and `post` has no form";
const REFERER_TEXT: &str = "the reason has the Referer's origin only: its path and query may be secret";
const MALFORMED: &str = "brackets around no IPv6 address, and tabs, are malformed";
const CHARSET: &str = "a form in a charset that Django refuses, does not know or decodes apart is a 400";
const EXTENDED_NAME: &str = "an extended name (RFC 2231) of a multipart field is none";
const FORM_SIZE: &str = "a multipart form without files may have max_form_bytes as a whole";
const FIELDS_AND_FILES: &str = "of a multipart form with files, fields may be longer than max_form_bytes";
const BROKEN_FILE: &str = "a file in broken base64 is the handler's matter";
const NEWEST: &str = "multipart headers are read as by the newest Django";
const BAD_SESSION: &str = "a malformed secret in the session is none";
const NO_LOAD: &str = "a session that nobody needs is not loaded, so the answer does not vary";

/// All of them. Each is met in the recording of every version.
pub(super) const NAMES: [&str; 11] = [
    UNKNOWN_URL,
    LOWER_METHOD,
    REFERER_TEXT,
    MALFORMED,
    CHARSET,
    EXTENDED_NAME,
    FORM_SIZE,
    FIELDS_AND_FILES,
    BROKEN_FILE,
    BAD_SESSION,
    NO_LOAD,
];

/// Our outcome, with the names of the differences that lead to it.
pub(super) fn expected(recording: &Recording, case: &Case, version: &str) -> (Vec<&'static str>, Value) {
    let mut names = Vec::new();
    let request = &case.request;
    let settings = recording.settings(case);
    let mut outcome = case.outcome(version).clone();
    let text = |name: &str| request["headers"][name].as_str().unwrap_or_default().to_owned();
    let view = request["view"].as_str().unwrap_or("plain");
    let method = request["method"].as_str().unwrap_or("GET");
    let (body, content_type) = (request["body"].as_str().unwrap_or_default(), text("content-type"));
    let is_multipart = content_type.starts_with("multipart/form-data;");
    let is_safe = ["GET", "HEAD", "OPTIONS", "TRACE"].contains(&method);

    if view == "missing" && !is_safe {
        names.push(UNKNOWN_URL);
        outcome = recording.outcome_of(&without(request, "view"), version);
    }
    if method != method.to_uppercase() {
        names.push(LOWER_METHOD);
        outcome = recording.outcome_of(&with(request, "method", "PUT"), version);
    }
    if is_multipart && outcome != *case.outcome("6.1") && !content_type.contains("charset") {
        names.push(NEWEST);
        outcome = case.outcome("6.1").clone();
    }
    let charset = content_type.split_once("charset=").map(|(_, name)| name.trim_matches('"').to_lowercase());
    if charset.is_some_and(|name| name != "utf-8" && !(is_multipart && name == "iso-8859-1")) {
        names.push(CHARSET);
        outcome = json!({"status": 400});
    }
    if body.contains("name*=") && outcome["status"] == 200 {
        names.push(EXTENDED_NAME);
        outcome = json!({"status": 403, "reason": "CSRF token missing."});
    }
    if let Some(limit) = settings["DATA_UPLOAD_MAX_MEMORY_SIZE"].as_u64()
        && is_multipart
        && body.len() as u64 > limit
    {
        if body.contains("filename") {
            names.push(FIELDS_AND_FILES);
            outcome = json!({"status": 200});
        } else {
            names.push(FORM_SIZE);
            outcome = json!({"status": 400});
        }
    }
    if body.contains("filename=\"f.txt\"") && body.contains("base64") {
        names.push(BROKEN_FILE);
        outcome = json!({"status": 200});
    }
    if let Some(session) = request["session"].as_array()
        && session.first().is_some_and(|value| !value.is_null() && !is_secret(value))
    {
        names.push(BAD_SESSION);
        outcome = recording.outcome_of(&with(request, "session", json!([])), version);
        if outcome["session"] == json!([]) {
            outcome["session"] = request["session"].clone();
        }
    }
    if let Some(reason) = outcome["reason"].as_str()
        && let Some(url) = reason.strip_prefix("Referer checking failed - https:")
    {
        names.push(REFERER_TEXT);
        let url = url.strip_suffix(" does not match any trusted origins.").unwrap();
        let host = url.strip_prefix("//").unwrap().split(['/', '?', '#']).next().unwrap();
        let host = host.split('@').next_back().unwrap();
        outcome["reason"] =
            format!("Referer checking failed - https://{host} does not match any trusted origins.").into();
    }
    let malformed = |text: &str| text.contains("[v1") || text.contains("a[") || text.contains('\t');
    if malformed(&text("referer")) && request["https"] == true {
        names.push(MALFORMED);
        outcome["status"] = 403.into();
        outcome["reason"] = "Referer checking failed - Referer is malformed.".into();
    }
    if text("origin") == "https://[::1].sub.org" {
        names.push(MALFORMED);
        let reason = "Origin checking failed - https://[::1].sub.org does not match any trusted origins.";
        outcome = json!({"status": 403, "reason": reason});
    }
    let is_early = outcome["reason"].as_str().is_some_and(|reason| reason.starts_with("Referer"));
    let reads_nothing = (["plain", "missing"].contains(&view) && is_safe) || view == "exempt" || is_early;
    if settings["CSRF_USE_SESSIONS"] == true && reads_nothing {
        names.push(NO_LOAD);
        outcome.as_object_mut().unwrap().remove("vary");
    }
    (names, outcome)
}

fn is_secret(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        [32, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn with(request: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut request = request.clone();
    request[name] = value.into();
    request
}

fn without(request: &Value, name: &str) -> Value {
    let mut request = request.clone();
    request.as_object_mut().unwrap().remove(name);
    request
}
