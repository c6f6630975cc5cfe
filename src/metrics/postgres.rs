//! Requests, batches, statements and connections of PostgreSQL.

use std::time::{Duration, Instant};

use tracing::{Span, debug_span, field::Empty};

use super::{
    GaugeGuard, Timer,
    family::{Gauge, GaugeHandle, Handles, Histogram},
    labels::{Purpose, Retried},
    list,
};
use crate::backend::Action;

/// The gauge of the requests that wait or are in flight.
pub(crate) fn queue(action: Action) -> GaugeHandle {
    list::QUEUE.level(action.purpose)
}

/// Too many requests wait.
pub(crate) fn refused(action: Action) {
    list::REFUSED.count(action.purpose);
}

/// A row is locked by another transaction.
pub(crate) fn locked(action: Action) {
    list::LOCKED.count(action.purpose);
}

/// The requests of a session run outside of batches, until the result is dropped.
pub(crate) fn solo(action: Action) -> GaugeGuard {
    list::SOLO.enter(action.purpose)
}

/// A connection is open, until the result is dropped.
pub(crate) fn connection() -> GaugeGuard {
    list::CONNECTIONS.enter(())
}

pub(crate) fn connection_failed() {
    list::CONNECTION_ERRORS.count(());
}

/// Metrics of the batches of one operation.
#[derive(Debug)]
pub(crate) struct BatchMetrics {
    requests: Handles<Histogram<Purpose>>,
    queue_time: Handles<Histogram<Purpose>>,
}

impl BatchMetrics {
    pub(crate) fn new() -> Self {
        Self { requests: Handles::new(&list::BATCH), queue_time: Handles::new(&list::QUEUE_TIME) }
    }
}

/// Metrics of the statements on one runtime's connections.
#[derive(Debug)]
pub(crate) struct ConnectionMetrics {
    time: Handles<Histogram<Purpose>>,
    waiters: Handles<Gauge<()>>,
}

impl ConnectionMetrics {
    pub(crate) fn new() -> Self {
        Self { time: Handles::new(&list::DATABASE_TIME), waiters: Handles::new(&list::CONNECTION_WAITERS) }
    }

    /// A statement waits for a connection, until the result is dropped.
    pub(crate) fn waiter(&self) -> GaugeGuard {
        self.waiters.enter(())
    }

    pub(crate) fn watch(&self, action: Action) -> StatementWatch<'_> {
        let work = action.purpose;
        let span =
            debug_span!("session_statement", operation = work.text(), attempts = Empty, outcome = Empty);
        StatementWatch { time: &self.time, work, attempts: 1, done: false, timer: Timer::start(), span }
    }
}

/// A batch of requests.
#[derive(Debug)]
pub(crate) struct BatchWatch(Span);

impl BatchWatch {
    /// Each request came `timeout` before its deadline.
    pub(crate) fn start(
        metrics: &BatchMetrics,
        action: Action,
        timeout: Duration,
        deadlines: impl Iterator<Item = Instant> + Clone,
    ) -> Self {
        let work = action.purpose;
        if cfg!(feature = "metrics") {
            let now = Instant::now();
            let wait = |deadline: Instant| timeout.saturating_sub(deadline.saturating_duration_since(now));
            metrics.requests.record(work, deadlines.clone().count() as f64);
            metrics
                .queue_time
                .record_all(work, deadlines.clone().map(|deadline| wait(deadline).as_secs_f64()));
        }
        let requests = || deadlines.count();
        Self(debug_span!("session_batch", operation = work.text(), requests = requests(), outcome = Empty))
    }

    /// `Err` says whether a locked row was the reason.
    pub(crate) fn end(self, result: Result<(), bool>) {
        let outcome = match result {
            Ok(()) => "done",
            Err(true) => "locked",
            Err(false) => "failed",
        };
        self.0.record("outcome", outcome);
    }
}

/// A statement in PostgreSQL, until this is dropped.
#[derive(Debug)]
pub(crate) struct StatementWatch<'a> {
    time: &'a Handles<Histogram<Purpose>>,
    work: Purpose,
    attempts: u32,
    done: bool,
    timer: Timer,
    span: Span,
}

impl StatementWatch<'_> {
    pub(crate) fn retried(&mut self, reason: Retried) {
        self.attempts += 1;
        list::RETRIES.count(reason);
    }

    pub(crate) fn done(&mut self) {
        self.done = true;
    }
}

impl Drop for StatementWatch<'_> {
    fn drop(&mut self) {
        self.time.record(self.work, self.timer.seconds());
        self.span.record("attempts", self.attempts);
        self.span.record("outcome", if self.done { "done" } else { "failed" });
    }
}
