//! Operations of stores, the cache in front of a database, and sweeps.

use tracing::{Span, debug_span, field::Empty};

use super::{
    Timer,
    family::{Counter, Histogram, Kept},
    labels::{Engine, Granted, Lease, Lookup, Operation, Outcome, Swept},
    list, now,
};
use crate::{
    Error,
    store::record::{Loaded, Saved},
};

/// Metrics of a store that change with every request.
#[derive(Debug)]
pub(crate) struct StoreMetrics {
    engine: Engine,
    operations: Kept<Counter<(Engine, Operation, Outcome)>>,
    time: Kept<Histogram<(Engine, Operation)>>,
}

impl StoreMetrics {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, operations: Kept::new(&list::OPERATIONS), time: Kept::new(&list::OPERATION_TIME) }
    }

    pub(crate) fn watch(&self, operation: Operation) -> StoreWatch<'_> {
        let span = debug_span!(
            "session_store",
            engine = self.engine.text(),
            operation = operation.text(),
            outcome = Empty
        );
        StoreWatch { store: self, operation, outcome: Outcome::Cancelled, timer: Timer::start(), span }
    }

    pub(crate) fn cleared(&self, sessions: u64) {
        list::CLEARED.add(self.engine, sessions);
    }
}

/// An operation of a store, from its beginning until this is dropped.
#[derive(Debug)]
pub(crate) struct StoreWatch<'a> {
    store: &'a StoreMetrics,
    operation: Operation,
    outcome: Outcome,
    timer: Timer,
    span: Span,
}

impl StoreWatch<'_> {
    pub(crate) fn end<T: HasOutcome>(mut self, result: &Result<T, Error>) {
        self.outcome = result.as_ref().map_or(Outcome::Error, T::outcome);
    }
}

impl Drop for StoreWatch<'_> {
    fn drop(&mut self) {
        let StoreMetrics { engine, operations, time } = self.store;
        operations.count((*engine, self.operation, self.outcome));
        time.record((*engine, self.operation), self.timer.seconds());
        self.span.record("outcome", self.outcome.text());
    }
}

/// A result of an operation that is no error.
pub(crate) trait HasOutcome {
    fn outcome(&self) -> Outcome;
}

impl HasOutcome for Loaded {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Found(_) => Outcome::Found,
            Self::Missing => Outcome::Missing,
            Self::Unreadable(_) => Outcome::Unreadable,
        }
    }
}

impl HasOutcome for Saved {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Done(..) => Outcome::Done,
            Self::KeyTaken => Outcome::KeyTaken,
            Self::Conflict(_) => Outcome::Conflict,
            Self::Unreadable(_) => Outcome::Unreadable,
            Self::Gone => Outcome::Gone,
            Self::Unknown => Outcome::InDoubt,
        }
    }
}

/// Whether a row was deleted.
impl HasOutcome for bool {
    fn outcome(&self) -> Outcome {
        if *self { Outcome::Done } else { Outcome::Gone }
    }
}

/// The number of cleared rows.
impl HasOutcome for u64 {
    fn outcome(&self) -> Outcome {
        Outcome::Done
    }
}

/// Metrics of a cache in front of a database that change with every request.
#[derive(Debug)]
pub(crate) struct CacheMetrics {
    lookups: Kept<Counter<Lookup>>,
    leases: Kept<Counter<(Lease, Granted)>>,
    fills: Kept<Counter<Granted>>,
    time: Kept<Histogram<()>>,
}

impl CacheMetrics {
    pub(crate) fn new() -> Self {
        Self {
            lookups: Kept::new(&list::LOOKUPS),
            leases: Kept::new(&list::LEASES),
            fills: Kept::new(&list::FILLS),
            time: Kept::new(&list::CACHE_TIME),
        }
    }

    pub(crate) fn looked_up(&self, lookup: Lookup) {
        self.lookups.count(lookup);
    }

    /// Whether a lease is in the cache now.
    pub(crate) fn lease(&self, lease: Lease, granted: bool) {
        self.leases.count((lease, Granted::of(granted)));
    }

    /// Whether a session was put into the cache.
    pub(crate) fn filled(&self, filled: bool) {
        self.fills.count(Granted::of(filled));
    }

    /// A call of the cache has ended.
    pub(crate) fn called(&self, since: Timer, failed: bool) {
        self.time.record((), since.seconds());
        if failed {
            list::CACHE_ERRORS.count(());
        }
    }
}

/// How many sessions are to be removed from the cache.
pub(crate) fn cache_outdated(sessions: usize) {
    list::OUTDATED.set((), sessions as f64);
}

/// A round of the sweeper has ended.
/// A request is served without its session.
pub(crate) fn degraded() {
    list::DEGRADED.count(());
}

pub(crate) fn swept<T>(since: Timer, result: &Result<T, Error>) {
    list::SWEEP_TIME.record((), since.seconds());
    match result {
        Ok(_) => {
            list::SWEEPS.count(Swept::Done);
            list::LAST_SWEEP.set((), now());
        }
        Err(_) => list::SWEEPS.count(Swept::Error),
    }
}

impl Granted {
    fn of(granted: bool) -> Self {
        if granted { Self::Granted } else { Self::Refused }
    }
}
