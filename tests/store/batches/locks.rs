//! Locked rows, slow statements, requests that are cancelled, and several workers.

use std::{
    sync::{Arc, Barrier},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    SessionKey,
    store::{Loaded, SessionData, SessionStore},
};
use futures_util::future::join_all;
use tokio_postgres::NoTls;

use super::{MANY, created, data, later, n, pooled, saved, store};
use crate::support::postgres::{Database, PrivateServer};

/// A transaction of somebody else's, which holds the rows of these keys until it is dropped.
async fn held(url: &str, keys: &[&SessionKey]) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN").await.unwrap();
    let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
    let sql = "SELECT 1 FROM django_session WHERE session_key = ANY($1) FOR UPDATE";
    assert_eq!(client.query(sql, &[&keys]).await.unwrap().len(), keys.len());
    client
}

/// As a view of Django's does that writes a session at its beginning and takes its time. Who wants that session waits, and
/// nobody else does, whatever they want, again and again.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_locked_row_blocks_no_other_row() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    let (keys, mut seen) = created(&store, 60).await;
    let stuck = [0, 7, 8, 30, 31, 32];
    let holder = held(database.url(), &stuck.map(|n| &keys[n])).await;
    let waiting: Vec<_> = stuck
        .map(|n| {
            let (store, key, seen) = (store.clone(), keys[n].clone(), seen[n].clone());
            actix_web::rt::spawn(async move { store.update(&key, &seen, &data(n + 5000), later()).await })
        })
        .into();
    for round in 0..5 {
        let others = keys.iter().zip(&seen).enumerate().filter(|(n, _)| !stuck.contains(n));
        let updates = others.map(async |(n, (key, seen))| {
            let outcome = store.update(key, seen, &data(n + round * 100), later()).await.unwrap();
            (n, saved(outcome))
        });
        for (n, now) in join_all(updates).await {
            seen[n] = now;
        }
        let (new, _) = created(&store, 20).await;
        assert!(join_all(new.iter().map(|key| store.delete(key))).await.into_iter().all(Result::unwrap));
    }
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "they are not answered before their turn");
    drop(holder);
    for waiting in waiting {
        saved(waiting.await.unwrap().unwrap());
    }
    assert_eq!(n(&store, &keys[30]).await.as_deref(), Some("5030"));
    assert_eq!(n(&store, &keys[33]).await.as_deref(), Some("433"));
}

/// Who is told that it takes too long leaves no statement behind that goes on waiting.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn an_abandoned_statement_is_cancelled() {
    let server = PrivateServer::start(&[]);
    let store = store(&server.url()).await.deadline(Duration::from_millis(600));
    let (keys, seen) = created(&store, 3).await;
    let holder = held(&server.url(), &[&keys[0], &keys[1]]).await;
    let until = SystemTime::now() + Duration::from_secs(9000);
    for _ in 0..4 {
        let updates = (0..10).map(|n| store.update(&keys[0], &seen[0], &DATA[n % 2], later()));
        let touches = (0..10).map(|_| store.touch(&keys[1], &seen[1], later(), until));
        for outcome in join_all(updates).await.into_iter().chain(join_all(touches).await) {
            // A touch that finds another date is no wait.
            assert!(matches!(outcome, Err(ref error) if error.is_store()) || outcome.is_ok());
        }
        assert!(n(&store, &keys[2]).await.is_some(), "others are served");
    }
    tokio::time::sleep(Duration::from_millis(800)).await;
    let busy =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' OR wait_event = 'PgSleep'";
    assert_eq!(server.query(busy)[0][0].as_deref(), Some("0"));
    drop(holder);
    let seen = saved(store.update(&keys[0], &seen[0], &data(9), later()).await.unwrap());
    // The same of one that is slow by itself.
    server.query(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'; \
         CREATE TRIGGER slow BEFORE UPDATE ON django_session FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    assert!(store.update(&keys[0], &seen, &data(10), later()).await.unwrap_err().is_store());
    tokio::time::sleep(Duration::from_millis(800)).await;
    let busy =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' OR wait_event = 'PgSleep'";
    assert_eq!(server.query(busy)[0][0].as_deref(), Some("0"));
}

static DATA: std::sync::LazyLock<[SessionData; 2]> = std::sync::LazyLock::new(|| [data(1), data(2)]);

/// Those who left before it was their turn have asked for nothing, and those who stay are answered.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_cancelled_request_cancels_no_other() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    let (keys, seen) = created(&store, MANY).await;
    let handles: Vec<_> = keys
        .iter()
        .zip(&seen)
        .enumerate()
        .map(|(n, (key, seen))| {
            let (store, key, seen) = (store.clone(), key.clone(), seen.clone());
            actix_web::rt::spawn(async move { store.update(&key, &seen, &data(n + 1000), later()).await })
        })
        .collect();
    tokio::task::yield_now().await;
    for handle in handles.iter().step_by(2) {
        handle.abort();
    }
    for (n, handle) in handles.into_iter().enumerate() {
        match handle.await {
            Ok(outcome) => drop(saved(outcome.unwrap())),
            Err(left) => assert!(left.is_cancelled() && n % 2 == 0),
        }
    }
    for (at, key) in keys.iter().enumerate() {
        let now: usize = n(&store, key).await.unwrap().parse().unwrap();
        assert!(now == at + 1000 || (at % 2 == 0 && now == at), "{at}: {now}");
    }
}

/// Writers on several runtimes save the same sessions in opposite orders, clear expired ones, and delete all in the end; some on
/// connections of the application's, whose statements may have any plan.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn batches_of_several_workers_do_not_deadlock() {
    let server = PrivateServer::start(&[("deadlock_timeout", "100ms"), ("max_connections", "60")]);
    let url = server.url();
    let keys: Vec<SessionKey> =
        actix_web::rt::System::new().block_on(async { created(&store(&url).await, 100).await.0 });
    let all_have_saved = Arc::new(Barrier::new(4));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (url, mut keys, all_have_saved) = (url.clone(), keys.clone(), all_have_saved.clone());
            if writer % 2 == 1 {
                keys.reverse();
            }
            std::thread::spawn(move || {
                actix_web::rt::System::new().block_on(async move {
                    let store = if writer < 2 { store(&url).await } else { pooled(&url) };
                    for _ in 0..30 {
                        join_all(keys.iter().map(async |key| {
                            let Loaded::Found(record) = store.load(key).await.unwrap() else {
                                panic!("gone")
                            };
                            store.update(key, &record.seen, &record.data, later()).await.unwrap();
                        }))
                        .await;
                        let ended = SystemTime::now() - Duration::from_secs(1);
                        join_all((0..10).map(async |n| {
                            store.create(&SessionKey::generate(), &data(n), ended).await.unwrap();
                        }))
                        .await;
                        store.clear_expired().await.unwrap();
                    }
                    all_have_saved.wait();
                    join_all(keys.iter().map(async |key| store.delete(key).await.unwrap())).await;
                });
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(server.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("0"));
    assert!(!server.log().contains("deadlock detected"), "{}", server.log());
}
