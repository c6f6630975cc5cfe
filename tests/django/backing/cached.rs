//! `SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"`, on Redis and PostgreSQL.

use actix_django_session::{SecretKey, Store, backend::Redis as Engine, codec::Codec};
use futures_util::future::LocalBoxFuture;

use super::{
    Backing, Database, Row,
    cache::{json, pickles, values},
    peek,
};
use crate::support::{django::Version, redis::Redis};

const PREFIX: &str = ":1:django.contrib.sessions.cached_db";

/// `None` in a pickle, maybe with something behind it: nothing, in Django's eyes.
const PICKLED_NONE: &[u8] = b"\x80\x02N.";

#[derive(Debug)]
pub(crate) struct CachedDatabase {
    database: Database,
    redis: Redis,
}

impl CachedDatabase {
    pub(crate) fn new() -> Self {
        Self { database: Database::postgres(), redis: Redis::start(&[]) }
    }

    /// With `PickleSerializer` in the table too.
    pub(crate) fn pickled() -> Self {
        Self { database: Database::pickled(), redis: Redis::start(&[]) }
    }

    fn in_cache(&self) -> Vec<Row> {
        let mut rows = values(&self.redis, PREFIX);
        rows.retain(|row| !row.stored.starts_with(PICKLED_NONE));
        rows
    }
}

impl Backing for CachedDatabase {
    fn database_url(&self) -> String {
        self.database.database_url()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let engine = "django.contrib.sessions.backends.cached_db";
        let mut settings = self.database.settings();
        settings.push(("SESSION_ENGINE", engine.to_owned()));
        settings.push(("CACHE_URL", self.redis.url()));
        settings
    }

    fn store(&self, secret: SecretKey) -> LocalBoxFuture<'_, Store> {
        Box::pin(async move {
            let database = self.database.store(secret).await;
            let cache = Engine::connect(&self.redis.url()).await.unwrap();
            Store::cached(Store::new(cache, pickles()), database).unwrap()
        })
    }

    fn misled_store(&self) -> LocalBoxFuture<'_, Store> {
        Box::pin(async move {
            let database = self.database.misled_store().await;
            let cache = Engine::connect(&self.redis.url()).await.unwrap();
            Store::cached(Store::new(cache, json()), database).unwrap()
        })
    }

    fn codec(&self, secret: &str) -> Codec {
        self.database.codec(secret)
    }

    /// Those of the table, and what the cache shows although the table has it no more.
    fn rounds_expiry(&self) -> bool {
        true
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = self.database.rows();
        let orphans =
            self.in_cache().into_iter().filter(|cached| rows.iter().all(|row| row.key != cached.key));
        let orphans: Vec<Row> = orphans.collect();
        rows.extend(orphans);
        rows
    }

    /// Of the table; and what the cache has of it must be the same.
    fn json(&self, python: &Version, rows: &[Row]) -> Vec<Option<String>> {
        let of_table = self.database.json(python, rows);
        let mut cached = self.in_cache();
        cached.retain(|cached| rows.iter().any(|row| row.key == cached.key));
        for (cached, json) in cached.iter().zip(peek(python, &cached)) {
            let place = rows.iter().position(|row| row.key == cached.key).unwrap();
            assert_eq!(json, of_table[place], "what the cache shows, and what the table has");
        }
        of_table
    }

    fn redis(&self) -> Option<&Redis> {
        Some(&self.redis)
    }
}
