//! A cache in front of a database.

mod outages;
mod races;

use std::time::Duration;

use actix_django_session::{
    PostgresStore, SecretKey, Session, SessionKey,
    store::{AnyStore, CachedStore, RedisCache, conformance},
};

use crate::support::{
    gate::Gated,
    postgres::Database,
    redis::{Redis, Reply},
};

/// One table and one Redis, with two stores of ours; the database of the first has a gate.
struct Site {
    redis: Redis,
    database: Database,
    gate: Gated,
    gated: AnyStore,
    other: AnyStore,
}

async fn table(database: &Database) -> PostgresStore {
    let store = PostgresStore::connect(database.url(), SecretKey::new("a secret")).await.unwrap();
    store.create_table().await.unwrap();
    store
}

async fn cached(redis: &Redis, database: impl Into<AnyStore>) -> AnyStore {
    let cache = RedisCache::connect(&redis.url()).await.unwrap();
    CachedStore::new(cache, database).cache_deadline(Duration::from_secs(2)).into()
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
        let session = Session::create(&self.other);
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

    /// What Django's engine does at a logout.
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

async fn n(store: &AnyStore, key: &SessionKey) -> Option<i64> {
    Session::open(store, key).await.unwrap().get("n").unwrap()
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn the_conformance_suite_passes() {
    let site = Site::start().await;
    conformance::check(site.other.clone()).await;
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

    let session = Session::open(&site.other, &key).await.unwrap();
    session.insert("n", &2).unwrap();
    session.save().await.unwrap();
    site.database.query("ALTER TABLE django_session RENAME TO elsewhere");
    assert_eq!(n(&site.other, &key).await, Some(2), "written through");
    let ttl = site.redis.command(&["TTL", &name(&key)]).int();
    assert!((1_209_500..=1_209_600).contains(&ttl), "{ttl}");
}
