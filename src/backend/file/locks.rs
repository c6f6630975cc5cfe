//! Which callers of this process wait for the lock of a session's file: one at a time tries to get it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use crate::SessionKey;

/// How many may wait for one file: more would leave no place for those who need another.
const MAX_WAITERS: usize = 500;

type Queue = Arc<tokio::sync::Mutex<()>>;

/// The files that callers want to lock, each with its queue.
#[derive(Debug, Default)]
pub(super) struct LockQueues(Mutex<HashMap<SessionKey, Queue>>);

/// A caller in the queue of one file.
#[derive(Debug)]
pub(super) struct Waiter<'a> {
    queues: &'a LockQueues,
    key: SessionKey,
    queue: Option<Queue>,
}

impl LockQueues {
    /// Enters the queue of this session's file, until the waiter is dropped. `None` if too many wait.
    pub(super) fn enter(&self, key: &SessionKey) -> Option<Waiter<'_>> {
        let queue = self.all(|all| all.entry(key.clone()).or_default().clone());
        let waiters = Arc::strong_count(&queue) - 1; // the map has one
        let waiter = Waiter { queues: self, key: key.clone(), queue: Some(queue) };
        (waiters <= MAX_WAITERS).then_some(waiter)
    }

    fn all<T>(&self, work: impl FnOnce(&mut HashMap<SessionKey, Queue>) -> T) -> T {
        // Nothing that can panic runs while it is locked.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Waiter<'_> {
    /// Waits until it is the first of the queue. Drop the guard before the waiter.
    pub(super) async fn turn(&self) -> Option<OwnedMutexGuard<()>> {
        Some(self.queue.clone()?.lock_owned().await)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.queues.all(|all| {
            drop(self.queue.take());
            if all.get(&self.key).is_some_and(|queue| Arc::strong_count(queue) == 1) {
                all.remove(&self.key);
            }
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_queue_lasts_as_long_as_its_waiters() {
        let (queues, key) = (LockQueues::default(), SessionKey::generate());
        let enter = || queues.enter(&key).unwrap();
        let (first, second, left) = (enter(), enter(), enter());
        let turn = first.turn().await;
        assert!(tokio::time::timeout(Duration::from_millis(10), left.turn()).await.is_err());
        drop(left);
        assert!(tokio::time::timeout(Duration::from_millis(10), second.turn()).await.is_err());
        drop((turn, first));
        let turn = second.turn().await;
        assert_eq!(queues.all(|all| all.len()), 1);
        drop((turn, second));
        assert_eq!(queues.all(|all| all.len()), 0);
    }

    #[test]
    fn one_file_does_not_take_all_places() {
        let (queues, key) = (LockQueues::default(), SessionKey::generate());
        let all: Vec<_> = (0..MAX_WAITERS).map(|_| queues.enter(&key).unwrap()).collect();
        assert!(queues.enter(&key).is_none() && queues.enter(&SessionKey::generate()).is_some());
        drop(all);
        assert_eq!(queues.all(|all| all.len()), 0);
    }
}
