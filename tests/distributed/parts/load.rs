//! A short load of everything that visitors do.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::target::{Target, counter, create, increment, ok, open};

const VISITORS: usize = 64;
const DURATION: Duration = Duration::from_secs(4);

/// Each visitor comes, reads, writes, gets a new key, and logs out, again and again. Nothing fails.
pub(crate) async fn load(target: &Target) -> u64 {
    let stores = [target.store().await, target.store().await];
    let start = Instant::now();
    let visitors = (0..VISITORS).map(async |n| {
        let store = &stores[n % 2];
        let mut operations = 0;
        while start.elapsed() < DURATION {
            let key = create(store).await;
            for round in 0..3 {
                ok("save", increment(store, &key).await);
                assert_eq!(counter(store, &key).await, round + 1);
            }
            let session = open(store, &key).await.expect("a live session is found");
            session.cycle_key().unwrap();
            ok("change a key", session.save().await);
            let now = session.session_key().unwrap();
            assert_eq!(counter(store, &now).await, 3);
            assert!(ok("delete", store.delete(&now).await), "a delete says that there was no row");
            operations += 14;
        }
        operations
    });
    let operations = join_all(visitors).await.into_iter().sum();
    let admin = target.admin().await.unwrap();
    assert_eq!(admin.count().await, 0, "everybody has logged out");
    operations
}
