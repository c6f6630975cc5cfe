//! Any text as `_session_expiry`: every question has an answer, the answers fit each other, and the cookie
//! says the same.

#![no_main]

use std::{
    str::FromStr as _,
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Expiry, Session, SessionKey, SessionSettings, Store,
    backend::{Backend as _, Insert, Memory},
    codec::{Codec, JsonSerializer, Serializer as _, SessionData},
};
use actix_django_session_fuzz::{
    block_on, far_away, kept,
    site::{KNOWN, Site},
};
use actix_web::http::header::{HeaderValue, HttpDate};
use libfuzzer_sys::fuzz_target;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const AGE: i64 = 14 * 24 * 60 * 60;

/// 0001-01-01 and 9999-12-31, between which Python's dates are.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

thread_local! {
    static SITE: &'static Site = kept(Site::new(SessionSettings::default()));
}

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let quoted = serde_json::to_string(&*text).unwrap_or_default();
    for json in [&*text, &*quoted] {
        let mut data = SessionData::from_json(r#"{"who":"Ada"}"#).expect("a dict");
        if data.set_json("_session_expiry", json).is_ok() {
            check(&data);
        }
    }
});

fn check(data: &SessionData) {
    let json = data.get_json("_session_expiry").expect("it was set");
    let (memory, key) = (Memory::new(), SessionKey::parse("abcdefgh").expect("a key"));
    let value = JsonSerializer.dumps(data).expect("JSON");
    block_on(memory.insert(Insert::new(&key, value, far_away()))).expect("memory");
    let store = Store::new(memory, Codec::unsigned(JsonSerializer));
    let open = |settings: &SessionSettings| open(&store, settings, &key);
    let settings = SessionSettings::default();
    let session = open(&settings);
    let now = seconds(SystemTime::now());
    let (age, date) = (session.get_expiry_age() as i64, seconds(session.get_expiry_date()));
    let closes = session.get_expire_at_browser_close();
    assert!((FIRST..=LAST).contains(&date));
    // The answers are of several moments, and on a busy machine there are seconds between them.
    let late = || seconds(SystemTime::now()) - now + 1;
    let fits = now.saturating_add(age).clamp(FIRST, LAST);
    assert!((date - fits).abs() <= late(), "{json}: in {age} seconds, at {date}");
    match meaning(json) {
        Meaning::Nothing => {}
        Meaning::Default => assert_eq!(age, AGE),
        Meaning::Seconds(0.0) => assert!(closes && age == AGE),
        Meaning::Seconds(seconds) => assert!(!closes && age == seconds as i64),
        Meaning::Date(at) => assert!(!closes && date == at && (at - now - age).abs() <= late()),
    }
    let by_setting = open(&settings.clone().expire_at_browser_close(true));
    assert_eq!(by_setting.get_expire_at_browser_close(), closes || json == "null");

    saved(&store, &key, &settings, date, now);
    // Set anew, it is what it was set to.
    session.set_expiry(Expiry::After(Duration::from_secs(300))).expect("open");
    assert_eq!((session.get_expiry_age(), session.get_expire_at_browser_close()), (300.0, false));
    session.set_expiry(Expiry::Default).expect("open");
    assert_eq!((session.get_expiry_age() as i64, session.contains_key("_session_expiry")), (AGE, false));

    match SITE.with(|site| max_age(site, data)) {
        None => assert!(closes),
        Some(max_age) => {
            assert!(!closes && max_age.abs_diff(age) <= late().unsigned_abs(), "{max_age} and {age}")
        }
    }
}

fn open(store: &Store, settings: &SessionSettings, key: &SessionKey) -> Session {
    let store = store.with_settings(settings).expect("a browser's");
    block_on(Session::open(&store, key)).expect("memory").expect("a live session")
}

/// A saved session exists if it expires later than `now`, and does not exist if it expires earlier.
fn saved(store: &Store, key: &SessionKey, settings: &SessionSettings, date: i64, now: i64) {
    let session = open(store, settings, key);
    session.insert("who", "Eve").expect("open");
    block_on(session.save()).expect("memory");
    let there = block_on(store.exists(key)).expect("memory");
    if there {
        assert!(date >= now);
    } else {
        assert!(date <= seconds(SystemTime::now()) + 1);
    }
}

/// The `Max-Age` of the visitor's cookie, or none if the cookie lasts until the browser closes.
fn max_age(site: &Site, data: &SessionData) -> Option<i64> {
    site.set_known(data);
    let answer = site.ask("/write", vec![HeaderValue::from_static("sessionid=abcdefgh")]);
    let [line] = &answer.set_cookie[..] else { panic!("{answer:?}") };
    let rest = line.strip_prefix(&format!("sessionid={KNOWN}; ")).expect("its own key");
    let rest = rest.strip_suffix("; Path=/; SameSite=Lax").expect("Django's attributes");
    if rest == "HttpOnly" {
        return None;
    }
    let (expires, max_age) = rest.split_once("; HttpOnly; Max-Age=").expect("both");
    let expires = expires.strip_prefix("expires=").expect("both");
    assert!(expires.len() == 29 && HttpDate::from_str(expires).is_ok(), "{expires}");
    Some(max_age.parse().expect("a number"))
}

enum Meaning {
    /// None that is known here.
    Nothing,
    Default,
    Seconds(f64),
    /// In whole seconds since 1970.
    Date(i64),
}

/// The meaning of a value, where it is clear without the crate.
fn meaning(json: &str) -> Meaning {
    use serde_json::Value;
    match serde_json::from_str(json) {
        Ok(Value::Null | Value::Array(_) | Value::Object(_)) => Meaning::Default,
        Ok(Value::Bool(yes)) => Meaning::Seconds(f64::from(u8::from(yes))),
        Ok(Value::Number(number)) => match number.as_f64() {
            Some(seconds) => Meaning::Seconds(seconds),
            None => Meaning::Nothing,
        },
        Ok(Value::String(text)) if json.len() == text.len() + 2 => date(&text),
        _ => Meaning::Nothing,
    }
}

/// RFC 3339 is a part of what Python reads, but for small letters, leap seconds and the year 0.
fn date(text: &str) -> Meaning {
    let pythons = !text.contains(['t', 'z']) && !text.contains(":60") && !text.starts_with("0000");
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(date) if pythons => Meaning::Date(date.unix_timestamp().clamp(FIRST, LAST)),
        _ => Meaning::Nothing,
    }
}

fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs() as i64,
        Err(before) => -(before.duration().as_nanos().div_ceil(1_000_000_000) as i64),
    }
}
