//! The session object under use that Django has no tests for: clones, races, failing and dropped saves.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, LazySession, Session, SessionKey,
    store::{AnyStore, Loaded, MemoryStore, Outcome, Seen, SessionData, SessionStore},
};
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

/// Memory that can be told to answer something else first, and that can be slow.
#[derive(Clone, Default)]
struct Moody {
    memory: MemoryStore,
    moods: Arc<Mutex<VecDeque<Mood>>>,
    calls: Arc<AtomicUsize>,
}

enum Mood {
    Away,
    Slow,
    KeyTaken,
    Never,
}

impl Moody {
    fn then(self, mood: Mood) -> Self {
        self.moods.lock().unwrap().push_back(mood);
        self
    }

    async fn mood(&self) -> Result<Option<Outcome>, Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mood = self.moods.lock().unwrap().pop_front();
        match mood {
            None => Ok(None),
            Some(Mood::Away) => Err(Error::store("away")),
            Some(Mood::Slow) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(None)
            }
            Some(Mood::KeyTaken) => Ok(Some(Outcome::KeyTaken)),
            Some(Mood::Never) => std::future::pending().await,
        }
    }
}

impl SessionStore for Moody {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        self.memory.load(key).await
    }
    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        match self.mood().await? {
            Some(outcome) => Ok(outcome),
            None => self.memory.create(key, data, expires).await,
        }
    }
    async fn update(
        &self,
        key: &SessionKey,
        seen: &Seen,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        match self.mood().await? {
            Some(outcome) => Ok(outcome),
            None => self.memory.update(key, seen, data, expires).await,
        }
    }
    async fn rename(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        match self.mood().await? {
            Some(outcome) => Ok(outcome),
            None => self.memory.rename(key, seen, new_key, data, expires).await,
        }
    }
    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.memory.delete(key).await
    }
    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        self.memory.exists(key).await
    }
    async fn clear_expired(&self) -> Result<u64, Error> {
        self.memory.clear_expired().await
    }
}

/// A saved session with `{"n": 1}`.
async fn saved(store: &(impl Clone + Into<AnyStore>)) -> (Session, SessionKey) {
    let session = Session::create(store);
    session.insert("n", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    (session, key)
}

async fn stored(store: &(impl Clone + Into<AnyStore>), key: &SessionKey) -> Option<String> {
    match store.clone().into().load(key).await.unwrap() {
        Loaded::Found(record) => Some(record.data.to_json()),
        _ => None,
    }
}

fn more(n: Option<u32>) -> u32 {
    n.unwrap_or(0) + 1
}

#[test]
fn handles_and_futures_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    fn is_sent<T: Send>(_: &T) {}
    crosses::<Session>();
    crosses::<LazySession>();
    crosses::<SessionKey>();
    crosses::<AnyStore>();
    crosses::<Error>();
    let session = Session::detached();
    is_sent(&session.save());
    is_sent(&Session::open(&MemoryStore::new(), &SessionKey::generate()));
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

#[actix_web::test]
async fn changes_of_two_requests_are_merged_by_key() {
    let store = MemoryStore::new();
    let (_, key) = saved(&store).await;
    let (one, other) =
        (Session::open(&store, &key).await.unwrap(), Session::open(&store, &key).await.unwrap());
    one.insert("one", &1).unwrap();
    one.update("n", more).unwrap();
    one.discard("gone").unwrap();
    other.insert("other", &[1.0, 2.5]).unwrap();
    other.update("n", more).unwrap();
    one.save().await.unwrap();
    other.save().await.unwrap();
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":3,"one":1,"other":[1.0,2.5]}"#);
    assert_eq!(other.get::<u32>("one").unwrap(), Some(1), "the session shows what is stored");

    one.clear().unwrap();
    one.insert("after", &1).unwrap();
    other.insert("late", &1).unwrap();
    other.save().await.unwrap();
    one.save().await.unwrap();
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"after":1}"#, "clear clears what others wrote");
}

#[actix_web::test]
async fn what_cannot_be_merged_is_an_error_and_nothing_is_saved() {
    let store = MemoryStore::new();
    let (_, key) = saved(&store).await;
    let (one, other) =
        (Session::open(&store, &key).await.unwrap(), Session::open(&store, &key).await.unwrap());
    one.update("n", more).unwrap();
    one.insert("m", &1).unwrap();
    other.insert("n", "no number any more").unwrap();
    other.save().await.unwrap();
    assert!(one.save().await.unwrap_err().is_value());
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":"no number any more"}"#);
}

#[actix_web::test]
async fn an_ended_session_stays_ended() {
    let store = MemoryStore::new();
    for slow in ["write", "cycle", "nothing"] {
        let (fast, key) = saved(&store).await;
        let late = Session::open(&store, &key).await.unwrap();
        match slow {
            "write" => late.insert("m", &1).unwrap(),
            "cycle" => late.cycle_key().unwrap(),
            _ => {}
        }
        fast.flush().unwrap();
        fast.save().await.unwrap();
        assert!(late.save().await.unwrap_err().is_interrupted(), "{slow}");
        assert_eq!(format!("{store:?}"), "MemoryStore(0 sessions)");
    }
    // A flush of what is gone already is no surprise, and what comes after it is a new session.
    let (fast, key) = saved(&store).await;
    let late = Session::open(&store, &key).await.unwrap();
    fast.flush().unwrap();
    fast.save().await.unwrap();
    late.flush().unwrap();
    late.insert("new", &1).unwrap();
    late.save().await.unwrap();
    assert_ne!(late.session_key(), Some(key));
    assert_eq!(stored(&store, &late.session_key().unwrap()).await.unwrap(), r#"{"new":1}"#);
}

#[actix_web::test]
async fn the_key_changes_in_one_step_in_every_order_of_calls() {
    for order in
        ["cycle write", "write cycle", "cycle cycle", "flush cycle", "cycle flush write", "flush write"]
    {
        let store = MemoryStore::new();
        let (session, old) = saved(&store).await;
        for call in order.split(' ') {
            match call {
                "cycle" => session.cycle_key().unwrap(),
                "flush" => session.flush().unwrap(),
                _ => session.insert("m", &2).unwrap(),
            }
        }
        assert!(stored(&store, &old).await.is_some(), "{order}: nothing happens before the save");
        session.save().await.unwrap();
        let new = session.session_key().unwrap();
        assert_ne!(new, old, "{order}");
        let expected = json!({"n": 1, "m": 2});
        let mut expected = expected.as_object().unwrap().clone();
        expected.retain(|key, _| if key == "n" { !order.contains("flush") } else { order.contains("write") });
        let there: Value = serde_json::from_str(&stored(&store, &new).await.unwrap()).unwrap();
        assert_eq!(there, Value::Object(expected), "{order}");
        assert_eq!(format!("{store:?}"), "MemoryStore(1 sessions)", "{order}");
    }
}

#[actix_web::test]
async fn a_failed_save_keeps_the_changes_for_the_next() {
    let store = Moody::default();
    let (session, key) = saved(&store).await;
    let store = store.then(Mood::Away);
    session.insert("m", &1).unwrap();
    assert!(session.save().await.unwrap_err().is_store());
    session.insert("after", &1).unwrap();
    let other = Session::open(&store, &key).await.unwrap();
    other.insert("other", &1).unwrap();
    other.save().await.unwrap();
    session.save().await.unwrap();
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":1,"other":1,"m":1,"after":1}"#);
}

#[actix_web::test]
async fn a_dropped_save_keeps_the_changes_for_the_next() {
    let store = Moody::default();
    let (session, key) = saved(&store).await;
    let store = store.then(Mood::Never);
    session.insert("m", &1).unwrap();
    session.cycle_key().unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(10), session.save()).await.is_err());
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":1}"#, "the old one is as it was");
    session.save().await.unwrap();
    assert_eq!(stored(&store, &session.session_key().unwrap()).await.unwrap(), r#"{"n":1,"m":1}"#);
    assert_eq!(stored(&store, &key).await, None);
}

#[actix_web::test]
async fn a_taken_key_draws_another() {
    let store = Moody::default().then(Mood::KeyTaken).then(Mood::KeyTaken);
    let (session, key) = saved(&store).await;
    assert_eq!(store.calls.load(Ordering::SeqCst), 3);
    let store = store.then(Mood::KeyTaken);
    session.cycle_key().unwrap();
    let drawn = session.session_key();
    session.save().await.unwrap();
    assert_ne!(session.session_key(), drawn);
    assert_ne!(session.session_key(), Some(key));
    assert_eq!(stored(&store, &session.session_key().unwrap()).await.unwrap(), r#"{"n":1}"#);
}

#[actix_web::test]
async fn an_unknown_or_expired_key_is_not_adopted() {
    let store = MemoryStore::new();
    let key = SessionKey::generate();
    let session = Session::open(&store, &key).await.unwrap();
    assert!(session.is_empty() && session.session_key().is_none());
    session.insert("n", &1).unwrap();
    session.save().await.unwrap();
    assert_ne!(session.session_key(), Some(key));
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
    let store = MemoryStore::new();
    let session = Session::create(&store);
    let raw = RawValue::from_string("{\n\t\"a\": \"é €\"}".into()).unwrap();
    session.insert("raw", &raw).unwrap();
    session.save().await.unwrap();
    let again = Session::open(&store, &session.session_key().unwrap()).await.unwrap();
    assert_eq!(again.get::<Value>("raw").unwrap(), Some(json!({"a": "é €"})));
    let codec = actix_django_session::codec::Codec::new(actix_django_session::SecretKey::new("x"));
    let mut data = SessionData::from_json("{\"é\":\"€\"}").unwrap();
    data.set_json("b", "\"😀\"").unwrap();
    let back = codec.decode(&codec.encode(&data).unwrap()).unwrap();
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
fn what_is_left_of_a_passed_deadline_is_no_time_at_all() {
    let session = Session::detached();
    session.set_expiry(Duration::ZERO).unwrap();
    assert!(session.get_expiry_age() < 0 && session.get_expiry_date() < SystemTime::now());
    assert!(!session.get_expire_at_browser_close());
}

/// The clone's changes come in while a save waits for its answer, and read the session they change.
#[actix_web::test]
async fn changes_made_during_a_save_are_kept_for_the_next() {
    let store = Moody::default();
    let (session, key) = saved(&store).await;
    let other = Session::open(&store, &key).await.unwrap();
    other.insert("n", "no number any more").unwrap();
    session.insert("m", &1).unwrap();
    let held = store.clone().then(Mood::Slow);
    let saving = actix_web::rt::spawn({
        let session = session.clone();
        async move { session.save().await }
    });
    actix_web::rt::time::sleep(Duration::from_millis(20)).await;
    session.insert("precious", &1).unwrap();
    let reader = session.clone();
    session.update("n", move |n: Option<u32>| n.unwrap() + reader.get::<u32>("m").unwrap().unwrap()).unwrap();
    saving.await.unwrap().unwrap();
    drop(held);
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":1,"m":1}"#);
    session.save().await.unwrap();
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":2,"m":1,"precious":1}"#);

    // And where they cannot be made on what another stored, each save says so and nothing is dropped.
    let late = Session::open(&store, &key).await.unwrap();
    other.save().await.unwrap();
    late.insert("precious", &2).unwrap();
    late.update("n", more).unwrap();
    for _ in 0..2 {
        assert!(late.save().await.unwrap_err().is_value());
    }
    late.insert("n", &0).unwrap();
    late.save().await.unwrap();
    let there = stored(&store, &key).await.unwrap();
    assert!(there.contains(r#""precious":2"#) && there.contains(r#""n":0"#), "{there}");
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
    fn what_is_not_touched_goes_back_byte_for_byte(
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
