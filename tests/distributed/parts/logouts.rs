//! Logouts race with writers.

use futures_util::future::join_all;

use crate::target::{Target, create, ok, open};

const ROUNDS: usize = 12;
const WRITERS: usize = 8;

/// All have loaded the session when one of them logs out. A write before that is stored, a later one is
/// refused, and no row comes back.
pub(crate) async fn logouts(target: &Target) -> u64 {
    let stores = [target.store().await, target.store().await];
    for round in 0..ROUNDS {
        let key = create(&stores[0]).await;
        let sessions = join_all((0..WRITERS).map(|n| open(&stores[n % 2], &key))).await;
        let saves = sessions.iter().flatten().enumerate().map(async |(n, session)| {
            for _ in 0..(n + round) % 5 {
                tokio::task::yield_now().await; // now the one, now the other is ahead
            }
            match n {
                0 => session.flush().unwrap(),
                1 => session.cycle_key().unwrap(),
                _ => _ = session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).unwrap(),
            }
            let saved = session.save().await;
            (n, saved, session.session_key())
        });
        let mut renamed = None;
        for (n, saved, now) in join_all(saves).await {
            match saved {
                Ok(()) if n == 1 => renamed = now,
                Ok(()) => {}
                Err(error) if error.is_interrupted() && n > 0 => {}
                // A session whose key another request has changed meanwhile has nothing left to flush.
                Err(error) => panic!("writer {n}: {}", error.with_causes()),
            }
        }
        assert!(!ok("look", stores[1].exists(&key).await), "a session came back");
        if let Some(renamed) = renamed {
            ok("delete", stores[0].delete(&renamed).await);
        }
    }
    let admin = target.admin().await.unwrap();
    assert_eq!(admin.count().await, 0, "there are rows that nobody knows");
    (ROUNDS * (WRITERS + 1)) as u64
}
