//! Operations of stores, the cache in front of a database, and sweeps.

use tracing::{Span, debug_span, field::Empty};

use super::{
    GaugeGuard, Timer,
    family::{Counter, Handles, Histogram},
    labels::{EngineLabel, Granted, LeaseLabel, LookupLabel, Operation, OutcomeLabel, Swept},
    list, now,
};
use crate::Error;

/// Metrics of a store that change with every request.
#[derive(Debug)]
pub(crate) struct StoreMetrics {
    engine: EngineLabel,
    operations: Handles<Counter<(EngineLabel, Operation, OutcomeLabel)>>,
    time: Handles<Histogram<(EngineLabel, Operation)>>,
}

impl StoreMetrics {
    pub(crate) fn new(engine: EngineLabel) -> Self {
        Self {
            engine,
            operations: Handles::new(&list::OPERATIONS),
            time: Handles::new(&list::OPERATION_TIME),
        }
    }

    pub(crate) fn watch(&self, operation: Operation) -> StoreWatch<'_> {
        let span = debug_span!(
            "session_store",
            engine = self.engine.text(),
            operation = operation.text(),
            outcome = Empty
        );
        StoreWatch { store: self, operation, outcome: OutcomeLabel::Cancelled, timer: Timer::start(), span }
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
    outcome: OutcomeLabel,
    timer: Timer,
    span: Span,
}

impl StoreWatch<'_> {
    pub(crate) fn end<T: HasOutcome>(mut self, result: &Result<T, Error>) {
        self.outcome = result.as_ref().map_or(OutcomeLabel::Error, T::outcome);
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
    fn outcome(&self) -> OutcomeLabel;
}

/// Whether a row was deleted.
impl HasOutcome for bool {
    fn outcome(&self) -> OutcomeLabel {
        if *self { OutcomeLabel::Done } else { OutcomeLabel::Gone }
    }
}

/// The number of cleared rows.
impl HasOutcome for u64 {
    fn outcome(&self) -> OutcomeLabel {
        OutcomeLabel::Done
    }
}

/// Metrics of a cache in front of a database that change with every request.
#[derive(Debug)]
pub(crate) struct CacheMetrics {
    lookups: Handles<Counter<LookupLabel>>,
    leases: Handles<Counter<(LeaseLabel, Granted)>>,
    fills: Handles<Counter<Granted>>,
    time: Handles<Histogram<()>>,
}

impl CacheMetrics {
    pub(crate) fn new() -> Self {
        Self {
            lookups: Handles::new(&list::LOOKUPS),
            leases: Handles::new(&list::LEASES),
            fills: Handles::new(&list::FILLS),
            time: Handles::new(&list::CACHE_TIME),
        }
    }

    pub(crate) fn looked_up(&self, lookup: LookupLabel) {
        self.lookups.count(lookup);
    }

    /// Whether a lease is in the cache now.
    pub(crate) fn lease(&self, lease: LeaseLabel, granted: bool) {
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

/// A session is to be removed from the cache, until the result is dropped.
pub(crate) fn outdated() -> GaugeGuard {
    list::OUTDATED.enter(())
}

/// The session of a request is degraded.
pub(crate) fn degraded() {
    list::DEGRADED.count(());
}

/// A round of the sweeper has ended.
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
