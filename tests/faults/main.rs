//! What networks, servers and machines do to a site: TLS, poolers, failover, servers that die, hang and come back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod clocks;
mod failover;
mod outage;
mod overload;
mod pooler;
mod postgres;
mod redis;
mod soak;
mod tls;

use std::time::{Duration, SystemTime};

use actix_django_session::{
    PostgresStore, SecretKey, SessionKey,
    store::{Loaded, Outcome, SessionData, SessionStore},
};

const SECRET: &str = "a secret";

async fn store(url: &str) -> PostgresStore {
    let store = PostgresStore::connect(url, SecretKey::new(SECRET)).await;
    let store = store.unwrap_or_else(|error| panic!("{url}: {}", error.with_causes()));
    store.create_table().await.unwrap();
    store
}

/// Why nobody gets in by this URL.
async fn refused(url: &str) -> String {
    match PostgresStore::connect(url, SecretKey::new(SECRET)).await {
        Ok(_) => panic!("{url} works"),
        Err(error) => error.with_causes(),
    }
}

/// Every operation once, and many at a time.
async fn works(store: &PostgresStore) {
    let later = SystemTime::now() + Duration::from_secs(100);
    let data = |n: u32| SessionData::from_json(format!(r#"{{"n":{n}}}"#)).unwrap();
    let (key, new) = (SessionKey::generate(), SessionKey::generate());
    let Outcome::Saved(seen) = store.create(&key, &data(1), later).await.unwrap() else { panic!("create") };
    let Outcome::Saved(seen) = store.update(&key, &seen, &data(2), later).await.unwrap() else {
        panic!("update")
    };
    let stale =
        store.update(&key, &actix_django_session::store::Seen::new("x"), &data(3), later).await.unwrap();
    assert!(matches!(stale, Outcome::Changed(_)), "{stale:?}");
    let Outcome::Saved(seen) = store.rename(&key, &seen, &new, &data(4), later).await.unwrap() else {
        panic!("rename")
    };
    let Loaded::Found(record) = store.load(&new).await.unwrap() else { panic!("load") };
    assert_eq!(record.data.get_json("n"), Some("4"));
    store.touch(&new, &seen, record.expires, later + Duration::from_secs(1)).await.unwrap();
    assert!(!store.exists(&key).await.unwrap() && store.exists(&new).await.unwrap());
    let many = (0..40).map(async |n| {
        let (key, new) = (SessionKey::generate(), SessionKey::generate());
        let Outcome::Saved(seen) = store.create(&key, &data(n), later).await.unwrap() else {
            panic!("create")
        };
        let Outcome::Saved(seen) = store.update(&key, &seen, &data(n), later).await.unwrap() else {
            panic!("update")
        };
        let to = if n % 2 == 0 { &new } else { &key };
        let saved = store.rename(&key, &seen, to, &data(n + 1), later).await.unwrap();
        assert!(matches!(saved, Outcome::Saved(_)), "{saved:?}");
        assert!(matches!(store.load(to).await.unwrap(), Loaded::Found(_)));
        assert!(store.delete(to).await.unwrap());
    });
    futures_util::future::join_all(many).await;
    assert!(store.delete(&new).await.unwrap());
    assert_eq!(store.clear_expired().await.unwrap(), 0);
    assert!(store.page(None).await.unwrap().sessions.is_empty());
    store.check().await.unwrap();
}
