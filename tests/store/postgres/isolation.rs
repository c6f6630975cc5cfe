//! Isolation levels, partitions and foreign tables where PostgreSQL rolls a statement back because another
//! one was faster: it is sent again, and no visitor notices.

use actix_django_session::{SecretKey, Session, SessionKey, Store, backend::Postgres};
use deadpool_postgres::{Manager, Pool};
use futures_util::future::join_all;
use tokio_postgres::NoTls;

use crate::support::postgres::PrivateServer;

const SESSIONS: usize = 6;
const WRITERS: u64 = 4;
const ROUNDS: u64 = 10;

fn pooled(url: &str) -> Store {
    let pool = Pool::builder(Manager::new(url.parse().unwrap(), NoTls)).build().unwrap();
    Store::new(Postgres::from_pool(pool), SecretKey::new("a secret"))
}

async fn own(url: &str) -> Store {
    Store::connect(url, SecretKey::new("a secret")).await.unwrap()
}

/// Each store counts in every session at the same time, also under keys that change. None of it fails.
async fn count(stores: &[Store]) {
    let keys: Vec<SessionKey> = join_all((0..SESSIONS).map(async |_| {
        let session = Session::new(&stores[0]);
        session.insert("n", &0).unwrap();
        session.save().await.unwrap();
        session.session_key().unwrap()
    }))
    .await;
    let writers = stores.iter().flat_map(|store| {
        keys.iter().flat_map(move |key| {
            (0..WRITERS).map(async move |_| {
                for _ in 0..ROUNDS {
                    let session = Session::open(store, key).await.unwrap().unwrap();
                    session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).unwrap();
                    session.save().await.unwrap();
                }
            })
        })
    });
    join_all(writers).await;
    join_all(keys.iter().map(async |key| {
        let session = Session::open(&stores[0], key).await.unwrap().unwrap();
        let expected = WRITERS * ROUNDS * stores.len() as u64;
        assert_eq!(session.get::<u64>("n").unwrap(), Some(expected));
        session.cycle_key().unwrap();
        session.save().await.unwrap();
        assert!(!stores[0].exists(key).await.unwrap());
        session.flush().unwrap();
        session.save().await.unwrap();
    }))
    .await;
    for store in stores {
        assert_eq!(store.clear_expired().await.unwrap(), 0);
        assert!(store.sessions().next().await.unwrap().is_none());
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn any_default_isolation_level_serves() {
    for level in ["repeatable read", "serializable"] {
        let server = PrivateServer::with_table(&[("default_transaction_isolation", level)]);
        let url = server.url();
        count(&[pooled(&url), pooled(&url)]).await;
        count(&[own(&url).await, pooled(&url)]).await;
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn partitions_by_hash_of_the_key_serve() {
    let server = PrivateServer::start(&[]);
    let partitions: String = (0..4)
        .map(|n| {
            format!(
                "CREATE TABLE part{n} PARTITION OF django_session FOR VALUES WITH (MODULUS 4, REMAINDER {n});"
            )
        })
        .collect();
    server.query(&format!(
        "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, \
         expire_date timestamptz NOT NULL) PARTITION BY HASH (session_key); {partitions}\
         CREATE INDEX ON django_session (expire_date)"
    ));
    let url = server.url();
    count(&[own(&url).await, own(&url).await, pooled(&url)]).await;
}

/// Each save moves the row to another partition.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn partitions_by_range_of_the_date_serve() {
    let server = PrivateServer::start(&[]);
    // Bounds must be constants: half a second each, so that concurrent saves are in different partitions.
    server.query(
        "CREATE TABLE django_session (session_key varchar(40), session_data text NOT NULL, \
         expire_date timestamptz NOT NULL, PRIMARY KEY (session_key, expire_date)) \
         PARTITION BY RANGE (expire_date); \
         CREATE TABLE others PARTITION OF django_session DEFAULT; \
         DO $$ DECLARE start timestamptz := date_trunc('second', now()) + interval '14 days'; BEGIN \
         FOR n IN 0..40 LOOP EXECUTE format('CREATE TABLE part%s PARTITION OF django_session \
         FOR VALUES FROM (%L) TO (%L)', n, start + n * interval '0.5 seconds', \
         start + (n + 1) * interval '0.5 seconds'); END LOOP; END $$",
    );
    let url = server.url();
    count(&[own(&url).await, own(&url).await, pooled(&url)]).await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_foreign_table_serves() {
    let remote = PrivateServer::with_table(&[]);
    let server = PrivateServer::start(&[]);
    server.query(&format!(
        "CREATE EXTENSION postgres_fdw; \
         CREATE SERVER remote FOREIGN DATA WRAPPER postgres_fdw \
         OPTIONS (host '127.0.0.1', port '{}', dbname 'postgres'); \
         CREATE USER MAPPING FOR postgres SERVER remote OPTIONS (user 'postgres', password_required \
         'false'); \
         IMPORT FOREIGN SCHEMA public LIMIT TO (django_session) FROM SERVER remote INTO public",
        remote.port()
    ));
    let url = server.url();
    count(&[own(&url).await, pooled(&url)]).await;
}
