//! Requests that run by themselves: each is the only one of its key, and uses a connection for an attempt.
//!
//! A locked row has one task that tries again and again for the requests of its key. An attempt waits for
//! the lock for a moment only, so the few connections for this are shared by all locked rows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    batch::{Attempt, BatchOp, Shared},
    error::StatementError,
    queue::Single,
    sql::LONGER_LOCK_TIMEOUT,
};
use crate::{Error, SessionKey};

/// Why a request for a locked row fails.
pub(super) const LOCKED: &str = "another transaction keeps the row locked";

/// Between two attempts at a locked row.
const PAUSE: Duration = Duration::from_millis(10);

/// An attempt is made only if it surely ends before its caller leaves: then nothing is in doubt.
const MARGIN: Duration = Duration::from_millis(100);

/// Runs a request that a batch cannot do, and those of its key that come meanwhile.
pub(super) fn spawn<O: BatchOp>(shared: &Arc<Shared<O>>, single: Single<O>, maybe_applied: bool) {
    let attempt = Attempt { maybe_applied, wait_longer: false };
    tokio::spawn(serve(shared.clone(), single, attempt, false));
}

/// Waits for a row that is locked, or was locked a moment ago.
pub(super) fn spawn_waiter<O: BatchOp>(shared: &Arc<Shared<O>>, single: Single<O>, locked: bool) {
    tokio::spawn(serve(shared.clone(), single, Attempt::default(), locked));
}

async fn serve<O: BatchOp>(
    shared: Arc<Shared<O>>,
    mut single: Single<O>,
    mut attempt: Attempt,
    mut locked: bool,
) {
    let (key, mut was_locked) = (single.key().clone(), locked);
    let mut guard = KeyGuard { shared: &shared, key: &key, served: false };
    loop {
        locked = run(&shared, single, attempt, locked).await;
        was_locked |= locked;
        if was_locked {
            shared.keys.quarantine(&key);
        }
        match shared.keys.next(&key) {
            Some(next) => (single, attempt) = (next, Attempt::default()),
            None => {
                guard.served = true;
                return;
            }
        }
    }
}

/// Frees the key if its task ends before all its requests are served: the next request must not wait for it.
struct KeyGuard<'a, O: BatchOp> {
    shared: &'a Shared<O>,
    key: &'a SessionKey,
    served: bool,
}

impl<O: BatchOp> Drop for KeyGuard<'_, O> {
    fn drop(&mut self) {
        if !self.served {
            self.shared.keys.abandon(self.key);
        }
    }
}

/// Returns whether the row was locked to the end. `locked` says whether it was at the beginning.
async fn run<O: BatchOp>(
    shared: &Shared<O>,
    mut single: Single<O>,
    mut attempt: Attempt,
    mut locked: bool,
) -> bool {
    loop {
        let Ok(permit) = shared.solo.acquire().await else { return locked };
        if single.is_abandoned() {
            return locked;
        }
        let left = single.deadline().saturating_duration_since(Instant::now());
        if locked && left < MARGIN {
            single.reply(Err(Error::store(format!("cannot {}: {LOCKED}", O::ACTION))));
            return locked;
        }
        // The longer wait has a place in the server's queue, but keeps the connection from other rows.
        attempt.wait_longer =
            locked && left > LONGER_LOCK_TIMEOUT + MARGIN && shared.solo.available_permits() > 0;
        single.note(|ticket| ticket.sent());
        match shared.op.run_one(single.request(), attempt).await {
            Err(failed) if failed.locked => {
                single.note(|ticket| ticket.locked());
                attempt.maybe_applied |= failed.maybe_applied;
                locked = true;
            }
            Err(failed) => {
                let reply = failure::<O>(single.request(), failed);
                single.reply(reply);
                return false;
            }
            Ok(reply) => {
                single.reply(Ok(reply));
                return false;
            }
        }
        drop(permit);
        tokio::time::sleep(PAUSE).await;
    }
}

fn failure<O: BatchOp>(request: &O::Request, failed: StatementError) -> Result<O::Reply, Error> {
    match O::in_doubt(request) {
        Some(in_doubt) if failed.maybe_applied => Ok(in_doubt),
        _ => Err(failed.error),
    }
}
