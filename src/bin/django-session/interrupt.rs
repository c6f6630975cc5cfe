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
    error::Status,
    output::{counted, info},
};

/// Listens for signals from its creation on.
pub(crate) struct Interrupt(watch::Receiver<Option<Status>>);

impl Interrupt {
    /// `cleared` is reported by a second signal.
    pub(crate) fn listen(cleared: Arc<AtomicU64>) -> Self {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            // Where signals cannot be caught, the first one stops the process.
            let Ok(status) = signal().await else { return std::future::pending().await };
            sender.send_replace(Some(status));
            info("\nstopping after the current batch; interrupt again to stop now");
            let Ok(status) = signal().await else { return std::future::pending().await };
            let cleared = counted(cleared.load(Ordering::Relaxed), "expired session");
            info(&format!("\nstopped: cleared {cleared}, and possibly the current batch"));
            std::process::exit(status as i32);
        });
        Self(receiver)
    }

    /// The exit status after a signal.
    pub(crate) fn received(&self) -> Option<Status> {
        *self.0.borrow()
    }

    /// Waits, but no longer than until a signal comes.
    pub(crate) async fn pause(&mut self, duration: Duration) {
        if !duration.is_zero() {
            // The sender lives as long as the process, so this never errs.
            either(tokio::time::sleep(duration), self.0.wait_for(Option::is_some)).await;
        }
    }
}

/// Waits for the first of two; whether it is `a`.
async fn either<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> bool {
    matches!(select(pin!(a), pin!(b)).await, Either::Left(_))
}

/// Waits for Ctrl-C or, on Unix, SIGTERM.
async fn signal() -> io::Result<Status> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let interrupted = either(int.recv(), term.recv()).await;
        Ok(if interrupted { Status::Interrupted } else { Status::Terminated })
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map(|()| Status::Interrupted)
}
