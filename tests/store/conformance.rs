//! Every backend fulfils the contract, by the suite that anybody can run on a backend of their own.

use actix_django_session::backend::{Backend as _, Files, Memory, Postgres, Redis, Sqlite, conformance};

use crate::support::{
    postgres::Database,
    proc::TempDir,
    redis::{self, RedisCluster},
};

#[actix_web::test]
async fn memory() {
    conformance::check(Memory::new()).await;
}

#[actix_web::test]
async fn sqlite() {
    let dir = TempDir::new("sqlite");
    let sqlite = Sqlite::open(dir.path().join("db.sqlite3")).await.unwrap();
    sqlite.create_table().await.unwrap();
    conformance::check(sqlite).await;
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
    let sqlite = Sqlite::open(path).await.unwrap();
    sqlite.create_table().await.unwrap();
    conformance::check(sqlite).await;
}

#[actix_web::test]
async fn files() {
    let dir = TempDir::new("files");
    conformance::check(Files::open(dir.path()).await.unwrap()).await;
}

#[actix_web::test]
#[ignore = "needs Redis: run tests/run"]
async fn redis() {
    let redis = redis::Redis::start(&[]);
    conformance::check(Redis::connect(&redis.url()).await.unwrap()).await;
}

/// Renaming needs a key in the old one's slot.
#[actix_web::test]
#[ignore = "needs Redis: run tests/run"]
async fn redis_cluster() {
    let cluster = RedisCluster::start();
    conformance::check(Redis::connect(&cluster.url()).await.unwrap()).await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn postgres() {
    let database = Database::fresh();
    let postgres = Postgres::connect(database.url()).await.unwrap();
    postgres.create_table().await.unwrap();
    conformance::check(postgres).await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn postgres_with_another_table_in_a_schema() {
    let database = Database::fresh();
    database.query("CREATE SCHEMA \"Accounts\"");
    let postgres = Postgres::connect(database.url()).await.unwrap();
    let postgres = postgres.table("my \"sessions\"", Some("Accounts")).unwrap();
    postgres.create_table().await.unwrap();
    conformance::check(postgres).await;
    assert_eq!(
        database.query("SELECT count(*) FROM \"Accounts\".\"my \"\"sessions\"\"\"")[0][0].as_deref(),
        Some("0")
    );
}

/// A backend belongs to no runtime: a multi-threaded one serves as well as actix's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn postgres_under_a_runtime_of_several_threads() {
    let database = Database::fresh();
    let postgres = Postgres::connect(database.url()).await.unwrap();
    postgres.create_table().await.unwrap();
    tokio::spawn(conformance::check(postgres)).await.unwrap();
}
