//! Text written by real Djangos, read by us, and the other way round.
//!
//! The vectors are made by tests/django/make_vectors.py under each version. That we write what Django writes
//! is a unit test of src/codec, which can sign with a time of the past.

use std::{fs, path::Path};

use actix_django_session::{
    SecretKey,
    codec::{Codec, SessionData},
};
use serde_json::{Value, json};

use crate::support::django::Django;

const VERSIONS: [&str; 8] =
    ["1.11.29", "2.2.28", "3.0.14", "3.2.25", "3.2.25-sha1", "4.2.30", "5.2.19", "6.1.3"];

fn vectors(version: &str, kind: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/codec-{version}.json"));
    let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let all = file["vectors"].as_array().unwrap();
    // A session is a dict; Django's serializer takes more.
    let is_session =
        |v: &Value| v["encoded"].is_string() && v["json"].as_str().is_none_or(|json| json.starts_with('{'));
    let found: Vec<Value> = all.iter().filter(|v| v["kind"] == kind && is_session(v)).cloned().collect();
    assert!(found.len() > 20, "{version} {kind}");
    found
}

fn secret(v: &Value) -> Vec<u8> {
    match v["hex"].as_str() {
        Some(hex) => {
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
        }
        None => v.as_str().unwrap().as_bytes().to_vec(),
    }
}

fn codec(v: &Value) -> Codec {
    let fallbacks = v["fallbacks"].as_array().cloned().unwrap_or_default();
    Codec::new(SecretKey::new(secret(&v["secret"])).with_fallbacks(fallbacks.iter().map(secret)))
}

#[test]
fn we_read_what_every_django_writes() {
    for version in VERSIONS {
        for v in vectors(version, "encode") {
            let data = codec(&v)
                .read_legacy(true)
                .decode(v["encoded"].as_str().unwrap())
                .unwrap_or_else(|error| panic!("{version} {}: {error}", v["name"]));
            assert_eq!(data.to_json(), v["json"].as_str().unwrap(), "{version} {}", v["name"]);
        }
    }
}

/// Before 3.1, and 3.1 and 3.2 told to, wrote SHA-1. Without the option it is as foreign as to Django 4.
#[test]
fn the_old_format_is_read_only_if_asked_for() {
    for version in ["2.2.28", "3.2.25-sha1"] {
        for v in vectors(version, "encode") {
            assert!(codec(&v).decode(v["encoded"].as_str().unwrap()).unwrap_err().is_bad_signature());
        }
    }
}

/// Hand-made text with right and wrong signatures: we read exactly what Django reads.
#[test]
fn we_refuse_what_django_refuses() {
    for version in ["4.2.30", "5.2.19", "6.1.3"] {
        for v in vectors(version, "decode") {
            let answer = codec(&v).decode(v["encoded"].as_str().unwrap());
            let name = v["name"].as_str().unwrap();
            match answer {
                Ok(data) => {
                    // Bounds of Python's own, which cost a visitor the whole session there.
                    let beyond_python = name.contains("deep") || name.contains("digits");
                    assert!(
                        v["readable"] == true || beyond_python,
                        "{version} {name}: Django does not read it"
                    );
                    if let (true, Some(theirs)) = (v["readable"] == true, v["decoded"].as_str()) {
                        assert_same_meaning(&data.to_json(), theirs, name);
                    }
                }
                Err(error) => {
                    assert!(v["readable"] == false, "{version} {name}: Django reads it, we say {error}");
                    assert_eq!(error.is_bad_signature(), v["logged"] == true, "{version} {name}: {error}");
                }
            }
        }
    }
}

/// Python has parsed and written its side anew; where both are plain JSON, compare what they mean.
fn assert_same_meaning(ours: &str, theirs: &str, name: &str) {
    let (ours, theirs) = (serde_json::from_str::<Value>(ours), serde_json::from_str::<Value>(theirs));
    if let (Ok(ours), Ok(theirs)) = (ours, theirs)
        && name != "number -0"
    // an integer to Python, a float to serde_json
    {
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn every_django_reads_what_we_write() {
    let mut versions = 0;
    for django in Django::codec_versions() {
        let version = &django.name;
        // Before 3.1 there is no format that we write: we only read theirs.
        if version.starts_with("1.") || version.starts_with("2.") || version.starts_with("3.0") {
            continue;
        }
        versions += 1;
        let source = if version.starts_with("3.2") { "3.2.25" } else { "4.2.30" };
        let vectors = vectors(source, "encode");
        let lines: Vec<Value> = vectors
            .iter()
            .map(|v| {
                let data = SessionData::from_json(v["json"].as_str().unwrap()).unwrap();
                let encoded = String::from_utf8(codec(v).encode(&data).unwrap()).unwrap();
                json!({"secret": v["secret"], "fallbacks": [], "encoded": encoded})
            })
            .collect();
        for (v, answer) in vectors.iter().zip(django.decode_to_text(&lines)) {
            let answer = answer.unwrap_or_else(|| panic!("{version} cannot read {}", v["name"]));
            let written = v["json"].as_str().unwrap();
            assert!(
                answer == written || duplicate_keys(v),
                "{version} {}: {answer} for {written}",
                v["name"]
            );
        }
    }
    assert!(versions > 0);
}

/// Coerced keys (1 and "1") can be there twice; a reader keeps one.
fn duplicate_keys(v: &Value) -> bool {
    v["name"].as_str().unwrap().contains("key")
}
