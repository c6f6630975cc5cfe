//! Each request of a batch has an outcome of its own.

use std::time::Duration;

use actix_django_session::{
    PostgresStore, SessionKey,
    store::{Loaded, Outcome, SessionStore},
};
use futures_util::future::join_all;

use super::{created, data, later, n, pooled, saved, store, updates};
use crate::support::{
    postgres::{Database, PrivateServer},
    proxy::Proxy,
};

/// What is in a batch decides how it is carried out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Batch {
    Updates,
    WithRenames,
    /// The server refuses that as a whole.
    WithOneThatIsTaken,
}

/// In one batch: one that is right, one that was changed, one that is gone, one that cannot be read.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn each_request_of_a_batch_has_its_own_outcome() {
    let database = Database::fresh();
    let own = store(database.url()).await;
    let of_the_application = pooled(database.url());
    for batch in [Batch::Updates, Batch::WithRenames, Batch::WithOneThatIsTaken] {
        for store in [&own, &of_the_application] {
            outcomes_of(batch, &database, store).await;
        }
    }
}

async fn outcomes_of(batch: Batch, database: &Database, store: &PostgresStore) {
    let (keys, seen) = created(store, 40).await;
    let sql = |sql: &str, n: usize| database.query(&sql.replace("KEY", keys[n].as_str()));
    saved(store.update(&keys[1], &seen[1], &data(77), later()).await.unwrap());
    sql("DELETE FROM django_session WHERE session_key = 'KEY'", 2);
    sql("UPDATE django_session SET session_data = 'garbage' WHERE session_key = 'KEY'", 3);
    sql("UPDATE django_session SET expire_date = now() - interval '1 s' WHERE session_key = 'KEY'", 4);
    let taken = keys[5].clone();
    let renamed = SessionKey::generate();
    let outcomes = join_all(keys.iter().zip(&seen).enumerate().map(async |(n, (key, seen))| {
        let new_key = match n {
            6 if batch == Batch::WithOneThatIsTaken => &taken,
            7 if batch != Batch::Updates => &renamed,
            _ => key,
        };
        store.rename(key, seen, new_key, &data(n + 1000), later()).await.unwrap()
    }))
    .await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match (n, outcome) {
            (1, Outcome::Changed(record)) => assert_eq!(record.data.get_json("n"), Some("77"), "{batch:?}"),
            (2 | 4, Outcome::Gone) | (3, Outcome::Unreadable(_)) => {}
            (6, Outcome::KeyTaken) => assert_eq!(batch, Batch::WithOneThatIsTaken),
            (0 | 5 | 6.., Outcome::Saved(_)) => {}
            (n, other) => panic!("{batch:?} {n}: {other:?}"),
        }
    }
    let found = join_all([0, 1, 6, 7].map(|at| n(store, &keys[at]))).await;
    let expected = match batch {
        Batch::Updates => [Some("1000"), Some("77"), Some("1006"), Some("1007")],
        Batch::WithRenames => [Some("1000"), Some("77"), Some("1006"), None],
        Batch::WithOneThatIsTaken => [Some("1000"), Some("77"), Some("6"), None],
    };
    assert_eq!(found, expected.map(|n| n.map(str::to_owned)), "{batch:?}");
    let under_new_key = n(store, &renamed).await;
    assert_eq!(under_new_key.is_some(), batch != Batch::Updates, "{batch:?}");
    assert!(under_new_key.is_none_or(|n| n == "1007"), "{batch:?}");
}

/// A row whose key another takes over in the same batch was not saved by that.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_rename_to_a_freed_key_is_not_a_save_of_the_old_row() {
    let database = Database::fresh();
    let own = store(database.url()).await;
    for store in [&own, &pooled(database.url())] {
        takes_over(&database, store).await;
    }
}

async fn takes_over(database: &Database, store: &PostgresStore) {
    let (keys, seen) = created(store, 10).await;
    let gone = &keys[5];
    database.query(&format!("DELETE FROM django_session WHERE session_key = '{}'", gone.as_str()));
    let outcomes = join_all(keys.iter().zip(&seen).enumerate().map(async |(n, (key, seen))| {
        let new_key = if n == 6 { gone } else { key };
        store.rename(key, seen, new_key, &data(n + 1000), later()).await.unwrap()
    }))
    .await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Outcome::Gone | Outcome::Changed(_) if n == 5 => {}
            Outcome::Saved(_) if n != 5 => {}
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(n(store, gone).await.as_deref(), Some("1006"));
}

/// Whom another writer has overtaken is told so, also where the statement had to be prepared anew.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_statement_prepared_again_reports_the_conflict() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    let (keys, seen) = created(&store, 20).await;
    updates(&store, &keys, &seen, 1000).await.into_iter().for_each(|outcome| drop(saved(outcome)));
    database.query("ALTER TABLE django_session ALTER session_key TYPE varchar(41)"); // plans are outdated
    for (n, outcome) in updates(&store, &keys, &seen, 2000).await.into_iter().enumerate() {
        assert!(matches!(outcome, Outcome::Changed(_)), "{n}: {outcome:?}");
    }
}

/// A row that the server itself refuses does not take its neighbours with it.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_row_rejected_by_the_server_fails_alone() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    database.query("ALTER TABLE django_session ADD CHECK (session_key <> 'forbidden0')");
    let (mut keys, seen) = created(&store, 20).await;
    let forbidden = SessionKey::parse("forbidden0").unwrap();
    keys.insert(7, forbidden.clone());
    let fresh: Vec<SessionKey> = keys
        .iter()
        .map(|key| if *key == forbidden { forbidden.clone() } else { SessionKey::generate() })
        .collect();
    let outcomes = join_all(fresh.iter().map(async |key| store.create(key, &data(1), later()).await)).await;
    for (key, outcome) in fresh.iter().zip(outcomes) {
        match outcome {
            Ok(Outcome::Saved(_)) => assert_ne!(*key, forbidden),
            Err(error) => assert!(error.is_store() && *key == forbidden, "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
    let outcomes = keys.iter().filter(|key| **key != forbidden).zip(&seen).enumerate();
    let outcomes = join_all(outcomes.map(async |(n, (key, seen))| {
        let new = if n == 3 { &forbidden } else { key };
        store.rename(key, seen, new, &data(2), later()).await
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1);
    assert!(outcomes[3].is_err());
}

/// The answer to a save is lost, and before anybody can look another writer has gone on from it. To make the change again on
/// that would be to make it twice.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_change_whose_reply_was_lost_is_not_applied_twice() {
    let server = PrivateServer::start(&[]);
    let direct = store(&server.url()).await;
    let proxy = Proxy::start(server.port());
    let through = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    let (keys, seen) = created(&direct, 1).await;
    let slow = store(&through).await;
    assert_eq!(n(&slow, &keys[0]).await.as_deref(), Some("0"));
    proxy.delay(Duration::from_millis(500));
    let (of_slow, key, was) = (slow.clone(), keys[0].clone(), seen[0].clone());
    let save = actix_web::rt::spawn(async move { of_slow.update(&key, &was, &data(1), later()).await });
    let record = loop {
        match direct.load(&keys[0]).await.unwrap() {
            Loaded::Found(record) if record.data.get_json("n") == Some("1") => break record,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    saved(direct.update(&keys[0], &record.seen, &data(2), later()).await.unwrap());
    proxy.delay(Duration::ZERO);
    proxy.cut();
    let error = save.await.unwrap().unwrap_err();
    assert!(error.is_store() && error.to_string().contains("nobody knows"), "{}", error.with_causes());
    assert_eq!(n(&direct, &keys[0]).await.as_deref(), Some("2"));
    // It is no trouble that stays.
    let Loaded::Found(record) = slow.load(&keys[0]).await.unwrap() else { panic!("it is there") };
    saved(slow.update(&keys[0], &record.seen, &data(3), later()).await.unwrap());
}

/// Two saves of one session that wait together are two statements, and the second sees the first.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn two_saves_of_one_session_are_never_in_one_batch() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    let (keys, seen) = created(&store, 1).await;
    let saves = (0..50).map(async |n| store.update(&keys[0], &seen[0], &data(n + 1), later()).await);
    let outcomes: Vec<Outcome> = join_all(saves).await.into_iter().map(|outcome| outcome.unwrap()).collect();
    let saved = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Saved(_))).count();
    assert_eq!(saved, 1, "all of them had seen the same");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Saved(_) | Outcome::Changed(_))));
}
