//! Stored text. As it comes, it has no right signature and is refused. With one it may say anything, and is
//! read as Django reads it, or is an error.

#![no_main]

use std::time::SystemTime;

use actix_django_session::{
    Error, SessionSettings, Store,
    codec::{Codec, SessionData},
};
use actix_django_session_fuzz::{
    assert_encodes, items, kept,
    reference::{is_dict, latin1},
    signing::{codec, seconds, signed, signed_before_3_1, signed_cookie, signed_with_sha1},
    site::Pages,
};
use actix_web::http::header::HeaderValue;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::{Corpus, fuzz_target};

const AGE: u64 = 14 * 24 * 60 * 60;

thread_local! {
    static PAGES: &'static Pages = {
        kept(Pages::new(Store::signed_cookies(codec()), SessionSettings::default()))
    };
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    as_it_comes(text);
    with_a_signature(text);
    before_3_1(data);
    Corpus::Keep
});

/// The results with `read_legacy` and without.
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
            stamped(value, data);
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

/// The same text as a cookie that is a session: its stamp decides how long, unless the session itself does.
fn stamped(value: &str, data: &SessionData) {
    let cookie = signed_cookie(value);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(&byte);
    let (_, stamp) = value.rsplit_once(':').expect("it was read");
    if data.get_json("_session_expiry").is_some()
        || !cookie.bytes().all(is_plain)
        || !(8..=4096).contains(&cookie.len())
    {
        return;
    }
    let line = HeaderValue::from_str(&format!("sessionid={cookie}")).expect("plain");
    let answer = PAGES.with(|pages| pages.ask("/look", vec![line]));
    let is_live = answer.set_cookie.is_empty();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // A time before 1970 counts as 1970, and one beyond every date as the last date.
    let saved = if stamp.starts_with('-') { 0 } else { seconds(stamp.as_bytes()).unwrap_or(u64::MAX) };
    let expires = saved.saturating_add(AGE);
    if expires.abs_diff(now) > 60 {
        assert_eq!(is_live, expires > now, "{cookie}: {answer:?}");
    }
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
