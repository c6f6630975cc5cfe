//! Faults of networks, servers and machines: TLS, poolers, failover, servers that crash, hang and return.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod anonymous;
mod clocks;
mod failover;
mod in_doubt;
mod logs;
mod outage;
mod overload;
mod pooler;
mod postgres;
mod redis;
mod soak;
mod tls;

use std::time::{Duration, SystemTime};

use actix_django_session::{
    SessionKey,
    backend::{Backend as _, Insert, Inserted, Postgres, Replace, Replaced},
};

const SECRET: &str = "a secret";

/// The backend of a URL, with its table.
async fn backend(url: &str) -> Postgres {
    let backend = Postgres::connect(url).await;
    let backend = backend.unwrap_or_else(|error| panic!("{url}: {}", error.with_causes()));
    backend.create_table().await.unwrap();
    backend
}

/// Why nobody gets in by this URL.
async fn refused(url: &str) -> String {
    match Postgres::connect(url).await {
        Ok(_) => panic!("{url} works"),
        Err(error) => error.with_causes(),
    }
}

/// The row of a session that is as good as any.
fn value(n: u32) -> Vec<u8> {
    format!("n{n}").into_bytes()
}

/// Every operation once, and many at a time.
async fn works(backend: &Postgres) {
    let later = SystemTime::now() + Duration::from_secs(100);
    let (key, new) = (SessionKey::generate(), SessionKey::generate());
    let insert = async |key: &SessionKey, n| {
        let inserted = backend.insert(Insert::new(key, value(n), later)).await.unwrap();
        assert_eq!(inserted, Inserted::Done);
    };
    insert(&key, 1).await;
    let update = Replace::new(&key, value(1), later).value(value(2));
    assert_eq!(backend.replace(update).await.unwrap(), Replaced::Done);
    let stale = backend.replace(Replace::new(&key, "x", later).value(value(3))).await.unwrap();
    assert!(matches!(stale, Replaced::Conflict(_)), "{stale:?}");
    let rename = Replace::new(&key, value(2), later).value(value(4)).new_key(&new);
    assert_eq!(backend.replace(rename).await.unwrap(), Replaced::Done);
    let row = backend.get(&new).await.unwrap().unwrap();
    assert_eq!(row.value.as_deref(), Some(&*value(4)));
    let touch = Replace::new(&new, value(4), later + Duration::from_secs(1));
    assert_eq!(backend.replace(touch).await.unwrap(), Replaced::Done);
    assert!(!backend.exists(&key).await.unwrap() && backend.exists(&new).await.unwrap());
    let many = (0..40).map(async |n| {
        let (key, new) = (SessionKey::generate(), SessionKey::generate());
        insert(&key, n).await;
        let update = Replace::new(&key, value(n), later).value(value(n));
        assert_eq!(backend.replace(update).await.unwrap(), Replaced::Done);
        let change = Replace::new(&key, value(n), later).value(value(n + 1));
        let (change, to) = if n % 2 == 0 { (change.new_key(&new), &new) } else { (change, &key) };
        assert_eq!(backend.replace(change).await.unwrap(), Replaced::Done);
        assert_eq!(backend.get(to).await.unwrap().unwrap().value.as_deref(), Some(&*value(n + 1)));
        assert!(backend.delete(to).await.unwrap());
    });
    futures_util::future::join_all(many).await;
    assert!(backend.delete(&new).await.unwrap());
    assert_eq!(backend.clear_expired(1000).await.unwrap(), 0);
    assert!(backend.list(None).await.unwrap().entries.is_empty());
    backend.check().await.unwrap();
}
