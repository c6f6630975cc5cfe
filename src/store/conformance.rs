//! The contract of a store as a test that anybody can run on a store of their own.

use std::{
    collections::HashSet,
    future::Future,
    time::{Duration, SystemTime},
};

use super::{AnyStore, Loaded, Outcome, Record, Seen, SessionData};
use crate::{Error, SessionKey};

/// Checks that a store keeps the contract of [`SessionStore`](super::SessionStore).
///
/// Writes sessions under random keys and removes them again, so it may run on a store in use; apart from
/// `clear_expired`, which clears what is expired. Every engine of this crate passes it.
///
/// # Panics
///
/// With a message that names the rule, if the store breaks it.
///
/// ```no_run
/// # async fn the_contract_is_kept() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{SecretKey, store::{FileStore, conformance}};
///
/// conformance::check(FileStore::open("/tmp/sessions", SecretKey::new("…")).await?).await;
/// # Ok(()) }
/// ```
pub async fn check(store: impl Into<AnyStore>) {
    let store = store.into();
    check_forgetful(store.clone()).await;
    what_is_expired_waits_for_the_sweep(&store).await;
}

/// As [`check`], for a store that forgets an expired session by itself, as caches do.
///
/// # Panics
///
/// With a message that names the rule, if the store breaks it.
///
/// ```
/// # #[actix_web::main] async fn main() {
/// use actix_django_session::store::{MemoryStore, conformance};
///
/// conformance::check_forgetful(MemoryStore::new()).await;
/// # }
/// ```
pub async fn check_forgetful(store: impl Into<AnyStore>) {
    let store = store.into();
    create_never_overwrites(&store).await;
    data_comes_back_as_it_was(&store).await;
    update_compares_and_sets(&store).await;
    update_neither_inserts_nor_revives(&store).await;
    rename_is_one_step(&store).await;
    delete_ends_a_session(&store).await;
    the_time_decides(&store).await;
    keys_are_exact(&store).await;
    all_are_listed(&store).await;
    concurrent_updates_all_count(&store).await;
}

async fn create_never_overwrites(store: &AnyStore) {
    let (key, first) = (SessionKey::generate(), data(r#"{"a":1}"#));
    let created = ok(store.create(&key, &first, later(60))).await;
    assert!(matches!(created, Outcome::Saved(_)), "create: stores a new session");
    let again = ok(store.create(&key, &data(r#"{"b":2}"#), later(60))).await;
    assert!(matches!(again, Outcome::KeyTaken), "create: a taken key is KeyTaken");
    assert_eq!(found(store, &key).await.data.to_json(), r#"{"a":1}"#, "create: never overwrites");
    ok(store.delete(&key)).await;
}

async fn data_comes_back_as_it_was(store: &AnyStore) {
    let (large, many) = (format!(r#"{{"s":"{}"}}"#, "x".repeat(2 << 20)), many_keys());
    for text in [
        "{}",
        r#"{"a":123456789012345678901234567890,"b":5.0,"c":NaN,"d":"\ud800","e":[null,{"f":-Infinity}]}"#,
        r#"{"z":1,"a":2,"z":3}"#,
        r#"{"quote":"\"' \\ \u0000 %s $1 ?"}"#,
        &large,
        &many,
    ] {
        let (key, data) = (SessionKey::generate(), data(text));
        ok(store.create(&key, &data, later(60))).await;
        let there = found(store, &key).await.data;
        ok(store.delete(&key)).await;
        assert!(there.items() == data.items(), "load: values come back byte for byte ({text:.60}…)");
    }
}

fn many_keys() -> String {
    let members: Vec<String> = (0..10_000).map(|n| format!(r#""key{n}":{n}"#)).collect();
    format!("{{{}}}", members.join(","))
}

async fn update_compares_and_sets(store: &AnyStore) {
    let key = SessionKey::generate();
    let seen = saved(ok(store.create(&key, &data(r#"{"n":0}"#), later(60))).await);
    let newer = saved(ok(store.update(&key, &seen, &data(r#"{"n":1}"#), later(90))).await);
    let record = found(store, &key).await;
    assert_eq!(record.data.to_json(), r#"{"n":1}"#, "update: stores");
    assert!(record.expires > later(75), "update: moves the expiry");
    let again = ok(store.update(&key, &newer, &data(r#"{"n":1}"#), later(90))).await;
    assert!(matches!(again, Outcome::Saved(_)), "update: answers what the next one compares with");
    match ok(store.update(&key, &seen, &data(r#"{"n":2}"#), later(60))).await {
        Outcome::Changed(record) => {
            assert_eq!(record.data.to_json(), r#"{"n":1}"#, "update: a refusal shows what is there");
            let done = ok(store.update(&key, &record.seen, &data(r#"{"n":3}"#), later(60))).await;
            assert!(matches!(done, Outcome::Saved(_)), "update: works with what the refusal showed");
        }
        other => panic!("update: something else than was seen must be Changed, not {other:?}"),
    }
    ok(store.delete(&key)).await;
}

async fn update_neither_inserts_nor_revives(store: &AnyStore) {
    let key = SessionKey::generate();
    let seen = saved(ok(store.create(&key, &data("{}"), later(60))).await);
    ok(store.delete(&key)).await;
    let gone = ok(store.update(&key, &seen, &data("{}"), later(60))).await;
    assert!(matches!(gone, Outcome::Gone), "update: a deleted session is Gone");
    assert!(!ok(store.exists(&key)).await, "update: never inserts");

    let seen = saved(ok(store.create(&key, &data("{}"), later(-1))).await);
    let gone = ok(store.update(&key, &seen, &data("{}"), later(60))).await;
    assert!(matches!(gone, Outcome::Gone), "update: an expired session is Gone");
    assert!(matches!(ok(store.load(&key)).await, Loaded::Missing), "update: never revives");
    ok(store.delete(&key)).await;
}

async fn rename_is_one_step(store: &AnyStore) {
    let old = SessionKey::generate();
    let draw = || store.draw_key(Some(&old));
    let (new, taken) = (draw(), draw());
    let seen = saved(ok(store.create(&old, &data(r#"{"a":1}"#), later(60))).await);
    ok(store.create(&taken, &data(r#"{"other":1}"#), later(60))).await;
    let refused = ok(store.rename(&old, &seen, &taken, &data("{}"), later(60))).await;
    assert!(matches!(refused, Outcome::KeyTaken), "rename: a taken key is KeyTaken");
    assert_eq!(found(store, &old).await.data.to_json(), r#"{"a":1}"#, "rename: a refusal changes nothing");
    assert_eq!(found(store, &taken).await.data.to_json(), r#"{"other":1}"#, "rename: never overwrites");

    let seen_new = saved(ok(store.rename(&old, &seen, &new, &data(r#"{"a":2}"#), later(60))).await);
    assert!(!ok(store.exists(&old)).await, "rename: the old key is gone");
    let record = found(store, &new).await;
    assert_eq!(record.data.to_json(), r#"{"a":2}"#, "rename: stores the data given");
    let gone = ok(store.rename(&old, &seen, &draw(), &data("{}"), later(60))).await;
    assert!(matches!(gone, Outcome::Gone), "rename: a key that is gone is Gone");

    let again = ok(store.update(&new, &seen_new, &data(r#"{"a":3}"#), later(60))).await;
    assert!(matches!(again, Outcome::Saved(_)), "rename: answers what the next update compares with");
    let changed = ok(store.rename(&new, &seen_new, &old, &data("{}"), later(60))).await;
    assert!(matches!(changed, Outcome::Changed(_)), "rename: compares before it sets");
    ok(store.delete(&new)).await;
    ok(store.delete(&taken)).await;
}

async fn delete_ends_a_session(store: &AnyStore) {
    let key = SessionKey::generate();
    assert!(!ok(store.delete(&key)).await, "delete: what is not there is no error");
    ok(store.create(&key, &data("{}"), later(60))).await;
    assert!(ok(store.exists(&key)).await, "exists: sees a session");
    assert!(ok(store.delete(&key)).await, "delete: says that it was there");
    assert!(!ok(store.exists(&key)).await, "exists: sees that it is gone");
    assert!(matches!(ok(store.load(&key)).await, Loaded::Missing), "load: a deleted session is Missing");
}

async fn the_time_decides(store: &AnyStore) {
    let (live, expired) = (SessionKey::generate(), SessionKey::generate());
    ok(store.create(&live, &data("{}"), later(60))).await;
    ok(store.create(&expired, &data("{}"), later(-60))).await;
    assert!(matches!(ok(store.load(&expired)).await, Loaded::Missing), "load: an expired session is Missing");
    ok(store.clear_expired()).await;
    assert!(!ok(store.exists(&expired)).await, "clear_expired: removes what is expired");
    assert!(ok(store.exists(&live)).await, "clear_expired: leaves what is live");
    ok(store.delete(&live)).await;
}

async fn what_is_expired_waits_for_the_sweep(store: &AnyStore) {
    let keys: Vec<SessionKey> = (0..3).map(|_| SessionKey::generate()).collect();
    for key in &keys {
        ok(store.create(key, &data("{}"), later(-60))).await;
        assert!(ok(store.exists(key)).await, "exists: does not look at the time");
        let again = ok(store.create(key, &data("{}"), later(60))).await;
        assert!(matches!(again, Outcome::KeyTaken), "create: an expired session still takes its key");
    }
    let cleared = ok(store.clear_some(2, None)).await;
    assert!(cleared.sessions >= 2, "clear_some: counts what it removed");
    let more = ok(store.clear_some(1000, cleared.until)).await;
    assert!(more.sessions <= 1, "clear_some: removed what it counted");
    for key in &keys {
        assert!(!ok(store.exists(key)).await, "clear_expired: removes what is expired");
    }
}

async fn all_are_listed(store: &AnyStore) {
    let keys: Vec<SessionKey> = (0..1200).map(|_| SessionKey::generate()).collect();
    for (n, key) in keys.iter().enumerate() {
        let user = format!(r#"{{"_auth_user_id":"conformance{}"}}"#, n % 2);
        ok(store.create(key, &data(&user), later(60))).await;
    }
    let (mut sessions, mut seen) = (store.sessions(), HashSet::new());
    while let Some(session) = ok(sessions.next()).await {
        if keys.contains(&session.key) {
            assert!(session.data.is_ok() && !session.is_expired(), "page: shows a session as it is");
            seen.insert(session.key);
        }
    }
    assert_eq!(seen.len(), keys.len(), "page: every session is seen");
    let ended = ok(store.end_sessions_of_user("conformance1", Some(&keys[1]))).await;
    assert_eq!(ended, 599, "end_sessions_of_user: all of this user but the one to keep");
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(ok(store.delete(key)).await, n % 2 == 0 || n == 1, "end_sessions_of_user: nobody else's");
    }
}

async fn keys_are_exact(store: &AnyStore) {
    let name = SessionKey::generate().as_str().to_owned();
    let key = |text: &str| SessionKey::parse(text).unwrap_or_else(|| panic!("{text} can be a key"));
    let (lower, upper) = (key(&format!("{name}~%_'\"")), key(&format!("{}~%_'\"", name.to_uppercase())));
    match store.create(&lower, &data(r#"{"a":1}"#), later(60)).await {
        // A store may have keys of a-z and 0-9 only (files), and then has nothing under any other.
        Err(error) if error.is_configuration() => {
            assert!(!ok(store.exists(&lower)).await, "create: a key that is refused is not taken");
        }
        created => drop(ok(async { created }).await),
    }
    for other in [&upper, &key(&name), &key(&format!("{name}~xxxx"))] {
        assert!(matches!(ok(store.load(other)).await, Loaded::Missing), "load: keys are compared exactly");
        assert!(!ok(store.delete(other)).await, "delete: keys are compared exactly");
    }
    let foreign = key(&"k".repeat(40));
    ok(store.delete(&foreign)).await;
    ok(store.create(&foreign, &data("{}"), later(60))).await;
    assert!(ok(store.exists(&foreign)).await, "create: takes a key of 40 characters");
    ok(store.delete(&foreign)).await;
    ok(store.delete(&lower)).await;
}

/// Sixteen writers of one session, each with a counter of its own and one for all.
async fn concurrent_updates_all_count(store: &AnyStore) {
    const WRITERS: usize = 16;
    const ROUNDS: usize = 10;
    let key = SessionKey::generate();
    ok(store.create(&key, &data(r#"{"all":0}"#), later(60))).await;
    let write = async |own: String| {
        loop {
            let Record { mut data, seen, .. } = found(store, &key).await;
            for counter in ["all", &own] {
                let n = data.get_json(counter).and_then(|n| n.parse().ok()).unwrap_or(0);
                let more = data.set_json(counter, (n + 1).to_string());
                more.unwrap_or_else(|error| panic!("{error:?}"));
            }
            match ok(store.update(&key, &seen, &data, later(60))).await {
                Outcome::Saved(_) => return,
                Outcome::Changed(_) => {}
                other => panic!("update: a faster writer is Changed, not {other:?}"),
            }
        }
    };
    let writers = (0..WRITERS).map(async |writer| {
        for _ in 0..ROUNDS {
            write(format!("writer{writer}")).await;
        }
    });
    futures_util::future::join_all(writers).await;
    let record = found(store, &key).await;
    assert_eq!(record.data.get_json("all"), Some("160"), "update: no increment is lost");
    assert_eq!(record.data.keys().len(), WRITERS + 1, "update: no key is lost");
    ok(store.delete(&key)).await;
}

fn data(json: &str) -> SessionData {
    SessionData::from_json(json).unwrap_or_else(|error| panic!("{error:?}"))
}

fn later(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
}

async fn ok<T>(work: impl Future<Output = Result<T, Error>>) -> T {
    work.await.unwrap_or_else(|error| panic!("the store answers: {error:?}"))
}

async fn found(store: &AnyStore, key: &SessionKey) -> Record {
    match ok(store.load(key)).await {
        Loaded::Found(record) => record,
        other => panic!("load: a live session is found, not {other:?}"),
    }
}

fn saved(outcome: Outcome) -> Seen {
    match outcome {
        Outcome::Saved(seen) => seen,
        other => panic!("a write that nothing stands against is Saved, not {other:?}"),
    }
}
