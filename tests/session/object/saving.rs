//! Saves that merge, fail, are dropped, or find the session gone.

use std::time::Duration;

use actix_django_session::{
    Error, SecretKey, Session, SessionKey, SessionMiddleware, Store,
    backend::{Backend as _, Insert, Memory, Replaced},
};
use actix_web::{App, test, web};
use serde_json::{Value, json};

use super::more;
use crate::support::{
    scripted::{Scripted, Step},
    stores::{self, memory},
};

fn away() -> Error {
    Error::store("away")
}

/// A saved session with `{"n": 1}`.
async fn saved(store: &Store) -> (Session, SessionKey) {
    let session = Session::new(store);
    session.insert("n", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    (session, key)
}

async fn open(store: &Store, key: &SessionKey) -> Session {
    Session::open(store, key).await.unwrap().expect("there is a session")
}

async fn stored(store: &Store, key: &SessionKey) -> Option<String> {
    store.entry(key).await.unwrap().map(|entry| entry.data.unwrap().to_json())
}

#[actix_web::test]
async fn changes_of_two_requests_are_merged_by_key() {
    let store = memory();
    let (_, key) = saved(&store).await;
    let (one, other) = (open(&store, &key).await, open(&store, &key).await);
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
async fn a_failed_merge_is_an_error_and_saves_nothing() {
    let store = memory();
    let (_, key) = saved(&store).await;
    let (one, other) = (open(&store, &key).await, open(&store, &key).await);
    one.update("n", more).unwrap();
    one.insert("m", &1).unwrap();
    other.insert("n", "no number any more").unwrap();
    other.save().await.unwrap();
    assert!(one.save().await.unwrap_err().is_value());
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":"no number any more"}"#);
}

#[actix_web::test]
async fn a_deleted_session_stays_deleted() {
    let memory = Memory::new();
    let store = stores::on(&memory);
    for slow in ["write", "cycle", "nothing"] {
        let (fast, key) = saved(&store).await;
        let late = open(&store, &key).await;
        match slow {
            "write" => late.insert("m", &1).unwrap(),
            "cycle" => late.cycle_key().unwrap(),
            _ => {}
        }
        fast.flush().unwrap();
        fast.save().await.unwrap();
        assert!(late.save().await.unwrap_err().is_interrupted(), "{slow}");
        assert_eq!(stores::len(&memory), 0);
    }
    // A flush of what is gone already is no surprise, and what comes after it is a new session.
    let (fast, key) = saved(&store).await;
    let late = open(&store, &key).await;
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
        let memory = Memory::new();
        let store = stores::on(&memory);
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
        assert_eq!(stores::len(&memory), 1, "{order}");
    }
}

#[actix_web::test]
async fn a_failed_save_keeps_the_changes_for_the_next() {
    let scripted = Scripted::memory();
    let store = scripted.store();
    let (session, key) = saved(&store).await;
    scripted.then("write", Step::Fail(away));
    session.insert("m", &1).unwrap();
    assert!(session.save().await.unwrap_err().is_store());
    session.insert("after", &1).unwrap();
    let other = open(&store, &key).await;
    other.insert("other", &1).unwrap();
    other.save().await.unwrap();
    session.save().await.unwrap();
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":1,"other":1,"m":1,"after":1}"#);
}

#[actix_web::test]
async fn a_dropped_save_keeps_the_changes_for_the_next() {
    let scripted = Scripted::memory();
    let store = scripted.store();
    let (session, key) = saved(&store).await;
    scripted.then("write", Step::Never);
    session.insert("m", &1).unwrap();
    session.cycle_key().unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(10), session.save()).await.is_err());
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":1}"#, "the old one is as it was");
    session.save().await.unwrap();
    assert_eq!(stored(&store, &session.session_key().unwrap()).await.unwrap(), r#"{"n":1,"m":1}"#);
    assert_eq!(stored(&store, &key).await, None);
}

#[actix_web::test]
async fn a_taken_key_is_replaced_by_another() {
    let scripted = Scripted::memory();
    let store = scripted.store();
    let taken = || Step::Answer(Replaced::KeyTaken);
    scripted.then("write", taken()).then("write", taken());
    let (session, key) = saved(&store).await;
    assert_eq!(scripted.count("write"), 3);
    scripted.then("write", taken());
    session.cycle_key().unwrap();
    let drawn = session.session_key();
    session.save().await.unwrap();
    assert_ne!(session.session_key(), drawn);
    assert_ne!(session.session_key(), Some(key));
    assert_eq!(stored(&store, &session.session_key().unwrap()).await.unwrap(), r#"{"n":1}"#);
}

#[actix_web::test]
async fn an_unknown_or_expired_key_is_not_adopted() {
    async fn view(session: Session) -> Result<&'static str, Error> {
        assert!(session.is_empty() && session.session_key().is_none());
        session.insert("n", &1)?;
        Ok("saved")
    }
    let memory = Memory::new();
    let store = stores::on(&memory);
    let (unknown, expired) = (SessionKey::generate(), SessionKey::generate());
    let soon = std::time::SystemTime::now() + Duration::from_millis(20);
    memory.insert(Insert::new(&expired, "{}", soon)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;

    let app = App::new().wrap(SessionMiddleware::new(store.clone())).route("/", web::get().to(view));
    let app = test::init_service(app).await;
    for key in [unknown, expired] {
        assert!(Session::open(&store, &key).await.unwrap().is_none());
        let cookie = format!("sessionid={}", key.as_str());
        let request = test::TestRequest::get().insert_header(("cookie", cookie.clone())).to_request();
        let response = test::call_service(&app, request).await;
        assert_eq!(response.status(), 200);
        let set: Vec<_> = response.response().cookies().map(|cookie| cookie.value().to_owned()).collect();
        assert!(set.len() == 1 && set[0] != key.as_str());
        assert_eq!(stored(&store, &key).await, None);
    }
    assert_eq!((store.clear_expired().await.unwrap(), stores::len(&memory)), (1, 2));
}

/// The clone's changes come in while a save waits for its answer, and read the session they change.
#[actix_web::test]
async fn changes_made_during_a_save_are_kept_for_the_next() {
    let scripted = Scripted::memory();
    let store = scripted.store();
    let (session, key) = saved(&store).await;
    let other = open(&store, &key).await;
    other.insert("n", "no number any more").unwrap();
    session.insert("m", &1).unwrap();
    scripted.then("write", Step::Slow(Duration::from_millis(100)));
    let saving = actix_web::rt::spawn({
        let session = session.clone();
        async move { session.save().await }
    });
    actix_web::rt::time::sleep(Duration::from_millis(20)).await;
    session.insert("precious", &1).unwrap();
    let reader = session.clone();
    session.update("n", move |n: Option<u32>| n.unwrap() + reader.get::<u32>("m").unwrap().unwrap()).unwrap();
    saving.await.unwrap().unwrap();
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":1,"m":1}"#);
    session.save().await.unwrap();
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":2,"m":1,"precious":1}"#);

    // And where they cannot be made on what another stored, each save says so and nothing is dropped.
    let late = open(&store, &key).await;
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

#[actix_web::test]
async fn a_missing_session_is_none_and_an_unreadable_one_an_error() {
    let memory = Memory::new();
    let missing = SessionKey::generate();
    assert!(Session::open(&stores::on(&memory), &missing).await.unwrap().is_none());
    assert_eq!(stores::len(&memory), 0, "looking makes no row");

    let signed = |secret: &str| Store::new(memory.clone(), SecretKey::new(secret));
    let (_, key) = saved(&signed("one")).await;
    let error = Session::open(&signed("another"), &key).await.unwrap_err();
    assert!(error.is_bad_signature() && error.is_unreadable(), "{error}");
    assert_eq!(open(&signed("one"), &key).await.get::<u32>("n").unwrap(), Some(1), "it stays as it was");
}

#[actix_web::test]
async fn an_update_whose_reply_was_lost_is_in_doubt_until_the_session_is_loaded_again() {
    let scripted = Scripted::memory();
    let store = scripted.store();
    let (session, key) = saved(&store).await;
    scripted.then("update", Step::Answer(Replaced::Unknown));
    session.update("n", more).unwrap();
    for _ in 0..3 {
        let error = session.save().await.unwrap_err();
        assert!(error.is_in_doubt() && error.is_store(), "{error}");
    }
    session.insert("other", "too").unwrap();
    assert!(session.save().await.unwrap_err().is_in_doubt());
    assert_eq!(scripted.count("update"), 1, "no second attempt, which could count twice");
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":1}"#);
    let session = open(&store, &key).await;
    session.update("n", more).unwrap();
    session.save().await.unwrap();
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":2}"#);
}

/// A value that does not depend on the earlier one may be stored twice.
#[actix_web::test]
async fn a_value_whose_reply_was_lost_is_stored_again() {
    let scripted = Scripted::memory();
    let store = scripted.store();
    let (session, key) = saved(&store).await;
    scripted.then("update", Step::Answer(Replaced::Unknown));
    session.insert("n", &7).unwrap();
    session.save().await.unwrap();
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":7}"#);
    // A later set or remove ends the doubt of an update.
    for ends in
        [|session: &Session| session.insert("n", &8).unwrap(), |session: &Session| session.flush().unwrap()]
    {
        scripted.then("update", Step::Answer(Replaced::Unknown));
        let session = open(&store, &key).await;
        session.update("n", more).unwrap();
        assert!(session.save().await.unwrap_err().is_in_doubt());
        ends(&session);
        session.save().await.unwrap();
    }
    assert!(!store.exists(&key).await.unwrap());
}

#[actix_web::test]
async fn update_and_save_returns_what_was_stored() {
    let store = memory();
    let (one, key) = saved(&store).await;
    let other = open(&store, &key).await;
    assert_eq!(one.update_and_save("n", more).await.unwrap(), 2);
    assert_eq!(other.update("n", more).unwrap(), 2, "provisional: the other one's 2 is stored already");
    assert_eq!(other.update_and_save("n", more).await.unwrap(), 4);
    assert_eq!(stored(&store, &key).await.unwrap(), r#"{"n":4}"#);
}

#[actix_web::test]
async fn a_save_after_a_flush_creates_nothing() {
    let memory = Memory::new();
    let store = stores::on(&memory);
    // Where nothing was stored.
    let session = Session::new(&store);
    session.insert("n", &1).unwrap();
    session.flush().unwrap();
    for _ in 0..2 {
        session.save().await.unwrap();
        assert_eq!((stores::len(&memory), session.session_key(), session.is_empty()), (0, None, true));
    }
    // Where something was.
    let (session, _) = saved(&store).await;
    session.flush().unwrap();
    for _ in 0..3 {
        session.save().await.unwrap();
        assert_eq!((stores::len(&memory), session.session_key()), (0, None));
    }
    session.set_modified().unwrap();
    session.save().await.unwrap();
    assert_eq!(stores::len(&memory), 0);

    // Later values are stored; and an empty session is an ordinary one from then on.
    session.insert("n", &2).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    session.discard("n").unwrap();
    session.save().await.unwrap();
    assert_eq!(stored(&store, &key).await.as_deref(), Some("{}"));
    session.flush().unwrap();
    session.cycle_key().unwrap();
    session.save().await.unwrap();
    assert_eq!(stores::len(&memory), 1, "it has a new key, as in Django");
    let new = Session::new(&store);
    new.save().await.unwrap();
    assert_eq!(stores::len(&memory), 2, "Django's create()");
}

/// The same at the end of a request: neither a row nor a cookie.
#[actix_web::test]
async fn a_save_after_a_flush_gives_the_visitor_no_cookie() {
    async fn view(session: Session) -> Result<&'static str, Error> {
        session.flush()?;
        session.save().await?;
        session.save().await?;
        Ok("done")
    }
    let memory = Memory::new();
    let session = SessionMiddleware::new(stores::on(&memory));
    let app = test::init_service(App::new().wrap(session).route("/", web::get().to(view))).await;
    let response = test::call_service(&app, test::TestRequest::get().uri("/").to_request()).await;
    assert_eq!(response.headers().get_all("set-cookie").count(), 0);
    let stale = ("cookie", "sessionid=0123456789abcdefghijklmnopqrstuv");
    let request = test::TestRequest::get().uri("/").insert_header(stale).to_request();
    let response = test::call_service(&app, request).await;
    let deletion = response.headers().get("set-cookie").unwrap().to_str().unwrap();
    assert!(deletion.starts_with("sessionid=\"\"; expires=Thu, 01 Jan 1970"), "{deletion}");
    assert_eq!(stores::len(&memory), 0);
}
