//! Many requests at once, about different sessions.

use actix_django_session::{Session, SessionKey};
use futures_util::future::join_all;

use crate::target::{Target, counter, create, increment, ok, open};

const MANY: usize = 300;

/// Creates, loads, saves and deletes, first each kind by itself, then all kinds together.
pub(crate) async fn batches(target: &Target) -> u64 {
    let stores = [target.store().await, target.store().await];
    let of = |n: usize| &stores[n % 2];
    let keys: Vec<SessionKey> = join_all((0..MANY).map(|n| create(of(n)))).await;
    for found in join_all(keys.iter().enumerate().map(|(n, key)| open(of(n + 1), key))).await {
        assert!(found.is_some(), "a session that was created is missing");
    }
    for saved in join_all(keys.iter().enumerate().map(|(n, key)| increment(of(n), key))).await {
        ok("save", saved);
    }
    let all = keys.iter().enumerate().map(async |(n, key)| match n % 4 {
        0 => ok("save", increment(of(n / 4), key).await),
        1 => assert!(ok("delete", of(n / 4).delete(key).await), "a delete says that there was no row"),
        2 => assert_eq!(counter(of(n / 4), key).await, 1),
        _ => _ = create(of(n / 4)).await,
    });
    join_all(all).await;
    for (n, key) in keys.iter().enumerate() {
        match open(of(n), key).await {
            None => assert_eq!(n % 4, 1, "a session is missing"),
            Some(session) => {
                let expected = if n % 4 == 0 { 2 } else { 1 };
                assert_eq!(session.get::<u64>("n").unwrap(), Some(expected), "a save is missing");
            }
        }
    }
    let admin = target.admin().await.unwrap();
    assert_eq!(admin.count().await, MANY as u64, "as many were deleted as were created");
    large(target).await;
    (5 * MANY) as u64
}

/// Sessions of a megabyte among small ones.
async fn large(target: &Target) {
    let store = target.store().await;
    let text = |n: usize| format!("{n:07}").repeat(150_000);
    let created = (0..4).map(async |n| {
        let session = Session::new(&store);
        session.insert("text", &text(n)).unwrap();
        ok("create a large session", session.save().await);
        session.session_key().unwrap()
    });
    let (keys, _) = tokio::join!(join_all(created), join_all((0..20).map(|_| create(&store))));
    for (n, key) in keys.iter().enumerate() {
        let session = open(&store, key).await.expect("a large session is found");
        assert!(session.get::<String>("text").unwrap() == Some(text(n)), "a large session is changed");
    }
}
