//! Text written by real Djangos, made by tests/django/make_vectors.py under each version. More of it is in
//! tests/codec; here is what needs a time stamp of the past.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::*;

const FILES: [(&str, &str); 4] = [
    ("3.2.25", include_str!("../../tests/vectors/codec-3.2.25.json")),
    ("4.2.30", include_str!("../../tests/vectors/codec-4.2.30.json")),
    ("5.2.19", include_str!("../../tests/vectors/codec-5.2.19.json")),
    ("6.1.3", include_str!("../../tests/vectors/codec-6.1.3.json")),
];

fn vectors(file: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).unwrap();
    // A session is a dict; Django's serializer takes more.
    let is_session =
        |v: &Value| v["encoded"].is_string() && v["json"].as_str().is_none_or(|json| json.starts_with('{'));
    let all = file["vectors"].as_array().unwrap().iter();
    let found: Vec<Value> = all.filter(|v| v["kind"] == "encode" && is_session(v)).cloned().collect();
    assert!(found.len() > 20);
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
fn we_write_what_django_writes() {
    for (version, file) in FILES {
        for v in vectors(file) {
            let data = SessionData::from_json(v["json"].as_str().unwrap()).unwrap();
            // A clock before 1970 is 1970 to us.
            let Some(seconds) = v["time"].as_u64() else { continue };
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let ours = codec(&v).encode_at(&data, time).unwrap();
            let theirs = v["encoded"].as_str().unwrap();
            // Compressed bytes depend on the compressor, and small ones we leave alone.
            if theirs.starts_with('.') {
                assert_eq!(codec(&v).decode(&ours).unwrap().to_json(), data.to_json());
            } else {
                assert_eq!(String::from_utf8(ours).unwrap(), theirs, "{version} {}", v["name"]);
            }
            let (_, stamp) = codec(&v).decode_stamped(theirs.as_bytes()).unwrap();
            assert_eq!(stamp, time, "{version} {}", v["name"]);
        }
    }
}
