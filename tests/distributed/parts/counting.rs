//! Writers of the same sessions, in two stores as in two processes.

use std::collections::BTreeSet;

use actix_django_session::SessionKey;
use futures_util::future::join_all;

use crate::target::{Target, counter, create, increment, ok, open};

const SESSIONS: usize = 8;
const WRITERS: usize = 4;
const ROUNDS: usize = 10;

/// Each store has several writers for each session. No increment is lost, none fails.
pub(crate) async fn counters(target: &Target) -> u64 {
    let stores = [target.store().await, target.store().await];
    let keys: Vec<SessionKey> = join_all((0..SESSIONS).map(|_| create(&stores[0]))).await;
    let writers = stores.iter().flat_map(|store| {
        keys.iter().flat_map(move |key| {
            (0..WRITERS).map(async move |_| {
                for _ in 0..ROUNDS {
                    ok("save", increment(store, key).await);
                }
            })
        })
    });
    join_all(writers).await;
    for key in &keys {
        let expected = stores.len() * WRITERS * ROUNDS;
        assert_eq!(counter(&stores[1], key).await, expected as u64, "a counter is wrong");
    }
    (SESSIONS + stores.len() * SESSIONS * WRITERS * ROUNDS) as u64
}

/// Each number of `update_and_save` is returned once.
pub(crate) async fn numbers(target: &Target) -> u64 {
    let stores = [target.store().await, target.store().await];
    let key = &create(&stores[0]).await;
    let writers = stores.iter().flat_map(|store| {
        (0..2 * WRITERS).map(async move |_| {
            let mut drawn = Vec::new();
            for _ in 0..ROUNDS {
                let session = open(store, key).await.expect("a live session is found");
                let number = session.update_and_save("n", |n: Option<u64>| n.unwrap_or(0) + 1).await;
                drawn.push(ok("draw a number", number));
            }
            drawn
        })
    });
    let drawn: Vec<u64> = join_all(writers).await.concat();
    let different: BTreeSet<u64> = drawn.iter().copied().collect();
    assert_eq!(different.len(), drawn.len(), "a number was returned twice");
    assert_eq!(different.last().copied(), Some(drawn.len() as u64), "a number was skipped");
    drawn.len() as u64
}
