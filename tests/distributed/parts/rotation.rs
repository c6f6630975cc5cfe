//! Sessions get new keys while others write to them.

use std::cell::RefCell;

use actix_django_session::{SessionKey, Store};
use futures_util::future::{join, join_all};

use crate::target::{Target, counter, create, ok, open};

const SESSIONS: usize = 10;
const ROTATIONS: usize = 8;
const WRITERS: usize = 2;
const INCREMENTS: usize = 8;

/// Two stores change the key of each session at the same time, and one wins. Every confirmed increment is
/// under the last key, and there is no other row.
pub(crate) async fn keys(target: &Target) -> u64 {
    let stores = &[target.store().await, target.store().await];
    let first: Vec<SessionKey> = join_all((0..SESSIONS).map(|_| create(&stores[0]))).await;
    let current: Vec<RefCell<SessionKey>> = first.iter().cloned().map(RefCell::new).collect();
    let sessions = current.iter().map(async |current| {
        let rotations = stores.iter().map(async |store| rotate(store, current).await);
        let writers =
            stores.iter().flat_map(|store| (0..WRITERS).map(async move |_| write(store, current).await));
        join(join_all(rotations), join_all(writers)).await
    });
    join_all(sessions).await;
    for (first, last) in first.iter().zip(current.into_iter().map(RefCell::into_inner)) {
        assert!(open(&stores[0], first).await.is_none(), "the first key still works");
        let expected = stores.len() * WRITERS * INCREMENTS;
        assert_eq!(counter(&stores[1], &last).await, expected as u64, "an increment is lost");
    }
    let admin = target.admin().await.unwrap();
    assert_eq!(admin.count().await, SESSIONS as u64, "there are rows that nobody knows");
    (SESSIONS * stores.len() * (ROTATIONS + WRITERS * INCREMENTS)) as u64
}

async fn rotate(store: &Store, current: &RefCell<SessionKey>) {
    let mut done = 0;
    while done < ROTATIONS {
        let key = current.borrow().clone();
        let Some(session) = open(store, &key).await else { continue }; // the other store was faster
        session.cycle_key().unwrap();
        match session.save().await {
            Ok(()) => {
                *current.borrow_mut() = session.session_key().unwrap();
                done += 1;
            }
            Err(error) if error.is_interrupted() => {}
            Err(error) => panic!("change a key: {}", error.with_causes()),
        }
    }
}

async fn write(store: &Store, current: &RefCell<SessionKey>) {
    let mut done = 0;
    while done < INCREMENTS {
        let key = current.borrow().clone();
        let Some(session) = open(store, &key).await else { continue };
        ok("update", session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1));
        match session.save().await {
            Ok(()) => done += 1,
            Err(error) if error.is_interrupted() => {}
            Err(error) => panic!("save: {}", error.with_causes()),
        }
    }
}
