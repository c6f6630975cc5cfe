//! One after the other: the writers of this process that were in each other's way at one session.
//!
//! Only for fairness: what is stored is right without it. But of many who compare and set at once, each time one
//! gets through and the others have worked for nothing, and one of them may never be the one.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex as Lock, PoisonError, Weak},
};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{SessionKey, codec::SessionData, store::Seen};

/// What the one before stored, for the one whose turn it is: he need not look.
pub(super) type Latest = Option<(Seen, SessionData)>;

pub(super) type Turn = OwnedMutexGuard<Latest>;

/// The queues that somebody stands in. Keys are random, so sessions of different stores do not meet here; and if
/// they did, the comparison would find out.
static QUEUES: LazyLock<Lock<HashMap<SessionKey, Weak<Mutex<Latest>>>>> = LazyLock::new(Lock::default);

/// Waits for one's turn where others stand in line already; otherwise goes ahead.
pub(super) async fn behind_others(key: &SessionKey) -> Option<Turn> {
    let queue = QUEUES.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.upgrade()?;
    Some(queue.lock_owned().await)
}

/// Stands in line, and waits for one's turn. It ends with the guard.
pub(super) async fn in_line(key: &SessionKey) -> Turn {
    let queue = {
        let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.get(key).and_then(Weak::upgrade) {
            Some(queue) => queue,
            None => {
                queues.retain(|_, queue| queue.strong_count() > 0);
                let queue = Arc::new(Mutex::new(None));
                queues.insert(key.clone(), Arc::downgrade(&queue));
                queue
            }
        }
    };
    queue.lock_owned().await
}
