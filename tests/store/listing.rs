//! Outside a request: all sessions of a store, those of one user, and the sweeper.

use std::time::Duration;

use actix_django_session::{Error, Session, SessionKey, Store, Sweeper, backend::Postgres};

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
