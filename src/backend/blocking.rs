//! Work that blocks a thread, such as system calls on files: how much runs at once, how much waits, and what
//! becomes of work whose caller has left.
//!
//! The threads are those of tokio's blocking pool, which the application uses too: each kind of work has a
//! small number of them. A call that waits for its turn holds no thread.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout_at,
};

use crate::Error;

/// Bounds of the calls that wait. A single call may be larger.
const MAX_CALLS: usize = 4096;
const MAX_BYTES: usize = 64 << 20;

/// After its deadline no call begins. A running call has so much longer to end.
const GRACE: Duration = Duration::from_secs(1);

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Whether it may have been carried out, or may still be.
    pub(crate) in_doubt: bool,
}

impl Failed {
    /// Nothing was changed.
    pub(crate) fn unchanged(error: Error) -> Self {
        Self { error, in_doubt: false }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// Why work has no result.
pub(crate) enum Stopped {
    /// It was not begun in time, and never will be.
    NotBegun,
    /// It was begun and has not ended in time.
    Running,
    Panicked(tokio::task::JoinError),
}

/// Threads for one kind of work.
#[derive(Debug)]
pub(crate) struct Turns {
    permits: Arc<Semaphore>,
    calls: AtomicUsize,
    bytes: AtomicUsize,
}

impl Turns {
    /// Work that runs on at most so many threads at once.
    pub(crate) fn new(threads: usize) -> Self {
        let permits = Arc::new(Semaphore::new(threads));
        Self { permits, calls: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Takes a place for a call that keeps so many bytes while it waits. `None` if too much waits already.
    pub(crate) fn enter(&self, bytes: usize) -> Option<Place<'_>> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let place = Place { turns: self, bytes };
        let fits = calls < MAX_CALLS && (before == 0 || bytes == 0 || before + bytes <= MAX_BYTES);
        fits.then_some(place)
    }

    /// Waits for a turn, and runs the work on a thread. A caller that leaves before the work has begun takes
    /// it along.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        until: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let Ok(Ok(permit)) = timeout_at(until.into(), self.permits.clone().acquire_owned()).await else {
            return Err(Stopped::NotBegun);
        };
        let caller = Claim(Arc::new(Mutex::new(Some(permit))));
        let thread = Claim(caller.0.clone());
        let task = spawn_blocking(move || {
            let _permit = thread.take()?;
            Some(work())
        });
        match timeout_at((until + GRACE).into(), task).await {
            Ok(Ok(Some(result))) => Ok(result),
            Ok(Err(error)) if error.is_panic() => Err(Stopped::Panicked(error)),
            // The runtime is stopping.
            Ok(Ok(None) | Err(_)) => Err(Stopped::NotBegun),
            Err(_) if caller.take().is_some() => Err(Stopped::NotBegun),
            Err(_) => Err(Stopped::Running),
        }
    }
}

/// The place of a call that waits or runs.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    turns: &'a Turns,
    bytes: usize,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.calls.fetch_sub(1, Ordering::Relaxed);
        self.turns.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The permit, taken by the thread that begins the work, or by the caller that leaves before: work that waits
/// for a thread of a full pool must not keep others from their turn.
struct Claim(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Claim {
    /// `None` if the other one has taken it.
    fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.take();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        sync::{atomic::AtomicBool, mpsc},
        thread::sleep,
    };

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(100)
    }

    /// Occupies the only thread until the sender is dropped.
    fn occupy(turns: &Arc<Turns>) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let turns = turns.clone();
        tokio::spawn(async move {
            let work = move || {
                begun.send(()).unwrap();
                let _ = released.recv();
            };
            turns.run(Instant::now() + Duration::from_secs(60), work).await.map_err(|_| ())
        });
        tokio::task::block_in_place(|| begins.recv().unwrap());
        release
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn work_that_was_not_begun_in_time_never_runs() {
        let turns = Arc::new(Turns::new(1));
        let release = occupy(&turns);
        let ran = Arc::new(AtomicBool::new(false));
        let work = |ran: Arc<AtomicBool>| move || ran.store(true, Ordering::SeqCst);
        let stopped = turns.run(soon(), work(ran.clone())).await;
        assert!(matches!(stopped, Err(Stopped::NotBegun)));
        // A caller that leaves by itself.
        let left = turns.run(Instant::now() + Duration::from_secs(60), work(ran.clone()));
        assert!(tokio::time::timeout(Duration::from_millis(50), left).await.is_err());
        drop(release);
        let next = turns.run(Instant::now() + Duration::from_secs(60), || 1).await;
        assert!(matches!(next, Ok(1)) && !ran.load(Ordering::SeqCst));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn work_that_does_not_end_is_in_doubt() {
        let turns = Turns::new(1);
        let stopped = turns.run(soon(), || sleep(GRACE + Duration::from_secs(1))).await;
        assert!(matches!(stopped, Err(Stopped::Running)));
        let stopped = Turns::new(1).run::<()>(soon(), || panic!("as expected")).await;
        assert!(matches!(stopped, Err(Stopped::Panicked(_))));
    }

    /// A pool without a free thread: the application's work occupies all.
    #[test]
    fn work_that_waits_for_a_thread_of_the_pool_never_runs_after_its_caller_has_left() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (release, released) = mpsc::channel::<()>();
        let ran = Arc::new(AtomicBool::new(false));
        let shared = ran.clone();
        runtime.block_on(async move {
            let application = spawn_blocking(move || released.recv());
            let turns = Turns::new(1);
            let stopped = turns.run(soon(), move || shared.store(true, Ordering::SeqCst)).await;
            assert!(matches!(stopped, Err(Stopped::NotBegun)));
            assert_eq!(turns.permits.available_permits(), 1, "others have their turn");
            drop(release);
            application.await.unwrap().unwrap_err();
            let next = turns.run(Instant::now() + Duration::from_secs(60), || 1).await;
            assert!(matches!(next, Ok(1)));
        });
        assert!(!ran.load(Ordering::SeqCst));
    }

    #[test]
    fn what_waits_is_bounded_in_calls_and_bytes() {
        let turns = Turns::new(1);
        let large = turns.enter(2 * MAX_BYTES).unwrap();
        assert!(turns.enter(1).is_none());
        let small: Vec<_> = (1..MAX_CALLS).map(|_| turns.enter(0).unwrap()).collect();
        assert!(turns.enter(0).is_none());
        drop((large, small));
        assert!(turns.enter(MAX_BYTES).is_some() && turns.enter(1).is_some());
    }
}
