//! Requests, batches, statements and connections of PostgreSQL.
//!
//! An `action` is the verb phrase that error texts have.

use std::time::{Duration, Instant};

use tracing::{Span, debug_span, field::Empty};

use super::{
    OneMore, Timer,
    family::{Gauge, Histogram, Kept, Level},
    labels::{Retried, Work},
    list,
};

impl Work {
    fn of(action: &str) -> Self {
        match action {
            "load a session" | "look up a session" => Self::Load,
            "create a session" => Self::Create,
            "save a session" => Self::Save,
            "delete a session" => Self::Delete,
            "clear expired sessions" => Self::Clear,
            "list the sessions" => Self::List,
            "load a user"
            | "load the permissions of a user"
            | "load the groups of a user"
            | "note the time of a login"
            | "set a password"
            | "create a user" => Self::User,
            "count attempts to log in"
            | "reset the count of attempts to log in"
            | "delete old attempts to log in" => Self::Throttle,
            _ => Self::Other,
        }
    }
}

/// The gauge of the requests that wait or are in flight.
pub(crate) fn queue(action: &str) -> Level {
    list::QUEUE.level(Work::of(action))
}

/// Too many requests wait.
pub(crate) fn refused(action: &str) {
    list::REFUSED.count(Work::of(action));
}

/// A row is locked by another transaction.
pub(crate) fn locked(action: &str) {
    list::LOCKED.count(Work::of(action));
}

/// The requests of a session run outside of batches, until the result is dropped.
pub(crate) fn alone(action: &str) -> OneMore {
    list::ALONE.enter(Work::of(action))
}

/// A connection is open, until the result is dropped.
pub(crate) fn connection() -> OneMore {
    list::CONNECTIONS.enter(())
}

pub(crate) fn connection_failed() {
    list::CONNECTION_ERRORS.count(());
}

/// Metrics of the batches of one operation.
#[derive(Debug)]
pub(crate) struct BatchMetrics {
    requests: Kept<Histogram<Work>>,
    queue_time: Kept<Histogram<Work>>,
}

impl BatchMetrics {
    pub(crate) fn new() -> Self {
        Self { requests: Kept::new(&list::BATCH), queue_time: Kept::new(&list::QUEUE_TIME) }
    }
}

/// Metrics of the statements on one runtime's connections.
#[derive(Debug)]
pub(crate) struct ConnectionMetrics {
    time: Kept<Histogram<Work>>,
    waiters: Kept<Gauge<()>>,
}

impl ConnectionMetrics {
    pub(crate) fn new() -> Self {
        Self { time: Kept::new(&list::DATABASE_TIME), waiters: Kept::new(&list::CONNECTION_WAITERS) }
    }

    /// A statement waits for a connection, until the result is dropped.
    pub(crate) fn waiter(&self) -> OneMore {
        self.waiters.enter(())
    }

    pub(crate) fn watch(&self, action: &str) -> StatementWatch<'_> {
        let work = Work::of(action);
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
        action: &str,
        timeout: Duration,
        deadlines: impl Iterator<Item = Instant> + Clone,
    ) -> Self {
        let work = Work::of(action);
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
    time: &'a Kept<Histogram<Work>>,
    work: Work,
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
