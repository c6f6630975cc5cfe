//! Every kind of store that several can share, with real servers.

use std::{any::Any, fmt};

use actix_django_session::{
    PostgresStore, SecretKey, SqliteStore,
    store::{AnyStore, CacheStore, CachedStore, FileStore, MemoryStore, RedisCache},
};
use deadpool_postgres::{Manager, Pool};
use tokio_postgres::NoTls;

use super::{postgres::Database, proc::TempDir, redis::Redis};

/// A store, and what has to be there as long as it is used.
pub struct Kind {
    pub name: &'static str,
    pub store: AnyStore,
    _servers: Box<dyn Any>,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

/// One of each, empty.
pub async fn every() -> Vec<Kind> {
    let kind = |name, store, servers: Box<dyn Any>| Kind { name, store, _servers: servers };
    let mut all = vec![kind("memory", MemoryStore::new().into(), Box::new(()))];

    let dir = TempDir::new("files");
    let files = FileStore::open(dir.path(), secret()).await.unwrap();
    all.push(kind("file", files.into(), Box::new(dir)));

    let dir = TempDir::new("sqlite");
    all.push(kind("sqlite", sqlite(&dir).await.into(), Box::new(dir)));

    let database = Database::fresh();
    all.push(kind("postgres", postgres(&database).await.into(), Box::new(database)));

    let database = Database::fresh();
    postgres(&database).await;
    let pool = Pool::builder(Manager::new(database.url().parse().unwrap(), NoTls)).build().unwrap();
    let pooled = PostgresStore::from_pool(pool, secret()).unwrap();
    all.push(kind("postgres, a pool of the application's", pooled.into(), Box::new(database)));

    let redis = Redis::start(&[]);
    let cache = RedisCache::connect(&redis.url()).await.unwrap();
    all.push(kind("redis", CacheStore::new(cache).into(), Box::new(redis)));

    let (redis, database) = (Redis::start(&[]), Database::fresh());
    let cache = RedisCache::connect(&redis.url()).await.unwrap();
    let cached = CachedStore::new(cache, postgres(&database).await);
    all.push(kind("cached: redis, postgres", cached.into(), Box::new((redis, database))));
    all
}

async fn postgres(database: &Database) -> PostgresStore {
    let store = PostgresStore::connect(database.url(), secret()).await.unwrap();
    store.create_table().await.unwrap();
    store
}

async fn sqlite(dir: &TempDir) -> SqliteStore {
    let store = SqliteStore::open(dir.path().join("db.sqlite3"), secret()).await.unwrap();
    store.create_table().await.unwrap();
    store
}
