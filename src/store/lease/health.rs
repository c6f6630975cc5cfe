//! Whether the cache can be used: not right after a failure, and not while it may hold outdated values.

use std::{
    collections::BTreeMap,
    mem,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use rand::RngExt as _;
use tokio::{runtime::Handle, time::Instant};

use super::swap::Leases;
use crate::{SessionKey, metrics};

/// How long a cache that failed is left alone.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Keys of outdated values, remembered while the cache is away.
const MAX_OUTDATED: usize = 10_000;

/// Values removed at the same time.
const BATCH: usize = 200;

/// Shared by all workers of the process.
#[derive(Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Default)]
struct State {
    paused_until: Option<Instant>,
    /// Sessions whose cached values may be outdated.
    outdated: BTreeMap<SessionKey, Outdated>,
    changes: u64,
    overflowed: bool,
    remover: Option<Remover>,
}

struct Outdated {
    /// The number of the last change.
    change: u64,
    _counted: metrics::GaugeGuard,
}

/// The task that removes outdated values. It belongs to the worker on which it was started.
#[derive(Clone, Copy)]
struct Remover {
    id: u64,
    /// After this, its worker has stopped, and another worker starts a new one.
    expected_until: Instant,
}

/// Makes room for another remover when the task ends, panics or is dropped with its runtime.
struct Removing {
    id: u64,
    health: Weak<Health>,
}

impl Drop for Removing {
    fn drop(&mut self) {
        let Some(health) = self.health.upgrade() else { return };
        let mut state = health.state();
        state.remover.take_if(|remover| remover.id == self.id);
    }
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        // A recorder of metrics is all of others that runs while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pause(&self) {
        self.state().paused_until = Some(Instant::now() + PAUSE);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.state().paused_until.is_some_and(|until| Instant::now() < until)
    }

    /// A value to be removed once the cache is back. Until then nothing is read from the cache.
    pub(super) fn remember(self: &Arc<Self>, key: &SessionKey, leases: &Leases) {
        {
            let mut state = self.state();
            state.changes += 1;
            let change = state.changes;
            if state.outdated.len() < MAX_OUTDATED || state.outdated.contains_key(key) {
                let outdated = Outdated { change, _counted: metrics::store::outdated() };
                state.outdated.insert(key.clone(), outdated);
            } else if !mem::replace(&mut state.overflowed, true) {
                tracing::error!(
                    "the cache has been away for long: outdated sessions may come out of it afterwards"
                );
            }
        }
        self.has_outdated(leases);
    }

    /// Whether outdated values are left. If so, a task is removing them: a new one, unless one is at work.
    pub(super) fn has_outdated(self: &Arc<Self>, leases: &Leases) -> bool {
        let id = {
            let (mut state, now) = (self.state(), Instant::now());
            if state.outdated.is_empty() {
                return false;
            }
            if state.remover.is_some_and(|remover| now < remover.expected_until) {
                return true;
            }
            let id = rand::rng().random();
            state.remover = Some(Remover { id, expected_until: now + round(leases) });
            id
        };
        // Not while the state is locked: a runtime that is stopping drops the task, and the guard, at once.
        let guard = Removing { id, health: Arc::downgrade(self) };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(remove_outdated(leases.clone(), guard));
        }
        true
    }
}

/// A generous bound for one round of the remover.
fn round(leases: &Leases) -> Duration {
    (PAUSE + leases.backend.save_timeout()).saturating_mul(2).min(super::MAX_LEASE)
}

/// Retries until nothing outdated is left, or the store is dropped.
///
/// A lease that expires by itself takes the place of each value: a change in doubt may be applied later.
async fn remove_outdated(leases: Leases, guard: Removing) {
    let first = |some: &mut dyn Iterator<Item = (&SessionKey, &Outdated)>| -> Vec<(SessionKey, u64)> {
        some.take(BATCH).map(|(key, outdated)| (key.clone(), outdated.change)).collect()
    };
    let mut after: Option<SessionKey> = None;
    loop {
        let some: Vec<(SessionKey, u64)> = {
            let Some(health) = guard.health.upgrade() else { return };
            let mut state = health.state();
            if state.outdated.is_empty() {
                (state.overflowed, state.paused_until) = (false, None);
                return;
            }
            match &mut state.remover {
                Some(remover) if remover.id == guard.id => {
                    remover.expected_until = Instant::now() + round(&leases);
                }
                _ => return, // this one was taken for dead
            }
            // A key that always fails keeps no other from its turn.
            let from = after.take().map_or(Bound::Unbounded, Bound::Excluded);
            let mut some = state.outdated.range((from, Bound::Unbounded)).peekable();
            match some.peek() {
                Some(_) => first(&mut some),
                None => first(&mut state.outdated.iter()),
            }
        };
        let invalidate = some.iter().map(|(key, _)| leases.join(key, rand::rng().random(), None));
        let timeout = leases.backend.save_timeout();
        let done = tokio::time::timeout(timeout, join_all(invalidate)).await.unwrap_or_default();
        let failed = done.len() < some.len() || done.iter().any(Result::is_err);
        {
            let Some(health) = guard.health.upgrade() else { return };
            let mut state = health.state();
            for ((key, change), _) in some.iter().zip(done).filter(|(_, done)| done.is_ok()) {
                // Unless the session was changed once more.
                if state.outdated.get(key).is_some_and(|outdated| outdated.change == *change) {
                    state.outdated.remove(key);
                }
            }
        }
        if failed {
            after = some.last().map(|(key, _)| key.clone());
            tokio::time::sleep(PAUSE).await;
        }
    }
}
