//! Long computations, away from the worker that serves other requests meanwhile.

use std::{
    panic::resume_unwind,
    sync::LazyLock,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::{
    Error,
    backend::blocking::{Stopped, Turns},
};

/// Computations at once: each takes a multiple of its session's size in memory, and a processor.
static TURNS: LazyLock<Turns> = LazyLock::new(|| Turns::new(4));

/// How long a computation waits for its turn.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the work on a thread that may block. Without a runtime it runs here.
///
/// Errors if too much waits already, or the runtime is stopping. The work of a caller that leaves before its
/// turn never runs.
///
/// # Panics
///
/// If the work does.
pub(super) async fn off_worker<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if Handle::try_current().is_err() {
        return Ok(work());
    }
    let busy = || Error::store("cannot read or save a large session: too many others are read or saved");
    let _place = TURNS.enter(0).ok_or_else(busy)?;
    TURNS.run(Instant::now() + TIMEOUT, work).await.map_err(|stopped| match stopped {
        Stopped::Panicked(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => busy(),
        },
        Stopped::NotBegun | Stopped::Running => busy(),
    })
}
