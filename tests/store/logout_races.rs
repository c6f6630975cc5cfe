//! Deleted sessions stay deleted: logout, revocation and expiry race with slow writers on every store that
//! can be shared.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use actix_django_session::{Error, Session, SessionKey, SessionSettings, Store};
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{
    at_length,
    http::Client,
    proc::{PATIENCE, wait_until},
    site::Site,
    stores,
};

async fn saved(store: &Store) -> (Session, SessionKey) {
    let session = Session::new(store);
    session.insert("_auth_user_id", "7").unwrap();
    session.insert("n", &0).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    (session, key)
}

async fn open(store: &Store, key: &SessionKey) -> Session {
    Session::open(store, key).await.unwrap().expect("a live session")
}

/// Every writer reads the session before it is removed, and writes afterwards, in every possible way.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn no_write_brings_back_a_session_that_is_gone() {
    type Write = fn(&Session);
    let writes: [Write; 6] = [
        |session| session.insert("late", &1).unwrap(),
        |session| _ = session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap(),
        |session| _ = session.discard("n").unwrap(),
        |session| session.clear().unwrap(),
        |session| session.cycle_key().unwrap(),
        |session| session.set_modified().unwrap(),
    ];
    for kind in stores::every().await {
        for end in ["flush", "delete", "of the user", "rename", "expiry"] {
            let (session, key) = saved(&kind.store).await;
            if end == "expiry" {
                session.set_expiry(Duration::from_secs(1)).unwrap();
                session.save().await.unwrap();
            }
            let mut late = Vec::new();
            for _ in writes {
                late.push(open(&kind.store, &key).await);
            }
            let mut renamed = None;
            match end {
                "flush" => {
                    session.flush().unwrap();
                    session.save().await.unwrap();
                }
                "delete" => assert!(kind.store.delete(&key).await.unwrap()),
                "of the user" => assert_eq!(kind.store.end_sessions_of_user("7", None).await.unwrap(), 1),
                "rename" => {
                    session.cycle_key().unwrap();
                    session.save().await.unwrap();
                    renamed = session.session_key();
                }
                _ => tokio::time::sleep(Duration::from_millis(1100)).await,
            }
            for (n, (session, write)) in late.iter().zip(writes).enumerate() {
                write(session);
                let saved = session.save().await;
                let refused = saved.as_ref().is_err_and(Error::is_interrupted);
                assert!(refused, "{kind:?}, {end}, write {n}: {saved:?}");
            }
            let there = Session::open(&kind.store, &key).await.unwrap();
            assert!(there.is_none(), "{kind:?}, {end}: {there:?}");
            if let Some(renamed) = renamed {
                let session = open(&kind.store, &renamed).await;
                assert_eq!(session.keys(), ["_auth_user_id", "n"], "{kind:?}: and the new one is as it was");
                kind.store.delete(&renamed).await.unwrap();
            }
            kind.store.delete(&key).await.unwrap();
        }
    }
}

/// Many writers and one who logs out, all at once: whatever order they come in, at the end there is nothing.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_logout_among_many_writers_wins() {
    let rounds = if at_length() { 500 } else { 20 };
    for kind in stores::every().await {
        let (mut interrupted, mut written) = (0, 0);
        for round in 0..rounds {
            let (_, key) = saved(&kind.store).await;
            let writers = join_all((0..8).map(|_| open(&kind.store, &key))).await;
            let last = writers.len() - 1;
            let saves = writers.iter().enumerate().map(async |(n, session)| {
                // Now the one, now the other is ahead.
                for _ in 0..(n + round) % 5 {
                    tokio::task::yield_now().await;
                }
                match n == last {
                    true => session.flush().unwrap(),
                    false => _ = session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap(),
                }
                session.save().await
            });
            for result in join_all(saves).await {
                match result {
                    Ok(()) => written += 1,
                    Err(error) if error.is_interrupted() => interrupted += 1,
                    Err(error) => panic!("{kind:?}: {}", error.with_causes()),
                }
            }
            assert!(!kind.store.exists(&key).await.unwrap(), "{kind:?}: round {round}");
        }
        println!("{kind:?}: {written} in time, {interrupted} too late");
        assert!(written >= rounds, "those who log out");
    }
}

/// Over HTTP: the slow one gets a 400, keeps no cookie that it should not, and the log has it once.
#[test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
fn a_slow_request_gets_400_and_is_logged_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for kind in runtime.block_on(stores::every()) {
        let (name, store) = (kind.name, kind.store.clone());
        let site = Site::start(SessionSettings::default(), async move || store);
        let (ops, logs) = (site.url("/ops"), site.logs());
        let mut visitor = Client::new();
        visitor.post_json(&ops, &json!([["set", "n", 0]]));
        let key = SessionKey::parse(&visitor.cookies["sessionid"]).unwrap();
        let slow = thread::spawn({
            let (mut client, ops) = (visitor.clone(), ops.clone());
            move || client.post_json(&ops, &json!([["incr", "n"], ["sleep", 0.5], ["get", "n"]]))
        });
        thread::sleep(Duration::from_millis(200));
        assert_eq!(visitor.post_json(&ops, &json!([["flush"]])).status, 200, "{name}");
        let reply = slow.join().unwrap();
        assert_eq!(reply.status, 400, "{name}: {}", reply.text());
        assert!(reply.text().contains("deleted before the request completed"), "{name}: {}", reply.text());
        assert!(reply.set_cookies().is_empty(), "{name}: {:?}", reply.set_cookies());
        assert!(!runtime.block_on(kind.store.exists(&key)).unwrap(), "{name}");
        let mut times = 0;
        wait_until("the log should have it", PATIENCE, || {
            times = logs.with("was deleted before the request completed").len();
            times > 0
        });
        assert_eq!(times, 1, "{name}");
    }
}

/// An expired session cannot be used to write by somebody whose clock, or whose load, was a moment behind.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn an_update_at_the_moment_of_expiry_does_not_extend_the_session() {
    for kind in stores::every().await {
        let session = Session::new(&kind.store);
        session.insert("n", &0).unwrap();
        session.set_expiry(SystemTime::now() + Duration::from_millis(400)).unwrap();
        session.save().await.unwrap();
        let key = session.session_key().unwrap();
        let writers = join_all((0..6).map(|_| open(&kind.store, &key))).await;
        let saves = writers.iter().enumerate().map(async |(n, session)| {
            tokio::time::sleep(Duration::from_millis(250 + 60 * n as u64)).await;
            session.insert("n", &n).unwrap();
            session.save().await
        });
        let results = join_all(saves).await;
        assert!(results[5].as_ref().is_err_and(Error::is_interrupted), "{kind:?}: {results:?}");
        assert!(Session::open(&kind.store, &key).await.unwrap().is_none(), "{kind:?}");
    }
}
