//! Every store keeps the contract, by the suite that anybody can run on a store of their own.

use actix_django_session::{
    PostgresStore, SecretKey, SqliteStore,
    codec::{Codec, JsonSerializer, PickleSerializer},
    store::{CacheStore, CachedStore, FileStore, MemoryCache, MemoryStore, RedisCache, conformance},
};

use crate::support::{
    postgres::Database,
    proc::TempDir,
    redis::{Redis, RedisCluster},
};

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

#[actix_web::test]
async fn memory() {
    conformance::check_forgetful(MemoryStore::new()).await;
}

#[actix_web::test]
async fn cache_in_memory() {
    conformance::check_forgetful(CacheStore::new(MemoryCache::new())).await;
}

#[actix_web::test]
async fn cached_in_memory() {
    let dir = TempDir::new("sqlite");
    let database = SqliteStore::open(dir.path().join("db.sqlite3"), secret()).await.unwrap();
    database.create_table().await.unwrap();
    conformance::check(CachedStore::new(MemoryCache::new(), database)).await;
}

/// Even one that forgets at once is a cache.
#[actix_web::test]
async fn cached_in_a_cache_of_one() {
    let dir = TempDir::new("sqlite");
    let database = SqliteStore::open(dir.path().join("db.sqlite3"), secret()).await.unwrap();
    database.create_table().await.unwrap();
    conformance::check(CachedStore::new(MemoryCache::new().max_entries(1), database)).await;
}

#[actix_web::test]
async fn sqlite() {
    let dir = TempDir::new("sqlite");
    let store = SqliteStore::open(dir.path().join("db.sqlite3"), secret()).await.unwrap();
    store.create_table().await.unwrap();
    conformance::check(store).await;
}

#[actix_web::test]
async fn sqlite_with_a_write_ahead_log() {
    let dir = TempDir::new("sqlite");
    let path = dir.path().join("db.sqlite3");
    let mode: String = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    let store = SqliteStore::open(path, secret()).await.unwrap();
    store.create_table().await.unwrap();
    conformance::check(store).await;
}

#[actix_web::test]
async fn files() {
    let dir = TempDir::new("files");
    conformance::check(FileStore::open(dir.path(), secret()).await.unwrap()).await;
}

#[actix_web::test]
#[ignore = "needs Redis: run tests/run"]
async fn redis() {
    let redis = Redis::start(&[]);
    let cache = RedisCache::connect(&redis.url()).await.unwrap();
    conformance::check_forgetful(CacheStore::new(cache.clone())).await;
    conformance::check_forgetful(CacheStore::new(cache.clone()).compress_from(0)).await;
    conformance::check_forgetful(CacheStore::new(cache).serializer(JsonSerializer)).await;
}

/// Renaming needs a key in the old one's slot.
#[actix_web::test]
#[ignore = "needs Redis: run tests/run"]
async fn redis_cluster() {
    let cluster = RedisCluster::start();
    let cache = RedisCache::connect(&cluster.url()).await.unwrap();
    conformance::check_forgetful(CacheStore::new(cache)).await;
}

#[actix_web::test]
async fn pickled_rows() {
    let dir = TempDir::new("sqlite");
    let codec = Codec::new(secret()).serializer(PickleSerializer::new());
    let store = SqliteStore::open(dir.path().join("db.sqlite3"), codec).await.unwrap();
    store.create_table().await.unwrap();
    conformance::check(store).await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn postgres() {
    let database = Database::fresh();
    let store = PostgresStore::connect(database.url(), secret()).await.unwrap();
    store.create_table().await.unwrap();
    conformance::check(store).await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn postgres_with_another_table_in_a_schema() {
    let database = Database::fresh();
    database.query("CREATE SCHEMA \"Accounts\"");
    let store = PostgresStore::connect(database.url(), secret()).await.unwrap();
    let store = store.table("my \"sessions\"", Some("Accounts")).unwrap();
    store.create_table().await.unwrap();
    conformance::check(store).await;
    assert_eq!(
        database.query("SELECT count(*) FROM \"Accounts\".\"my \"\"sessions\"\"\"")[0][0].as_deref(),
        Some("0")
    );
}

/// A store belongs to no runtime: a multi-threaded one serves as well as actix's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn postgres_under_a_runtime_of_several_threads() {
    let database = Database::fresh();
    let store = PostgresStore::connect(database.url(), secret()).await.unwrap();
    store.create_table().await.unwrap();
    tokio::spawn(conformance::check(store)).await.unwrap();
}
