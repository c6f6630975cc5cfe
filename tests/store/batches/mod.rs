//! Concurrent requests to PostgreSQL are sent in batches, and each gets its own reply.

mod contention;
mod limits;
mod locks;
mod outcomes;
mod plans;

use std::time::{Duration, SystemTime};

use actix_django_session::{
    Error, SessionKey,
    backend::{Backend, Insert, Inserted, Postgres, Replace, Replaced},
};
use actix_web::web::Bytes;
use deadpool_postgres::{Manager, Pool};
use futures_util::future::join_all;
use tokio_postgres::NoTls;

const MANY: usize = 300;

async fn postgres(url: &str) -> Postgres {
    let postgres = Postgres::connect(url).await.unwrap();
    postgres.create_table().await.unwrap();
    postgres
}

fn pooled(url: &str) -> Postgres {
    Postgres::from_pool(Pool::builder(Manager::new(url.parse().unwrap(), NoTls)).build().unwrap())
}

fn value(n: usize) -> Bytes {
    n.to_string().into()
}

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

async fn insert(postgres: &Postgres, key: &SessionKey, n: usize) -> Result<Inserted, Error> {
    postgres.insert(Insert::new(key, value(n), later())).await
}

async fn update(postgres: &Postgres, key: &SessionKey, was: usize, n: usize) -> Result<Replaced, Error> {
    postgres.replace(Replace::new(key, value(was), later()).value(value(n))).await
}

async fn touch(postgres: &Postgres, key: &SessionKey, was: usize) -> Result<Replaced, Error> {
    postgres.replace(Replace::new(key, value(was), later())).await
}

async fn rename(
    postgres: &Postgres,
    key: &SessionKey,
    was: usize,
    new_key: &SessionKey,
    n: usize,
) -> Result<Replaced, Error> {
    postgres.replace(Replace::new(key, value(was), later()).value(value(n)).new_key(new_key)).await
}

/// The number under a live key.
async fn n(postgres: &Postgres, key: &SessionKey) -> Option<String> {
    let value = postgres.get(key).await.unwrap()?.value.expect("it is small");
    Some(String::from_utf8(value.into()).unwrap())
}

/// Inserts rows under new keys, each with its place as its number.
async fn inserted(postgres: &Postgres, count: usize) -> Vec<SessionKey> {
    let keys: Vec<SessionKey> = (0..count).map(|_| SessionKey::generate()).collect();
    insert_all(postgres, &keys).await;
    keys
}

async fn insert_all(postgres: &Postgres, keys: &[SessionKey]) {
    let inserts = keys.iter().enumerate().map(async |(n, key)| insert(postgres, key, n).await.unwrap());
    assert!(join_all(inserts).await.into_iter().all(|inserted| inserted == Inserted::Done));
}

/// Replaces each number, counted from `was`, by one counted from `from`.
async fn updates(postgres: &Postgres, keys: &[SessionKey], was: usize, from: usize) -> Vec<Replaced> {
    let updates = keys.iter().enumerate();
    let updates = updates.map(async |(n, key)| update(postgres, key, was + n, from + n).await.unwrap());
    join_all(updates).await
}

async fn all_are_updated(postgres: &Postgres, keys: &[SessionKey], was: usize, from: usize) {
    let replaced = updates(postgres, keys, was, from).await;
    assert!(replaced.iter().all(|replaced| *replaced == Replaced::Done), "{replaced:?}");
}

async fn all_are_renamed(
    postgres: &Postgres,
    keys: &[SessionKey],
    was: usize,
    from: usize,
) -> Vec<SessionKey> {
    let new_keys: Vec<SessionKey> = keys.iter().map(|_| SessionKey::generate()).collect();
    let renames = keys.iter().zip(&new_keys).enumerate();
    join_all(renames.map(async |(n, (key, new))| {
        assert_eq!(rename(postgres, key, was + n, new, from + n).await.unwrap(), Replaced::Done);
    }))
    .await;
    new_keys
}

async fn all_hold(postgres: &Postgres, keys: &[SessionKey], from: usize) {
    let found = join_all(keys.iter().map(|key| n(postgres, key))).await;
    let expected: Vec<_> = (from..from + keys.len()).map(|n| Some(n.to_string())).collect();
    assert_eq!(found, expected, "each its own");
}

async fn all_are_deleted(postgres: &Postgres, keys: &[SessionKey]) {
    let deleted = join_all(keys.iter().map(|key| postgres.delete(key))).await;
    assert!(deleted.into_iter().all(|deleted| deleted.unwrap()));
}
