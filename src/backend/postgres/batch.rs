//! Requests that arrive while a statement is in flight are batched into the next one.
//!
//! A batcher has one batch in flight. A request that arrives meanwhile joins the next batch; one that finds
//! the batcher idle is sent at once. There is no timer. A batch has one request of a key, and none whose row
//! is known to be locked: see [`solo`](super::solo).

use std::{
    collections::VecDeque,
    future::Future,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    distributed::{Engine, Place},
    error::StatementError,
    pool::{Connections, Permits},
    queue::{Admitted, Keys, Load, Queued, Single, Ticket},
    solo,
};
use crate::{Error, backend::Action, metrics::postgres as metrics};

/// The most requests in a batch.
const BATCH_ROWS: usize = 128;

/// The most bytes in a batch. A single request may have more.
const BATCH_BYTES: usize = 1 << 20;

/// An operation that can be done for one request, or for many in one statement.
pub(super) trait BatchOp: Send + Sync + Sized + 'static {
    /// A verb phrase for error texts: "cannot …".
    const ACTION: Action;

    /// Whether requests of one key are equal, so that those that wait share one statement.
    const SHARED: bool = false;

    /// Whether its requests change nothing.
    const READS: bool = false;

    /// What requests are about: of one key there is one request in flight.
    type Key: Clone + Eq + Hash + Send + Sync;
    type Request: Send + Sync + 'static;
    type Reply: Send + 'static;

    fn key(_: &Self::Request) -> &Self::Key;

    fn bytes(_: &Self::Request) -> usize {
        0
    }

    /// The reply of an equal request that shared the statement.
    fn share(_: &Self::Reply) -> Self::Reply;

    /// The reply if the request may have been applied; `None` if it can be repeated.
    fn in_doubt(_: &Self::Request) -> Option<Self::Reply> {
        None
    }

    fn run_one(
        &self,
        request: &Self::Request,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Self::Reply, StatementError>> + Send;

    /// Returns what became of each request, in their order. With `skip_locked` no locked row delays the
    /// others.
    fn run_batch(
        &self,
        requests: &[&Self::Request],
        skip_locked: bool,
    ) -> impl Future<Output = Result<Vec<Outcome<Self::Reply>>, StatementError>> + Send;
}

/// The outcome of a request in a batch.
pub(super) enum Outcome<R> {
    Done(R),
    Failed(Error),
    /// Nothing was done: the row is locked.
    Locked,
    /// Nothing was done: the request must run alone.
    Alone,
}

/// The circumstances of a request that runs by itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Attempt {
    /// It was part of a batch that may have been applied.
    pub(super) maybe_applied: bool,
    /// It may wait for a locked row for the longer of two times.
    pub(super) wait_longer: bool,
}

/// State that the tasks of a batcher share.
pub(super) struct Shared<O: BatchOp> {
    pub(super) op: O,
    pub(super) keys: Keys<O>,
    pub(super) permits: Permits,
    pub(super) timeout: Duration,
    /// Where the table is: only one server takes batches.
    pub(super) engine: Arc<Engine>,
    metrics: metrics::BatchMetrics,
}

/// The queue of one operation, on the runtime that started it.
pub(super) struct Batcher<O: BatchOp> {
    queue: mpsc::UnboundedSender<Queued<O>>,
    load: Arc<Load>,
    timeout: Duration,
}

impl<O: BatchOp> Batcher<O> {
    pub(super) fn start(op: O, connections: &Connections) -> Self {
        let (queue, receiver) = mpsc::unbounded_channel();
        let timeout = connections.timeout;
        let shared = Shared {
            op,
            keys: Keys::default(),
            permits: connections.permits.clone(),
            timeout,
            engine: connections.engine.clone(),
            metrics: metrics::BatchMetrics::new(),
        };
        tokio::spawn(drive(Arc::new(shared), receiver));
        Self { queue, load: Arc::new(Load::new(O::ACTION)), timeout }
    }

    /// Whether its runtime still exists.
    pub(super) fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Waits for the reply within the timeout. A request that is cancelled before its turn is never sent.
    pub(super) async fn submit(&self, request: O::Request) -> Result<O::Reply, Error> {
        let error = |why: &str| Err(Error::store(format!("cannot {}: {why}", O::ACTION)));
        let Some(ticket) = self.load.admit(O::bytes(&request)) else {
            metrics::refused(O::ACTION);
            return error("too many requests wait for the database already");
        };
        let (in_doubt, deadline) = (O::in_doubt(&request), Instant::now() + self.timeout);
        let (reply, mut replied) = oneshot::channel();
        let queued = Queued { request, reply, ticket: ticket.clone(), deadline };
        if self.queue.send(queued).is_err() {
            return error("the runtime that runs it has stopped");
        }
        let timed_out = match timeout(self.timeout, &mut replied).await {
            Ok(Ok(reply)) => return reply,
            Ok(Err(_)) => false,
            Err(_) => {
                // After this the request is not sent, unless it was before.
                replied.close();
                if let Ok(reply) = replied.try_recv() {
                    return reply;
                }
                true
            }
        };
        match (in_doubt, timed_out) {
            (Some(in_doubt), _) if ticket.is_sent() => Ok(in_doubt),
            (_, false) => error("the runtime that runs it has stopped"),
            _ if ticket.is_locked() => error(solo::LOCKED),
            _ => error(&format!("the database did not answer within {:?}", self.timeout)),
        }
    }
}

async fn drive<O: BatchOp>(shared: Arc<Shared<O>>, mut receiver: mpsc::UnboundedReceiver<Queued<O>>) {
    let mut ready: VecDeque<Single<O>> = VecDeque::new();
    let mut arrived: Vec<Queued<O>> = Vec::new();
    loop {
        if ready.is_empty() && receiver.recv_many(&mut arrived, BATCH_ROWS).await == 0 {
            return; // the batcher was dropped
        }
        while let Ok(queued) = receiver.try_recv() {
            arrived.push(queued);
        }
        for queued in arrived.drain(..) {
            match shared.keys.admit(queued) {
                Admitted::Ready(single) => ready.push_back(single),
                Admitted::Quarantined(single) => {
                    solo::spawn(&shared, single, Attempt::default(), false);
                }
                Admitted::Behind => {}
                Admitted::Refused(queued) => {
                    metrics::refused(O::ACTION);
                    let text = format!("cannot {}: too many requests wait for this session", O::ACTION);
                    let _ = queued.reply.send(Err(Error::store(text)));
                }
            }
        }
        let most = match shared.engine.place() {
            Place::OneServer => BATCH_ROWS,
            // Its connection tells.
            Place::Unknown => 1,
            Place::Distributed => {
                for single in ready.drain(..) {
                    solo::spawn(&shared, single, Attempt::default(), false);
                }
                continue;
            }
        };
        let batch = take_batch(&shared, &mut ready, most);
        if !batch.is_empty() {
            run(&shared, batch, &mut ready).await;
        }
    }
}

/// Takes the requests that fit into one batch, in the order of their arrival.
fn take_batch<O: BatchOp>(
    shared: &Shared<O>,
    ready: &mut VecDeque<Single<O>>,
    most: usize,
) -> Vec<Single<O>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(mut single) = ready.pop_front() {
        let size = O::bytes(single.request());
        if batch.len() == most || (bytes + size > BATCH_BYTES && !batch.is_empty()) {
            ready.push_front(single);
            break;
        }
        shared.keys.share(&mut single);
        single.note(Ticket::sent);
        if single.is_abandoned() {
            ready.extend(shared.keys.next(single.key()));
            continue;
        }
        bytes += size;
        batch.push(single);
    }
    batch
}

/// Runs a batch, and replies to every request in it that need not run by itself.
async fn run<O: BatchOp>(shared: &Arc<Shared<O>>, batch: Vec<Single<O>>, ready: &mut VecDeque<Single<O>>) {
    let requests: Vec<&O::Request> = batch.iter().map(Single::request).collect();
    let watch = metrics::BatchWatch::start(
        &shared.metrics,
        O::ACTION,
        shared.timeout,
        batch.iter().flat_map(Single::deadlines),
    );
    let mut maybe_applied = false;
    let result = match requests[..] {
        [request] => {
            shared.op.run_one(request, Attempt::default()).await.map(|reply| vec![Outcome::Done(reply)])
        }
        _ => match shared.op.run_batch(&requests, false).await {
            Err(failed) if failed.locked => {
                maybe_applied = failed.maybe_applied;
                shared.op.run_batch(&requests, true).await
            }
            result => result,
        },
    };
    watch.end(result.as_ref().map(drop).map_err(|failed| failed.locked));
    let outcomes = result.unwrap_or_else(|failed| {
        maybe_applied |= failed.maybe_applied;
        failed_outcomes::<O>(&requests, &failed)
    });
    for (single, outcome) in batch.into_iter().zip(outcomes) {
        match outcome {
            Outcome::Done(reply) => {
                ready.extend(shared.keys.next(single.key()));
                single.reply(Ok(reply));
            }
            Outcome::Failed(error) => {
                ready.extend(shared.keys.next(single.key()));
                single.reply(Err(error));
            }
            Outcome::Locked => {
                single.note(Ticket::locked);
                solo::spawn(shared, single, Attempt { maybe_applied, ..Attempt::default() }, true);
            }
            Outcome::Alone => {
                if !maybe_applied {
                    single.note(Ticket::undone);
                }
                solo::spawn(shared, single, Attempt { maybe_applied, ..Attempt::default() }, false);
            }
        }
    }
}

/// The outcomes of the requests of a batch that failed as a whole.
fn failed_outcomes<O: BatchOp>(requests: &[&O::Request], failed: &StatementError) -> Vec<Outcome<O::Reply>> {
    // A batch with a request that must not be repeated was not sent again: the others of it may be.
    let sent_once = requests.iter().any(|request| O::in_doubt(request).is_some());
    let outcome = |request: &&O::Request| match failed {
        _ if failed.locked => Outcome::Locked,
        _ if failed.row_specific && requests.len() > 1 => Outcome::Alone,
        _ if failed.maybe_applied && sent_once => O::in_doubt(request).map_or(Outcome::Alone, Outcome::Done),
        _ => Outcome::Failed(failed.error.clone()),
    };
    requests.iter().map(outcome).collect()
}
