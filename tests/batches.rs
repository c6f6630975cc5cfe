//! What many ask of PostgreSQL at once travels together, and each gets an answer of his own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    sync::{Arc, Barrier},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    PostgresStore, SecretKey, SessionKey,
    store::{Loaded, Outcome, Seen, SessionData, SessionStore},
};
use deadpool_postgres::{Manager, Pool};
use futures_util::future::join_all;
use support::{
    postgres::{Database, PrivateServer},
    proxy::Proxy,
};
use tokio_postgres::NoTls;

const MANY: usize = 300;

async fn store(url: &str) -> PostgresStore {
    let store = PostgresStore::connect(url, SecretKey::new("a secret")).await.unwrap();
    store.create_table().await.unwrap();
    store
}

fn pooled(url: &str) -> PostgresStore {
    let pool = Pool::builder(Manager::new(url.parse().unwrap(), NoTls)).build().unwrap();
    PostgresStore::from_pool(pool, SecretKey::new("a secret")).unwrap()
}

fn data(n: usize) -> SessionData {
    SessionData::from_json(format!(r#"{{"n":{n}}}"#)).unwrap()
}

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

fn saved(outcome: Outcome) -> Seen {
    match outcome {
        Outcome::Saved(seen) => seen,
        other => panic!("not saved: {other:?}"),
    }
}

async fn n(store: &PostgresStore, key: &SessionKey) -> Option<String> {
    match store.load(key).await.unwrap() {
        Loaded::Found(record) => Some(record.data.get_json("n").unwrap().to_owned()),
        Loaded::Missing => None,
        other => panic!("{other:?}"),
    }
}

async fn created(store: &PostgresStore, count: usize) -> (Vec<SessionKey>, Vec<Seen>) {
    let keys: Vec<SessionKey> = (0..count).map(|_| SessionKey::generate()).collect();
    let seen = created_under(store, &keys).await;
    (keys, seen)
}

/// Each with its place as `n`; so are those that follow, counted from `from`.
async fn created_under(store: &PostgresStore, keys: &[SessionKey]) -> Vec<Seen> {
    let created = keys
        .iter()
        .enumerate()
        .map(async |(n, key)| saved(store.create(key, &data(n), later()).await.unwrap()));
    join_all(created).await
}

async fn updates(store: &PostgresStore, keys: &[SessionKey], seen: &[Seen], from: usize) -> Vec<Outcome> {
    let updates = keys.iter().zip(seen).enumerate();
    let updates = updates
        .map(async |(n, (key, seen))| store.update(key, seen, &data(from + n), later()).await.unwrap());
    join_all(updates).await
}

async fn renamed(store: &PostgresStore, keys: &[SessionKey], seen: &[Seen], from: usize) -> Vec<SessionKey> {
    let new_keys: Vec<SessionKey> = keys.iter().map(|_| SessionKey::generate()).collect();
    let renames = keys.iter().zip(seen).zip(&new_keys).enumerate();
    join_all(renames.map(async |(n, ((key, seen), new))| {
        saved(store.rename(key, seen, new, &data(from + n), later()).await.unwrap())
    }))
    .await;
    new_keys
}

async fn all_hold(store: &PostgresStore, keys: &[SessionKey], from: usize) {
    let found = join_all(keys.iter().map(|key| n(store, key))).await;
    let expected: Vec<_> = (from..from + keys.len()).map(|n| Some(n.to_string())).collect();
    assert_eq!(found, expected, "each its own");
}

async fn all_are_deleted(store: &PostgresStore, keys: &[SessionKey]) {
    let deleted = join_all(keys.iter().map(|key| store.delete(key))).await;
    assert!(deleted.into_iter().all(|deleted| deleted.unwrap()));
}

/// Statements that the server ran, of those that begin so.
fn statements(log: &str, beginning: &str) -> usize {
    log.lines().filter(|line| line.contains("execute ") && line.contains(&format!(": {beginning}"))).count()
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn many_at_once_are_few_statements() {
    let server = PrivateServer::start(&[("log_statement", "all")]);
    let store = store(&server.url()).await;
    let (keys, seen) = created(&store, MANY).await;
    all_hold(&store, &keys, 0).await;
    updates(&store, &keys, &seen, 1000).await.into_iter().for_each(|outcome| drop(saved(outcome)));
    all_are_deleted(&store, &keys).await;

    let log = server.log();
    for (beginning, at_most) in [("INSERT", 5), ("SELECT session_key", 5), ("UPDATE", 5), ("DELETE", 5)] {
        let count = statements(&log, beginning);
        assert!((1..=at_most).contains(&count), "{beginning}: {count} statements for {MANY}");
    }
    assert_eq!(server.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("0"));
}

/// A plan is made once, and kept as long as nobody analyzes the table. If that was empty then, plans look equal that are not
/// when it has grown.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_table_that_grows_is_not_read_as_a_whole() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    database.query("ALTER TABLE django_session SET (autovacuum_enabled = off)");
    database.query("VACUUM ANALYZE django_session");
    every_statement(&store).await;
    database.query(
        "INSERT INTO django_session SELECT md5(n::text), 'x', now() + interval '1 hour' FROM generate_series(1, 50000) n",
    );
    every_statement(&store).await;
    drop(store);

    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let gone = async || {
        while database.query(others)[0][0].as_deref() != Some("0") {
            tokio::time::sleep(Duration::from_millis(20)).await; // each says at its end what it has read
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone()).await.expect("connections end with their store");
    let read = &database.query(
        "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes), (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)",
    )[0];
    let [entries, rows] = [0, 1].map(|at| read[at].as_deref().unwrap().parse::<u64>().unwrap());
    assert!((100..2_000).contains(&entries), "{entries} entries of indexes were read");
    assert_eq!(rows, 0, "rows were read one after the other");
}

/// Each that looks for sessions by their keys: for one, and for many.
async fn every_statement(store: &PostgresStore) {
    for count in [1, 20] {
        let (keys, seen) = created(store, count).await;
        all_hold(store, &keys, 0).await;
        assert!(store.exists(&keys[0]).await.unwrap());
        let seen: Vec<Seen> = updates(store, &keys, &seen, 1000).await.into_iter().map(saved).collect();
        let Loaded::Found(record) = store.load(&keys[0]).await.unwrap() else { panic!("gone") };
        saved(store.touch(&keys[0], &seen[0], record.expires, later()).await.unwrap());
        let new_keys = renamed(store, &keys, &seen, 2000).await;
        all_hold(store, &new_keys, 2000).await;
        all_are_deleted(store, &new_keys).await;
    }
}

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
async fn each_of_a_batch_has_its_own_outcome() {
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
async fn who_takes_over_a_key_is_not_who_had_it() {
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
async fn a_statement_that_was_refused_leaves_no_doubt() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    let (keys, seen) = created(&store, 20).await;
    updates(&store, &keys, &seen, 1000).await.into_iter().for_each(|outcome| drop(saved(outcome)));
    database.query("ALTER TABLE django_session ALTER session_key TYPE varchar(41)"); // plans are outdated
    for (n, outcome) in updates(&store, &keys, &seen, 2000).await.into_iter().enumerate() {
        assert!(matches!(outcome, Outcome::Changed(_)), "{n}: {outcome:?}");
    }
}

/// A table may have been made by hand.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn keys_may_be_sorted_in_any_way() {
    let database = Database::fresh();
    let own = store(database.url()).await;
    let of_the_application = pooled(database.url());
    for collation in ["C", "en-x-icu", "et-x-icu"] {
        database.query(&format!(
            "ALTER TABLE django_session ALTER session_key TYPE varchar(40) COLLATE \"{collation}\""
        ));
        for store in [&own, &of_the_application] {
            println!("{collation}");
            odd_keys(store).await;
            database.query("TRUNCATE django_session");
        }
    }
}

async fn odd_keys(store: &PostgresStore) {
    // Estonian has z after s, English ignores punctuation at first and has capitals after small letters.
    let texts =
        ["zzzzzzzz", "tttttttt", "ssssssss", "Ssssssst", "ssssssss-", "ssssssss0", "~!@#$%^&*()", "00000000"];
    let keys: Vec<SessionKey> =
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .chain((0..32).map(|n| {
                format!("{}{n}", char::from(b'!' + 2 * n).to_string().repeat(8 + usize::from(n) % 30))
            }))
            .map(|text| SessionKey::parse(&text).expect("a key"))
            .collect();
    let seen = created_under(store, &keys).await;
    let seen: Vec<Seen> = updates(store, &keys, &seen, 1000).await.into_iter().map(saved).collect();
    all_hold(store, &keys, 1000).await;
    let new_keys = renamed(store, &keys, &seen, 2000).await;
    all_hold(store, &new_keys, 2000).await;
    all_are_deleted(store, &new_keys).await;
}

/// A row that the server itself refuses does not take its neighbours with it.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn one_that_the_server_refuses_fails_alone() {
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
async fn a_row_that_somebody_holds_keeps_nobody_else_waiting() {
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
async fn a_statement_that_nobody_waits_for_ends() {
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

/// The answer to a save is lost, and before anybody can look another writer has gone on from it. To make the change again on
/// that would be to make it twice.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_change_whose_answer_was_lost_is_not_made_twice() {
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
async fn two_saves_of_one_session_never_meet_in_a_batch() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    let (keys, seen) = created(&store, 1).await;
    let saves = (0..50).map(async |n| store.update(&keys[0], &seen[0], &data(n + 1), later()).await);
    let outcomes: Vec<Outcome> = join_all(saves).await.into_iter().map(|outcome| outcome.unwrap()).collect();
    let saved = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Saved(_))).count();
    assert_eq!(saved, 1, "all of them had seen the same");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Saved(_) | Outcome::Changed(_))));
}

/// Those who left before it was their turn have asked for nothing, and those who stay are answered.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn who_leaves_takes_nobody_along() {
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
fn batches_of_several_workers_do_not_wait_for_each_other_for_ever() {
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
