//! Long computations, away from the worker that serves other requests meanwhile.

use std::panic::resume_unwind;

use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking};

use crate::Error;

/// Computations at once: each takes a multiple of its session's size in memory, and a processor.
static TURNS: Semaphore = Semaphore::const_new(4);

/// Runs the work on a thread that may block. Without a runtime it runs here.
///
/// Errors if the runtime is stopping.
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
    let turn = TURNS.acquire().await;
    let task = spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    task.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Error::store("cannot read or save a large session: the runtime is stopping"),
    })
}
