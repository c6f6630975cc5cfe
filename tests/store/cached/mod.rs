//! A cache in front of a database.

mod interleavings;
mod outages;
mod races;

use std::time::{Duration, SystemTime};

use actix_django_session::{
    SecretKey, Session, SessionKey, Store,
    backend::{self, Backend as _, Memory, Postgres},
    codec::{Codec, JsonSerializer, PickleSerializer},
};
use futures_util::future::join_all;

use crate::support::{
    gate::Gated,
    postgres::Database,
    redis::{Redis, Reply},
};

/// One table and one Redis, with two of our stores; the database of the first has a gate.
struct Site {
    redis: Redis,
    database: Database,
    gate: Gated<Postgres>,
    gated: Store,
    other: Store,
}

async fn table(database: &Database) -> Postgres {
    let postgres = Postgres::connect(database.url()).await.unwrap();
    postgres.create_table().await.unwrap();
    postgres
}

fn stored(database: impl backend::Backend) -> Store {
    Store::new(database, SecretKey::new("a secret"))
}

async fn cached(redis: &Redis, database: impl backend::Backend) -> Store {
    let cache = backend::Redis::connect(&redis.url()).await.unwrap().timeout(Duration::from_secs(2));
    Store::cached(Store::new(cache, Codec::unsigned(PickleSerializer::new())), stored(database)).unwrap()
}

impl Site {
    async fn start() -> Self {
        let (redis, database) = (Redis::start(&[]), Database::fresh());
        let gate = Gated::new(table(&database).await);
        let gated = cached(&redis, gate.clone()).await;
        let other = cached(&redis, table(&database).await).await;
        Self { redis, database, gate, gated, other }
    }

    async fn session(&self) -> SessionKey {
        let session = Session::new(&self.other);
        session.insert("n", &1).unwrap();
        session.save().await.unwrap();
        session.session_key().unwrap()
    }

    /// A session that only the table has.
    async fn uncached_session(&self) -> SessionKey {
        let key = self.session().await;
        self.redis.command(&["FLUSHALL"]);
        key
    }

    /// A logout by Django's `cached_db` engine.
    fn django_logs_out(&self, key: &SessionKey) {
        self.database.query(&format!("DELETE FROM django_session WHERE session_key = '{}'", key.as_str()));
        self.redis.command(&["DEL", &name(key)]);
    }

    /// Whether Django would find a session in the cache.
    fn is_in_cache(&self, key: &SessionKey) -> bool {
        let value = self.redis.command(&["GET", &name(key)]);
        matches!(value, Reply::Text(value) if !value.starts_with(b"\x80\x02N."))
    }

    fn rows(&self) -> String {
        self.database.query("SELECT count(*) FROM django_session")[0][0].clone().unwrap()
    }

    /// Runs `work` of the gated store until the gate, then `meanwhile`, then the rest.
    async fn in_between<T: 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = T> + 'static,
        meanwhile: impl AsyncFnOnce(),
    ) -> T {
        self.gate.close(operation);
        let work = actix_web::rt::spawn(work);
        self.gate.reached().await;
        meanwhile().await;
        self.gate.open();
        work.await.unwrap()
    }
}

/// The name under which Django's `cached_db` keeps a session.
fn name(key: &SessionKey) -> String {
    format!(":1:django.contrib.sessions.cached_db{}", key.as_str())
}

async fn open(store: &Store, key: &SessionKey) -> Session {
    Session::open(store, key).await.unwrap().expect("a session")
}

async fn n(store: &Store, key: &SessionKey) -> Option<i64> {
    open(store, key).await.get("n").unwrap()
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn both_places_have_the_same_session() {
    let site = Site::start().await;
    let store = &site.other;
    let key = site.session().await;
    assert!(store.exists(&key).await.unwrap() && site.is_in_cache(&key));

    // Another key: one of the two at any time, in both places.
    let session = open(store, &key).await;
    session.cycle_key().unwrap();
    session.save().await.unwrap();
    let new_key = session.session_key().unwrap();
    assert!(!store.exists(&key).await.unwrap() && !site.is_in_cache(&key));
    assert!(Session::open(store, &key).await.unwrap().is_none());
    assert!(store.exists(&new_key).await.unwrap() && site.is_in_cache(&new_key));
    assert_eq!((n(store, &new_key).await, site.rows().as_str()), (Some(1), "1"));

    // A session that was deleted stays deleted, also for those who read it before.
    let late = open(store, &new_key).await;
    late.insert("n", &2).unwrap();
    let leaving = open(store, &new_key).await;
    leaving.flush().unwrap();
    leaving.save().await.unwrap();
    assert!(!store.exists(&new_key).await.unwrap() && !site.is_in_cache(&new_key));
    assert!(late.save().await.unwrap_err().is_interrupted());
    assert_eq!((site.is_in_cache(&new_key), site.rows().as_str()), (false, "0"));

    let key = site.session().await;
    assert!(store.delete(&key).await.unwrap());
    assert!(!store.delete(&key).await.unwrap());
    assert!(!store.exists(&key).await.unwrap() && !site.is_in_cache(&key));

    // An expired session is in the table until it is cleared, and in no cache.
    let key = site.session().await;
    let session = open(store, &key).await;
    session.set_expiry(SystemTime::now() - Duration::from_secs(60)).unwrap();
    session.save().await.unwrap();
    assert!(!site.is_in_cache(&key));
    assert!(Session::open(store, &key).await.unwrap().is_none());
    assert_eq!((store.clear_expired().await.unwrap(), site.rows().as_str()), (1, "0"));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn concurrent_updates_all_count() {
    let site = Site::start().await;
    let key = site.session().await;
    let writers = (0..16).map(async |writer| {
        let store = if writer % 2 == 0 { &site.other } else { &site.gated };
        for _ in 0..10 {
            let session = open(store, &key).await;
            session.update("n", |n: Option<i64>| n.unwrap() + 1).unwrap();
            session.save().await.unwrap();
        }
    });
    join_all(writers).await;
    assert_eq!(n(&site.other, &key).await, Some(161));
    site.redis.command(&["FLUSHALL"]);
    assert_eq!(n(&site.other, &key).await, Some(161), "in the row");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_session_in_the_cache_costs_the_database_nothing() {
    let site = Site::start().await;
    let key = site.uncached_session().await;
    assert_eq!(n(&site.other, &key).await, Some(1));
    assert!(site.is_in_cache(&key), "read through");
    site.database.query("ALTER TABLE django_session RENAME TO elsewhere");
    assert_eq!(n(&site.other, &key).await, Some(1));
    site.database.query("ALTER TABLE elsewhere RENAME TO django_session");

    let session = open(&site.other, &key).await;
    session.insert("n", &2).unwrap();
    session.save().await.unwrap();
    site.database.query("ALTER TABLE django_session RENAME TO elsewhere");
    assert_eq!(n(&site.other, &key).await, Some(2), "written through");
    let ttl = site.redis.command(&["TTL", &name(&key)]).int();
    // The expiry is rounded up, by less than a thousandth of two weeks.
    assert!((1_209_500..=1_210_810).contains(&ttl), "{ttl}");
}

/// As Django's `exists`, and as a load, which answers from the cache too.
#[actix_web::test]
async fn a_session_that_only_the_cache_has_exists() {
    let database = Memory::new();
    let cache = Store::new(Memory::new(), Codec::unsigned(JsonSerializer));
    let store = Store::cached(cache, stored(database.clone())).unwrap();
    let session = Session::new(&store);
    session.insert("n", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    assert!(database.delete(&key).await.unwrap());
    assert!(store.exists(&key).await.unwrap());
    assert!(Session::open(&store, &key).await.unwrap().is_some());
    assert!(!store.delete(&key).await.unwrap(), "there is no row");
    assert!(!store.exists(&key).await.unwrap());
}
