//! Concurrent writers of one session: one statement saves the changes of all that wait, in the order in which
//! they came.
//!
//! Saves are correct without it, since each compares before it sets. But of many concurrent ones only one
//! would succeed at a time, and the others would have worked for nothing.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use futures_util::future::{Either, select};
use tokio::{
    runtime::{Handle, Id},
    sync::oneshot,
};

use super::{
    expiry,
    journal::{self, Change},
    state::Stored,
};
use crate::{
    Error, SessionKey, Store,
    codec::SessionData,
    settings::ExpiryPolicy,
    store::record::{Loaded, Saved, Update, Version},
};

/// The stored state under a key, as far as it is known.
type Latest = Option<(Version, SessionData)>;

/// How a writer's changes were saved.
pub(super) enum Coalesced {
    Saved(Stored, SessionData),
    /// Not at all: what is stored cannot be read.
    Unreadable(Error),
}

enum Waiting {
    Writer(Writer),
    /// Wants nobody else to write until the guard is dropped.
    Exclusive(oneshot::Sender<ExclusiveGuard>),
}

struct Writer {
    changes: Arc<Vec<Change>>,
    policy: ExpiryPolicy,
    reply: oneshot::Sender<Result<Coalesced, Error>>,
}

/// While it exists, no other writer of the queue writes.
pub(super) struct ExclusiveGuard {
    _released_by_drop: oneshot::Sender<()>,
}

/// Sessions with concurrent writers, each with those that wait.
static QUEUES: LazyLock<Mutex<Queues>> = LazyLock::new(Mutex::default);

type Queues = HashMap<QueueId, Vec<Waiting>>;

/// The number of queues: mostly none, and then nobody has to lock them.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The runtime, since no request may depend on another worker's, and the store by its identity, since two
/// stores may have sessions under one key.
type QueueId = (Option<Id>, usize, SessionKey);

fn queues() -> MutexGuard<'static, Queues> {
    QUEUES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writers of one session in a store.
#[derive(Clone)]
pub(super) struct WriteQueue {
    runtime: Option<Id>,
    store: Store,
    key: SessionKey,
}

impl WriteQueue {
    pub(super) fn of(store: &Store, key: &SessionKey) -> Self {
        Self {
            runtime: Handle::try_current().ok().map(|runtime| runtime.id()),
            store: store.clone(),
            key: key.clone(),
        }
    }

    fn id(&self) -> QueueId {
        (self.runtime, self.store.identity(), self.key.clone())
    }

    /// Whether a session has concurrent writers. Mostly no session has.
    pub(super) fn is_contended(store: &Store, key: &SessionKey) -> bool {
        COUNT.load(Ordering::Relaxed) > 0 && queues().contains_key(&Self::of(store, key).id())
    }

    /// Saves these changes together with those of the others.
    pub(super) async fn save(
        &self,
        changes: Arc<Vec<Change>>,
        policy: ExpiryPolicy,
        latest: Latest,
    ) -> Result<Coalesced, Error> {
        let (reply, replied) = oneshot::channel();
        self.push(Waiting::Writer(Writer { changes, policy, reply }), latest);
        replied.await.unwrap_or_else(|_| Err(Error::in_doubt())) // the runtime is stopping
    }

    /// Waits until no other writer of the queue writes.
    pub(super) async fn exclusive(&self) -> Option<ExclusiveGuard> {
        let (guard, granted) = oneshot::channel();
        self.push(Waiting::Exclusive(guard), None);
        granted.await.ok() // it is only for fairness
    }

    fn push(&self, waiting: Waiting, latest: Latest) {
        match queues().entry(self.id()) {
            Entry::Occupied(mut queue) => return queue.get_mut().push(waiting),
            Entry::Vacant(queue) => drop(queue.insert(vec![waiting])),
        }
        COUNT.fetch_add(1, Ordering::Relaxed);
        // A task of its own, since the request that opened the queue may be dropped. Not spawned while the
        // queues are locked: a runtime that is stopping drops it at once, and that closes the queue.
        tokio::spawn(QueueWorker { queue: self.clone(), latest, closed: false }.serve());
    }
}

/// A queue at work. While it exists, no other is opened for the session.
struct QueueWorker {
    queue: WriteQueue,
    latest: Latest,
    /// Another one may have been opened since.
    closed: bool,
}

impl Drop for QueueWorker {
    /// Tells those who still wait that the runtime has stopped.
    fn drop(&mut self) {
        if !self.closed {
            self.close(&mut queues());
        }
    }
}

impl QueueWorker {
    fn close(&mut self, queues: &mut Queues) {
        self.closed = true;
        queues.remove(&self.queue.id());
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }

    async fn serve(mut self) {
        let id = self.queue.id();
        loop {
            let waiting = {
                let mut queues = queues();
                let waiting = queues.get_mut(&id).map(mem::take).unwrap_or_default();
                if waiting.is_empty() {
                    self.close(&mut queues);
                    return;
                }
                waiting
            };
            let mut writers = Vec::with_capacity(waiting.len());
            for one in waiting {
                match one {
                    Waiting::Writer(writer) => writers.push(writer),
                    Waiting::Exclusive(guard) => {
                        self.save(mem::take(&mut writers)).await;
                        let (held, released) = oneshot::channel();
                        if guard.send(ExclusiveGuard { _released_by_drop: held }).is_ok() {
                            let _ = released.await;
                            self.latest = None;
                        }
                    }
                }
            }
            self.save(writers).await;
        }
    }

    /// Saves the changes of these writers by one statement, if each of them can be applied.
    async fn save(&mut self, mut writers: Vec<Writer>) {
        let WriteQueue { store, key, .. } = &self.queue;
        let mut in_doubt = false;
        loop {
            writers.retain(|writer| !writer.reply.is_closed());
            if writers.is_empty() {
                return;
            }
            let (saved, written) = match self.latest.take() {
                None => match unless_all_leave(&mut writers, store.load(key)).await {
                    Some(loaded) => (loaded.map(Loaded::not_saved), None),
                    None => return,
                },
                Some((version, mut data)) => {
                    writers = Writer::apply_all(writers, &mut data);
                    let Some(last) = writers.last() else {
                        self.latest = None; // the next writer loads the row
                        return;
                    };
                    let expires = expiry::stored_date(&data, last.policy, SystemTime::now());
                    let update = Update { key, version: &version, new_key: None, data: &data, expires };
                    match unless_all_leave(&mut writers, store.update(update)).await {
                        Some(saved) => (saved, Some((data, expires))),
                        None => return,
                    }
                }
            };
            let error = match (saved, written) {
                (Ok(Saved::Done(key, version)), Some((data, expires))) => {
                    if key == self.queue.key {
                        self.latest = Some((version.clone(), data.clone()));
                    }
                    let stored = Stored::Row { key, version, expires };
                    return reply_to_all(writers, || Ok(Coalesced::Saved(stored.clone(), data.clone())));
                }
                (Ok(Saved::Conflict(record)), _) => {
                    self.latest = Some((record.version, record.data));
                    continue;
                }
                (Ok(Saved::Unreadable(error)), _) => {
                    return reply_to_all(writers, || Ok(Coalesced::Unreadable(error.clone())));
                }
                (Ok(Saved::Unknown), _) => {
                    // Changes that may be made twice are made on what is stored now.
                    let (updates, others) = writers.into_iter().partition(Writer::has_updates);
                    reply_to_all(updates, || Err(Error::in_doubt()));
                    (writers, in_doubt) = (others, true);
                    continue;
                }
                (Ok(_), _) => Error::interrupted(),
                // Too large, say. Which of them made it so shows when each is tried alone.
                (Err(error), _) if !error.is_store() && writers.len() > 1 => {
                    for writer in writers {
                        Box::pin(self.save(vec![writer])).await;
                    }
                    return;
                }
                // After an attempt without a reply, no later failure is certain either.
                (Err(_), _) if in_doubt => Error::in_doubt(),
                (Err(error), _) => error,
            };
            return reply_to_all(writers, || Err(error.clone()));
        }
    }
}

/// Drops the work as soon as nobody waits for it any more.
async fn unless_all_leave<T>(writers: &mut [Writer], work: impl Future<Output = T>) -> Option<T> {
    let all_leave = async {
        for writer in writers {
            writer.reply.closed().await;
        }
    };
    match select(pin!(work), pin!(all_leave)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

fn reply_to_all(writers: Vec<Writer>, reply: impl Fn() -> Result<Coalesced, Error>) {
    for writer in writers {
        let _ = writer.reply.send(reply()); // the requester may have left
    }
}

impl Writer {
    /// Applies the changes of all, one after the other. Those whose changes fail get the error; returns the
    /// others.
    fn apply_all(writers: Vec<Self>, data: &mut SessionData) -> Vec<Self> {
        let mut applied = Vec::with_capacity(writers.len());
        for writer in writers {
            match writer.apply(data) {
                Ok(()) => applied.push(writer),
                Err(error) => drop(writer.reply.send(Err(error))),
            }
        }
        applied
    }

    fn has_updates(&self) -> bool {
        journal::has_updates(&self.changes)
    }

    /// Applies all of its changes or none. The closures among them are the application's: a failure in one
    /// must not reach the other writers.
    fn apply(&self, data: &mut SessionData) -> Result<(), Error> {
        let mut changed = data.clone();
        let apply = || self.changes.iter().try_for_each(|change| change.apply(&mut changed));
        catch_unwind(AssertUnwindSafe(apply))
            .unwrap_or_else(|_| Err(Error::value("a closure given to Session::update panicked")))?;
        *data = changed;
        Ok(())
    }
}
