//! Listing, and which keys there can be.

use std::{collections::HashMap, time::Duration};

use actix_django_session::{
    SessionKey,
    backend::{self, Backend, Cursor, Insert, Inserted, Replace, Replaced, SiteSettings, conformance},
};

use super::{Cache, all_names, connect, in_seconds, is_store, key, stored};
use crate::support::redis::{Redis, Reply};

fn in_front(redis: &backend::Redis) -> backend::Redis {
    let mut site = SiteSettings::default();
    site.in_front = true;
    redis.with_settings(&site).unwrap().unwrap()
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn the_conformance_suite_passes() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    conformance::check(cache.0.clone()).await;
    conformance::check(in_front(&cache.0)).await;
    assert_eq!(redis.command(&["DBSIZE"]), Reply::Int(0));
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn keys_are_listed() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await.key_prefix("[a-z]*?\\");
    assert_eq!(all_names(&cache).await.unwrap(), [""; 0]);
    let mut expected: Vec<_> = (0..3000).map(|n| format!("s.{n}")).collect();
    for name in &expected {
        cache.add(name, b"v", in_seconds(100)).await.unwrap();
    }
    // Another prefix, another engine, a name that is not text, and keys that no session can have.
    connect(&redis.url()).await.add("s.foreign", b"v", in_seconds(100)).await.unwrap();
    connect(&redis.url()).await.key_prefix("axx\\").add("s.f", b"v", in_seconds(100)).await.unwrap();
    in_front(&cache.0).insert(Insert::new(&key("s.g"), "v", in_seconds(100))).await.unwrap();
    let prefix = b"[a-z]*?\\:1:django.contrib.sessions.cache";
    for suffix in [&b"session-s.\xff"[..], b"short", b""] {
        redis.command(&[&b"SET"[..], &[prefix, suffix].concat(), b"no session"]);
    }
    expected.sort();
    assert_eq!(all_names(&cache).await.unwrap(), expected);
    for cursor in ["", "x", "0", "0.0.0", "0.0.500.0", "1.2.3.4", "0.0.500.0.0", "0.-1.0"] {
        assert!(is_store(&cache.0.list(Some(Cursor::new(cursor))).await.unwrap_err()), "{cursor}");
    }
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn a_page_is_bounded_in_bytes() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    for n in 0..300 {
        cache.add(&format!("small{n}"), b"v", in_seconds(100)).await.unwrap();
    }
    for n in 0..60 {
        cache.add(&format!("large{n}"), &vec![b'x'; 1 << 20], in_seconds(100)).await.unwrap();
    }
    let (mut seen, mut after) = (HashMap::new(), None);
    loop {
        let page = cache.0.list(after).await.unwrap();
        let mut bytes = 0;
        for (key, row) in page.entries {
            let length = row.unwrap().value.unwrap().len();
            bytes += length;
            seen.insert(key, length);
        }
        assert!(bytes < 16 << 20, "{bytes}");
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 360);
    assert_eq!(seen.values().filter(|length| **length == 1 << 20).count(), 60);
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn values_above_the_limit_are_not_returned() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    let mut site = SiteSettings::default();
    site.max_value_bytes = 100;
    let bounded = Cache(cache.0.with_settings(&site).unwrap().unwrap());
    cache.add("fits", &[b'x'; 100], in_seconds(100)).await.unwrap();
    cache.add("large", &[b'x'; 101], in_seconds(100)).await.unwrap();
    assert_eq!(bounded.get("fits").await.unwrap().unwrap().value.unwrap().len(), 100);
    let row = bounded.get("large").await.unwrap().unwrap();
    assert!(row.value.is_none() && row.expires > in_seconds(80));
    let Replaced::Conflict(row) = bounded.replace("large", b"other", b"v", in_seconds(9)).await.unwrap()
    else {
        panic!()
    };
    assert!(row.value.is_none());
    let entries = bounded.0.list(None).await.unwrap().entries;
    let large = entries.into_iter().find(|(found, _)| *found == key("large")).unwrap().1.unwrap();
    assert!(large.value.is_none());
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn a_touch_moves_the_expiry_or_deletes() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    let over = std::time::SystemTime::UNIX_EPOCH;
    cache.add("a", b"v", in_seconds(100)).await.unwrap();
    assert_eq!(cache.touch("a", b"v", in_seconds(1000)).await.unwrap(), Replaced::Done);
    assert_eq!(redis.command(&["GET", &stored("a")]), Reply::Text(b"v".to_vec()));
    assert!(redis.command(&["PTTL", &stored("a")]).int() > 900_000);
    assert!(matches!(cache.touch("a", b"other", over).await.unwrap(), Replaced::Conflict(_)));
    assert_eq!(cache.touch("a", b"v", over).await.unwrap(), Replaced::Done);
    assert_eq!(redis.command(&["DBSIZE"]), Reply::Int(0));
    assert_eq!(cache.touch("a", b"v", in_seconds(9)).await.unwrap(), Replaced::Gone);

    // A rename alone keeps the value.
    cache.add("a", b"v", in_seconds(100)).await.unwrap();
    let (old, new) = (key("a"), key("b"));
    let rename = Replace::new(&old, &b"v"[..], in_seconds(100)).new_key(&new);
    assert_eq!(cache.0.replace(rename).await.unwrap(), Replaced::Done);
    assert_eq!(redis.command(&["GET", &stored("b")]), Reply::Text(b"v".to_vec()));
    assert_eq!(redis.command(&["DBSIZE"]), Reply::Int(1));
}

/// `…cache` and `d_db…` are `…cached_db` and `…`.
#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn no_key_names_a_session_of_the_other_engine() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await.0;
    let front = in_front(&cache);
    let (key, foreign) = (key("a"), SessionKey::parse("d_dbsession-a").unwrap());
    front.insert(Insert::new(&key, "v", in_seconds(100))).await.unwrap();
    let name = ":1:django.contrib.sessions.cached_dbsession-a";
    assert_eq!(redis.command(&["GET", name]), Reply::Text(b"v".to_vec()));

    assert_eq!(cache.get(&foreign).await.unwrap(), None);
    assert!(!cache.exists(&foreign).await.unwrap());
    assert!(!cache.delete(&foreign).await.unwrap());
    assert!(cache.list(None).await.unwrap().entries.is_empty());
    let change = Replace::new(&foreign, &b"v"[..], in_seconds(100)).value("w");
    assert_eq!(cache.replace(change).await.unwrap(), Replaced::Gone);
    assert!(cache.insert(Insert::new(&foreign, "w", in_seconds(100))).await.unwrap_err().is_configuration());
    assert_eq!(cache.insert(Insert::new(&key, "v", in_seconds(100))).await.unwrap(), Inserted::Done);
    let rename = Replace::new(&key, &b"v"[..], in_seconds(100)).new_key(&foreign);
    assert!(cache.replace(rename).await.unwrap_err().is_configuration());
    assert_eq!(redis.command(&["GET", name]), Reply::Text(b"v".to_vec()));

    // In front of a database it is a key like any other.
    assert_eq!(front.insert(Insert::new(&foreign, "w", in_seconds(100))).await.unwrap(), Inserted::Done);
    assert_eq!(front.list(None).await.unwrap().entries.len(), 2);
}

#[test]
fn a_cache_in_front_waits_less_long() {
    let redis = backend::Redis::connect_lazy("redis://h").unwrap();
    assert_eq!(Backend::save_timeout(&redis), Duration::from_secs(5));
    assert_eq!(Backend::save_timeout(&in_front(&redis)), Duration::from_millis(500));
    let redis = backend::Redis::connect_lazy("redis://h?deadline=2").unwrap();
    assert_eq!(Backend::save_timeout(&in_front(&redis)), Duration::from_secs(2));
    let redis = redis.timeout(Duration::from_secs(3));
    assert_eq!(Backend::save_timeout(&in_front(&redis)), Duration::from_secs(3));
}
