//! The dictionary of one session: values, closures, threads, and text that stays what it was.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, LazySession, Session, SessionKey, SessionSettings, Store,
    codec::{Codec, SessionData},
};
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

use super::more;
use crate::support::stores::memory;

#[test]
fn handles_and_futures_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    fn is_sent<T: Send>(_: &T) {}
    crosses::<Session>();
    crosses::<LazySession>();
    crosses::<SessionKey>();
    crosses::<Store>();
    crosses::<Error>();
    let session = Session::detached();
    is_sent(&session.save());
    is_sent(&session.update_and_save("n", more));
    is_sent(&Session::open(&memory(), &SessionKey::generate()));
}

#[test]
fn closures_may_use_the_session_they_change() {
    let session = Session::detached();
    session.insert("price", &7).unwrap();
    let inner = session.clone();
    let total = session.update("total", move |total: Option<u32>| {
        total.unwrap_or(0) + inner.get::<u32>("price").unwrap().unwrap()
    });
    assert_eq!(total.unwrap(), 7);
    // And one that changes the very value that is being made is run again on the newer one.
    let inner = session.clone();
    let once = AtomicUsize::new(0);
    let total = session.update("total", move |total: Option<u32>| {
        if once.fetch_add(1, Ordering::SeqCst) == 0 {
            inner.insert("total", &100).unwrap();
        }
        total.unwrap() + 1
    });
    assert_eq!(total.unwrap(), 101);
}

#[test]
fn threads_that_share_a_session_lose_nothing() {
    let session = Session::detached();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let session = session.clone();
            scope.spawn(move || {
                for n in 0..100 {
                    session.update("n", more).unwrap();
                    session.insert(&format!("{thread}-{n}"), &n).unwrap();
                }
            });
        }
    });
    assert_eq!(session.get::<u32>("n").unwrap(), Some(800));
    assert_eq!(session.keys().len(), 801);
}

#[test]
fn values_that_rust_has_no_type_for_are_errors_and_can_be_had_raw() {
    let session = Session::detached();
    session.insert("list", &RawValue::from_string("[1e400]".into()).unwrap()).unwrap();
    let error = session.get::<Vec<f64>>("list").unwrap_err();
    assert!(error.is_value() && error.to_string().contains("\"list\""), "{error}");
    let raw: Option<Box<RawValue>> = session.get("list").unwrap();
    assert_eq!(raw.unwrap().get(), "[1e400]");
    assert!(session.remove::<String>("list").is_err() && session.contains_key("list"), "nothing is lost");
    let unwritable = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(session.insert("bad", &unwritable).unwrap_err().is_value());
    assert!(!session.contains_key("bad"));
}

#[actix_web::test]
async fn raw_json_with_blanks_and_other_letters_stays_what_it_is() {
    let store = memory();
    let session = Session::new(&store);
    let raw = RawValue::from_string("{\n\t\"a\": \"é €\"}".into()).unwrap();
    session.insert("raw", &raw).unwrap();
    session.save().await.unwrap();
    let again = Session::open(&store, &session.session_key().unwrap()).await.unwrap().unwrap();
    assert_eq!(again.get::<Value>("raw").unwrap(), Some(json!({"a": "é €"})));
    let codec = Codec::new(actix_django_session::SecretKey::new("x"));
    let mut data = SessionData::from_json("{\"é\":\"€\"}").unwrap();
    data.set_json("b", "\"😀\"").unwrap();
    let back = codec.decode(codec.encode(&data).unwrap()).unwrap();
    assert_eq!(back.get_json("é"), Some(r#""\u20ac""#));
    assert_eq!(back.get_json("b"), Some(r#""\ud83d\ude00""#));
}

#[test]
fn null_is_none_unless_the_type_takes_it() {
    let session = Session::detached();
    session.insert("null", &()).unwrap();
    assert_eq!(session.get::<String>("null").unwrap(), None);
    assert_eq!(session.get::<Option<String>>("null").unwrap(), Some(None));
    assert_eq!(session.get::<Value>("null").unwrap(), Some(Value::Null));
    assert!(session.contains_key("null"));
    assert_eq!(session.update("null", more).unwrap(), 1);
}

#[test]
fn errors_of_values_do_not_quote_them() {
    let session = Session::detached();
    session.insert("_auth_user_hash", "SECRETHASH").unwrap();
    let error = session.get::<u32>("_auth_user_hash").unwrap_err();
    for text in [error.to_string(), error.with_causes(), format!("{error:?}")] {
        assert!(!text.contains("SECRET"), "{text}");
    }
}

#[test]
fn a_passed_expiry_leaves_a_negative_age() {
    let session = Session::detached();
    session.set_expiry(Duration::ZERO).unwrap();
    assert!(session.get_expiry_age() < 0.0 && session.get_expiry_date() < SystemTime::now());
    assert!(!session.get_expire_at_browser_close());
}

/// Any JSON that Python could have written, as text.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("NaN".to_owned()),
        Just("-Infinity".to_owned()),
        Just(r#""\ud83d""#.to_owned()),
        "-?[1-9][0-9]{0,40}",
        "[0-9]\\.[0-9]{1,17}(e[+-][1-9]{1,2})?",
        ".{0,20}".prop_map(|text| escaped(&text)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((".{0,5}", inner), 0..4).prop_map(|members| {
                let member = |(key, value): &(String, String)| format!("{} : {value}", escaped(key));
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

/// As Python's json.dumps escapes it.
fn escaped(text: &str) -> String {
    let session = Session::detached();
    session.insert("text", text).unwrap();
    session.get::<Box<RawValue>>("text").unwrap().unwrap().get().to_owned()
}

proptest! {
    #[test]
    fn untouched_values_are_written_back_byte_for_byte(
        members in prop::collection::vec((".{1,8}", json_text()), 0..8),
        touched in ".{1,8}",
    ) {
        let member = |(key, value): &(String, String)| format!("{}:{value}", escaped(key));
        let mut members = members;
        members.retain(|(key, _)| *key != touched);
        let text: Vec<String> = members.iter().map(member).collect();
        let mut data = SessionData::from_json(format!("{{{}}}", text.join(","))).unwrap();
        data.set_json(&touched, "1").unwrap();
        prop_assert_eq!(data.get_json(&touched), Some("1"));
        let expected: Vec<String> = text.into_iter().chain([format!("{}:1", escaped(&touched))]).collect();
        prop_assert_eq!(data.to_json(), format!("{{{}}}", expected.join(",")));
        prop_assert!(data.remove(&touched));
        let again = SessionData::from_json(data.to_json()).unwrap();
        prop_assert_eq!(again.to_json(), data.to_json());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}", json in json_text(), cut in 0usize..50) {
        let _ = SessionData::from_json(text);
        let cut: String = json.chars().take(cut).collect();
        let _ = SessionData::from_json(format!("{{\"a\":{cut}"));
    }

    #[test]
    fn strings_and_floats_come_back_as_they_were(text in ".{0,50}", float in prop::num::f64::NORMAL) {
        let session = Session::detached();
        session.insert("text", &text).unwrap();
        session.insert("float", &float).unwrap();
        prop_assert_eq!(session.get::<String>("text").unwrap(), Some(text));
        prop_assert_eq!(session.get::<f64>("float").unwrap(), Some(float));
    }
}

#[test]
fn an_expiry_that_django_could_not_store_is_refused() {
    let session = Session::detached();
    let years = |years: u64| Duration::from_secs(years * 365 * 24 * 60 * 60);
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_214_400); // 9999-12-31
    session.set_expiry(300).unwrap();
    let long = i64::try_from(years(10_000).as_secs()).unwrap();
    let refused = [
        session.set_expiry(years(10_000)),
        session.set_expiry(Duration::MAX),
        session.set_expiry(years(1000) + Duration::from_nanos(1)),
        session.set_expiry(long),
        session.set_expiry(-long),
        session.set_expiry(i64::MIN),
        session.set_expiry(end),
        session.set_expiry(end + years(10_000)),
    ];
    for (n, refused) in refused.into_iter().enumerate() {
        let error = refused.unwrap_err();
        let limit = if n < 6 { "1,000 years" } else { "9999-12-31" };
        assert!(error.is_value() && error.to_string().contains(limit), "{error}");
    }
    assert_eq!(session.get_expiry_age(), 300.0, "what was there stays");
    session.set_expiry(years(1000)).unwrap();
    assert_eq!(session.get_expiry_age(), 31_536_000_000.0);
    session.set_expiry(end - Duration::from_secs(1)).unwrap();
    assert_eq!(session.get_expiry_date(), end - Duration::from_secs(1));

    for (age, fits) in
        [(years(1000), true), (years(1000) + Duration::from_secs(1), false), (Duration::MAX, false)]
    {
        let settings = SessionSettings::default().cookie_age(age);
        let set = memory().with_settings(&settings);
        assert_eq!(set.is_ok(), fits, "{age:?}");
        assert!(
            set.err()
                .is_none_or(|error| error.is_configuration() && error.to_string().contains("1,000 years"))
        );
    }
}

#[test]
fn a_number_of_seconds_means_what_it_means_in_django() {
    let session = Session::detached();
    session.set_expiry(-5).unwrap();
    assert_eq!(session.get_json("_session_expiry").as_deref(), Some("-5"));
    assert!(session.get_expiry_age() == -5.0 && session.get_expiry_date() < SystemTime::now());
    session.set_expiry(0).unwrap();
    assert!(session.get_expire_at_browser_close());
    session.set_expiry(7).unwrap();
    assert!(!session.get_expire_at_browser_close() && session.get_expiry_age() == 7.0);
    session.set_expiry(Duration::from_millis(1500)).unwrap();
    assert_eq!(session.get_expiry_age(), 1.5, "as Django's float");
}

#[actix_web::test]
async fn json_that_only_python_reads_goes_in_and_out_as_text() {
    let store = memory();
    let session = Session::new(&store);
    let texts = ["[1, NaN]", "[-Infinity]", "{\"a\": [NaN]}", "1e400", r#""\ud800""#, "[1]"];
    for text in texts {
        session.insert_json(text, text).unwrap();
    }
    session.save().await.unwrap();
    let again = Session::open(&store, &session.session_key().unwrap()).await.unwrap().unwrap();
    for text in texts {
        assert_eq!(again.get_json(text).as_deref(), Some(text));
    }
    assert!(again.get::<Value>("[1, NaN]").unwrap_err().to_string().contains("get_json"));
    for bad in ["", "[1,", "nan", "1 2", "{1: 2}", "undefined"] {
        let error = session.insert_json("bad", bad).unwrap_err();
        assert!(error.is_value() && error.to_string().contains("\"bad\""), "{bad}: {error}");
    }
    assert!(session.get_json("bad").is_none() && !session.contains_key("bad"));
    assert!(again.discard("[1, NaN]").unwrap());
}
