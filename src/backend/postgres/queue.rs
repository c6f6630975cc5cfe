//! Requests that wait: bounded in number and bytes, one in flight for each key, equal ones together.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::batch::BatchOp;
use crate::{Error, SessionKey};

/// Bounds of what waits for one operation; further requests fail fast.
const MAX_REQUESTS: usize = 16 * 1024;
const MAX_BYTES: usize = 64 << 20;

/// How long a key stays out of batches after its row was locked: whoever locks rows often does it again.
const QUARANTINE: Duration = Duration::from_secs(2);

/// Unexpired quarantines are counted rarely: only when there are more than so many.
const MANY_QUARANTINES: usize = 1024;

/// What all requests of an operation weigh.
#[derive(Default)]
pub(super) struct Load {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

impl Load {
    /// `None` if too much waits already. One request may be larger than the bound.
    pub(super) fn admit(self: &Arc<Self>, bytes: usize) -> Option<Arc<Ticket>> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let others = self.bytes.fetch_add(bytes, Ordering::Relaxed);
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
    pub(super) fn sent(&self) {
        self.state.store(SENT, Ordering::SeqCst);
    }

    /// The statement ended without effect, because the row is locked.
    pub(super) fn locked(&self) {
        self.state.store(LOCKED, Ordering::SeqCst);
    }

    pub(super) fn is_sent(&self) -> bool {
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

    pub(super) fn key(&self) -> &SessionKey {
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
}

/// Keys with a request in flight, and keys whose rows were locked.
pub(super) struct Keys<O: BatchOp>(Mutex<State<O>>);

struct State<O: BatchOp> {
    in_flight: HashMap<SessionKey, VecDeque<Queued<O>>>,
    quarantined: HashMap<SessionKey, Instant>,
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
                behind.get_mut().push_back(queued);
                return Admitted::Behind;
            }
            Entry::Vacant(free) => drop(free.insert(VecDeque::new())),
        }
        let quarantined = !state.quarantined.is_empty() && state.is_quarantined(key);
        let single = Single { first: queued, equal: Vec::new() };
        if quarantined { Admitted::Quarantined(single) } else { Admitted::Ready(single) }
    }

    /// The key's request is no longer in flight. Returns the next one of the key, which then is.
    pub(super) fn next(&self, key: &SessionKey) -> Option<Single<O>> {
        let mut state = self.state();
        let behind = state.in_flight.get_mut(key)?;
        while let Some(queued) = behind.pop_front() {
            if !queued.reply.is_closed() {
                let equal = if O::SHARED { behind.drain(..).collect() } else { Vec::new() };
                return Some(Single { first: queued, equal });
            }
        }
        state.in_flight.remove(key);
        None
    }

    /// The key's request will not be served, and neither will those behind it.
    pub(super) fn abandon(&self, key: &SessionKey) {
        let behind = self.state().in_flight.remove(key);
        drop(behind); // not under the lock: it wakes the callers
    }

    pub(super) fn quarantine(&self, key: &SessionKey) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.quarantined.len() > MANY_QUARANTINES {
            state.quarantined.retain(|_, until| *until > now);
        }
        state.quarantined.insert(key.clone(), now + QUARANTINE);
    }
}

impl<O: BatchOp> State<O> {
    fn is_quarantined(&mut self, key: &SessionKey) -> bool {
        let Some(until) = self.quarantined.get(key) else { return false };
        let quarantined = *until > Instant::now();
        if !quarantined {
            self.quarantined.remove(key);
        }
        quarantined
    }
}
