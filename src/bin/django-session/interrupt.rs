//! Ctrl-C and SIGTERM: the first stops after the current batch, the second at once.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::sync::watch;

use crate::{
    error::{CliError, Status},
    output::{counted, info},
};

/// Listens for signals from its creation on.
pub(crate) struct Interrupt(watch::Receiver<Option<Status>>);

impl Interrupt {
    /// `cleared` is reported by a second signal.
    pub(crate) fn listen(cleared: Arc<AtomicU64>) -> Result<Self, CliError> {
        let (sender, receiver) = watch::channel(None);
        let mut signals =
            Signals::new().map_err(|error| CliError::new(format!("cannot listen for signals: {error}")))?;
        tokio::spawn(async move {
            sender.send_replace(Some(signals.next().await));
            info("\nstopping after the current batch; interrupt again to stop now");
            let status = signals.next().await;
            let cleared = counted(cleared.load(Ordering::Relaxed), "expired session");
            info(&format!("\nstopped: cleared {cleared}, and possibly the current batch"));
            std::process::exit(status as i32);
        });
        Ok(Self(receiver))
    }

    /// The exit status, if a signal has come.
    pub(crate) fn received(&self) -> Option<Status> {
        *self.0.borrow()
    }

    /// Waits, but no longer than until a signal comes.
    pub(crate) async fn pause(&mut self, duration: Duration) {
        if !duration.is_zero() {
            // The sender lives as long as the process, so this errs never.
            either(tokio::time::sleep(duration), self.0.wait_for(Option::is_some)).await;
        }
    }
}

/// Waits for the first of two; whether it is `a`.
async fn either<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> bool {
    matches!(select(pin!(a), pin!(b)).await, Either::Left(_))
}

#[cfg(unix)]
struct Signals {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Status {
        match either(self.int.recv(), self.term.recv()).await {
            true => Status::Interrupted,
            false => Status::Terminated,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Status {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Status::Interrupted
    }
}
