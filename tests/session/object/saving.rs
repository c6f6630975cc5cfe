//! Saves that merge, fail, are dropped, or find the session gone.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, Session, SessionKey,
    store::{AnyStore, Loaded, MemoryStore, Outcome, Seen, SessionData, SessionStore},
};
use serde_json::{Value, json};

use super::more;

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
async fn a_failed_merge_is_an_error_and_saves_nothing() {
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
async fn a_deleted_session_stays_deleted() {
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
async fn a_taken_key_is_replaced_by_another() {
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
