//! Requests that arrive while a statement is in flight are batched into the next one.
//!
//! A batcher has one batch in flight. A request that arrives meanwhile joins the next batch; one that finds
//! the batcher idle is sent at once. There is no timer. A request that is blocked by a row lock runs alone,
//! beside the batches.

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::error::StatementError;
use crate::{Error, SessionKey};

/// The most requests in a batch.
const BATCH_ROWS: usize = 128;

/// The most bytes in a batch. A single request may have more.
const BATCH_BYTES: usize = 1 << 20;

/// Queue bound; further requests fail fast.
const QUEUE: usize = 16 * 1024;

/// An operation that can be done for one request, or for many in one statement.
pub(super) trait BatchOp: Send + Sync + 'static {
    /// A verb phrase for error texts: "cannot …".
    const ACTION: &'static str;

    type Request: Send + Sync + 'static;
    type Reply: Send + 'static;

    /// The key that a batch may contain only once; `None` if it may repeat.
    fn unique_key(_: &Self::Request) -> Option<&SessionKey> {
        None
    }

    fn bytes(_: &Self::Request) -> usize {
        0
    }

    fn run_one(
        &self,
        request: &Self::Request,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Self::Reply, StatementError>> + Send;

    /// Returns a reply for each request, in their order; `None` for a request that must run alone.
    fn run_batch(
        &self,
        requests: &[&Self::Request],
    ) -> impl Future<Output = Result<Vec<Option<Self::Reply>>, StatementError>> + Send;
}

/// The circumstances of a request that runs alone.
#[derive(Clone, Copy, Default)]
pub(super) struct Attempt {
    /// It was part of a batch that may have been applied.
    pub(super) maybe_applied: bool,
    /// It may wait for a locked row as long as the timeout allows.
    pub(super) wait_for_lock: bool,
}

struct Queued<O: BatchOp> {
    request: O::Request,
    reply: oneshot::Sender<Result<O::Reply, Error>>,
}

/// The queue of one operation, on the runtime that started it.
pub(super) struct Batcher<O: BatchOp> {
    queue: mpsc::Sender<Queued<O>>,
    timeout: Duration,
}

impl<O: BatchOp> Batcher<O> {
    /// At most as many requests run alone at once as `solo` has permits.
    pub(super) fn start(op: O, timeout: Duration, solo: &Arc<Semaphore>) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(drive(Arc::new(op), solo.clone(), receiver));
        Self { queue, timeout }
    }

    /// Whether its runtime still exists.
    pub(super) fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Waits for the reply within the timeout. A request that is cancelled before its turn is never sent.
    pub(super) async fn submit(&self, request: O::Request) -> Result<O::Reply, Error> {
        let error = |why: &str| Error::store(format!("cannot {}: {why}", O::ACTION));
        let (reply, replied) = oneshot::channel();
        if self.queue.try_send(Queued { request, reply }).is_err() {
            return Err(error("too many requests wait for the database already"));
        }
        match timeout(self.timeout, replied).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Err(error("the runtime that runs it has stopped")),
            Err(_) => Err(error(&format!("the database did not answer within {:?}", self.timeout))),
        }
    }
}

async fn drive<O: BatchOp>(op: Arc<O>, solo: Arc<Semaphore>, mut receiver: mpsc::Receiver<Queued<O>>) {
    let mut waiting: VecDeque<Queued<O>> = VecDeque::new();
    let mut arrived: Vec<Queued<O>> = Vec::new();
    loop {
        if waiting.is_empty() && receiver.recv_many(&mut arrived, BATCH_ROWS).await == 0 {
            return; // the batcher was dropped
        }
        while arrived.len() + waiting.len() < 2 * BATCH_ROWS
            && let Ok(queued) = receiver.try_recv()
        {
            arrived.push(queued);
        }
        waiting.extend(arrived.drain(..));
        let batch = take_batch(&mut waiting);
        if !batch.is_empty() {
            run(&op, &solo, batch).await;
        }
    }
}

/// Runs a batch, and replies to every request in it that need not run alone.
async fn run<O: BatchOp>(op: &Arc<O>, solo: &Arc<Semaphore>, batch: Vec<Queued<O>>) {
    let requests: Vec<&O::Request> = batch.iter().map(|queued| &queued.request).collect();
    let result = match requests[..] {
        [request] => op.run_one(request, Attempt::default()).await.map(|reply| vec![Some(reply)]),
        _ => op.run_batch(&requests).await,
    };
    let (replies, maybe_applied) = match result {
        Ok(replies) => (replies, false),
        Err(failed) if failed.locked || (failed.row_specific && batch.len() > 1) => {
            (batch.iter().map(|_| None).collect(), failed.maybe_applied)
        }
        Err(StatementError { error, .. }) => {
            for queued in batch {
                let _ = queued.reply.send(Err(error.clone()));
            }
            return;
        }
    };
    for (queued, reply) in batch.into_iter().zip(replies) {
        match reply {
            Some(reply) => drop(queued.reply.send(Ok(reply))), // the caller may have gone
            None => drop(tokio::spawn(run_solo(op.clone(), solo.clone(), queued, maybe_applied))),
        }
    }
}

/// Runs one request by itself: it may wait for a lock, and the next batch must not.
async fn run_solo<O: BatchOp>(
    op: Arc<O>,
    solo: Arc<Semaphore>,
    Queued { request, reply }: Queued<O>,
    maybe_applied: bool,
) {
    let Ok(_permit) = solo.acquire().await else { return };
    if !reply.is_closed() {
        let result = op.run_one(&request, Attempt { maybe_applied, wait_for_lock: true }).await;
        let _ = reply.send(result.map_err(Error::from));
    }
}

/// Takes the requests that fit into one batch, in the order of their arrival.
fn take_batch<O: BatchOp>(waiting: &mut VecDeque<Queued<O>>) -> Vec<Queued<O>> {
    let (mut batch, mut left) = (Vec::new(), VecDeque::new());
    let (mut keys, mut bytes) = (HashSet::new(), 0);
    while let Some(queued) = waiting.pop_front() {
        if queued.reply.is_closed() {
            continue;
        }
        let size = O::bytes(&queued.request);
        if batch.len() == BATCH_ROWS || (bytes + size > BATCH_BYTES && !batch.is_empty()) {
            waiting.push_front(queued);
            break;
        }
        if O::unique_key(&queued.request).is_some_and(|key| !keys.insert(key.clone())) {
            left.push_back(queued);
            continue;
        }
        bytes += size;
        batch.push(queued);
    }
    left.append(waiting);
    *waiting = left;
    batch
}
