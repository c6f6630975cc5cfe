//! A cache that fails, hangs or comes back with outdated values.

use std::time::Duration;

use actix_django_session::{SecretKey, Session, SessionKey, Store};

use super::{Site, n, name, open};
use crate::support::{
    logs,
    postgres::Database,
    redis::{Redis, Reply},
    stores::by_url,
};

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_cache_that_fails_fails_no_request() {
    let mut site = Site::start().await;
    let (here, everywhere) = (logs::capture(), logs::capture_all_threads());
    let key = site.session().await;
    site.redis.kill();
    for n_now in 2..5 {
        let session = open(&site.other, &key).await;
        session.update("n", |n: Option<i64>| n.unwrap() + 1).unwrap();
        session.save().await.unwrap();
        assert_eq!(n(&site.other, &key).await, Some(n_now));
    }
    let session = open(&site.other, &key).await;
    session.cycle_key().unwrap();
    session.save().await.unwrap();
    let new_key = session.session_key().unwrap();
    assert_eq!(n(&site.other, &new_key).await, Some(4));
    assert!(!here.with("the cache failed").is_empty());
    assert!(everywhere.with(new_key.as_str()).is_empty() && everywhere.with(key.as_str()).is_empty());

    site.redis.start_again();
    for _ in 0..600 {
        assert_eq!(n(&site.other, &new_key).await, Some(4));
        if site.is_in_cache(&new_key) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the cache is not used again");
}

/// It hangs, keeps what it has, and comes back with it: what ended meanwhile must not come out of it.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_session_deleted_while_the_cache_was_down_is_not_served_from_it() {
    let site = Site::start().await;
    let (ended, changed) = (site.session().await, site.session().await);
    assert!(site.is_in_cache(&ended) && site.is_in_cache(&changed));
    site.redis.pause();
    assert!(site.other.delete(&ended).await.unwrap());
    let session = open(&site.other, &changed).await;
    session.insert("n", &2).unwrap();
    session.save().await.unwrap();
    site.redis.resume();
    for _ in 0..100 {
        assert!(Session::open(&site.other, &ended).await.unwrap().is_none());
        assert_eq!(n(&site.other, &changed).await, Some(2));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!site.is_in_cache(&ended), "and it is removed there");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn an_unreadable_cached_value_is_read_from_the_row() {
    let site = Site::start().await;
    // Garbage, a pickled list, a pickle that wants to run something, JSON, a broken zlib stream, nothing.
    let values: [&[u8]; 6] =
        [b"garbage", b"\x80\x04]\x94.", b"cos\nsystem\n(S'false'\ntR.", b"{\"n\": 7}", b"x\x9c\x00\x00", b""];
    for value in values {
        let key = site.session().await;
        site.redis.command(&[&b"SET"[..], name(&key).as_bytes(), value]);
        assert_eq!(n(&site.other, &key).await, Some(1));
        assert_eq!(n(&site.other, &key).await, Some(1));
        let now = site.redis.command(&["GET", &name(&key)]);
        assert_ne!(now, Reply::Text(value.to_vec()), "and it is mended");
    }
}

/// `check` must show, before a process stops, that its deletions are not complete.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn check_reports_deleted_sessions_that_are_still_cached() {
    let site = Site::start().await;
    let key = site.session().await;
    site.redis.pause();
    assert!(site.other.delete(&key).await.unwrap());
    let error = site.other.check().await.unwrap_err();
    assert!(error.is_store() && error.to_string().contains("sessions that were deleted"), "{error}");
    site.redis.resume();
    site.other.check().await.unwrap();
    assert!(!site.is_in_cache(&key));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_cache_that_returns_with_thousands_of_stale_values_is_used_again() {
    let site = Site::start().await;
    let key = site.session().await;
    site.redis.pause();
    for n in 0..3000 {
        let gone = SessionKey::parse(&format!("gone{n:08}")).unwrap();
        assert!(!site.other.delete(&gone).await.unwrap());
    }
    site.redis.resume();
    site.other.check().await.unwrap();
    site.database.query("ALTER TABLE django_session RENAME TO elsewhere");
    assert_eq!(n(&site.other, &key).await, Some(1), "from the cache");
}

/// A connection over which no answer comes any more is replaced, although the store waits less long than the
/// cache itself.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_dead_connection_to_the_cache_is_replaced() {
    let site = Site::start().await;
    let key = site.session().await;
    assert_eq!(n(&site.other, &key).await, Some(1));
    let id = site.redis.command(&["CLIENT", "LIST", "TYPE", "normal"]).text();
    let before: Vec<String> =
        id.lines().filter(|line| line.contains("actix-django-session")).map(str::to_owned).collect();
    assert!(!before.is_empty());
    site.redis.pause();
    assert_eq!(n(&site.other, &key).await, Some(1), "from the row");
    site.redis.resume();
    for _ in 0..200 {
        n(&site.other, &key).await;
        let now = site.redis.command(&["CLIENT", "LIST", "TYPE", "normal"]).text();
        let id = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let old: Vec<String> = before.iter().map(|line| id(line)).collect();
        if now
            .lines()
            .filter(|line| line.contains("actix-django-session"))
            .any(|line| !old.contains(&id(line)))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the same connections are used");
}

/// A worker removes outdated values. When that worker ends, another one continues.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn outdated_values_are_removed_after_their_worker_has_ended() {
    let site = Site::start().await;
    let key = site.session().await;
    site.redis.pause();
    let (store, deleted) = (site.other.clone(), key.clone());
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { assert!(store.delete(&deleted).await.unwrap()) });
    });
    tokio::task::spawn_blocking(|| worker.join().unwrap()).await.unwrap();
    site.redis.resume();
    site.other.check().await.unwrap();
    assert!(!site.is_in_cache(&key));
}

/// The database alone decides whether an application can start.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_store_starts_while_its_cache_is_away() {
    let logs = logs::capture();
    let (mut redis, database) = (Redis::start(&[]), Database::fresh());
    let url = format!("cached:{} {}", redis.url(), database.url());
    redis.kill();
    let store = by_url(&url).await;
    let told = logs.with("the cache failed, and the database serves alone");
    assert!(told.iter().any(|line| line.contains("WARN")), "{:?}", logs.lines());
    let session = Session::new(&store);
    session.insert("n", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    assert_eq!(n(&store, &key).await, Some(1));
    redis.start_again();
    for _ in 0..600 {
        assert_eq!(n(&store, &key).await, Some(1));
        if redis.command(&["DBSIZE"]) != Reply::Int(0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(redis.command(&["DBSIZE"]), Reply::Int(0), "the cache is used as soon as it is there");

    let secret = || SecretKey::new("a secret");
    let away = format!("cached:{} postgres://postgres@127.0.0.1:1/none", redis.url());
    assert!(Store::connect(&away, secret()).await.unwrap_err().is_store(), "the database must answer");
    let wrong = format!("cached:{}/one {}", redis.url(), database.url());
    assert!(Store::connect(&wrong, secret()).await.unwrap_err().is_configuration());
}
