//! Requests that wait: bounded in number and bytes, one in flight for each key, equal ones together.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering, fence},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::batch::BatchOp;
use crate::{Error, backend::Action, metrics};

/// Bounds of what waits for one operation; further requests fail fast.
const MAX_REQUESTS: usize = 16 * 1024;
const MAX_BYTES: usize = 256 << 20;

/// Bound of what waits for one key: a locked row must not use up the bound of all.
const MAX_KEY_BYTES: usize = MAX_BYTES / 4;

/// How long a key stays out of batches after its row was locked: whoever locks rows often does it again.
const QUARANTINE: Duration = Duration::from_secs(2);

/// Unexpired quarantines are counted rarely: only when there are more than so many.
const MANY_QUARANTINES: usize = 1024;

/// The number and the bytes of all requests of an operation.
pub(super) struct Load {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    gauge: metrics::GaugeHandle,
}

impl Load {
    /// `action` is that of the operation.
    pub(super) fn new(action: Action) -> Self {
        let gauge = metrics::postgres::queue(action);
        Self { requests: AtomicUsize::new(0), bytes: AtomicUsize::new(0), gauge }
    }

    /// `None` if too much waits already. One request may be larger than the bound.
    pub(super) fn admit(self: &Arc<Self>, bytes: usize) -> Option<Arc<Ticket>> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let others = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.gauge.rise();
        let ticket = Ticket { load: self.clone(), bytes, state: AtomicU8::new(WAITING) };
        let full = requests >= MAX_REQUESTS || (others > 0 && others + bytes > MAX_BYTES);
        (!full).then(|| Arc::new(ticket))
    }
}

const WAITING: u8 = 0;
const SENT: u8 = 1;
const LOCKED: u8 = 2;

/// A request's place in the load, and how far it came.
pub(super) struct Ticket {
    load: Arc<Load>,
    bytes: usize,
    state: AtomicU8,
}

impl Ticket {
    /// Its statement is on its way: from now on it may be applied.
    ///
    /// The fence is one of a pair: either the caller sees this, or this task sees that the caller has left.
    pub(super) fn sent(&self) {
        self.state.store(SENT, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// It was sent, and the server has undone it.
    pub(super) fn undone(&self) {
        self.state.store(WAITING, Ordering::SeqCst);
    }

    /// The statement ended without effect, because the row is locked.
    pub(super) fn locked(&self) {
        self.state.store(LOCKED, Ordering::SeqCst);
    }

    /// For a caller who has left.
    pub(super) fn is_sent(&self) -> bool {
        fence(Ordering::SeqCst);
        self.state.load(Ordering::SeqCst) == SENT
    }

    pub(super) fn is_locked(&self) -> bool {
        self.state.load(Ordering::SeqCst) == LOCKED
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.load.requests.fetch_sub(1, Ordering::Relaxed);
        self.load.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.load.gauge.fall();
    }
}

/// A request whose caller waits for the reply.
pub(super) struct Queued<O: BatchOp> {
    pub(super) request: O::Request,
    pub(super) reply: oneshot::Sender<Result<O::Reply, Error>>,
    pub(super) ticket: Arc<Ticket>,
    pub(super) deadline: Instant,
}

/// A request that is the only one of its key in a statement, with equal requests that share its result.
pub(super) struct Single<O: BatchOp> {
    first: Queued<O>,
    equal: Vec<Queued<O>>,
}

impl<O: BatchOp> Single<O> {
    pub(super) fn request(&self) -> &O::Request {
        &self.first.request
    }

    pub(super) fn key(&self) -> &O::Key {
        O::key(&self.first.request)
    }

    /// Forgets the callers who have left. Returns whether none is left.
    pub(super) fn is_abandoned(&mut self) -> bool {
        self.equal.retain(|queued| !queued.reply.is_closed());
        if !self.first.reply.is_closed() {
            return false;
        }
        match self.equal.pop() {
            Some(queued) => self.first = queued,
            None => return true,
        }
        false
    }

    pub(super) fn note(&self, change: impl Fn(&Ticket)) {
        change(&self.first.ticket);
        self.equal.iter().for_each(|queued| change(&queued.ticket));
    }

    /// The time at which the last of its callers leaves.
    pub(super) fn deadline(&self) -> Instant {
        let equal = self.equal.iter().map(|queued| queued.deadline).max();
        equal.map_or(self.first.deadline, |equal| equal.max(self.first.deadline))
    }

    /// The deadline of each caller.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> + Clone {
        std::iter::once(&self.first).chain(&self.equal).map(|queued| queued.deadline)
    }

    pub(super) fn reply(self, reply: Result<O::Reply, Error>) {
        for queued in self.equal {
            let _ = queued.reply.send(reply.as_ref().map(O::share).map_err(Clone::clone));
        }
        let _ = self.first.reply.send(reply); // the caller may have left
    }
}

/// Where a request goes next.
pub(super) enum Admitted<O: BatchOp> {
    /// Into the next batch.
    Ready(Single<O>),
    /// Past the batches: its row was locked a moment ago.
    Quarantined(Single<O>),
    /// Nowhere: another request of its key is in flight.
    Behind,
    /// Nowhere: too much waits for its key already.
    Refused(Queued<O>),
}

/// Requests that wait for the one of their key that is in flight.
struct Behind<O: BatchOp> {
    queue: VecDeque<Queued<O>>,
    bytes: usize,
}

impl<O: BatchOp> Behind<O> {
    fn push(&mut self, queued: Queued<O>) -> Result<(), Queued<O>> {
        let bytes = O::bytes(&queued.request);
        if self.bytes + bytes > MAX_KEY_BYTES {
            self.queue.retain(|queued| !queued.reply.is_closed());
            self.bytes = self.queue.iter().map(|queued| O::bytes(&queued.request)).sum();
        }
        if self.bytes + bytes > MAX_KEY_BYTES && !self.queue.is_empty() {
            return Err(queued);
        }
        self.bytes += bytes;
        self.queue.push_back(queued);
        Ok(())
    }

    fn pop(&mut self) -> Option<Queued<O>> {
        let queued = self.queue.pop_front()?;
        self.bytes -= O::bytes(&queued.request).min(self.bytes);
        Some(queued)
    }
}

/// Keys with a request in flight, and keys whose rows were locked.
pub(super) struct Keys<O: BatchOp>(Mutex<State<O>>);

struct State<O: BatchOp> {
    in_flight: HashMap<O::Key, Behind<O>>,
    quarantined: HashMap<O::Key, Instant>,
}

impl<O: BatchOp> Default for Keys<O> {
    fn default() -> Self {
        Self(Mutex::new(State { in_flight: HashMap::new(), quarantined: HashMap::new() }))
    }
}

impl<O: BatchOp> Keys<O> {
    fn state(&self) -> MutexGuard<'_, State<O>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the request's key is in flight.
    pub(super) fn admit(&self, queued: Queued<O>) -> Admitted<O> {
        let mut state = self.state();
        let key = O::key(&queued.request);
        match state.in_flight.entry(key.clone()) {
            Entry::Occupied(mut behind) => {
                return behind.get_mut().push(queued).map_or_else(Admitted::Refused, |()| Admitted::Behind);
            }
            Entry::Vacant(free) => drop(free.insert(Behind { queue: VecDeque::new(), bytes: 0 })),
        }
        let quarantined = !state.quarantined.is_empty() && state.is_quarantined(key);
        let single = Single { first: queued, equal: Vec::new() };
        if quarantined { Admitted::Quarantined(single) } else { Admitted::Ready(single) }
    }

    /// The key's request is no longer in flight. Returns the next one of the key, which then is.
    pub(super) fn next(&self, key: &O::Key) -> Option<Single<O>> {
        let mut state = self.state();
        let behind = state.in_flight.get_mut(key)?;
        while let Some(queued) = behind.pop() {
            if !queued.reply.is_closed() {
                return Some(Single { first: queued, equal: Vec::new() });
            }
        }
        state.in_flight.remove(key);
        None
    }

    /// Adds the requests that may share its statement, which is not sent yet.
    pub(super) fn share(&self, single: &mut Single<O>) {
        if !O::SHARED {
            return;
        }
        let mut state = self.state();
        if let Some(behind) = state.in_flight.get_mut(single.key()) {
            while let Some(queued) = behind.pop() {
                single.equal.push(queued);
            }
        }
    }

    /// The key's request will not be served, and neither will those behind it.
    pub(super) fn abandon(&self, key: &O::Key) {
        let behind = self.state().in_flight.remove(key);
        drop(behind); // not under the lock: it wakes the callers
    }

    pub(super) fn quarantine(&self, key: &O::Key) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.quarantined.len() > MANY_QUARANTINES {
            state.quarantined.retain(|_, until| *until > now);
        }
        state.quarantined.insert(key.clone(), now + QUARANTINE);
    }
}

impl<O: BatchOp> State<O> {
    fn is_quarantined(&mut self, key: &O::Key) -> bool {
        let Some(until) = self.quarantined.get(key) else { return false };
        let quarantined = *until > Instant::now();
        if !quarantined {
            self.quarantined.remove(key);
        }
        quarantined
    }
}
