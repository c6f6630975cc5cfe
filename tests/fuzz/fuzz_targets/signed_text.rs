//! Stored text. As it comes, it has no right signature and is refused. With one it may say anything, and is read as
//! Django reads it, or is an error.

#![no_main]

use std::time::{Duration, SystemTime};

use actix_django_session::{Error, codec::Codec, store::SessionData};
use actix_django_session_fuzz::{
    assert_encodes, items,
    reference::{is_dict, latin1},
    signing::{codec, signed, signed_before_3_1, signed_with_sha1},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    as_it_comes(text);
    with_a_signature(text);
    before_3_1(data);
    Corpus::Keep
});

/// What is read with a setting, and what without.
fn both(text: &str) -> (Result<SessionData, Error>, Result<SessionData, Error>) {
    let (with, without) = (codec().read_legacy(true).decode(text), codec().decode(text));
    match (&with, &without) {
        (Ok(with), Ok(without)) => assert_eq!(with.to_json(), without.to_json()),
        (_, Ok(_)) => panic!("what is read anyway must be read with read_legacy too"),
        _ => {}
    }
    (with, without)
}

fn as_it_comes(text: &str) {
    // Right texts are among the seeds; no other can be found.
    let right = text.rsplit_once(':').is_some_and(|(value, _)| signed(value) == text);
    let (with, without) = both(text);
    assert_eq!(without.as_ref().is_err_and(Error::is_bad_signature), !right);
    for data in [with, without].into_iter().flatten() {
        assert_encodes(&codec(), &data);
    }
}

fn with_a_signature(value: &str) {
    let text = signed(value);
    let (with, without) = both(&text);
    assert_eq!(with.is_ok(), without.is_ok());
    let old = signed_with_sha1(value);
    assert!(codec().decode(&old).is_err_and(|error| error.is_bad_signature()));
    let of_old = codec().read_legacy(true).decode(&old);
    assert!(codec().engine_class("Other").decode(&text).is_err_and(|error| error.is_bad_signature()));
    match &without {
        Ok(data) => {
            assert_eq!(of_old.expect("as today's").to_json(), data.to_json());
            assert_encodes(&codec(), data);
            stamped(&text);
            bounded(&text, data);
        }
        Err(error) => {
            assert!(error.is_unreadable() && !error.is_bad_signature(), "{error}");
            assert!(of_old.is_err());
        }
    }
    // Where base64 is plain, what it says is known without the crate.
    if let Some((body, stamp)) = value.rsplit_once(':')
        && let Ok(payload) = URL_SAFE_NO_PAD.decode(body)
        && !stamp.is_empty()
        && stamp.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        let payload = latin1(&payload);
        assert_eq!(without.is_ok(), is_dict(&payload), "{payload:?} at {stamp}");
    }
    forged(&text);
}

/// One other character, or one less, and it is nobody's.
fn forged(text: &str) {
    let at = text.len() - 1 - text.len() % 43;
    let other = if text.as_bytes()[at] == b'A' { 'B' } else { 'A' };
    if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
        let changed = [&text[..at], &String::from(other), &text[at + 1..]].concat();
        assert!(codec().decode(&changed).is_err_and(|error| error.is_bad_signature()));
    }
    assert!(codec().decode(&text[..text.len() - 1]).is_err_and(|error| error.is_bad_signature()));
}

fn stamped(text: &str) {
    let (data, time) = codec().decode_stamped(text).expect("it was read before");
    assert!(time >= SystemTime::UNIX_EPOCH);
    // The same second again. Stamps behind the year 9999 are taken for its last moment.
    let again = codec().encode_at(&data, time).expect("it was written before");
    let again = codec().decode_stamped(&again).expect("ours").1;
    assert!(time.duration_since(again).is_ok_and(|rest| rest < Duration::from_secs(1)));
}

fn bounded(text: &str, data: &SessionData) {
    let size = data.to_json().chars().count();
    let small = |bytes: usize| -> Codec { codec().max_session_bytes(bytes) };
    assert!(small(size - 1).decode(text).is_err_and(|error| error.is_too_large()));
    assert!(small(size - 1).encode(data).is_err_and(|error| error.is_too_large()));
    assert!(small(size).encode(data).is_ok());
}

fn before_3_1(payload: &[u8]) {
    let text = signed_before_3_1(payload);
    assert!(codec().decode(&text).is_err_and(|error| error.is_bad_signature()));
    match codec().read_legacy(true).decode(&text) {
        Ok(data) => {
            assert!(is_dict(&latin1(payload)));
            assert_encodes(&codec(), &data);
            assert_eq!(items(&data).len(), data.keys().len());
        }
        Err(error) => {
            assert!(!is_dict(&latin1(payload)) && !error.is_bad_signature(), "{error}");
        }
    }
}
