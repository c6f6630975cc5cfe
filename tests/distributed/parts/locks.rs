//! A transaction of somebody else has locked a row.

use actix_django_session::SessionKey;
use actix_web::rt;
use futures_util::future::join_all;

use crate::target::{Target, counter, create, increment, ok};

const OTHERS: usize = 60;

/// Requests for other sessions are served as long as the lock lasts. The save of the locked session
/// has a definite result.
pub(crate) async fn a_locked_row(target: &Target) -> u64 {
    let store = target.store().await;
    let locked = create(&store).await;
    let others: Vec<SessionKey> = join_all((0..OTHERS).map(|_| create(&store))).await;
    let admin = target.admin().await.unwrap();
    let lock = format!("SELECT 1 FROM {{table}} WHERE session_key = '{}' FOR UPDATE", locked.as_str());
    for sql in ["BEGIN", &*lock] {
        admin.sql(sql).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let waiting = rt::spawn({
        let (store, locked) = (store.clone(), locked.clone());
        async move { increment(&store, &locked).await }
    });
    for _ in 0..3 {
        for saved in join_all(others.iter().map(|key| increment(&store, key))).await {
            ok("save another session than the locked one", saved);
        }
    }
    admin.sql("COMMIT").await.unwrap_or_else(|error| panic!("{error}"));
    let expected = match waiting.await.unwrap() {
        Ok(()) => 1,
        Err(error) => {
            assert!(error.is_store() && !error.is_in_doubt(), "the locked session: {}", error.with_causes());
            0
        }
    };
    assert_eq!(counter(&store, &locked).await, expected, "the locked session");
    ok("save the session when it is free", increment(&store, &locked).await);
    assert_eq!(counter(&store, &locked).await, expected + 1);
    for key in &others {
        assert_eq!(counter(&store, key).await, 3);
    }
    (OTHERS * 3) as u64
}
