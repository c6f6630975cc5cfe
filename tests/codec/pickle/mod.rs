//! Pickles of real Pythons and Djangos, read by us, and the other way round; and pickles that nobody honest
//! writes.
//!
//! The vectors are made by tests/django/make_pickles.py.

mod changed;
mod hostile;
mod json;
mod python;
use std::fs;

use actix_django_session::{
    Error,
    codec::{PickleSerializer, Serializer as _, SessionData},
};
use serde_json::Value;

use crate::support::{django::Version, proc::TempDir};

const LIMIT: usize = 1 << 20;

struct Vector {
    what: String,
    pickle: Vec<u8>,
    /// Each key that is a string, as JSON, and the JSON or `<class>` of its value.
    views: Vec<(String, String)>,
}

fn vectors() -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("../../vectors/pickle.json")).unwrap();
    let vectors: Vec<Vector> = file["vectors"].as_array().unwrap().iter().map(vector).collect();
    assert!(vectors.len() > 200);
    vectors
}

fn vector(v: &Value) -> Vector {
    Vector {
        what: format!("{}, protocol {} of Python {}", v["name"], v["protocol"], v["pythons"]),
        pickle: unhex(v["pickle"].as_str().unwrap()),
        views: views(&v["views"]),
    }
}

fn views(of: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    of.as_array().unwrap().iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn loads(pickle: &[u8]) -> Result<SessionData, Error> {
    PickleSerializer::new().loads(pickle.to_vec(), LIMIT)
}

fn dumps(data: &SessionData) -> Vec<u8> {
    PickleSerializer::new().dumps(data).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// `{"x": value}`.
fn session(value: &[u8]) -> Vec<u8> {
    [b"\x80\x04}X\x01\0\0\0x", value, b"s."].concat()
}

/// Runs tests/django/pickles.py: a line of answer for each request.
fn ask(django: &Version, requests: &[Value]) -> Vec<String> {
    let dir = TempDir::new("pickles");
    let file = dir.path().join("requests");
    fs::write(&file, requests.iter().map(|request| format!("{request}\n")).collect::<String>()).unwrap();
    let answers = django.script(&["pickles.py", file.to_str().unwrap()], None);
    let answers: Vec<String> = answers.lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), requests.len());
    answers
}

fn is_error(answer: &str) -> bool {
    answer.starts_with("{\"error\"")
}
