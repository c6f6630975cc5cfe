//! How many statements a batch takes, and what those read.

use std::time::Duration;

use actix_django_session::{
    PostgresStore, SessionKey,
    store::{Loaded, Seen, SessionStore},
};

use super::{
    MANY, all_are_deleted, all_hold, created, created_under, later, pooled, renamed, saved, store, updates,
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

/// A table may have been made by hand.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn keys_may_have_any_collation() {
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
