//! Where passwords are hashed: on threads that may block, so many at once, with so much memory.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::Semaphore, time::timeout_at};

use crate::{
    Error,
    backend::blocking::{Stopped, Turns},
    event_log::EventLog,
    metrics,
};

/// How long a hash waits for its turn. The visitor has left by then.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A hash of Django's default cost takes a fifth of a second in a build with optimization.
const SLOW: Duration = Duration::from_secs(3);

/// The bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) threads: usize,
    /// In bytes, of all hashes that run.
    pub(super) memory: u64,
    /// Besides those that run.
    pub(super) waiting: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads, memory: 512 << 20, waiting: 64 * threads }
    }
}

#[derive(Debug)]
pub(super) struct Pool {
    turns: Turns,
    /// One permit for each KiB.
    memory: Arc<Semaphore>,
    bounds: Bounds,
    /// Hashes that wait or run.
    inside: AtomicUsize,
}

impl Pool {
    pub(super) fn new(bounds: Bounds) -> Self {
        let threads = bounds.threads.max(1);
        Self {
            turns: Turns::new(threads),
            memory: Arc::new(Semaphore::new(permits(bounds.memory) as usize)),
            bounds: Bounds { threads, ..bounds },
            inside: AtomicUsize::new(0),
        }
    }

    /// Runs the work, which takes that much memory, when it is its turn. Without a runtime it runs here.
    ///
    /// Errors if too many wait, or the runtime is stopping. The work of a caller that leaves before its turn
    /// never runs.
    ///
    /// # Panics
    ///
    /// If the work does.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        memory: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        if Handle::try_current().is_err() {
            return Ok(work());
        }
        let (inside, _waits) = (Inside(&self.inside), metrics::auth::hash_in_flight());
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        if before >= self.bounds.threads.saturating_add(self.bounds.waiting) {
            return Err(self.busy());
        }
        let until = Instant::now() + TIMEOUT;
        // More than there is: alone.
        let needed = permits(memory).min(permits(self.bounds.memory));
        let reserved = timeout_at(until.into(), self.memory.clone().acquire_many_owned(needed)).await;
        let Ok(Ok(reserved)) = reserved else { return Err(self.busy()) };
        let work = move || {
            let (_slow, began) = (Slow(Instant::now()), metrics::Timer::start());
            // Also of a caller that has left: until the memory is free.
            let _reserved = reserved;
            let result = work();
            metrics::auth::hashed(began);
            result
        };
        let result = self.turns.run(until, work).await;
        drop(inside);
        result.map_err(|stopped| match stopped {
            Stopped::Panicked(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => self.busy(),
            },
            Stopped::NotBegun => self.busy(),
            Stopped::Running => Error::store(format!(
                "cannot hash a password: it takes longer than {TIMEOUT:?}; is this a build without optimization? \
                 See the guide's page on login"
            )),
        })
    }

    fn busy(&self) -> Error {
        metrics::auth::hash_refused();
        let Bounds { threads, waiting, .. } = self.bounds;
        Error::store(format!(
            "cannot hash a password: too many others wait ({threads} are hashed at once, {waiting} may \
             wait); limit the attempts to log in, or hash on more processors"
        ))
    }
}

/// Says why a hash takes long, where that is likely.
struct Slow(Instant);

impl Drop for Slow {
    fn drop(&mut self) {
        if cfg!(debug_assertions) && self.0.elapsed() > SLOW {
            EventLog::general().warn(
                "a password is hashed for seconds, as in a build without optimization: see the guide's page on \
                 login for what to add to Cargo.toml"
                    .to_owned(),
            );
        }
    }
}

fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32)
}

struct Inside<'a>(&'a AtomicUsize);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{sync::Mutex, thread::sleep};

    use futures_util::future::join_all;

    use super::*;

    /// Counts how many run at once.
    #[derive(Clone, Default)]
    struct Gauge(Arc<Mutex<(usize, usize)>>);

    impl Gauge {
        fn work(&self) -> impl FnOnce() + Send + use<> {
            let gauge = self.0.clone();
            move || {
                {
                    let mut counts = gauge.lock().unwrap();
                    counts.0 += 1;
                    counts.1 = counts.1.max(counts.0);
                }
                sleep(Duration::from_millis(5));
                gauge.lock().unwrap().0 -= 1;
            }
        }

        fn most(&self) -> usize {
            self.0.lock().unwrap().1
        }
    }

    #[tokio::test]
    async fn threads_and_memory_bound_what_runs_at_once() {
        let bounds = Bounds { threads: 4, memory: 100 << 10, waiting: 100 };
        for (memory, expected) in [(0, 4), (30 << 10, 3), (50 << 10, 2), (60 << 10, 1), (1 << 40, 1)] {
            let (pool, gauge) = (Pool::new(bounds), Gauge::default());
            let results = join_all((0..16).map(|_| pool.run(memory, gauge.work()))).await;
            assert!(results.iter().all(Result::is_ok));
            assert!(gauge.most() <= expected, "{memory}: {}", gauge.most());
            assert_eq!(pool.memory.available_permits(), 100);
            assert_eq!(pool.inside.load(Ordering::Relaxed), 0);
        }
    }

    #[tokio::test]
    async fn callers_that_leave_make_room() {
        let bounds = Bounds { threads: 1, memory: 10 << 10, waiting: 3 };
        let (pool, gauge) = (Pool::new(bounds), Gauge::default());
        for _ in 0..20 {
            let calls = join_all((0..4).map(|_| pool.run(10 << 10, gauge.work())));
            assert!(tokio::time::timeout(Duration::ZERO, calls).await.is_err());
        }
        // Those that had begun end by themselves.
        pool.run(10 << 10, gauge.work()).await.unwrap();
        assert_eq!((gauge.most(), pool.inside.load(Ordering::Relaxed)), (1, 0));
    }
}
