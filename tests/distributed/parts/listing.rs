//! All sessions are listed, page by page.

use std::collections::BTreeSet;

use actix_django_session::{Session, SessionKey, Store};
use futures_util::future::join_all;

use crate::target::{Target, create, ok};

const SESSIONS: usize = 1100;
const OF_THE_USER: usize = 20;

/// Each session once, also where keys are spread over many tables.
pub(crate) async fn listing(target: &Target) -> u64 {
    let store = target.store().await;
    let keys: BTreeSet<SessionKey> =
        join_all((0..SESSIONS).map(|_| create(&store))).await.into_iter().collect();
    let (mut sessions, mut listed) = (store.sessions(), Vec::new());
    while let Some(entry) = ok("list", sessions.next().await) {
        assert!(entry.data.is_ok_and(|data| data.get_json("n") == Some("0")), "a session is changed");
        listed.push(entry.key);
    }
    assert_eq!(listed.len(), SESSIONS, "a session is missing, or was listed twice");
    assert!(listed.into_iter().collect::<BTreeSet<_>>() == keys, "other sessions were listed");
    (2 * SESSIONS) as u64
}

/// A user is logged out everywhere, and nobody else.
pub(crate) async fn of_a_user(target: &Target) -> u64 {
    let store = target.store().await;
    let mine = join_all((0..OF_THE_USER).map(|_| login(&store, "7"))).await;
    let others = join_all((0..OF_THE_USER).map(|_| login(&store, "77"))).await;
    let ended = ok("end the sessions of a user", store.end_sessions_of_user("7", Some(&mine[0])).await);
    assert_eq!(ended, OF_THE_USER as u64 - 1);
    for (n, key) in mine.iter().enumerate() {
        assert_eq!(ok("look", store.exists(key).await), n == 0);
    }
    for key in &others {
        assert!(ok("look", store.exists(key).await), "another user was logged out");
    }
    (3 * OF_THE_USER) as u64
}

async fn login(store: &Store, user: &str) -> SessionKey {
    let session = Session::new(store);
    session.insert("_auth_user_id", user).unwrap();
    ok("create a session", session.save().await);
    session.session_key().unwrap()
}
