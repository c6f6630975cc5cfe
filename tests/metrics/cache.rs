//! A cache in front of a database.

use actix_django_session::{
    SecretKey, Session, Store,
    backend::Memory,
    codec::{Codec, JsonSerializer},
};

use crate::recorder::Recorder;

const COUNTED: &[&str] = &[
    "operations_total",
    "cache_lookups_total",
    "cache_leases_total",
    "cache_fills_total",
    "cache_errors_total",
];

fn of_cached(operation: &str, result: &str) -> String {
    format!("operations_total{{engine=\"cached\",operation=\"{operation}\",result=\"{result}\"}} 1")
}

fn lookup(result: &str) -> String {
    format!("cache_lookups_total{{result=\"{result}\"}} 1")
}

fn lease(kind: &str) -> String {
    format!("cache_leases_total{{kind=\"{kind}\",result=\"granted\"}} 1")
}

fn filled(result: &str) -> String {
    format!("cache_fills_total{{result=\"{result}\"}} 1")
}

#[tokio::test]
async fn hits_misses_and_leases_are_counted() {
    let mut recorder = Recorder::new();
    let front = Memory::new();
    let cache = Store::new(front.clone(), Codec::unsigned(JsonSerializer));
    let store = Store::cached(cache.clone(), Store::new(Memory::new(), SecretKey::new("a secret"))).unwrap();
    let mut step = |expected: &[String]| {
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(recorder.changes(COUNTED), expected);
        recorder.begin();
    };

    let session = Session::new(&store);
    session.insert("n", &1).unwrap();
    session.save().await.unwrap();
    step(&[lease("fill"), filled("granted"), of_cached("create", "done")]);

    let key = session.session_key().unwrap();
    let session = Session::open(&store, &key).await.unwrap().unwrap();
    step(&[lookup("hit"), of_cached("load", "found")]);

    session.insert("n", &2).unwrap();
    session.save().await.unwrap();
    step(&[lease("change"), of_cached("update", "done")]);

    // Evicted: the next reader fills the cache.
    cache.delete(&key).await.unwrap();
    step(&["operations_total{engine=\"memory\",operation=\"delete\",result=\"done\"} 1".to_owned()]);
    Session::open(&store, &key).await.unwrap().unwrap();
    step(&[lookup("miss"), lease("fill"), filled("granted"), of_cached("load", "found")]);

    assert!(store.delete(&key).await.unwrap());
    step(&[lease("change"), of_cached("delete", "done")]);
    assert!(Session::open(&store, &key).await.unwrap().is_none());
    step(&[lookup("miss"), lease("fill"), of_cached("load", "missing")]);
    assert!(!recorder.text().contains(key.as_str()));
}
