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
};

/// How long a hash waits for its turn. The visitor has left by then.
const TIMEOUT: Duration = Duration::from_secs(30);

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
        let inside = Inside(&self.inside);
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
            // Also of a caller that has left: until the memory is free.
            let _reserved = reserved;
            work()
        };
        let result = self.turns.run(until, work).await;
        drop(inside);
        result.map_err(|stopped| match stopped {
            Stopped::Panicked(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => self.busy(),
            },
            Stopped::NotBegun | Stopped::Running => self.busy(),
        })
    }

    fn busy(&self) -> Error {
        let Bounds { threads, waiting, .. } = self.bounds;
        Error::store(format!(
            "cannot hash a password: too many others wait ({threads} are hashed at once, {waiting} may wait); \
             limit the attempts to log in, or hash on more processors"
        ))
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
