//! Our middleware does the same as Django's CsrfViewMiddleware with every recorded request.
//!
//! The recording is made by tests/django/record_csrf.py. Where we leave Django on purpose, the difference
//! is listed in `DIFFERENCES` by name and reason.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use actix_django_session::{Session, SessionKey, Store};
use actix_web::{
    body::to_bytes,
    http::{
        Method,
        header::{HeaderName, HeaderValue},
    },
    test::TestRequest,
};
use serde_json::{Map, Value, json};

use super::{
    differences,
    site::{Site, site, store},
};

/// The recording, with the recorder's abbreviations written out.
pub(super) struct Recording {
    file: Value,
    cases: Vec<Case>,
}

/// A recorded request.
pub(super) struct Case {
    pub(super) request: Value,
    /// By version; that of the others is under `outcome`.
    outcomes: Value,
}

impl Case {
    fn group(&self) -> &str {
        self.request["group"].as_str().unwrap_or("default")
    }

    pub(super) fn outcome(&self, version: &str) -> &Value {
        self.outcomes.get(version).unwrap_or(&self.outcomes["outcome"])
    }
}

impl Recording {
    pub(super) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/csrf.json");
        let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let texts = file["texts"].as_object().unwrap();
        let case = |case: &Value| {
            let outcomes = expanded(texts, case);
            Case { request: outcomes["request"].clone(), outcomes }
        };
        let cases = file["cases"].as_array().unwrap().iter().map(case).collect();
        Self { file, cases }
    }

    /// A page of Django 6.1.
    pub(super) fn page(&self, name: &str) -> &str {
        self.file["pages"][name].as_str().unwrap()
    }

    /// Django's outcome of another recorded request.
    pub(super) fn outcome_of(&self, request: &Value, version: &str) -> Value {
        let found = self.cases.iter().find(|case| case.request == *request);
        found.unwrap_or_else(|| panic!("not recorded: {request}")).outcome(version).clone()
    }

    pub(super) fn settings(&self, case: &Case) -> &Value {
        &self.file["groups"][case.group()]
    }

    fn secret(&self) -> &str {
        self.file["texts"]["<secret>"].as_str().unwrap()
    }
}

fn expanded(texts: &Map<String, Value>, value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let expand =
                |text: String, (name, full): (&String, &Value)| text.replace(name, full.as_str().unwrap());
            texts.iter().fold(text.clone(), expand).into()
        }
        Value::Array(values) => values.iter().map(|value| expanded(texts, value)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), expanded(texts, value))).collect()
        }
        other => other.clone(),
    }
}

#[actix_web::test]
async fn every_recorded_request_is_answered_as_by_django_6_1() {
    replay("6.1").await;
}

#[actix_web::test]
async fn every_recorded_request_is_answered_as_by_django_5_2() {
    replay("5.2").await;
}

#[actix_web::test]
async fn every_recorded_request_is_answered_as_by_django_4_2() {
    replay("4.2").await;
}

async fn replay(version: &str) {
    let recording = Recording::read();
    assert!(recording.cases.len() > 1900, "the recording is short");
    let (mut as_django, mut wrong) = (0, Vec::new());
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for (group, settings) in recording.file["groups"].as_object().unwrap() {
        let store = store(settings);
        let site = site(&store, settings).await;
        for case in recording.cases.iter().filter(|case| case.group() == group) {
            let django = case.outcome(version);
            let ours = outcome(&site, &store, &case.request, recording.secret()).await;
            if ours == *django {
                as_django += 1;
                continue;
            }
            let (names, expected) = differences::expected(&recording, case, version);
            if ours == expected {
                names.iter().for_each(|name| *named.entry(name).or_default() += 1);
            } else {
                wrong.push(format!(
                    "{} {names:?}\n  Django: {django}\n  wanted: {expected}\n  ours:   {ours}",
                    case.request
                ));
            }
        }
    }
    println!("Django {version}: {} requests, {as_django} as Django, {named:#?}", recording.cases.len());
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    for name in differences::NAMES {
        assert!(named.contains_key(name), "nothing differs so any more: {name}");
    }
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// The outcome of a request, in the recording's terms.
async fn outcome(site: &Site, store: &Store, request: &Value, secret: &str) -> Value {
    let method = Method::from_bytes(request["method"].as_str().unwrap_or("GET").as_bytes()).unwrap();
    let mut builder = TestRequest::with_uri(&format!("/{}", request["view"].as_str().unwrap_or("plain")))
        .method(method)
        .insert_header(("x-test-scheme", if request["https"] == true { "https" } else { "http" }))
        .insert_header(("x-forwarded-port", request["port"].as_str().unwrap_or("80")));
    let mut headers = Map::new();
    headers.insert("host".to_owned(), "example.com".into());
    headers.extend(request["headers"].as_object().cloned().unwrap_or_default());
    let mut key = None;
    if let Some(session) = request["session"].as_array() {
        let made = prepared(store, session).await;
        let cookies = [headers.get("cookie").and_then(Value::as_str), Some(&*format!("sessionid={made}"))]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ");
        headers.insert("cookie".to_owned(), cookies.into());
        key = Some(made);
    }
    for (name, value) in &headers {
        if let Some(value) = value.as_str() {
            let value = HeaderValue::from_bytes(&bytes(value)).unwrap();
            builder = builder.append_header((name.parse::<HeaderName>().unwrap(), value));
        }
    }
    if let Some(body) = request["body"].as_str() {
        builder = builder.set_payload(bytes(body));
    }
    let response = site(builder).await;

    let mut outcome = Map::new();
    outcome.insert("status".to_owned(), response.status().as_u16().into());
    let mut names = Names(HashMap::from([(secret.to_owned(), "<same>".to_owned())]));
    let (response, body) = response.into_parts();
    let body = String::from_utf8(to_bytes(body).await.unwrap_or_default().to_vec()).unwrap();
    let is_token = |line: &str| line.len() == 64 && line.bytes().all(|b| b.is_ascii_alphanumeric());
    if body.split('\n').all(is_token) {
        let tokens = body.split('\n').map(|token| names.of(&unmasked(token)));
        outcome.insert("tokens".to_owned(), tokens.collect());
    }
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match name.as_str() {
            "x-reason" => {
                outcome.insert("reason".to_owned(), value.into());
            }
            "vary" => {
                outcome.insert("vary".to_owned(), value.into());
            }
            "set-cookie" => match value.strip_prefix("sessionid=") {
                Some(rest) => {
                    let set = rest.split(';').next().unwrap();
                    let deleted = set == "\"\"";
                    outcome
                        .insert("session_cookie".to_owned(), if deleted { "deleted" } else { "set" }.into());
                    key = (!deleted).then(|| set.to_owned());
                }
                None => {
                    outcome.insert("set_cookie".to_owned(), names.cookie(&value).into());
                }
            },
            _ => {}
        }
    }
    if let Some(key) = key {
        let session = Session::open(store, &SessionKey::parse(&key).unwrap()).await.unwrap();
        let value = session.and_then(|session| session.get::<Value>("_csrftoken").unwrap_or_default());
        let is_new = |value: &&Value| request["session"] != json!([value]);
        let shown = match value.as_ref().filter(is_new).and_then(Value::as_str) {
            Some(secret) => Some(names.of(secret)),
            None => value,
        };
        outcome.insert("session".to_owned(), shown.into_iter().collect());
    }
    Value::Object(outcome)
}

/// A session with one value under `_csrftoken`, or without.
async fn prepared(store: &Store, value: &[Value]) -> String {
    let session = Session::new(store);
    session.insert("other", &1).unwrap();
    if let Some(value) = value.first() {
        session.insert("_csrftoken", value).unwrap();
    }
    session.save().await.unwrap();
    session.session_key().unwrap().as_str().to_owned()
}

/// Names of secrets, in the order in which they are seen.
struct Names(HashMap<String, String>);

impl Names {
    fn of(&mut self, secret: &str) -> Value {
        let next = format!("<new{}>", self.0.len());
        self.0.entry(secret.to_owned()).or_insert(next).clone().into()
    }

    fn cookie(&mut self, line: &str) -> String {
        let (name, rest) = line.split_once('=').unwrap();
        let (value, attributes) = rest.split_once(';').unwrap_or((rest, ""));
        let attributes = attributes.split(';').map(|attribute| match attribute.strip_prefix(" expires=") {
            Some(_) => " expires=<expires>",
            None => attribute,
        });
        let attributes: Vec<&str> = attributes.collect();
        format!("{name}={};{}", self.of(value).as_str().unwrap(), attributes.join(";"))
    }
}

/// The secret of a token.
pub(super) fn unmasked(token: &str) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let index = |byte: u8| letters.iter().position(|letter| *letter == byte).unwrap();
    let (mask, cipher) = token.split_at(32);
    let pairs = cipher.bytes().zip(mask.bytes());
    pairs.map(|(c, m)| char::from(letters[(index(c) + 62 - index(m)) % 62])).collect()
}
