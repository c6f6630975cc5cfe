//! Locked rows, slow statements, requests that are cancelled, and several workers.

use std::{
    sync::{Arc, Barrier},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    SessionKey,
    backend::{Backend, Insert, Replaced},
};
use futures_util::future::join_all;
use tokio_postgres::NoTls;

use super::{MANY, inserted, n, pooled, postgres, touch, update, value};
use crate::support::postgres::{Database, PrivateServer};

/// Another transaction that locks the rows of these keys until it is dropped.
pub(super) async fn locked(url: &str, keys: &[&SessionKey]) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN").await.unwrap();
    let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
    let sql = "SELECT 1 FROM django_session WHERE session_key = ANY($1) FOR UPDATE";
    assert_eq!(client.query(sql, &[&keys]).await.unwrap().len(), keys.len());
    client
}

/// As a view of Django's does that writes a session at its beginning and takes its time. Requests for that
/// session wait, and no others do.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_locked_row_blocks_no_other_row() {
    let database = Database::fresh();
    let postgres = postgres(database.url()).await;
    let keys = inserted(&postgres, 60).await;
    let mut numbers: Vec<usize> = (0..60).collect();
    let stuck = [0, 7, 8, 30, 31, 32];
    let holder = locked(database.url(), &stuck.map(|n| &keys[n])).await;
    let waiting: Vec<_> = stuck
        .map(|n| {
            let (postgres, key) = (postgres.clone(), keys[n].clone());
            actix_web::rt::spawn(async move { update(&postgres, &key, n, n + 5000).await })
        })
        .into();
    for round in 0..5 {
        let others = keys.iter().zip(&numbers).enumerate().filter(|(n, _)| !stuck.contains(n));
        let updates = others.map(async |(n, (key, was))| {
            let now = n + round * 100;
            assert_eq!(update(&postgres, key, *was, now).await.unwrap(), Replaced::Done);
            (n, now)
        });
        for (n, now) in join_all(updates).await {
            numbers[n] = now;
        }
        let new = inserted(&postgres, 20).await;
        assert!(join_all(new.iter().map(|key| postgres.delete(key))).await.into_iter().all(Result::unwrap));
    }
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "they are not answered before their turn");
    drop(holder);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap(), Replaced::Done);
    }
    assert_eq!(n(&postgres, &keys[30]).await.as_deref(), Some("5030"));
    assert_eq!(n(&postgres, &keys[33]).await.as_deref(), Some("433"));
}

/// After a timeout no statement goes on waiting in the server.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn an_abandoned_statement_is_cancelled() {
    let server = PrivateServer::start(&[]);
    let postgres = postgres(&server.url()).await.timeout(Duration::from_millis(600));
    let keys = inserted(&postgres, 3).await;
    let holder = locked(&server.url(), &[&keys[0], &keys[1]]).await;
    for _ in 0..4 {
        let updates = (0..10).map(|n| update(&postgres, &keys[0], 0, n % 2 + 1));
        let touches = (0..10).map(|_| touch(&postgres, &keys[1], 1));
        let (updates, touches) = (join_all(updates), join_all(touches));
        let (updates, touches) = futures_util::future::join(updates, touches).await;
        for replaced in updates.into_iter().chain(touches) {
            assert!(replaced.unwrap_err().is_store());
        }
        assert!(n(&postgres, &keys[2]).await.is_some(), "others are served");
    }
    tokio::time::sleep(Duration::from_millis(800)).await;
    let busy =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' OR wait_event = 'PgSleep'";
    assert_eq!(server.query(busy)[0][0].as_deref(), Some("0"));
    drop(holder);
    assert_eq!(update(&postgres, &keys[0], 0, 9).await.unwrap(), Replaced::Done);
    // The same for a statement that is slow by itself.
    server.query(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'; \
         CREATE TRIGGER slow BEFORE UPDATE ON django_session FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    assert_eq!(update(&postgres, &keys[0], 9, 10).await.unwrap(), Replaced::Unknown);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(server.query(busy)[0][0].as_deref(), Some("0"));
}

/// A request that is cancelled before its turn does nothing, and the others are answered.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_cancelled_request_cancels_no_other() {
    let database = Database::fresh();
    let postgres = postgres(database.url()).await;
    let keys = inserted(&postgres, MANY).await;
    let handles: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| {
            let (postgres, key) = (postgres.clone(), key.clone());
            actix_web::rt::spawn(async move { update(&postgres, &key, n, n + 1000).await })
        })
        .collect();
    tokio::task::yield_now().await;
    for handle in handles.iter().step_by(2) {
        handle.abort();
    }
    for (n, handle) in handles.into_iter().enumerate() {
        match handle.await {
            Ok(replaced) => assert_eq!(replaced.unwrap(), Replaced::Done),
            Err(error) => assert!(error.is_cancelled() && n % 2 == 0),
        }
    }
    for (at, key) in keys.iter().enumerate() {
        let now: usize = n(&postgres, key).await.unwrap().parse().unwrap();
        assert!(now == at + 1000 || (at % 2 == 0 && now == at), "{at}: {now}");
    }
}

/// Writers on several runtimes save the same sessions in opposite orders, clear expired ones, and delete all
/// in the end. Some have connections of the application's, whose statements may have any plan.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn batches_of_several_workers_do_not_deadlock() {
    let server = PrivateServer::start(&[("deadlock_timeout", "100ms"), ("max_connections", "60")]);
    let url = server.url();
    let keys: Vec<SessionKey> =
        actix_web::rt::System::new().block_on(async { inserted(&postgres(&url).await, 100).await });
    let all_have_saved = Arc::new(Barrier::new(4));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (url, mut keys, all_have_saved) = (url.clone(), keys.clone(), all_have_saved.clone());
            if writer % 2 == 1 {
                keys.reverse();
            }
            std::thread::spawn(move || {
                actix_web::rt::System::new().block_on(async move {
                    let postgres = if writer < 2 { postgres(&url).await } else { pooled(&url) };
                    for _ in 0..30 {
                        join_all(keys.iter().map(async |key| {
                            let was = n(&postgres, key).await.expect("it is there").parse().unwrap();
                            update(&postgres, key, was, was).await.unwrap();
                        }))
                        .await;
                        let expired = SystemTime::now() - Duration::from_secs(1);
                        join_all((0..10).map(async |n| {
                            let key = SessionKey::generate();
                            postgres.insert(Insert::new(&key, value(n), expired)).await.unwrap();
                        }))
                        .await;
                        while postgres.clear_expired(1000).await.unwrap() == 1000 {}
                    }
                    all_have_saved.wait();
                    join_all(keys.iter().map(async |key| postgres.delete(key).await.unwrap())).await;
                });
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(server.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("0"));
    assert!(!server.log().contains("deadlock detected"), "{}", server.log());
}
