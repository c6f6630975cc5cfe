//! The kinds of store, each with the backend that has the last word.

use std::time::{Duration, SystemTime};

use actix_django_session::{
    Error, SecretKey, Session, SessionKey, Store,
    backend::{Backend, Files, Insert, Inserted, Memory, Postgres, Redis, Sqlite},
    codec::{Codec, JsonSerializer, PickleSerializer, SessionData},
};

use super::{check, check_cache, data};
use crate::support::{
    postgres::Database,
    proc::TempDir,
    redis::{self, RedisCluster},
};

/// A store, and what is below it.
pub(super) struct Kind<B> {
    pub(super) store: Store,
    backend: B,
    codec: Codec,
}

impl<B: Backend + Clone> Kind<B> {
    fn new(backend: B, codec: impl Into<Codec>) -> Self {
        let codec = codec.into();
        Self { store: Store::new(backend.clone(), codec.clone()), backend, codec }
    }

    /// The same with a cache in front of it.
    fn behind(self, cache: Store) -> Self {
        Self { store: Store::cached(cache, self.store).unwrap(), ..self }
    }
}

impl<B: Backend> Kind<B> {
    /// Stores a dictionary below the store, whatever is in it.
    pub(super) async fn create(&self, key: &SessionKey, json: &str, seconds: i64) -> Result<Inserted, Error> {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::now();
        let expires = if seconds < 0 { now - distance } else { now + distance };
        self.backend.insert(Insert::new(key, self.codec.encode(&data(json))?, expires)).await
    }

    /// The same under a new key.
    pub(super) async fn created(&self, json: &str, seconds: i64) -> SessionKey {
        let key = self.backend.generate_key(None);
        assert_eq!(self.create(&key, json, seconds).await.unwrap(), Inserted::Done);
        key
    }

    pub(super) async fn try_open(&self, key: &SessionKey) -> Option<Session> {
        Session::open(&self.store, key).await.unwrap()
    }

    pub(super) async fn open(&self, key: &SessionKey) -> Session {
        self.try_open(key).await.expect("a live session")
    }

    /// The dictionary that is stored.
    pub(super) async fn data(&self, key: &SessionKey) -> SessionData {
        self.store.entry(key).await.unwrap().expect("a live session").data.unwrap()
    }
}

fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

fn pickles() -> Codec {
    Codec::unsigned(PickleSerializer::new())
}

async fn sqlite(codec: impl Into<Codec>) -> (TempDir, Kind<Sqlite>) {
    let dir = TempDir::new("sqlite");
    let kind = Kind::new(Sqlite::open(dir.path().join("db.sqlite3")).await.unwrap(), codec);
    kind.store.create_table().await.unwrap();
    (dir, kind)
}

async fn postgres() -> (Database, Kind<Postgres>) {
    let database = Database::fresh();
    let kind = Kind::new(Postgres::connect(database.url()).await.unwrap(), secret());
    kind.store.create_table().await.unwrap();
    (database, kind)
}

#[actix_web::test]
async fn memory() {
    check_cache(Kind::new(Memory::new(), Codec::unsigned(JsonSerializer))).await;
}

#[actix_web::test]
async fn memory_with_pickles() {
    check_cache(Kind::new(Memory::new(), pickles())).await;
}

#[actix_web::test]
async fn cached_in_memory() {
    let (_dir, kind) = sqlite(secret()).await;
    check(kind.behind(Store::new(Memory::new(), pickles()))).await;
}

/// Even one that forgets at once is a cache.
#[actix_web::test]
async fn cached_in_a_cache_of_one() {
    let (_dir, kind) = sqlite(secret()).await;
    check(kind.behind(Store::new(Memory::with_max_sessions(1), pickles()))).await;
}

#[actix_web::test]
async fn in_sqlite() {
    let (_dir, kind) = sqlite(secret()).await;
    check(kind).await;
}

#[actix_web::test]
async fn pickled_rows() {
    let (_dir, kind) = sqlite(Codec::new(secret()).serializer(PickleSerializer::new())).await;
    check(kind).await;
}

#[actix_web::test]
async fn files() {
    let dir = TempDir::new("files");
    check(Kind::new(Files::open(dir.path()).await.unwrap(), secret())).await;
}

#[actix_web::test]
#[ignore = "needs Redis: run tests/run"]
async fn in_redis() {
    let redis = redis::Redis::start(&[]);
    let backend = Redis::connect(&redis.url()).await.unwrap();
    check_cache(Kind::new(backend.clone(), pickles())).await;
    check_cache(Kind::new(backend.clone(), pickles().compress_from(0))).await;
    check_cache(Kind::new(backend, Codec::unsigned(JsonSerializer))).await;
}

#[actix_web::test]
#[ignore = "needs Redis: run tests/run"]
async fn in_a_redis_cluster() {
    let cluster = RedisCluster::start();
    check_cache(Kind::new(Redis::connect(&cluster.url()).await.unwrap(), pickles())).await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn in_postgres() {
    let (_database, kind) = postgres().await;
    check(kind).await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn redis_in_front_of_postgres() {
    let (redis, (_database, kind)) = (redis::Redis::start(&[]), postgres().await);
    let cache = Redis::connect(&redis.url()).await.unwrap();
    check(kind.behind(Store::new(cache, pickles()))).await;
}
