//! Values that are too long, pages that are too long, and expired rows by the thousand.

use std::time::{Duration, SystemTime};

use actix_django_session::{
    SessionKey,
    backend::{Backend, Cursor, Insert, Inserted, Postgres, Replace, Replaced, Row, SiteSettings},
};
use futures_util::future::join_all;

use super::{inserted, later, pooled, postgres, value};
use crate::support::postgres::{Database, PrivateServer};

/// The same backend, for values of at most so many bytes.
fn limited(postgres: &Postgres, bytes: usize) -> Postgres {
    let mut site = SiteSettings::default();
    site.max_value_bytes = bytes;
    postgres.with_settings(&site).unwrap().expect("another limit")
}

fn is_too_large(row: &Row) -> bool {
    row.value.is_none()
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_value_longer_than_the_limit_is_not_read() {
    let database = Database::fresh();
    let own = postgres(database.url()).await;
    assert!(
        own.with_settings(&SiteSettings::default()).unwrap().is_none(),
        "connections are not opened again"
    );
    for postgres in [&own, &pooled(database.url())] {
        let keys = inserted(postgres, 10).await;
        let long = "x".repeat(5000);
        let done = postgres.replace(Replace::new(&keys[3], value(3), later()).value(long.clone())).await;
        assert_eq!(done.unwrap(), Replaced::Done);
        let small = limited(postgres, 4999);
        let alone = small.get(&keys[3]).await.unwrap().unwrap();
        assert!(is_too_large(&alone) && alone.expires > SystemTime::now());
        for (n, row) in join_all(keys.iter().map(|key| small.get(key))).await.into_iter().enumerate() {
            assert_eq!(is_too_large(&row.unwrap().unwrap()), n == 3);
        }
        for (key, row) in small.list(None).await.unwrap().entries {
            assert_eq!(is_too_large(&row.unwrap()), key == keys[3]);
        }
        let refused = small.replace(Replace::new(&keys[3], value(3), later()).value(value(4))).await.unwrap();
        assert!(matches!(&refused, Replaced::Conflict(row) if is_too_large(row)), "{refused:?}");
        let just = limited(postgres, 5000).get(&keys[3]).await.unwrap().unwrap();
        assert_eq!(just.value.as_deref(), Some(long.as_bytes()));
        database.query("TRUNCATE django_session");
    }
}

/// A large value in a batch of reads, which are answered without it.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn large_values_are_read_in_a_batch_too() {
    let database = Database::fresh();
    let postgres = postgres(database.url()).await;
    let keys: Vec<SessionKey> = (0..10).map(|_| SessionKey::generate()).collect();
    let values: Vec<String> = (0..10).map(|n| n.to_string().repeat(n * 20_000)).collect();
    let inserts = keys.iter().zip(&values);
    let inserts = join_all(
        inserts.map(async |(key, value)| postgres.insert(Insert::new(key, value.clone(), later())).await),
    );
    assert!(inserts.await.into_iter().all(|inserted| inserted.unwrap() == Inserted::Done));
    for (row, value) in join_all(keys.iter().map(|key| postgres.get(key))).await.into_iter().zip(&values) {
        assert!(row.unwrap().unwrap().value.as_deref() == Some(value.as_bytes()));
    }
    let stale = keys
        .iter()
        .map(async |key| postgres.replace(Replace::new(key, "stale", later()).value("new")).await.unwrap());
    for (replaced, value) in join_all(stale).await.into_iter().zip(&values) {
        assert!(
            matches!(replaced, Replaced::Conflict(row) if row.value.as_deref() == Some(value.as_bytes()))
        );
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_page_is_bounded_in_rows_and_in_bytes() {
    let database = Database::fresh();
    let postgres = postgres(database.url()).await;
    let pages = async |postgres: &Postgres| {
        let (mut pages, mut after) = (Vec::new(), None::<Cursor>);
        loop {
            let page = postgres.list(after).await.unwrap();
            pages.push(page.entries.len());
            after = page.next;
            if after.is_none() {
                return pages;
            }
        }
    };
    let rows = "INSERT INTO django_session SELECT lpad(n::text, 32, '0'), repeat('x', BYTES), now() \
                FROM generate_series(1, COUNT) AS n";
    let fill = |bytes: usize, count: usize| {
        database.query("TRUNCATE django_session");
        database.query(&rows.replace("BYTES", &bytes.to_string()).replace("COUNT", &count.to_string()));
    };
    fill(10, 0);
    assert_eq!(pages(&postgres).await, [0]);
    fill(10, 1200);
    assert_eq!(pages(&postgres).await, [500, 500, 200]);
    fill(1 << 20, 10);
    assert_eq!(pages(&postgres).await, [4, 4, 2]);
    assert_eq!(pages(&limited(&postgres, 1000)).await, [10], "what is not read has no bytes");
    fill(6 << 20, 3);
    assert_eq!(pages(&postgres).await, [1, 1, 1, 0]);
    // A key that no session can have is left out.
    database.query("UPDATE django_session SET session_key = 'short' WHERE session_key LIKE '%1'");
    assert_eq!(pages(&postgres).await.iter().sum::<usize>(), 2);
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_value_that_is_not_utf8_is_an_error() {
    let database = Database::fresh();
    let postgres = postgres(database.url()).await;
    let key = inserted(&postgres, 1).await.remove(0);
    let bytes: &[u8] = &[0x80, 0x05];
    let new = SessionKey::generate();
    for error in [
        postgres.insert(Insert::new(&new, bytes, later())).await.unwrap_err(),
        postgres.replace(Replace::new(&key, value(0), later()).value(bytes)).await.unwrap_err(),
        postgres.replace(Replace::new(&key, bytes, later())).await.unwrap_err(),
    ] {
        assert!(error.is_value() && error.to_string().contains("UTF-8"), "{error}");
    }
    let error = postgres.insert(Insert::new(&new, "a\0b", later())).await.unwrap_err();
    assert!(error.is_store(), "{error}");
}

/// A batch begins where the last full one stopped, so that the index entries of deleted rows are not read
/// again.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn clearing_goes_on_where_it_stopped_and_forgets_that_at_the_end() {
    let server = PrivateServer::start(&[("log_statement", "all")]);
    let postgres = postgres(&server.url()).await;
    let clone = postgres.clone();
    server.query(
        "INSERT INTO django_session SELECT 'expired' || lpad(n::text, 25, '0'), 'x', \
         now() - n * interval '1 hour' FROM generate_series(1, 25) AS n",
    );
    assert_eq!(postgres.clear_expired(10).await.unwrap(), 10);
    // An older one that appears only now: it is left for the next time.
    let old = SessionKey::generate();
    let expired = SystemTime::now() - Duration::from_secs(1_000_000);
    postgres.insert(Insert::new(&old, "x", expired)).await.unwrap();
    assert_eq!(clone.clear_expired(10).await.unwrap(), 10);
    assert_eq!(postgres.clear_expired(10).await.unwrap(), 5);
    assert!(postgres.exists(&old).await.unwrap());
    assert_eq!(clone.clear_expired(10).await.unwrap(), 1);
    let log = server.log();
    let bounds = log.lines().filter_map(|line| line.split_once("$2 = '10', $3 = "));
    let bounds: Vec<bool> = bounds.map(|(_, bound)| bound != "NULL").collect();
    assert_eq!(bounds, [false, true, true, false]);
}
