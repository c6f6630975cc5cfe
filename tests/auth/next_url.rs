//! Redirects to the login page and back: as Django recorded them, and as browsers read them.
//!
//! The recording is made by tests/django/record_next_url.py. Where we are stricter than Django on purpose,
//! the reason is listed here by name.

mod browsers;

use std::{collections::BTreeMap, fs, path::Path};

use actix_django_session::auth::next_url::{
    check_login_url, field_value, full_path, login_redirect, next_target, url_has_allowed_host_and_scheme,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};
use url::{Position, Url};

use crate::support::django::Django;

#[test]
#[ignore = "needs Django: run tests/run"]
fn the_recording_is_up_to_date() {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    for version in versions {
        version.script(&["record_next_url.py", "--check", "../vectors/next_url.json"], None);
        version.script(&["make_control_characters.py", "--check"], None);
    }
}

/// A recorded case.
struct Case {
    kind: String,
    input: Vec<Value>,
    /// That of the newest Django.
    answer: Value,
    /// Those of older ones that differ, by version.
    others: Value,
}

fn recording() -> (Vec<String>, Vec<Case>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/next_url.json");
    let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let texts = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let cases = file["cases"].as_array().unwrap().iter().map(|case| {
        let mut case = case.as_array().unwrap().clone();
        let others = if case.last().unwrap().is_object() { case.pop().unwrap() } else { Value::Null };
        let answer = case.pop().unwrap();
        let kind = text(&case.remove(0));
        let input = match case.remove(0) {
            Value::Array(parts) if kind != "safe" => parts,
            first => [vec![first], case].concat(),
        };
        Case { kind, input, answer, others }
    });
    (texts(&file["hosts"]), cases.collect())
}

fn cases(kind: &str, at_least: usize) -> Vec<Case> {
    let (_, mut cases) = recording();
    cases.retain(|case| case.kind == kind);
    assert!(cases.len() >= at_least, "{} cases of {kind}", cases.len());
    cases
}

/// A text, or [prefix, text, count, suffix].
fn text(value: &Value) -> String {
    if let [prefix, repeated, count, suffix] = value.as_array().map_or(&[][..], Vec::as_slice) {
        return text(prefix) + &text(repeated).repeat(count.as_u64().unwrap() as usize) + &text(suffix);
    }
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

fn optional(value: &Value) -> Option<String> {
    (value.is_string() || value.is_array()).then(|| text(value))
}

fn has_blank_before_host(url: &str) -> bool {
    let begin = ["testserver", "example.com:8000", "[::1]:8000"].iter().find_map(|host| url.split_once(host));
    begin.is_some_and(|(begin, _)| begin.trim_start().contains(['\t', '\r', '\n']))
}

/// Why we refuse what Django allows.
fn reason(url: &str, case: &Case) -> Option<&'static str> {
    let base = Url::parse("http://testserver/accounts/login/").unwrap();
    let place =
        |url: &str| base.join(url).map(|url| url[Position::BeforeHost..Position::AfterPort].to_owned());
    let stays = |place: String| ["testserver", "example.com:8000", "[::1]:8000"].contains(&place.as_str());
    const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'\\');
    let escaped = utf8_percent_encode(url, ESCAPED).to_string();
    if case.others["4.2"] == "--" {
        Some("Django 4.2 refuses it")
    } else if place(url).is_ok_and(|place| !stays(place)) {
        Some("a browser goes elsewhere")
    } else if place(url.trim()).is_err() || place(&escaped).is_err() {
        Some("a browser finds no host")
    } else if has_blank_before_host(url) {
        Some("a tab or newline stands between the scheme and the host")
    } else {
        None
    }
}

#[test]
fn safe_urls_are_djangos() {
    let (hosts, cases) = recording();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.kind == "safe").collect();
    assert!(cases.len() > 4000, "the recording is short");
    let mut stricter: BTreeMap<&str, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    let mut allowed = 0;
    for case in &cases {
        let url = text(&case.input[0]);
        let safe = |https| url_has_allowed_host_and_scheme(&url, &hosts, https);
        let ours: String = [false, true].map(|https| if safe(https) { '+' } else { '-' }).iter().collect();
        allowed += usize::from(ours != "--");
        if case.answer == *ours {
            continue;
        }
        match reason(&url, case).filter(|_| ours == "--") {
            Some(reason) => *stricter.entry(reason).or_default() += 1,
            None => differences.push(format!("{url:?}: Django {}, ours {ours}", case.answer)),
        }
    }
    println!("{} URLs, {allowed} allowed, stricter: {stricter:#?}", cases.len());
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(allowed > 1000 && stricter.len() == 4, "{allowed} {stricter:?}");
}

#[test]
fn no_version_of_django_refuses_what_we_allow() {
    let (hosts, cases) = recording();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    for case in cases.iter().filter(|case| case.kind == "safe") {
        let url = text(&case.input[0]);
        for (i, https) in [false, true].into_iter().enumerate() {
            let others = case.others.as_object().into_iter().flat_map(|others| others.values());
            let refused =
                others.chain([&case.answer]).any(|answer| answer.as_str().unwrap().as_bytes()[i] == b'-');
            assert!(!(refused && url_has_allowed_host_and_scheme(&url, &hosts, https)), "{url:?} {https}");
        }
    }
}

#[test]
fn full_paths_are_djangos() {
    for case in cases("path", 500) {
        let [path, query] = [text(&case.input[0]), text(&case.input[1])];
        assert_eq!(full_path(&path, Some(&query)), text(&case.answer), "{path:?} {query:?}");
        assert!(case.others.is_null(), "the versions agree: {path:?}");
    }
}

#[test]
fn redirects_to_the_login_page_are_djangos() {
    let (mut refused, mut differences) = (0, Vec::new());
    for case in cases("login", 500) {
        let [login_url, host, path, query, field] = [0, 2, 3, 4, 5].map(|i| text(&case.input[i]));
        let full = full_path(&path, Some(&query));
        let ours = login_redirect(&login_url, case.input[1] == true, &host, &full, &field);
        if check_login_url(&login_url).is_err() {
            assert_eq!(ours, None, "{login_url}");
        }
        refused += usize::from(case.answer.is_number());
        if ours != optional(&case.answer) {
            differences.push(format!("{:?}\n  Django {}\n  ours   {ours:?}", case.input, case.answer));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(refused > 10);
}

#[test]
fn targets_after_a_login_are_djangos() {
    let mut too_long = 0;
    for case in cases("target", 200) {
        let [body, query] = [0, 1].map(|i| optional(&case.input[i]));
        let hosts = ["testserver", "other.org"];
        let ours = next_target(body.as_deref(), query.as_deref(), &hosts, case.input[2] == true);
        // Django's 400 is the default here: the visitor is logged in already.
        too_long += usize::from(case.answer == 400);
        assert_eq!(ours, optional(&case.answer), "{:?}", case.input);
    }
    assert_eq!(too_long, 2);
}

#[test]
fn fields_are_read_as_django_reads_them() {
    for case in cases("field", 150) {
        let query = text(&case.input[0]);
        assert_eq!(json!(field_value(&query, "next")), case.answer, "{query:?}");
    }
}

#[test]
fn login_urls_that_no_redirect_can_lead_to_are_refused_at_start() {
    for url in ["login", "", "javascript:alert/1", "mailto:a@b.c", "http://[x]/"] {
        assert!(check_login_url(url).is_err_and(|error| error.is_configuration()), "{url}");
    }
    for url in ["/login/", "login.html", "./in", "https://sso.example.com/", "//sso.example.com/"] {
        check_login_url(url).unwrap();
    }
}
