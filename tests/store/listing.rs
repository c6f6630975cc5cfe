//! Outside a request: all sessions of a store, those of one user, and the sweeper.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix_django_session::{
    Error, Session, SessionKey, Store, Sweeper,
    backend::{Backend, Cursor, Insert, Inserted, Memory, Page, Postgres, Replace, Replaced, Row},
    codec::{Codec, JsonSerializer},
};
use futures_util::future::join_all;

use crate::support::{
    gate::Gated,
    postgres::Database,
    scripted::{Scripted, Step},
    stores,
};

async fn session_of(store: &Store, user: Option<&str>) -> SessionKey {
    let session = Session::new(store);
    session.insert("k", "v").unwrap();
    if let Some(user) = user {
        session.insert("_auth_user_id", user).unwrap();
    }
    session.save().await.unwrap();
    session.session_key().unwrap()
}

#[actix_web::test]
async fn a_user_is_logged_out_everywhere() {
    let store = stores::memory();
    let (mine, other) = (session_of(&store, Some("7")).await, session_of(&store, Some("77")).await);
    let (here, anonymous) = (session_of(&store, Some("7")).await, session_of(&store, None).await);
    let mut found = store.sessions_of_user("7").await.unwrap();
    found.sort();
    let mut wanted = [mine.clone(), here.clone()];
    wanted.sort();
    assert_eq!(found, wanted);
    assert_eq!(store.end_sessions_of_user("7", Some(&here)).await.unwrap(), 1);
    for (key, there) in [(mine, false), (here, true), (other, true), (anonymous, true)] {
        assert_eq!(store.exists(&key).await.unwrap(), there);
    }
}

/// A user's session that is open in a slow request does not come back.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_user_logged_out_everywhere_stays_logged_out() {
    let database = Database::fresh();
    let store = stores::by_url(database.url()).await;
    let key = session_of(&store, Some("7")).await;
    let slow = Session::open(&store, &key).await.unwrap().unwrap();
    slow.insert("late", &1).unwrap();
    assert_eq!(store.end_sessions_of_user("7", None).await.unwrap(), 1);
    assert!(slow.save().await.unwrap_err().is_interrupted());
    assert_eq!(database.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("0"));
}

/// A row that is no session does not end the listing.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn rows_that_cannot_be_read_are_shown_as_such() {
    let database = Database::fresh();
    let store = stores::by_url(database.url()).await;
    database.query(
        "INSERT INTO django_session SELECT 'garbage' || n, 'garbage', now() + interval '1 hour' \
         FROM generate_series(1000, 2999) n",
    );
    database.query("INSERT INTO django_session VALUES ('short', 'x', now()), ('with a blank', 'x', now())");
    let key = session_of(&store, None).await;
    let (mut sessions, mut readable, mut unreadable) = (store.sessions(), 0, 0);
    while let Some(session) = sessions.next().await.unwrap() {
        match session.data {
            Ok(_) => {
                assert_eq!(session.key, key);
                readable += 1;
            }
            Err(error) => {
                assert!(error.is_bad_signature());
                unreadable += 1;
            }
        }
    }
    assert_eq!((readable, unreadable), (1, 2000));
}

async fn wait_for_sweeps(scripted: &Scripted, at_least: usize) {
    for _ in 0..1000 {
        if scripted.count("clear") >= at_least {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the sweeper swept {} times, not {at_least}", scripted.count("clear"));
}

#[actix_web::test]
async fn the_sweeper_survives_errors_and_stops_when_dropped() {
    let scripted = Scripted::memory();
    for _ in 0..3 {
        scripted.then("clear", Step::Fail(|| Error::store("the store is away")));
    }
    let sweeper = Sweeper::start(&scripted.store(), Duration::from_millis(5));
    wait_for_sweeps(&scripted, 6).await;
    drop(sweeper);
    tokio::task::yield_now().await;
    let then = scripted.count("clear");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(scripted.count("clear"), then);
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn sweepers_of_two_instances_clear_every_row_once() {
    let database = Database::fresh();
    let store = stores::by_url(database.url()).await;
    let live = session_of(&store, None).await;
    database.query(
        "INSERT INTO django_session SELECT 'expired' || n, 'x', now() - interval '1 hour' \
         FROM generate_series(10000, 34999) n",
    );
    let other = stores::by_url(database.url()).await;
    let _sweepers = [
        Sweeper::start(&store, Duration::from_millis(20)),
        Sweeper::start(&other, Duration::from_millis(20)),
    ];
    for _ in 0..3000 {
        if database.query("SELECT count(*) FROM django_session")[0][0].as_deref() == Some("1") {
            assert!(store.exists(&live).await.unwrap());
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("there are expired rows left");
}

/// While all are looked at, one of them gets another key.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_session_renamed_meanwhile_is_logged_out_too() {
    let database = Database::fresh();
    let store = stores::by_url(database.url()).await;
    let gate = Gated::new(Postgres::connect(database.url()).await.unwrap());
    let gated = gate.store();
    let key = session_of(&gated, Some("7")).await;
    gate.close("list");
    let ending = {
        let gated = gated.clone();
        actix_web::rt::spawn(async move { gated.end_sessions_of_user("7", None).await })
    };
    gate.reached().await;
    let session = Session::open(&store, &key).await.unwrap().unwrap();
    session.cycle_key().unwrap();
    session.save().await.unwrap();
    gate.open();
    assert_eq!(ending.await.unwrap().unwrap(), 1);
    assert_eq!(database.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("0"));
}

/// Changes the session's key every 8 ms until it is deleted. Returns how often.
async fn rotate_until_deleted(session: Session, stop: Arc<AtomicBool>) -> usize {
    for count in 0.. {
        session.cycle_key().unwrap();
        match session.save().await {
            Err(error) if error.is_interrupted() => return count,
            saved => saved.unwrap(),
        }
        if stop.load(Ordering::Relaxed) {
            return count;
        }
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    unreachable!()
}

/// Twenty sessions that change their keys all the time, among enough others for many pages.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn no_session_escapes_by_changing_its_key() {
    for kind in stores::every().await {
        let store = &kind.store;
        let mut others = Vec::new();
        for _ in 0..60 {
            let some = (0..50).map(|n| session_of(store, (n % 2 == 0).then_some("77")));
            others.extend(join_all(some).await);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut rotating = Vec::new();
        for _ in 0..20 {
            let key = session_of(store, Some("7")).await;
            let session = Session::open(store, &key).await.unwrap().unwrap();
            rotating.push(actix_web::rt::spawn(rotate_until_deleted(session, stop.clone())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let start = Instant::now();
        let ended = store.end_sessions_of_user("7", None).await;
        let took = start.elapsed();
        let left = store.sessions_of_user("7").await.unwrap();
        stop.store(true, Ordering::Relaxed);
        let rotations: usize = join_all(rotating).await.into_iter().map(Result::unwrap).sum();
        println!("{kind:?}: {ended:?} ended in {took:?} during {rotations} rotations, {} left", left.len());
        // Files and Redis list many names at once; such keys are stale when their turn comes. These engines
        // may stop, and say so.
        if let (Err(error), "file" | "redis") = (&ended, kind.name) {
            assert!(error.to_string().contains("not all sessions of the user are ended"), "{error}");
            continue;
        }
        assert_eq!((ended.unwrap(), left), (20, Vec::new()), "{kind:?}");
        assert!(store.sessions_of_user("7").await.unwrap().is_empty(), "{kind:?}");
        for key in others.iter().step_by(100) {
            assert!(store.exists(key).await.unwrap(), "{kind:?}");
        }
    }
}

/// Each deleted session is there again under another key.
#[derive(Clone, Debug)]
struct Hydra(Memory);

impl Backend for Hydra {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        self.0.get(key).await
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        self.0.insert(new).await
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        self.0.replace(change).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        if let Some(Row { value: Some(value), expires, .. }) = self.0.get(key).await? {
            self.0.insert(Insert::new(&SessionKey::generate(), value, expires)).await?;
        }
        self.0.delete(key).await
    }

    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        self.0.list(after).await
    }
}

/// Not Ok, and not without an end.
#[actix_web::test]
async fn sessions_that_come_again_and_again_are_an_error() {
    let store = Store::new(Hydra(Memory::new()), Codec::unsigned(JsonSerializer));
    session_of(&store, Some("7")).await;
    let kept = session_of(&store, Some("8")).await;
    let error = store.end_sessions_of_user("7", None).await.unwrap_err();
    assert!(error.is_store(), "{error}");
    assert!(error.to_string().contains("not all sessions of the user are ended"), "{error}");
    assert!(error.to_string().contains("deactivate the user"), "{error}");
    assert!(store.exists(&kept).await.unwrap());
}

#[actix_web::test]
async fn one_session_that_cannot_be_deleted_does_not_save_the_others() {
    let scripted = Scripted::memory();
    let store = scripted.store();
    for _ in 0..3 {
        session_of(&store, Some("7")).await;
    }
    scripted.then("delete", Step::Fail(|| Error::store("the store is away")));
    let error = store.end_sessions_of_user("7", None).await.unwrap_err();
    assert!(error.to_string().contains("only 2: the store failed"), "{error}");
    assert!(error.with_causes().contains("the store is away"));
    assert_eq!(store.sessions_of_user("7").await.unwrap().len(), 1);
    assert_eq!(store.end_sessions_of_user("7", None).await.unwrap(), 1);
}
