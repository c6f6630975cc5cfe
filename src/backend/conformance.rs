//! The contract of a backend as a test that anybody can run on a backend of their own.

use std::{
    collections::HashSet,
    future::Future,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Backend, Insert, Inserted, Replace, Replaced, Row};
use crate::{Error, SessionKey};

/// Checks that a backend fulfils the contract of [`Backend`].
///
/// Writes rows under random keys and deletes them again, so it may run on a backend in use, except that it
/// clears what has expired. Backends that forget expired rows by themselves, as caches do, pass too. Every
/// backend of this crate passes.
///
/// # Panics
///
/// With a message that names the broken rule.
///
/// ```
/// # #[actix_web::main] async fn main() {
/// use actix_django_session::backend::{Memory, conformance};
///
/// conformance::check(Memory::new()).await;
/// # }
/// ```
pub async fn check(backend: impl Backend) {
    let backend = &backend;
    insert_never_overwrites(backend).await;
    values_come_back_byte_for_byte(backend).await;
    replace_compares_and_sets(backend).await;
    replace_neither_inserts_nor_revives(backend).await;
    touch_moves_the_expiry_alone(backend).await;
    rename_is_one_step(backend).await;
    delete_removes_a_row(backend).await;
    the_time_decides(backend).await;
    expired_rows_are_cleared(backend).await;
    keys_are_exact(backend).await;
    all_rows_are_listed(backend).await;
    concurrent_updates_all_count(backend).await;
}

async fn insert_never_overwrites(backend: &impl Backend) {
    let key = inserted(backend, "a1", 60).await;
    let again = ok(backend.insert(Insert::new(&key, value("b2"), later(60)))).await;
    assert_eq!(again, Inserted::KeyTaken, "insert: a taken key is KeyTaken");
    assert_eq!(found(backend, &key).await.value, Some(value("a1")), "insert: never overwrites");
    ok(backend.delete(&key)).await;
}

async fn values_come_back_byte_for_byte(backend: &impl Backend) {
    let large = "x".repeat(2 << 20);
    for text in ["{}", "e30:1r31eq:eW91IHdvdWxkIG5vdCBndWVzcw", r#"" ' \ %s $1 ? ; --"#, &large] {
        let key = inserted(backend, text, 60).await;
        let row = found(backend, &key).await;
        ok(backend.delete(&key)).await;
        assert!(row.value == Some(value(text)), "get: values come back byte for byte ({text:.40}…)");
    }
}

async fn replace_compares_and_sets(backend: &impl Backend) {
    let key = inserted(backend, "n0", 60).await;
    let done = ok(backend.replace(Replace::new(&key, value("n0"), later(90)).value(value("n1")))).await;
    assert_eq!(done, Replaced::Done, "replace: changes a row that holds the expected bytes");
    let row = found(backend, &key).await;
    assert_eq!(row.value, Some(value("n1")), "replace: stores");
    assert!(row.expires > later(75), "replace: moves the expiry");
    match ok(backend.replace(Replace::new(&key, value("n0"), later(60)).value(value("n2")))).await {
        Replaced::Conflict(row) => {
            assert_eq!(row.value, Some(value("n1")), "replace: a refusal returns what is stored");
        }
        other => panic!("replace: other bytes than expected must be Changed, not {other:?}"),
    }
    assert_eq!(found(backend, &key).await.value, Some(value("n1")), "replace: a refusal changes nothing");
    let again = ok(backend.replace(Replace::new(&key, value("n1"), later(60)).value(value("n1")))).await;
    assert_eq!(again, Replaced::Done, "replace: the same bytes are a change too");
    ok(backend.delete(&key)).await;
}

async fn replace_neither_inserts_nor_revives(backend: &impl Backend) {
    let key = inserted(backend, "a1", 60).await;
    ok(backend.delete(&key)).await;
    let gone = ok(backend.replace(Replace::new(&key, value("a1"), later(60)).value(value("a2")))).await;
    assert_eq!(gone, Replaced::Gone, "replace: a deleted row is Gone");
    assert!(!ok(backend.exists(&key)).await, "replace: never inserts");

    let key = inserted(backend, "a1", -1).await;
    let gone = ok(backend.replace(Replace::new(&key, value("a1"), later(60)).value(value("a2")))).await;
    assert_eq!(gone, Replaced::Gone, "replace: an expired row is Gone");
    assert_eq!(ok(backend.get(&key)).await, None, "replace: never revives");
    ok(backend.delete(&key)).await;
}

async fn touch_moves_the_expiry_alone(backend: &impl Backend) {
    let key = inserted(backend, "a1", 60).await;
    let done = ok(backend.replace(Replace::new(&key, value("a1"), later(600)))).await;
    assert_eq!(done, Replaced::Done, "replace: without a value, too");
    let row = found(backend, &key).await;
    assert_eq!(row.value, Some(value("a1")), "replace: without a value keeps the bytes");
    assert!(row.expires > later(300), "replace: without a value moves the expiry");
    ok(backend.delete(&key)).await;
}

async fn rename_is_one_step(backend: &impl Backend) {
    let old = inserted(backend, "a1", 60).await;
    let (new, taken) = (backend.generate_key(Some(&old)), backend.generate_key(Some(&old)));
    ok(backend.insert(Insert::new(&taken, value("other"), later(60)))).await;
    let rename = |key, expected, new_key| {
        ok(backend.replace(Replace::new(key, value(expected), later(60)).value(value("a2")).new_key(new_key)))
    };
    assert_eq!(rename(&old, "a1", &taken).await, Replaced::KeyTaken, "replace: a taken new key is KeyTaken");
    assert_eq!(found(backend, &old).await.value, Some(value("a1")), "rename: a refusal changes nothing");
    assert_eq!(found(backend, &taken).await.value, Some(value("other")), "rename: never overwrites");

    assert_eq!(rename(&old, "a1", &new).await, Replaced::Done, "rename: renames");
    assert!(!ok(backend.exists(&old)).await, "rename: the old key is gone");
    assert_eq!(found(backend, &new).await.value, Some(value("a2")), "rename: stores the new bytes");
    let unused = backend.generate_key(Some(&old));
    assert_eq!(rename(&old, "a1", &unused).await, Replaced::Gone, "rename: a key that is gone is Gone");
    assert!(
        matches!(rename(&new, "a1", &old).await, Replaced::Conflict(_)),
        "rename: compares before it sets"
    );
    ok(backend.delete(&new)).await;
    ok(backend.delete(&taken)).await;
}

async fn delete_removes_a_row(backend: &impl Backend) {
    assert!(!ok(backend.delete(&SessionKey::generate())).await, "delete: a missing row is no error");
    let key = inserted(backend, "a1", 60).await;
    assert!(ok(backend.exists(&key)).await, "exists: sees a row");
    assert!(ok(backend.delete(&key)).await, "delete: returns whether there was a row");
    assert!(!ok(backend.exists(&key)).await, "exists: sees that it is gone");
    assert_eq!(ok(backend.get(&key)).await, None, "get: a deleted row is None");
}

async fn the_time_decides(backend: &impl Backend) {
    let (live, expired) = (inserted(backend, "a1", 60).await, inserted(backend, "a1", -60).await);
    assert_eq!(ok(backend.get(&expired)).await, None, "get: an expired row is None");
    ok(backend.clear_expired(u32::MAX)).await;
    assert!(!ok(backend.exists(&expired)).await, "clear_expired: deletes expired rows");
    assert!(ok(backend.exists(&live)).await, "clear_expired: keeps live rows");
    ok(backend.delete(&live)).await;
}

async fn expired_rows_are_cleared(backend: &impl Backend) {
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(inserted(backend, "a1", -60).await);
    }
    if ok(backend.exists(&keys[0])).await {
        // Rows stay until they are cleared.
        for key in &keys {
            let again = ok(backend.insert(Insert::new(key, value("a1"), later(60)))).await;
            assert_eq!(again, Inserted::KeyTaken, "insert: an expired row that exists keeps its key");
        }
        assert_eq!(ok(backend.clear_expired(2)).await, 2, "clear_expired: stops at the limit");
    }
    assert!(ok(backend.clear_expired(1000)).await < 1000, "clear_expired: fewer than the limit at the end");
    for key in &keys {
        assert!(!ok(backend.exists(key)).await, "clear_expired: deletes expired rows");
    }
}

async fn keys_are_exact(backend: &impl Backend) {
    let name = SessionKey::generate().as_str().to_owned();
    let key = |text: &str| SessionKey::parse(text).unwrap_or_else(|| panic!("{text} can be a key"));
    let (lower, upper) = (key(&format!("{name}~%_'\"")), key(&format!("{}~%_'\"", name.to_uppercase())));
    match backend.insert(Insert::new(&lower, value("a1"), later(60))).await {
        // A backend may have keys of a-z and 0-9 only (files).
        Err(error) if error.is_configuration() => {
            assert!(!ok(backend.exists(&lower)).await, "insert: a key that is refused is not taken");
        }
        inserted => drop(ok(async { inserted }).await),
    }
    for other in [&upper, &key(&name), &key(&format!("{name}~xxxx"))] {
        assert_eq!(ok(backend.get(other)).await, None, "get: keys are compared exactly");
        assert!(!ok(backend.delete(other)).await, "delete: keys are compared exactly");
    }
    let long = key(&"k".repeat(40));
    ok(backend.delete(&long)).await;
    ok(backend.insert(Insert::new(&long, value("a1"), later(60)))).await;
    assert!(ok(backend.exists(&long)).await, "insert: takes a key of 40 characters");
    ok(backend.delete(&long)).await;
    ok(backend.delete(&lower)).await;
}

async fn all_rows_are_listed(backend: &impl Backend) {
    let mut keys = HashSet::new();
    for _ in 0..1200 {
        keys.insert(inserted(backend, "a1", 60).await);
    }
    let (mut seen, mut after) = (HashSet::new(), None);
    loop {
        let page = ok(backend.list(after)).await;
        assert!(page.entries.len() < 1200, "list: a page is bounded");
        for (key, row) in page.entries {
            if keys.contains(&key) {
                let row = row.unwrap_or_else(|error| panic!("list: reads every row: {error:?}"));
                assert_eq!(row.value, Some(value("a1")), "list: returns a row as it is");
                assert!(row.expires > later(0), "list: returns when it expires");
                seen.insert(key);
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), keys.len(), "list: returns every row");
    for key in &keys {
        ok(backend.delete(key)).await;
    }
}

/// Sixteen writers append to one row.
async fn concurrent_updates_all_count(backend: &impl Backend) {
    const WRITERS: usize = 16;
    const ROUNDS: usize = 10;
    let key = &inserted(backend, "s", 60).await;
    let append = async || {
        loop {
            let seen = found(backend, key).await.value.unwrap_or_default();
            let more: Vec<u8> = seen.iter().copied().chain([b'x']).collect();
            match ok(backend.replace(Replace::new(key, seen, later(60)).value(more))).await {
                Replaced::Done => return,
                Replaced::Conflict(_) => {}
                other => panic!("replace: a faster writer is Changed, not {other:?}"),
            }
        }
    };
    let writers = (0..WRITERS).map(async |_| {
        for _ in 0..ROUNDS {
            append().await;
        }
    });
    join_all(writers).await;
    let length = found(backend, key).await.value.map_or(0, |value| value.len());
    assert_eq!(length, 1 + WRITERS * ROUNDS, "replace: no concurrent change is lost");
    ok(backend.delete(key)).await;
}

async fn inserted(backend: &impl Backend, text: &str, seconds: i64) -> SessionKey {
    let key = backend.generate_key(None);
    let inserted = ok(backend.insert(Insert::new(&key, value(text), later(seconds)))).await;
    assert_eq!(inserted, Inserted::Done, "insert: stores a new row");
    key
}

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn later(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
}

async fn ok<T>(work: impl Future<Output = Result<T, Error>>) -> T {
    work.await.unwrap_or_else(|error| panic!("the backend works: {error:?}"))
}

async fn found(backend: &impl Backend, key: &SessionKey) -> Row {
    ok(backend.get(key)).await.unwrap_or_else(|| panic!("get: a live row is found"))
}
