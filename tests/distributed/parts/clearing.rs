//! Expired sessions are deleted, in bounded steps, by two at once.

use std::time::{Duration, SystemTime};

use actix_django_session::{
    SessionKey,
    backend::{Backend as _, Insert, Inserted, Postgres},
};
use futures_util::future::join_all;

use crate::target::{Target, create, ok, open};

const EXPIRED: u64 = 1500;
const LIVE: usize = 30;
const LIMIT: u32 = 200;

/// A step deletes at most its limit. Together they delete each expired session once, and no live one.
pub(crate) async fn clearing(target: &Target) -> u64 {
    let (backend, store) = (target.backend().await, target.store().await);
    let live: Vec<SessionKey> = join_all((0..LIVE).map(|_| create(&store))).await;
    // Also several of the same instant, as if one request had made them.
    let expired = (0..EXPIRED).map(|n| SystemTime::now() - Duration::from_secs(60 + n / 3 * 40));
    join_all(expired.map(|expires| insert(&backend, expires))).await;
    let sweepers = [target.backend().await, target.backend().await];
    let cleared = join_all(sweepers.iter().map(async |sweeper| {
        let mut cleared = 0;
        loop {
            let step = ok("clear", sweeper.clear_expired(LIMIT).await);
            assert!(step <= u64::from(LIMIT), "a step of {LIMIT} has deleted {step}");
            cleared += step;
            if step < u64::from(LIMIT) {
                return cleared;
            }
        }
    }))
    .await;
    // Two who meet may leave the last rows to the next run.
    let rest = ok("clear", store.clear_expired().await);
    assert_eq!(cleared.iter().sum::<u64>() + rest, EXPIRED, "{cleared:?} and {rest} were cleared");
    assert_eq!(ok("clear", store.clear_expired().await), 0);
    for key in &live {
        assert!(open(&store, key).await.is_some(), "a live session was cleared");
    }
    let admin = target.admin().await.unwrap();
    assert_eq!(admin.count().await, LIVE as u64);
    EXPIRED
}

async fn insert(backend: &Postgres, expires: SystemTime) {
    let inserted = backend.insert(Insert::new(&SessionKey::generate(), "e30:", expires)).await;
    assert_eq!(ok("insert", inserted), Inserted::Done);
}
