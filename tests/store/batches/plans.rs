//! How many statements a batch takes, and what those read.

use std::time::Duration;

use actix_django_session::{
    SessionKey,
    backend::{Backend, Postgres, Replaced},
};
use tokio_postgres::NoTls;

use super::{
    MANY, all_are_deleted, all_are_renamed, all_are_updated, all_hold, insert_all, inserted, pooled,
    postgres, touch,
};
use crate::support::postgres::{Database, PrivateServer};

/// Statements that the server ran, of those that begin so.
fn statements(log: &str, beginning: &str) -> usize {
    log.lines().filter(|line| line.contains("execute ") && line.contains(&format!(": {beginning}"))).count()
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn concurrent_requests_take_few_statements() {
    let server = PrivateServer::start(&[("log_statement", "all")]);
    let postgres = postgres(&server.url()).await;
    let keys = inserted(&postgres, MANY).await;
    all_hold(&postgres, &keys, 0).await;
    all_are_updated(&postgres, &keys, 0, 1000).await;
    all_are_deleted(&postgres, &keys).await;

    let log = server.log();
    for (beginning, at_most) in [("INSERT", 5), ("SELECT session_key", 5), ("UPDATE", 5), ("DELETE", 5)] {
        let count = statements(&log, beginning);
        assert!((1..=at_most).contains(&count), "{beginning}: {count} statements for {MANY}");
    }
    assert_eq!(server.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("0"));
}

/// A new connection looks where the table is. A look that takes too long tells nothing about it.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_look_that_fails_leaves_the_batches() {
    let server = PrivateServer::start(&[("log_statement", "all")]);
    let keys = inserted(&postgres(&server.url()).await, MANY).await;
    let (locker, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    locker.batch_execute("BEGIN; LOCK TABLE pg_inherits IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let unlooked = Postgres::connect_lazy(&server.url()).unwrap();
    assert!(unlooked.get(&keys[0]).await.unwrap_err().is_store());
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert!(unlooked.get(&keys[0]).await.unwrap().is_some());
    let before = statements(&server.log(), "UPDATE");
    all_are_updated(&unlooked, &keys, 0, 1000).await;
    let sent = statements(&server.log(), "UPDATE") - before;
    assert!((1..=5).contains(&sent), "{sent} statements for {MANY}");
}

/// A plan is made once, and kept as long as nobody analyzes the table. If that was empty then, plans look
/// equal that are not when it has grown.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_table_that_grows_is_not_read_as_a_whole() {
    let database = Database::fresh();
    let postgres = postgres(database.url()).await;
    database.query("ALTER TABLE django_session SET (autovacuum_enabled = off)");
    database.query("VACUUM ANALYZE django_session");
    every_statement(&postgres).await;
    database.query(
        "INSERT INTO django_session SELECT md5(n::text), 'x', now() + interval '1 hour' \
         FROM generate_series(1, 50000) n",
    );
    every_statement(&postgres).await;
    drop(postgres);

    let others = "SELECT count(*) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let gone = async || {
        while database.query(others)[0][0].as_deref() != Some("0") {
            tokio::time::sleep(Duration::from_millis(20)).await; // each says at its end what it has read
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone()).await.expect("connections end with their store");
    let read = &database.query(
        "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes), \
         (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)",
    )[0];
    let [entries, rows] = [0, 1].map(|at| read[at].as_deref().unwrap().parse::<u64>().unwrap());
    assert!((100..2_000).contains(&entries), "{entries} entries of indexes were read");
    assert_eq!(rows, 0, "rows were read one after the other");
}

/// Every statement that looks for sessions by their keys: for one, and for many.
async fn every_statement(postgres: &Postgres) {
    for count in [1, 20] {
        let keys = inserted(postgres, count).await;
        all_hold(postgres, &keys, 0).await;
        assert!(postgres.exists(&keys[0]).await.unwrap());
        all_are_updated(postgres, &keys, 0, 1000).await;
        assert_eq!(touch(postgres, &keys[0], 1000).await.unwrap(), Replaced::Done);
        let new_keys = all_are_renamed(postgres, &keys, 1000, 2000).await;
        all_hold(postgres, &new_keys, 2000).await;
        all_are_deleted(postgres, &new_keys).await;
    }
}

/// A table may have been made by hand.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn keys_may_have_any_collation() {
    let database = Database::fresh();
    let own = postgres(database.url()).await;
    let of_the_application = pooled(database.url());
    for collation in ["C", "en-x-icu", "et-x-icu"] {
        database.query(&format!(
            "ALTER TABLE django_session ALTER session_key TYPE varchar(40) COLLATE \"{collation}\""
        ));
        for postgres in [&own, &of_the_application] {
            println!("{collation}");
            odd_keys(postgres).await;
            database.query("TRUNCATE django_session");
        }
    }
}

async fn odd_keys(postgres: &Postgres) {
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
    insert_all(postgres, &keys).await;
    all_are_updated(postgres, &keys, 0, 1000).await;
    all_hold(postgres, &keys, 1000).await;
    let new_keys = all_are_renamed(postgres, &keys, 1000, 2000).await;
    all_hold(postgres, &new_keys, 2000).await;
    all_are_deleted(postgres, &new_keys).await;
}
