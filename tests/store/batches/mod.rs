//! Concurrent requests to PostgreSQL are sent in batches, and each gets its own answer.

mod locks;
mod outcomes;
mod plans;

use std::time::{Duration, SystemTime};

use actix_django_session::{
    PostgresStore, SecretKey, SessionKey,
    store::{Loaded, Outcome, Seen, SessionData, SessionStore},
};
use deadpool_postgres::{Manager, Pool};
use futures_util::future::join_all;
use tokio_postgres::NoTls;

const MANY: usize = 300;

async fn store(url: &str) -> PostgresStore {
    let store = PostgresStore::connect(url, SecretKey::new("a secret")).await.unwrap();
    store.create_table().await.unwrap();
    store
}

fn pooled(url: &str) -> PostgresStore {
    let pool = Pool::builder(Manager::new(url.parse().unwrap(), NoTls)).build().unwrap();
    PostgresStore::from_pool(pool, SecretKey::new("a secret")).unwrap()
}

fn data(n: usize) -> SessionData {
    SessionData::from_json(format!(r#"{{"n":{n}}}"#)).unwrap()
}

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

fn saved(outcome: Outcome) -> Seen {
    match outcome {
        Outcome::Saved(seen) => seen,
        other => panic!("not saved: {other:?}"),
    }
}

async fn n(store: &PostgresStore, key: &SessionKey) -> Option<String> {
    match store.load(key).await.unwrap() {
        Loaded::Found(record) => Some(record.data.get_json("n").unwrap().to_owned()),
        Loaded::Missing => None,
        other => panic!("{other:?}"),
    }
}

async fn created(store: &PostgresStore, count: usize) -> (Vec<SessionKey>, Vec<Seen>) {
    let keys: Vec<SessionKey> = (0..count).map(|_| SessionKey::generate()).collect();
    let seen = created_under(store, &keys).await;
    (keys, seen)
}

/// Each with its place as `n`; so are those that follow, counted from `from`.
async fn created_under(store: &PostgresStore, keys: &[SessionKey]) -> Vec<Seen> {
    let created = keys
        .iter()
        .enumerate()
        .map(async |(n, key)| saved(store.create(key, &data(n), later()).await.unwrap()));
    join_all(created).await
}

async fn updates(store: &PostgresStore, keys: &[SessionKey], seen: &[Seen], from: usize) -> Vec<Outcome> {
    let updates = keys.iter().zip(seen).enumerate();
    let updates = updates
        .map(async |(n, (key, seen))| store.update(key, seen, &data(from + n), later()).await.unwrap());
    join_all(updates).await
}

async fn renamed(store: &PostgresStore, keys: &[SessionKey], seen: &[Seen], from: usize) -> Vec<SessionKey> {
    let new_keys: Vec<SessionKey> = keys.iter().map(|_| SessionKey::generate()).collect();
    let renames = keys.iter().zip(seen).zip(&new_keys).enumerate();
    join_all(renames.map(async |(n, ((key, seen), new))| {
        saved(store.rename(key, seen, new, &data(from + n), later()).await.unwrap())
    }))
    .await;
    new_keys
}

async fn all_hold(store: &PostgresStore, keys: &[SessionKey], from: usize) {
    let found = join_all(keys.iter().map(|key| n(store, key))).await;
    let expected: Vec<_> = (from..from + keys.len()).map(|n| Some(n.to_string())).collect();
    assert_eq!(found, expected, "each its own");
}

async fn all_are_deleted(store: &PostgresStore, keys: &[SessionKey]) {
    let deleted = join_all(keys.iter().map(|key| store.delete(key))).await;
    assert!(deleted.into_iter().all(|deleted| deleted.unwrap()));
}
