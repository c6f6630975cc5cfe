//! A cache in front of a database: what is late in the cache, and a cache that fails.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use actix_django_session::{
    PostgresStore, SecretKey, Session, SessionKey,
    store::{AnyStore, CachedStore, Loaded, RedisCache, conformance},
};
use support::{
    gate::Gated,
    logs,
    postgres::Database,
    redis::{Redis, Reply},
};

/// One table and one Redis, with two stores of ours; the database of the first has a gate.
struct Site {
    redis: Redis,
    database: Database,
    gate: Gated,
    gated: AnyStore,
    other: AnyStore,
}

async fn table(database: &Database) -> PostgresStore {
    let store = PostgresStore::connect(database.url(), SecretKey::new("a secret")).await.unwrap();
    store.create_table().await.unwrap();
    store
}

async fn cached(redis: &Redis, database: impl Into<AnyStore>) -> AnyStore {
    let cache = RedisCache::connect(&redis.url()).await.unwrap();
    CachedStore::new(cache, database).cache_deadline(Duration::from_secs(2)).into()
}

impl Site {
    async fn start() -> Self {
        let (redis, database) = (Redis::start(&[]), Database::fresh());
        let gate = Gated::new(table(&database).await);
        let gated = cached(&redis, gate.clone()).await;
        let other = cached(&redis, table(&database).await).await;
        Self { redis, database, gate, gated, other }
    }

    async fn session(&self) -> SessionKey {
        let session = Session::create(&self.other);
        session.insert("n", &1).unwrap();
        session.save().await.unwrap();
        session.session_key().unwrap()
    }

    /// A session that only the table has.
    async fn uncached_session(&self) -> SessionKey {
        let key = self.session().await;
        self.redis.command(&["FLUSHALL"]);
        key
    }

    /// What Django's engine does at a logout.
    fn django_logs_out(&self, key: &SessionKey) {
        self.database.query(&format!("DELETE FROM django_session WHERE session_key = '{}'", key.as_str()));
        self.redis.command(&["DEL", &name(key)]);
    }

    /// Whether Django would find a session in the cache.
    fn is_in_cache(&self, key: &SessionKey) -> bool {
        let value = self.redis.command(&["GET", &name(key)]);
        matches!(value, Reply::Text(value) if !value.starts_with(b"\x80\x02N."))
    }

    fn rows(&self) -> String {
        self.database.query("SELECT count(*) FROM django_session")[0][0].clone().unwrap()
    }

    /// Runs `work` of the gated store until the gate, then `meanwhile`, then the rest.
    async fn in_between<T: 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = T> + 'static,
        meanwhile: impl AsyncFnOnce(),
    ) -> T {
        self.gate.close(operation);
        let work = actix_web::rt::spawn(work);
        self.gate.reached().await;
        meanwhile().await;
        self.gate.open();
        work.await.unwrap()
    }
}

/// The name under which Django's `cached_db` keeps a session.
fn name(key: &SessionKey) -> String {
    format!(":1:django.contrib.sessions.cached_db{}", key.as_str())
}

async fn n(store: &AnyStore, key: &SessionKey) -> Option<i64> {
    Session::open(store, key).await.unwrap().get("n").unwrap()
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn it_keeps_the_contract() {
    let site = Site::start().await;
    conformance::check(site.other.clone()).await;
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_session_in_the_cache_costs_the_database_nothing() {
    let site = Site::start().await;
    let key = site.uncached_session().await;
    assert_eq!(n(&site.other, &key).await, Some(1));
    assert!(site.is_in_cache(&key), "read through");
    site.database.query("ALTER TABLE django_session RENAME TO elsewhere");
    assert_eq!(n(&site.other, &key).await, Some(1));
    site.database.query("ALTER TABLE elsewhere RENAME TO django_session");

    let session = Session::open(&site.other, &key).await.unwrap();
    session.insert("n", &2).unwrap();
    session.save().await.unwrap();
    site.database.query("ALTER TABLE django_session RENAME TO elsewhere");
    assert_eq!(n(&site.other, &key).await, Some(2), "written through");
    let ttl = site.redis.command(&["TTL", &name(&key)]).int();
    assert!((1_209_500..=1_209_600).contains(&ttl), "{ttl}");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_late_fill_does_not_bring_back_what_was_logged_out() {
    let site = Site::start().await;
    for django in [false, true] {
        let key = site.uncached_session().await;
        let (store, asked) = (site.gated.clone(), key.clone());
        let loaded =
            site.in_between("load", async move { store.load(&asked).await }, async || match django {
                true => site.django_logs_out(&key),
                false => assert!(site.other.delete(&key).await.unwrap()),
            });
        assert!(matches!(loaded.await.unwrap(), Loaded::Found(_)), "it was there when it was looked at");
        assert!(!site.is_in_cache(&key), "logged out by {}", if django { "Django" } else { "us" });
        assert!(matches!(site.other.load(&key).await.unwrap(), Loaded::Missing));
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_late_fill_does_not_hide_a_newer_value() {
    let site = Site::start().await;
    let key = site.uncached_session().await;
    let (store, asked) = (site.gated.clone(), key.clone());
    let loaded = site.in_between("load", async move { store.load(&asked).await }, async || {
        let session = Session::open(&site.other, &key).await.unwrap();
        session.insert("n", &2).unwrap();
        session.save().await.unwrap();
    });
    loaded.await.unwrap();
    assert_eq!(n(&site.other, &key).await, Some(2));
    assert!(site.is_in_cache(&key));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_late_save_does_not_bring_back_what_was_logged_out() {
    let site = Site::start().await;
    for (operation, django) in [("update", false), ("update", true), ("rename", false), ("rename", true)] {
        let key = site.session().await;
        let session = Session::open(&site.gated, &key).await.unwrap();
        session.insert("n", &2).unwrap();
        if operation == "rename" {
            session.cycle_key().unwrap();
        }
        let saving = session.clone();
        let saved = site.in_between(operation, async move { saving.save().await }, async || match django {
            true => {
                site.database.query("DELETE FROM django_session");
                site.redis.command(&["DEL", &name(&key)]);
            }
            false => {
                let now =
                    site.database.query("SELECT session_key FROM django_session")[0][0].clone().unwrap();
                assert!(site.other.delete(&SessionKey::parse(&now).unwrap()).await.unwrap());
            }
        });
        saved.await.unwrap();
        assert_eq!(site.rows(), "0");
        assert!(
            !site.is_in_cache(&key),
            "{operation}, logged out by {}",
            if django { "Django" } else { "us" }
        );
        assert!(matches!(site.other.load(&key).await.unwrap(), Loaded::Missing));
    }
}

/// Two saves, of which the first to reach the table is the last to reach the cache.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn the_cache_does_not_keep_the_older_of_two_saves() {
    let site = Site::start().await;
    let key = site.session().await;
    let session = Session::open(&site.gated, &key).await.unwrap();
    session.insert("first", &1).unwrap();
    let saving = session.clone();
    let saved = site.in_between("update", async move { saving.save().await }, async || {
        let second = Session::open(&site.other, &key).await.unwrap();
        second.insert("n", &2).unwrap();
        second.save().await.unwrap();
    });
    saved.await.unwrap();
    let now = Session::open(&site.other, &key).await.unwrap();
    assert_eq!((now.get("first").unwrap(), now.get("n").unwrap()), (Some(1), Some(2)));
}

/// Who read from the cache compares with the row all the same.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_save_is_merged_with_a_row_that_the_cache_did_not_show() {
    let site = Site::start().await;
    let key = site.session().await;
    let behind_the_cache: AnyStore = table(&site.database).await.into();
    let session = Session::open(&behind_the_cache, &key).await.unwrap();
    session.insert("n", &10).unwrap();
    session.insert("theirs", &1).unwrap();
    session.save().await.unwrap();
    assert_eq!(n(&site.other, &key).await, Some(1), "the cache knows nothing of it");

    let session = Session::open(&site.other, &key).await.unwrap();
    session.update("n", |n: Option<i64>| n.unwrap() + 1).unwrap();
    session.save().await.unwrap();
    let now = Session::open(&site.other, &key).await.unwrap();
    assert_eq!((now.get("n").unwrap(), now.get("theirs").unwrap()), (Some(11), Some(1)));

    // And where the row has gone, it is gone.
    behind_the_cache.delete(&key).await.unwrap();
    let session = Session::open(&site.other, &key).await.unwrap();
    session.insert("n", &2).unwrap();
    assert!(session.save().await.unwrap_err().is_interrupted());
    assert!(matches!(site.other.load(&key).await.unwrap(), Loaded::Missing));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_cache_that_fails_fails_no_request() {
    let mut site = Site::start().await;
    let logs = logs::capture_all_threads();
    let key = site.session().await;
    site.redis.kill();
    for n_now in 2..5 {
        let session = Session::open(&site.other, &key).await.unwrap();
        session.update("n", |n: Option<i64>| n.unwrap() + 1).unwrap();
        session.save().await.unwrap();
        assert_eq!(n(&site.other, &key).await, Some(n_now));
    }
    let session = Session::open(&site.other, &key).await.unwrap();
    session.cycle_key().unwrap();
    session.save().await.unwrap();
    let new_key = session.session_key().unwrap();
    assert_eq!(n(&site.other, &new_key).await, Some(4));
    assert!(!logs.with("the cache failed").is_empty());
    assert!(logs.with(new_key.as_str()).is_empty() && logs.with(key.as_str()).is_empty());

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
async fn what_ended_while_the_cache_was_away_does_not_come_out_of_it() {
    let site = Site::start().await;
    let (ended, changed) = (site.session().await, site.session().await);
    assert!(site.is_in_cache(&ended) && site.is_in_cache(&changed));
    site.redis.pause();
    assert!(site.other.delete(&ended).await.unwrap());
    let session = Session::open(&site.other, &changed).await.unwrap();
    session.insert("n", &2).unwrap();
    session.save().await.unwrap();
    site.redis.resume();
    for _ in 0..100 {
        assert!(matches!(site.other.load(&ended).await.unwrap(), Loaded::Missing));
        assert_eq!(n(&site.other, &changed).await, Some(2));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!site.is_in_cache(&ended), "and it is removed there");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn what_cannot_be_read_in_the_cache_is_read_from_the_row() {
    let site = Site::start().await;
    // Garbage, a pickled list, a pickle that wants to run something, JSON, a broken zlib stream.
    let values: [&[u8]; 5] =
        [b"garbage", b"\x80\x04]\x94.", b"cos\nsystem\n(S'false'\ntR.", b"{\"n\": 7}", b"x\x9c\x00\x00"];
    for value in values {
        let key = site.session().await;
        site.redis.command(&[&b"SET"[..], name(&key).as_bytes(), value]);
        assert_eq!(n(&site.other, &key).await, Some(1));
        assert_eq!(n(&site.other, &key).await, Some(1));
        let now = site.redis.command(&["GET", &name(&key)]);
        assert_ne!(now, Reply::Text(value.to_vec()), "and it is mended");
    }
}

/// Somebody else fills the cache while a save is under way: what he filled is older than the row afterwards.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn what_another_filled_during_a_save_does_not_stay() {
    let site = Site::start().await;
    let key = site.session().await;
    let session = Session::open(&site.gated, &key).await.unwrap();
    session.insert("n", &2).unwrap();
    // It stops after its look at the row, before it writes; the other saves what was there already.
    let saving = session.clone();
    let saved = site.in_between("load", async move { saving.save().await }, async || {
        let second = Session::open(&site.other, &key).await.unwrap();
        second.set_modified().unwrap();
        second.save().await.unwrap();
    });
    saved.await.unwrap();
    assert_eq!(n(&site.other, &key).await, Some(2));
}

/// A request for the end of a session is dropped half-way, and a reader comes in between.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_logout_that_is_dropped_half_way_leaves_nothing_in_the_cache() {
    let site = Site::start().await;
    let key = site.session().await;
    site.gate.close("delete");
    let (store, ended) = (site.gated.clone(), key.clone());
    let logout = actix_web::rt::spawn(async move { store.delete(&ended).await });
    site.gate.reached().await;
    logout.abort();
    assert_eq!(site.rows(), "0");
    assert!(!site.is_in_cache(&key));
    assert!(matches!(site.other.load(&key).await.unwrap(), Loaded::Missing));
}

/// Who ends his process must know that it is not done.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn check_says_that_ended_sessions_are_still_in_the_cache() {
    let site = Site::start().await;
    let key = site.session().await;
    site.redis.pause();
    assert!(site.other.delete(&key).await.unwrap());
    let error = site.other.check().await.unwrap_err();
    assert!(error.is_store() && error.to_string().contains("sessions that ended"), "{error}");
    site.redis.resume();
    site.other.check().await.unwrap();
    assert!(!site.is_in_cache(&key));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_cache_that_comes_back_to_thousands_of_outdated_values_is_used_again() {
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

/// A connection over which no answer comes any more is replaced, although the store waits less long than the cache itself.
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
