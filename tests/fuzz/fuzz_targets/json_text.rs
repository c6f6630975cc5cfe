//! Any text as a session's JSON: what Python reads is read, the rest is an error, and what was read stays
//! what it is.

#![no_main]

use actix_django_session::codec::{JsonSerializer, Serializer as _, SessionData};
use actix_django_session_fuzz::{
    assert_serializes, edit, items,
    reference::{self, is_dict, is_json, latin1},
    repeated,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const LONG: usize = 1 << 18;

fuzz_target!(|input: &[u8]| {
    if let Some(long) = repeated(input, LONG) {
        repeatedly(&long);
        return;
    }
    if let Some(data) = as_payload(input) {
        assert_eq!(
            JsonSerializer.loads(input.to_vec(), input.len()).expect("it fits").to_json(),
            data.to_json()
        );
    }
    if let Some(less) = input.len().checked_sub(1) {
        assert!(JsonSerializer.loads(input.to_vec(), less).is_err_and(|error| error.is_too_large()));
    }
    if let Ok(text) = std::str::from_utf8(input) {
        as_text(text);
        let (key, value) = text.split_once('\n').unwrap_or((text, "1"));
        let before = r#"{"a":1,"\u0062":[],"a":{}}"#;
        let before = SessionData::from_json(before).expect("a dict");
        assert_eq!(edit::check(&before, key, value), is_json(value));
    }
});

/// Operations that could take quadratic time.
fn repeatedly(payload: &[u8]) {
    let Ok(mut data) = JsonSerializer.loads(payload.to_vec(), 2 * LONG) else { return };
    let keys = data.keys();
    if let Some(key) = keys.last() {
        data.set_json(key, "1").expect("JSON");
    }
    let written = JsonSerializer.dumps(&data).expect("JSON");
    assert_eq!(JsonSerializer.loads(written, 2 * LONG).expect("ours").keys(), keys);
}

/// As Django stores it, in bytes that are latin-1.
fn as_payload(payload: &[u8]) -> Option<SessionData> {
    let text = latin1(payload);
    let read = JsonSerializer.loads(payload.to_vec(), 2 * LONG);
    assert_eq!(read.is_ok(), is_dict(&text), "{:?}", text.get(..1000));
    let data = read.ok()?;
    assert_serializes(&JsonSerializer, &data, 2 * LONG);
    means(&data, &text);
    Some(data)
}

/// As an application gives it.
fn as_text(text: &str) {
    let read = SessionData::from_json(text);
    assert_eq!(read.is_ok(), is_dict(text));
    let Ok(data) = read else { return };
    means(&data, text);
    let again = SessionData::from_json(data.to_json()).expect("ours");
    assert_eq!(again.to_json(), data.to_json());
    assert_eq!(items(&again), items(&data));
    // Characters outside latin-1 are written as escapes, which mean the same.
    let written = JsonSerializer.dumps(&data).expect("JSON");
    let again = JsonSerializer.loads(written, 12 * text.len()).expect("ours");
    assert_eq!(again.keys(), data.keys());
    means(&again, text);
    for (key, _) in items(&data).iter().take(3) {
        assert!(edit::check(&data, key, "[null]"));
    }
}

/// The same keys and values as `serde_json` finds.
fn means(data: &SessionData, text: &str) {
    let Some(expected) = reference::dict(text) else { return };
    let found = items(data);
    assert_eq!(found.len(), expected.len());
    for (key, value) in found {
        assert_eq!(data.get_json(&key), Some(&*value));
        let value: Value = serde_json::from_str(&value).expect("a value of what was read");
        assert_eq!(Some(&value), expected.get(&key));
    }
}
