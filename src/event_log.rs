//! Warnings and errors that many requests can cause at once: the first of a kind is logged, repeats are
//! counted.
//!
//! An outage of a minute under load is then some lines, not one for each request. The sum of the repeats is
//! logged every [`WINDOW`] while they go on and once more when they stop.

mod kinds;

use std::{
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use self::kinds::{Event, Kinds, Level, Line};

/// How long repeats are counted before their sum is logged.
const WINDOW: Duration = Duration::from_secs(30);

/// The log of one store, or of one cache in front of it. Clones count together.
///
/// Repeats are reported by the first event after the window, by the recovery, or by a task that exists only
/// while something is counted. A runtime that stops, and the last clone, report what is left.
#[derive(Clone, Debug)]
pub(crate) struct EventLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Whether a failure was logged and no recovery since. Successful calls look at nothing else.
    failing: AtomicBool,
    /// Whether a success ends a failure.
    recovers: bool,
    kinds: Mutex<Kinds>,
}

/// For events of no store: an error without middleware, a codec's warning.
static GENERAL: LazyLock<EventLog> = LazyLock::new(|| EventLog::of("the session store", false));

impl EventLog {
    /// `subject` is what fails and recovers.
    pub(crate) fn new(subject: &'static str) -> Self {
        Self::of(subject, true)
    }

    fn of(subject: &'static str, recovers: bool) -> Self {
        let (failing, kinds) = (AtomicBool::new(false), Mutex::new(Kinds::new(subject)));
        Self(Arc::new(Shared { failing, recovers, kinds }))
    }

    pub(crate) fn general() -> &'static Self {
        &GENERAL
    }

    pub(crate) fn warn(&self, text: String) {
        self.record(Event { level: Level::Warn, text, is_failure: false });
    }

    pub(crate) fn error(&self, text: String) {
        self.record(Event { level: Level::Error, text, is_failure: false });
    }

    /// An error that the next success ends.
    pub(crate) fn failure(&self, text: String) {
        self.record(Event { level: Level::Error, text, is_failure: self.0.recovers });
    }

    fn record(&self, event: Event) {
        let (lines, start_task) = {
            let mut kinds = self.0.kinds();
            if event.is_failure {
                self.0.failing.store(true, Relaxed);
            }
            let lines = kinds.record(event, Instant::now());
            (lines, kinds.needs_task())
        };
        write(lines);
        if start_task {
            self.start_task();
        }
    }

    /// Something worked. One atomic load, unless the last thing that was logged is a failure.
    pub(crate) fn success(&self) {
        if self.0.failing.load(Relaxed) {
            self.0.recovered();
        }
    }

    /// Without a runtime, the next event or the last clone reports what is counted.
    fn start_task(&self) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(Reporter(Arc::downgrade(&self.0)).run())),
            Err(_) => self.0.kinds().task_ended(),
        }
    }
}

impl Shared {
    fn kinds(&self) -> MutexGuard<'_, Kinds> {
        // No subscriber of the log runs while it is locked. A recorder of metrics does.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn recovered(&self) {
        let lines = {
            let mut kinds = self.kinds();
            let Some(lines) = kinds.success(Instant::now()) else { return };
            self.failing.store(false, Relaxed);
            lines
        };
        write(lines);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let lines = self.kinds().report_all(Instant::now());
        write(lines);
    }
}

/// The task that reports repeats when no event follows.
struct Reporter(Weak<Shared>);

impl Reporter {
    async fn run(mut self) {
        loop {
            let next = {
                let Some(shared) = self.0.upgrade() else { return };
                shared.kinds().next_report()
            };
            let Some(next) = next else {
                self.0 = Weak::new(); // another task may have begun
                return;
            };
            tokio::time::sleep_until(next.into()).await;
            let Some(shared) = self.0.upgrade() else { return };
            let lines = shared.kinds().report_due(Instant::now());
            write(lines);
        }
    }
}

impl Drop for Reporter {
    /// Also when the runtime stops: nobody would report then.
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else { return };
        let lines = {
            let mut kinds = shared.kinds();
            kinds.task_ended();
            kinds.report_all(Instant::now())
        };
        write(lines);
    }
}

fn write(lines: Vec<Line>) {
    for Line { level, text } in lines {
        match level {
            Level::Warn => tracing::warn!("{text}"),
            Level::Error => tracing::error!("{text}"),
        }
    }
}
