//! Operations of stores, the cache in front of a database, and sweeps.

use tracing::{Span, debug_span, field::Empty};

use super::{
    Timer,
    labels::{Engine, Granted, Lease, Lookup, Operation, Outcome, Swept},
    list, now,
};
use crate::{
    Error,
    store::record::{Loaded, Saved},
};

/// An operation of a store, from its beginning until this is dropped.
#[derive(Debug)]
pub(crate) struct StoreWatch {
    labels: (Engine, Operation),
    outcome: Outcome,
    timer: Timer,
    span: Span,
}

impl StoreWatch {
    pub(crate) fn start(engine: Engine, operation: Operation) -> Self {
        let span = debug_span!(
            "session_store",
            engine = engine.text(),
            operation = operation.text(),
            outcome = Empty
        );
        Self { labels: (engine, operation), outcome: Outcome::Cancelled, timer: Timer::start(), span }
    }

    pub(crate) fn end<T: HasOutcome>(mut self, result: &Result<T, Error>) {
        self.outcome = result.as_ref().map_or(Outcome::Error, T::outcome);
    }
}

impl Drop for StoreWatch {
    fn drop(&mut self) {
        let (engine, operation) = self.labels;
        list::OPERATIONS.count((engine, operation, self.outcome));
        list::OPERATION_TIME.record(self.labels, self.timer.seconds());
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

/// What the cache in front of a database had.
pub(crate) fn cache_lookup(lookup: Lookup) {
    list::LOOKUPS.count(lookup);
}

/// Whether a lease is in the cache now.
pub(crate) fn cache_lease(lease: Lease, granted: bool) {
    list::LEASES.count((lease, Granted::of(granted)));
}

/// Whether a session was put into the cache.
pub(crate) fn cache_filled(filled: bool) {
    list::FILLS.count(Granted::of(filled));
}

/// A call of the cache has ended.
pub(crate) fn cache_called(since: Timer, failed: bool) {
    list::CACHE_TIME.record((), since.seconds());
    if failed {
        list::CACHE_ERRORS.count(());
    }
}

/// How many sessions are to be removed from the cache.
pub(crate) fn cache_outdated(sessions: usize) {
    list::OUTDATED.set((), sessions as f64);
}

pub(crate) fn cleared(engine: Engine, sessions: u64) {
    list::CLEARED.add(engine, sessions);
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
