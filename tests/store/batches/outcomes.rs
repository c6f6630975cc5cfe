//! Each request of a batch has an outcome of its own.

use std::time::Duration;

use actix_django_session::{
    SessionKey,
    backend::{Backend, Inserted, Postgres, Replaced, Row},
};
use futures_util::future::join_all;

use super::{all_are_updated, insert, inserted, n, pooled, postgres, rename, touch, update, updates, value};
use crate::support::{
    postgres::{Database, PrivateServer},
    proxy::{Proxy, Side},
};

/// The contents of a batch decide which statement runs it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Batch {
    Updates,
    WithRenames,
    /// The server refuses it as a whole.
    WithOneThatIsTaken,
}

/// Whether it holds this number.
fn holds(row: &Row, n: usize) -> bool {
    row.value == Some(value(n))
}

/// In one batch: one that is right, one that was changed, one that is gone, one that is garbage, one that has
/// expired.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn each_request_of_a_batch_has_its_own_outcome() {
    let database = Database::fresh();
    let own = postgres(database.url()).await;
    let of_the_application = pooled(database.url());
    for batch in [Batch::Updates, Batch::WithRenames, Batch::WithOneThatIsTaken] {
        for postgres in [&own, &of_the_application] {
            outcomes_of(batch, &database, postgres).await;
        }
    }
}

async fn outcomes_of(batch: Batch, database: &Database, postgres: &Postgres) {
    let keys = inserted(postgres, 40).await;
    let sql = |sql: &str, n: usize| database.query(&sql.replace("KEY", keys[n].as_str()));
    assert_eq!(update(postgres, &keys[1], 1, 77).await.unwrap(), Replaced::Done);
    sql("DELETE FROM django_session WHERE session_key = 'KEY'", 2);
    sql("UPDATE django_session SET session_data = 'garbage' WHERE session_key = 'KEY'", 3);
    sql("UPDATE django_session SET expire_date = now() - interval '1 s' WHERE session_key = 'KEY'", 4);
    let taken = keys[5].clone();
    let renamed = SessionKey::generate();
    let outcomes = join_all(keys.iter().enumerate().map(async |(n, key)| {
        let new_key = match n {
            6 if batch == Batch::WithOneThatIsTaken => &taken,
            7 if batch != Batch::Updates => &renamed,
            _ => key,
        };
        rename(postgres, key, n, new_key, n + 1000).await.unwrap()
    }))
    .await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match (n, outcome) {
            (1, Replaced::Conflict(row)) => assert!(holds(&row, 77), "{batch:?}"),
            (3, Replaced::Conflict(row)) => {
                assert_eq!(row.value.as_deref(), Some(&b"garbage"[..]), "{batch:?}")
            }
            (2 | 4, Replaced::Gone) => {}
            (6, Replaced::KeyTaken) => assert_eq!(batch, Batch::WithOneThatIsTaken),
            (0 | 5 | 6.., Replaced::Done) => {}
            (n, other) => panic!("{batch:?} {n}: {other:?}"),
        }
    }
    let found = join_all([0, 1, 6, 7].map(|at| n(postgres, &keys[at]))).await;
    let expected = match batch {
        Batch::Updates => [Some("1000"), Some("77"), Some("1006"), Some("1007")],
        Batch::WithRenames => [Some("1000"), Some("77"), Some("1006"), None],
        Batch::WithOneThatIsTaken => [Some("1000"), Some("77"), Some("6"), None],
    };
    assert_eq!(found, expected.map(|n| n.map(str::to_owned)), "{batch:?}");
    let under_new_key = n(postgres, &renamed).await;
    assert_eq!(under_new_key.is_some(), batch != Batch::Updates, "{batch:?}");
    assert!(under_new_key.is_none_or(|n| n == "1007"), "{batch:?}");
}

/// A row whose key another takes over in the same batch was not saved by that.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_rename_to_a_freed_key_is_not_a_save_of_the_old_row() {
    let database = Database::fresh();
    let own = postgres(database.url()).await;
    for postgres in [&own, &pooled(database.url())] {
        takes_over(&database, postgres).await;
    }
}

async fn takes_over(database: &Database, postgres: &Postgres) {
    let keys = inserted(postgres, 10).await;
    let gone = &keys[5];
    database.query(&format!("DELETE FROM django_session WHERE session_key = '{}'", gone.as_str()));
    let outcomes = join_all(keys.iter().enumerate().map(async |(n, key)| {
        let new_key = if n == 6 { gone } else { key };
        rename(postgres, key, n, new_key, n + 1000).await.unwrap()
    }))
    .await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Replaced::Gone | Replaced::Conflict(_) if n == 5 => {}
            Replaced::Done if n != 5 => {}
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(n(postgres, gone).await.as_deref(), Some("1006"));
}

/// A touch keeps the value, in a batch with updates too.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_batch_may_mix_touches_and_updates() {
    let database = Database::fresh();
    let own = postgres(database.url()).await;
    for postgres in [&own, &pooled(database.url())] {
        let keys = inserted(postgres, 20).await;
        assert_eq!(update(postgres, &keys[4], 4, 77).await.unwrap(), Replaced::Done);
        database.query("UPDATE django_session SET expire_date = now() + interval '1 minute'");
        let replaced = join_all(keys.iter().enumerate().map(async |(n, key)| {
            if n % 2 == 0 { touch(postgres, key, n).await } else { update(postgres, key, n, n + 1000).await }
        }));
        for (n, replaced) in replaced.await.into_iter().enumerate() {
            match replaced.unwrap() {
                Replaced::Conflict(row) => assert!(n == 4 && holds(&row, 77), "{n}"),
                replaced => assert_eq!(replaced, Replaced::Done, "{n}"),
            }
        }
        let soon = std::time::SystemTime::now() + Duration::from_secs(120);
        for (n, key) in keys.iter().enumerate() {
            let row = postgres.get(key).await.unwrap().unwrap();
            let expected = if n == 4 { 77 } else { n + n % 2 * 1000 };
            assert!(holds(&row, expected) && (row.expires > soon) == (n != 4), "{n}: {row:?}");
        }
    }
}

/// A conflict is reported as such, also where the statement had to be prepared again.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_statement_prepared_again_reports_the_conflict() {
    let database = Database::fresh();
    let postgres = postgres(database.url()).await;
    let keys = inserted(&postgres, 20).await;
    all_are_updated(&postgres, &keys, 0, 1000).await;
    database.query("ALTER TABLE django_session ALTER session_key TYPE varchar(41)"); // plans are outdated
    for (n, outcome) in updates(&postgres, &keys, 0, 2000).await.into_iter().enumerate() {
        assert!(matches!(outcome, Replaced::Conflict(_)), "{n}: {outcome:?}");
    }
}

/// A row that the server itself refuses does not take its neighbours with it.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_row_rejected_by_the_server_fails_alone() {
    let database = Database::fresh();
    let postgres = postgres(database.url()).await;
    database.query("ALTER TABLE django_session ADD CHECK (session_key <> 'forbidden0')");
    let keys = inserted(&postgres, 20).await;
    let forbidden = SessionKey::parse("forbidden0").unwrap();
    let mut fresh: Vec<SessionKey> = keys.iter().map(|_| SessionKey::generate()).collect();
    fresh.insert(7, forbidden.clone());
    let outcomes = join_all(fresh.iter().map(|key| insert(&postgres, key, 1))).await;
    for (key, outcome) in fresh.iter().zip(outcomes) {
        match outcome {
            Ok(Inserted::Done) => assert_ne!(*key, forbidden),
            Err(error) => assert!(error.is_store() && *key == forbidden, "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
    let outcomes = join_all(keys.iter().enumerate().map(async |(n, key)| {
        let new = if n == 3 { &forbidden } else { key };
        rename(&postgres, key, n, new, 2).await
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1);
    assert!(outcomes[3].is_err());
}

/// Only the key's own uniqueness means that a key is taken.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn another_unique_constraint_is_an_error_that_names_it() {
    let database = Database::fresh();
    let postgres = postgres(database.url()).await;
    let keys = inserted(&postgres, 10).await;
    database.query("ALTER TABLE django_session RENAME CONSTRAINT django_session_pkey TO renamed");
    database.query("ALTER TABLE django_session ADD CONSTRAINT one_of_each UNIQUE (session_data)");
    let new = SessionKey::generate();
    for error in [
        insert(&postgres, &new, 3).await.unwrap_err(),
        rename(&postgres, &keys[1], 1, &new, 3).await.unwrap_err(),
        update(&postgres, &keys[1], 1, 3).await.unwrap_err(),
    ] {
        assert!(error.is_store() && error.with_causes().contains("one_of_each"), "{}", error.with_causes());
        assert!(!error.with_causes().contains(new.as_str()), "{}", error.with_causes());
    }
    assert_eq!(insert(&postgres, &keys[1], 100).await.unwrap(), Inserted::KeyTaken);
    assert_eq!(rename(&postgres, &keys[1], 1, &keys[2], 100).await.unwrap(), Replaced::KeyTaken);
    let outcomes = updates(&postgres, &keys[3..], 3, 103).await;
    assert!(outcomes.iter().all(|replaced| *replaced == Replaced::Done));
    let outcomes = join_all(keys[3..].iter().enumerate().map(|(n, key)| {
        let number = if n == 2 { 1 } else { 203 + n }; // the first row's, which is unique
        update(&postgres, key, 103 + n, number)
    }));
    for (n, outcome) in outcomes.await.into_iter().enumerate() {
        assert_eq!(outcome.is_err(), n == 2, "{n}: {outcome:?}");
    }
}

/// The reply to a save is lost, and before it is looked up another writer has gone on from it. To make the
/// change again on that would be to make it twice.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_change_whose_reply_was_lost_is_not_applied_twice() {
    let server = PrivateServer::start(&[]);
    let direct = postgres(&server.url()).await;
    let proxy = Proxy::start(server.port());
    let through = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    let keys = inserted(&direct, 1).await;
    let slow = postgres(&through).await;
    assert_eq!(n(&slow, &keys[0]).await.as_deref(), Some("0"));
    proxy.delay(Duration::from_millis(500));
    let (of_slow, key) = (slow.clone(), keys[0].clone());
    let save = actix_web::rt::spawn(async move { update(&of_slow, &key, 0, 1).await });
    while n(&direct, &keys[0]).await.as_deref() != Some("1") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(update(&direct, &keys[0], 1, 2).await.unwrap(), Replaced::Done);
    proxy.delay(Duration::ZERO);
    proxy.cut();
    assert_eq!(save.await.unwrap().unwrap(), Replaced::Unknown);
    assert_eq!(n(&direct, &keys[0]).await.as_deref(), Some("2"));
    // It does not last.
    assert_eq!(update(&slow, &keys[0], 2, 3).await.unwrap(), Replaced::Done);
}

/// A batch was applied but for one row, and the database goes away before that row is read again. The others
/// are saved and confirmed.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_look_that_fails_after_a_batch_fails_no_row_that_was_saved() {
    let server = PrivateServer::start(&[]);
    let direct = postgres(&server.url()).await;
    let proxy = Proxy::start(server.port());
    let through = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    let keys = inserted(&direct, 20).await;
    let through = postgres(&through).await;
    let save = |was: usize, from: usize| {
        let through = &through;
        join_all(keys.iter().enumerate().map(move |(n, key)| {
            let was = if n == 7 { 900 } else { was + n }; // another writer was faster
            update(through, key, was, from + n)
        }))
    };
    save(0, 100).await; // the statements are prepared
    proxy.lose_after(1, Side::Client);
    let away = async {
        proxy.lost().await;
        proxy.refuse(true);
        proxy.cut();
    };
    let (outcomes, ()) = futures_util::future::join(save(100, 200), away).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match n {
            7 => assert!(outcome.unwrap_err().is_store()),
            _ => assert_eq!(outcome.unwrap(), Replaced::Done),
        }
    }
    let found = join_all(keys.iter().map(|key| n(&direct, key))).await;
    assert_eq!((found[6].as_deref(), found[7].as_deref()), (Some("206"), Some("7")));
}

/// A touch may be made twice, so it is repeated.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_touch_whose_reply_was_lost_is_repeated() {
    let server = PrivateServer::start(&[]);
    let direct = postgres(&server.url()).await;
    let proxy = Proxy::start(server.port());
    let through = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    let keys = inserted(&direct, 1).await;
    let slow = postgres(&through).await;
    let before = slow.get(&keys[0]).await.unwrap().unwrap().expires;
    proxy.delay(Duration::from_millis(500));
    let (of_slow, key) = (slow.clone(), keys[0].clone());
    let save = actix_web::rt::spawn(async move { touch(&of_slow, &key, 0).await });
    while direct.get(&keys[0]).await.unwrap().unwrap().expires == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.delay(Duration::ZERO);
    proxy.cut();
    assert_eq!(save.await.unwrap().unwrap(), Replaced::Done);
}

/// Two saves of one session that wait together are two statements, and the second sees the first.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn two_saves_of_one_session_are_never_in_one_batch() {
    let database = Database::fresh();
    let postgres = postgres(database.url()).await;
    let keys = inserted(&postgres, 1).await;
    let saves = (0..50).map(|n| update(&postgres, &keys[0], 0, n + 1));
    let outcomes: Vec<Replaced> = join_all(saves).await.into_iter().map(Result::unwrap).collect();
    let saved = outcomes.iter().filter(|outcome| **outcome == Replaced::Done).count();
    assert_eq!(saved, 1, "all of them had seen the same");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Replaced::Done | Replaced::Conflict(_))));
}
