//! Requests that run by themselves: each is the only one of its key, and uses a connection for an attempt.
//!
//! A locked row has one task that tries again and again for the requests of its key. An attempt waits for
//! the lock for a moment only, so the few connections for this are shared by all locked rows.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{
    batch::{Attempt, BatchOp, Shared},
    distributed::Place,
    error::StatementError,
    queue::{Single, Ticket},
    sql::LONGER_LOCK_TIMEOUT,
};
use crate::{Error, metrics::postgres as metrics};

/// Why a request for a locked row fails.
pub(super) const LOCKED: &str = "another transaction keeps the row locked";

/// Between two attempts at a locked row.
const PAUSE: Duration = Duration::from_millis(10);

/// A statement that takes longer gives its permit away, if it can.
const SLOW: Duration = Duration::from_millis(20);

/// An attempt is made only if it surely ends before its caller leaves: then nothing is in doubt.
const MARGIN: Duration = Duration::from_millis(100);

/// Runs a request that a batch cannot do, and those of its key that come meanwhile.
pub(super) fn spawn<O: BatchOp>(shared: &Arc<Shared<O>>, single: Single<O>, attempt: Attempt, locked: bool) {
    tokio::spawn(serve(shared.clone(), single, attempt, locked));
}

async fn serve<O: BatchOp>(
    shared: Arc<Shared<O>>,
    mut single: Single<O>,
    mut attempt: Attempt,
    mut locked: bool,
) {
    let _solo = metrics::solo(O::ACTION);
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
    key: &'a O::Key,
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
    let margin = MARGIN.min(shared.timeout / 4);
    if locked {
        metrics::locked(O::ACTION);
    }
    loop {
        let permits = match shared.engine.place() {
            _ if locked => &shared.permits.locked,
            Place::Distributed if O::READS => &shared.permits.reads,
            Place::Distributed => &shared.permits.writes,
            _ => &shared.permits.free,
        };
        let Ok(permit) = permits.acquire().await else { return locked };
        shared.keys.share(&mut single);
        single.note(Ticket::sent);
        if single.is_abandoned() {
            return locked;
        }
        let left = single.deadline().saturating_duration_since(Instant::now());
        if locked && left < margin {
            single.note(Ticket::locked);
            single.reply(Err(Error::store(format!("cannot {}: {LOCKED}", O::ACTION))));
            return locked;
        }
        // The longer wait has a place in the server's queue, but keeps the connection from other rows.
        attempt.wait_longer = locked
            && shared.permits.may_wait_longer
            && left > LONGER_LOCK_TIMEOUT + margin
            && permits.available_permits() > 0;
        let sent = shared.op.run_one(single.request(), attempt);
        let (result, permit) = match locked || shared.engine.place() != Place::Distributed {
            true => (sent.await, permit),
            false => with_permit(sent, permit, &shared.permits.slow).await,
        };
        match result {
            Err(failed) if failed.locked => {
                single.note(Ticket::locked);
                attempt.maybe_applied |= failed.maybe_applied;
                if !locked {
                    metrics::locked(O::ACTION);
                }
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

/// Gives the permit of a statement that takes long to others, while there are permits for slow ones: a server
/// or a row that is stuck holds up only its own requests.
async fn with_permit<'a, T>(
    sent: impl Future<Output = T>,
    permit: SemaphorePermit<'a>,
    slow: &'a Semaphore,
) -> (T, SemaphorePermit<'a>) {
    let mut sent = pin!(sent);
    match timeout(SLOW, sent.as_mut()).await {
        Ok(result) => (result, permit),
        Err(_) => {
            let permit = slow.try_acquire().unwrap_or(permit);
            (sent.await, permit)
        }
    }
}

fn failure<O: BatchOp>(request: &O::Request, failed: StatementError) -> Result<O::Reply, Error> {
    match O::in_doubt(request) {
        Some(in_doubt) if failed.maybe_applied => Ok(in_doubt),
        _ => Err(failed.error),
    }
}
