//! Every kind of store keeps dictionaries: values come back byte for byte, saves compare, nothing revives.
//!
//! `conformance` checks the bytes of a backend; these tests check the sessions of a store. For a cache
//! in front of a database they are the only suite.

mod kinds;

use std::{collections::HashSet, time::Duration};

use actix_django_session::{
    Error, Session, SessionKey,
    backend::{Backend, Inserted},
    codec::SessionData,
};
use futures_util::future::join_all;
use serde_json::value::RawValue;

use kinds::Kind;

/// For a backend that keeps expired sessions until they are cleared.
async fn check<B: Backend>(kind: Kind<B>) {
    expired_sessions_stay_until_they_are_cleared(&kind).await;
    check_cache(kind).await;
}

/// For one that forgets expired sessions by itself, too.
async fn check_cache<B: Backend>(kind: Kind<B>) {
    dictionaries_come_back_as_they_were(&kind).await;
    saves_in_a_row_find_their_own_version(&kind).await;
    a_save_after_another_writer_merges(&kind).await;
    a_save_neither_inserts_nor_revives(&kind).await;
    a_new_key_takes_effect_in_one_step(&kind).await;
    delete_ends_a_session(&kind).await;
    the_time_decides(&kind).await;
    keys_are_exact(&kind).await;
    all_sessions_are_listed(&kind).await;
    concurrent_increments_all_count(&kind).await;
}

async fn dictionaries_come_back_as_they_were<B: Backend>(kind: &Kind<B>) {
    let (large, many) = (format!(r#"{{"s":"{}"}}"#, "x".repeat(2 << 20)), many_keys());
    for text in [
        "{}",
        r#"{"a":123456789012345678901234567890,"b":5.0,"c":NaN,"d":"\ud800","e":[null,{"f":-Infinity}]}"#,
        r#"{"z":1,"a":2,"z":3}"#,
        r#"{"quote":"\"' \\ \u0000 %s $1 ?"}"#,
        &large,
        &many,
    ] {
        let (key, expected) = (kind.created(text, 60).await, data(text));
        let there = kind.data(&key).await;
        assert!(there.items() == expected.items(), "values come back byte for byte ({text:.60}…)");
        // A session that changes one value leaves the others as they are.
        let session = kind.open(&key).await;
        assert_eq!(session.keys(), expected.keys(), "{text:.60}…");
        session.insert("last", &1).unwrap();
        session.save().await.unwrap();
        let mut expected = expected;
        expected.set_json("last", "1").unwrap();
        let there = kind.data(&key).await;
        assert!(there.items() == expected.items(), "a save keeps the other values ({text:.60}…)");
        let again = kind.open(&key).await;
        assert_eq!(again.keys(), expected.keys(), "{text:.60}…");
        assert!(kind.store.delete(&key).await.unwrap());
    }
}

fn many_keys() -> String {
    let members: Vec<String> = (0..10_000).map(|n| format!(r#""key{n}":{n}"#)).collect();
    format!("{{{}}}", members.join(","))
}

/// Each save is compared with what the one before has stored, so all of them are carried out.
async fn saves_in_a_row_find_their_own_version<B: Backend>(kind: &Kind<B>) {
    let session = Session::new(&kind.store);
    session.insert("n", &0).unwrap();
    session.save().await.unwrap();
    for n in 1..4 {
        session.insert("n", &n).unwrap();
        session.set_expiry(Duration::from_secs(60 + 30 * n)).unwrap();
        session.save().await.unwrap();
        let key = session.session_key().unwrap();
        let entry = kind.store.entry(&key).await.unwrap().unwrap();
        assert_eq!(entry.data.unwrap().get_json("n"), Some(&*n.to_string()), "a save stores");
        let left = entry.expires.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
        assert!((50 + 30 * n..=60 + 30 * n).contains(&left), "a save moves the expiry: {left}");
        assert_eq!(number(&kind.open(&key).await, "n"), Some(n));
        session.cycle_key().unwrap();
        session.save().await.unwrap();
        assert_ne!(session.session_key().unwrap(), key);
        session.save().await.unwrap(); // the same again
    }
    kind.store.delete(&session.session_key().unwrap()).await.unwrap();
}

async fn a_save_after_another_writer_merges<B: Backend>(kind: &Kind<B>) {
    let key = kind.created(r#"{"n":0}"#, 60).await;
    let (first, second) = (kind.open(&key).await, kind.open(&key).await);
    first.insert("first", &1).unwrap();
    increment(&first);
    first.save().await.unwrap();
    second.insert("second", &2).unwrap();
    increment(&second);
    second.save().await.unwrap();
    assert_eq!(kind.data(&key).await.to_json(), r#"{"n":2,"first":1,"second":2}"#, "changes are merged");
    assert_eq!(number(&second, "first"), Some(1), "the session shows what is stored");
    // It goes on with the version that the refusal showed.
    increment(&second);
    second.save().await.unwrap();
    assert_eq!(kind.data(&key).await.get_json("n"), Some("3"));
    kind.store.delete(&key).await.unwrap();
}

async fn a_save_neither_inserts_nor_revives<B: Backend>(kind: &Kind<B>) {
    let key = kind.created(r#"{"n":1}"#, 60).await;
    let late = kind.open(&key).await;
    assert!(kind.store.delete(&key).await.unwrap());
    increment(&late);
    assert!(late.save().await.is_err_and(|error| error.is_interrupted()), "a deleted session is gone");
    assert!(!kind.store.exists(&key).await.unwrap(), "a save never inserts");

    let key = kind.created(r#"{"n":1}"#, 60).await;
    let (late, other) = (kind.open(&key).await, kind.open(&key).await);
    other.insert("_session_expiry", &-1).unwrap();
    other.save().await.unwrap();
    increment(&late);
    assert!(late.save().await.is_err_and(|error| error.is_interrupted()), "an expired session is gone");
    assert!(kind.try_open(&key).await.is_none(), "a save never revives");
    kind.store.delete(&key).await.unwrap();
}

async fn a_new_key_takes_effect_in_one_step<B: Backend>(kind: &Kind<B>) {
    let old = kind.created(r#"{"n":1}"#, 60).await;
    let (session, late, renames_too) = (kind.open(&old).await, kind.open(&old).await, kind.open(&old).await);
    session.cycle_key().unwrap();
    increment(&session);
    session.save().await.unwrap();
    let new = session.session_key().unwrap();
    assert!(!kind.store.exists(&old).await.unwrap(), "the old key is gone");
    assert_eq!(kind.data(&new).await.to_json(), r#"{"n":2}"#, "the new data is stored");
    for late in [late, renames_too] {
        increment(&late);
        late.cycle_key().unwrap();
        let requested = late.session_key().unwrap();
        assert!(late.save().await.is_err_and(|error| error.is_interrupted()), "a key that is gone is gone");
        assert!(!kind.store.exists(&requested).await.unwrap(), "nothing is stored under another key");
    }
    assert_eq!(number(&kind.open(&new).await, "n"), Some(2));
    // A rename, too, is compared with what is stored.
    let (first, second) = (kind.open(&new).await, kind.open(&new).await);
    increment(&first);
    first.save().await.unwrap();
    second.cycle_key().unwrap();
    increment(&second);
    second.save().await.unwrap();
    let last = second.session_key().unwrap();
    assert_eq!(kind.data(&last).await.to_json(), r#"{"n":4}"#, "no change is lost by a rename");
    assert!(!kind.store.exists(&new).await.unwrap());
    kind.store.delete(&last).await.unwrap();
}

async fn delete_ends_a_session<B: Backend>(kind: &Kind<B>) {
    assert!(!kind.store.delete(&SessionKey::generate()).await.unwrap(), "a missing one is no error");
    let key = kind.created("{}", 60).await;
    assert!(kind.store.exists(&key).await.unwrap());
    kind.open(&key).await;
    assert!(kind.store.delete(&key).await.unwrap(), "delete returns whether there was one");
    assert!(!kind.store.exists(&key).await.unwrap());
    assert!(kind.try_open(&key).await.is_none());
}

async fn the_time_decides<B: Backend>(kind: &Kind<B>) {
    let (live, expired) = (kind.created("{}", 60).await, kind.created("{}", -60).await);
    assert!(kind.try_open(&expired).await.is_none(), "an expired session is not opened");
    assert!(kind.store.entry(&expired).await.unwrap().is_none());
    kind.store.clear_expired().await.unwrap();
    assert!(!kind.store.exists(&expired).await.unwrap(), "expired sessions are cleared");
    assert!(kind.store.exists(&live).await.unwrap(), "live sessions stay");
    kind.open(&live).await;
    kind.store.delete(&live).await.unwrap();
}

async fn expired_sessions_stay_until_they_are_cleared<B: Backend>(kind: &Kind<B>) {
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(kind.created("{}", -60).await);
    }
    for key in &keys {
        assert!(kind.store.exists(key).await.unwrap(), "exists does not look at the time");
        assert_eq!(kind.create(key, "{}", 60).await.unwrap(), Inserted::KeyTaken, "its key stays taken");
    }
    assert_eq!(kind.store.clear_batch(2).await.unwrap(), 2, "a batch stops at its limit");
    assert!(kind.store.clear_batch(1000).await.unwrap() <= 1, "and has deleted what it counted");
    for key in &keys {
        assert!(!kind.store.exists(key).await.unwrap());
    }
}

async fn keys_are_exact<B: Backend>(kind: &Kind<B>) {
    let name = SessionKey::generate().as_str().to_owned();
    let key = |text: &str| SessionKey::parse(text).unwrap();
    let (lower, upper) = (key(&format!("{name}~%_'\"")), key(&format!("{}~%_'\"", name.to_uppercase())));
    match kind.create(&lower, r#"{"n":1}"#, 60).await {
        // A store may have keys of a-z and 0-9 only (files), and then has nothing under any other.
        Err(error) if error.is_configuration() => {
            assert!(!kind.store.exists(&lower).await.unwrap());
            assert!(kind.try_open(&lower).await.is_none());
        }
        created => {
            assert_eq!(created.unwrap(), Inserted::Done);
            assert_eq!(number(&kind.open(&lower).await, "n"), Some(1));
        }
    }
    for other in [&upper, &key(&name), &key(&format!("{name}~xxxx"))] {
        assert!(kind.try_open(other).await.is_none(), "keys are compared exactly");
        assert!(!kind.store.delete(other).await.unwrap(), "keys are compared exactly");
    }
    let long = key(&"k".repeat(40));
    kind.store.delete(&long).await.unwrap();
    assert_eq!(kind.create(&long, "{}", 60).await.unwrap(), Inserted::Done);
    assert!(kind.store.exists(&long).await.unwrap(), "a key can have 40 characters");
    kind.store.delete(&long).await.unwrap();
    kind.store.delete(&lower).await.unwrap();
}

async fn all_sessions_are_listed<B: Backend>(kind: &Kind<B>) {
    let mut keys = Vec::new();
    for n in 0..1200 {
        keys.push(kind.created(&format!(r#"{{"_auth_user_id":"conformance{}"}}"#, n % 2), 60).await);
    }
    let (mut sessions, mut seen) = (kind.store.sessions(), HashSet::new());
    while let Some(session) = sessions.next().await.unwrap() {
        if keys.contains(&session.key) {
            assert!(session.data.is_ok() && !session.is_expired(), "a session is shown as it is");
            seen.insert(session.key);
        }
    }
    assert_eq!(seen.len(), keys.len(), "every session is listed");
    let ended = kind.store.end_sessions_of_user("conformance1", Some(&keys[1])).await.unwrap();
    assert_eq!(ended, 599, "all of this user but the one to keep");
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(kind.store.delete(key).await.unwrap(), n % 2 == 0 || n == 1, "nobody else's");
    }
}

/// Sixteen writers of one session, each with a counter of its own and one for all.
async fn concurrent_increments_all_count<B: Backend>(kind: &Kind<B>) {
    const WRITERS: usize = 16;
    const ROUNDS: usize = 10;
    let key = &kind.created(r#"{"all":0}"#, 60).await;
    let writers = (0..WRITERS).map(async |writer| {
        for _ in 0..ROUNDS {
            let session = kind.open(key).await;
            for counter in ["all", &format!("writer{writer}")] {
                session.update(counter, |n: Option<u64>| n.unwrap_or(0) + 1).unwrap();
            }
            session.save().await.unwrap();
        }
    });
    join_all(writers).await;
    let there = kind.data(key).await;
    assert_eq!(there.get_json("all"), Some("160"), "no increment is lost");
    assert_eq!(there.keys().len(), WRITERS + 1, "no key is lost");
    for writer in 0..WRITERS {
        assert_eq!(there.get_json(&format!("writer{writer}")), Some("10"));
    }
    kind.store.delete(key).await.unwrap();
}

fn data(json: &str) -> SessionData {
    SessionData::from_json(json).unwrap()
}

fn number(session: &Session, name: &str) -> Option<u64> {
    session.get(name).unwrap()
}

fn increment(session: &Session) {
    session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).unwrap();
}

/// No server has these, so only what a session holds can be checked.
#[actix_web::test]
async fn signed_cookies() {
    use actix_django_session::{SecretKey, Store};
    let store = Store::signed_cookies(SecretKey::new("a secret"));
    let values = [
        ("a", "123456789012345678901234567890"),
        ("b", "5.0"),
        ("d", r#""\ud800""#),
        ("e", r#"[null,{"f":-0.0}]"#),
        ("quote", r#""\"' \\ \u0000 %s $1 ?""#),
    ];
    let session = Session::new(&store);
    for (name, value) in values {
        session.insert(name, &RawValue::from_string(value.to_owned()).unwrap()).unwrap();
    }
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let again = Session::open(&store, &key).await.unwrap().unwrap();
    assert_eq!(again.keys(), values.map(|(name, _)| name));
    for (name, value) in values {
        assert_eq!(again.get::<Box<RawValue>>(name).unwrap().unwrap().get(), value);
    }
    // Of two writers of one cookie each has a cookie of its own then.
    again.insert("more", &1).unwrap();
    again.save().await.unwrap();
    assert_ne!(again.session_key().unwrap(), key);
    assert!(!Session::open(&store, &key).await.unwrap().unwrap().contains_key("more"));
    again.insert("_session_expiry", &-10).unwrap();
    again.save().await.unwrap();
    assert!(Session::open(&store, &again.session_key().unwrap()).await.unwrap().is_none(), "expired");
    // There is nothing to look for, to delete, to clear or to list.
    assert!(!store.exists(&key).await.unwrap() && !store.delete(&key).await.unwrap());
    assert_eq!(store.clear_expired().await.unwrap(), 0);
    assert!(store.sessions().next().await.is_err_and(|error: Error| error.is_configuration()));
    // As large as no cookie can be, even compressed.
    let noise: String = (0..200).map(|_| SessionKey::generate().as_str().to_owned()).collect();
    again.insert("noise", &noise).unwrap();
    assert!(again.save().await.is_err_and(|error| error.is_too_large()));
}
