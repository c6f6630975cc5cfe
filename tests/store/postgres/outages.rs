//! Connections that fail, hang or are left behind, and rows that are locked.

use std::time::{Duration, Instant};

use actix_django_session::{Session, SessionSettings};
use serde_json::json;

use super::store;
use crate::support::{
    http::Client,
    postgres::{Database, PrivateServer},
    site::Site,
};

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_that_goes_away_answers_503_and_is_used_again_when_it_is_back() {
    let mut server = PrivateServer::start(&[]);
    let url = server.url();
    let site = Site::start(SessionSettings::default(), async move || store(&url).await);
    let mut client = Client::new();
    let read = json!([["get", "a"]]);
    assert_eq!(client.post_json(&site.url("/ops"), &json!([["set", "a", 1]])).status, 200);
    let cookies = client.cookies.clone();
    for stop in [PrivateServer::stop_fast, PrivateServer::kill] {
        stop(&mut server);
        assert_eq!(client.post_json(&site.url("/ops"), &read).status, 503);
        assert_eq!(client.post_json(&site.url("/ops"), &json!([["set", "b", 1]])).status, 503);
        assert_eq!(client.get(&site.url("/untouched")).status, 200);
        server.start_again();
        // The first requests meet what is left of the old connections, and must not show it.
        for _ in 0..10 {
            let reply = client.post_json(&site.url("/ops"), &read);
            assert_eq!((reply.status, reply.json()), (200, json!({"results": [1]})));
        }
    }
    assert_eq!(client.cookies, cookies, "nobody was logged out");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_connection_cut_in_between_is_replaced_and_nothing_is_done_twice() {
    let database = Database::fresh();
    let url = database.url().to_owned();
    let site = Site::start_with(1, SessionSettings::default(), async move || store(&url).await);
    let mut client = Client::new();
    for n in 1..=20 {
        // Of this database: other tests use the server at the same time.
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        let reply = client.post_json(&site.url("/ops"), &json!([["incr", "n"]]));
        assert_eq!((reply.status, reply.json()), (200, json!({"results": [n]})));
    }
    assert_eq!(database.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("1"));
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_that_hangs_answers_503_within_the_deadline() {
    let server = PrivateServer::start(&[]);
    let url = server.url();
    let site =
        Site::start(SessionSettings::default(), async move || store(&format!("{url}?deadline=0.5")).await);
    let mut client = Client::new();
    assert_eq!(client.post_json(&site.url("/ops"), &json!([["set", "a", 1]])).status, 200);
    server.pause();
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(client.post_json(&site.url("/ops"), &json!([["get", "a"]])).status, 503);
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
    assert_eq!(client.get(&site.url("/untouched")).status, 200, "what needs no session is served");
    server.resume();
    let reply = client.post_json(&site.url("/ops"), &json!([["get", "a"]]));
    assert_eq!((reply.status, reply.json()), (200, json!({"results": [1]})));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_disconnected_client_frees_the_connection() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    let session = Session::new(&store);
    session.insert("a", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let blocker = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    actix_web::rt::spawn(blocker.1);
    blocker.0.batch_execute("BEGIN; LOCK TABLE django_session").await.unwrap();
    for _ in 0..50 {
        // Dropped while the statement waits for the lock, as when a client hangs up.
        let cut = tokio::time::timeout(Duration::from_millis(5), Session::open(&store, &key)).await;
        assert!(cut.is_err());
    }
    blocker.0.batch_execute("COMMIT").await.unwrap();
    let start = Instant::now();
    assert!(Session::open(&store, &key).await.unwrap().is_some());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn clearing_skips_locked_rows() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    database.query(
        "INSERT INTO django_session SELECT 'expired' || lpad(n::text, 25, '0'), 'x', \
         now() - interval '1 hour' FROM generate_series(1, 2500) AS n; \
         INSERT INTO django_session VALUES ('livelivelive', 'x', now() + interval '1 hour')",
    );
    let (holder, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    actix_web::rt::spawn(connection);
    holder
        .batch_execute("BEGIN; SELECT * FROM django_session ORDER BY session_key LIMIT 10 FOR UPDATE")
        .await
        .unwrap();
    assert_eq!(store.clear_expired().await.unwrap(), 2490);
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.clear_expired().await.unwrap(), 10);
    assert_eq!(database.query("SELECT session_key FROM django_session"), [[Some("livelivelive".to_owned())]]);
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn many_writers_of_one_session_all_answer_within_the_deadline() {
    let database = Database::fresh();
    let store = store(&format!("{}?deadline=1", database.url())).await;
    let session = Session::new(&store);
    session.insert("n", &0).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let mut writers = Vec::new();
    for _ in 0..20 {
        let session = Session::open(&store, &key).await.unwrap().unwrap();
        session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
        writers.push(session);
    }
    let (blocker, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    actix_web::rt::spawn(connection);
    blocker.batch_execute("BEGIN; LOCK TABLE django_session").await.unwrap();
    let start = Instant::now();
    let saves = futures_util::future::join_all(writers.iter().map(Session::save)).await;
    assert!(saves.iter().all(|save| save.as_ref().is_err_and(|error| error.is_store())));
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    blocker.batch_execute("COMMIT").await.unwrap();
}
