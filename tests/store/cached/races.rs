//! Reads and writes that reach the cache late, or in another order than the database.

use actix_django_session::{Session, SessionKey};

use super::{Site, n, name, open, stored, table};

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_late_fill_does_not_bring_back_what_was_logged_out() {
    let site = Site::start().await;
    for django in [false, true] {
        let key = site.uncached_session().await;
        let (store, asked) = (site.gated.clone(), key.clone());
        let loaded =
            site.in_between(
                "get",
                async move { Session::open(&store, &asked).await },
                async || match django {
                    true => site.django_logs_out(&key),
                    false => assert!(site.other.delete(&key).await.unwrap()),
                },
            );
        assert!(loaded.await.unwrap().is_some(), "it was there when it was looked at");
        assert!(!site.is_in_cache(&key), "logged out by {}", if django { "Django" } else { "us" });
        assert!(Session::open(&site.other, &key).await.unwrap().is_none());
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_late_fill_does_not_hide_a_newer_value() {
    let site = Site::start().await;
    let key = site.uncached_session().await;
    let (store, asked) = (site.gated.clone(), key.clone());
    let loaded = site.in_between("get", async move { Session::open(&store, &asked).await }, async || {
        let session = open(&site.other, &key).await;
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
        let session = open(&site.gated, &key).await;
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
        assert!(Session::open(&site.other, &key).await.unwrap().is_none());
    }
}

/// Two saves, of which the first to reach the table is the last to reach the cache.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn the_cache_does_not_keep_the_older_of_two_saves() {
    let site = Site::start().await;
    let key = site.session().await;
    let session = open(&site.gated, &key).await;
    session.insert("first", &1).unwrap();
    let saving = session.clone();
    let saved = site.in_between("update", async move { saving.save().await }, async || {
        let second = open(&site.other, &key).await;
        second.insert("n", &2).unwrap();
        second.save().await.unwrap();
    });
    saved.await.unwrap();
    let now = open(&site.other, &key).await;
    assert_eq!((now.get("first").unwrap(), now.get("n").unwrap()), (Some(1), Some(2)));
}

/// A save still compares with the row if the session was read from the cache.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_save_is_merged_with_a_row_that_the_cache_did_not_show() {
    let site = Site::start().await;
    let key = site.session().await;
    let behind_the_cache = stored(table(&site.database).await);
    let session = open(&behind_the_cache, &key).await;
    session.insert("n", &10).unwrap();
    session.insert("theirs", &1).unwrap();
    session.save().await.unwrap();
    assert_eq!(n(&site.other, &key).await, Some(1), "the cache knows nothing of it");

    let session = open(&site.other, &key).await;
    session.update("n", |n: Option<i64>| n.unwrap() + 1).unwrap();
    session.save().await.unwrap();
    let now = open(&site.other, &key).await;
    assert_eq!((now.get("n").unwrap(), now.get("theirs").unwrap()), (Some(11), Some(1)));

    // If the row is gone, the session is gone.
    behind_the_cache.delete(&key).await.unwrap();
    let session = open(&site.other, &key).await;
    session.insert("n", &2).unwrap();
    assert!(session.save().await.unwrap_err().is_interrupted());
    assert!(Session::open(&site.other, &key).await.unwrap().is_none());
}

/// Somebody else fills the cache while a save is under way: what he filled is older than the row afterwards.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_value_cached_during_a_save_does_not_stay() {
    let site = Site::start().await;
    let key = site.session().await;
    let session = open(&site.gated, &key).await;
    session.insert("n", &2).unwrap();
    // It stops after its look at the row, before it writes; the other saves what was there already.
    let saving = session.clone();
    let saved = site.in_between("get", async move { saving.save().await }, async || {
        let second = open(&site.other, &key).await;
        second.set_modified().unwrap();
        second.save().await.unwrap();
    });
    saved.await.unwrap();
    assert_eq!(n(&site.other, &key).await, Some(2));
}

/// A request for the end of a session is dropped half-way, and a reader comes in between.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_dropped_logout_leaves_nothing_in_the_cache() {
    let site = Site::start().await;
    let key = site.session().await;
    site.gate.close("delete");
    let (store, ended) = (site.gated.clone(), key.clone());
    let logout = actix_web::rt::spawn(async move { store.delete(&ended).await });
    site.gate.reached().await;
    logout.abort();
    assert_eq!(site.rows(), "0");
    assert!(!site.is_in_cache(&key));
    assert!(Session::open(&site.other, &key).await.unwrap().is_none());
}
