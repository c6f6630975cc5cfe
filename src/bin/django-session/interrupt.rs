//! Ctrl-C: the first asks for an end after what is being done, the second is one.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::sync::watch;

use crate::{
    exit::{Exit, Failure},
    output::{counted, tell},
};

/// Hears Ctrl-C and SIGTERM from when it is made.
pub(crate) struct Interrupt {
    asked: watch::Receiver<Option<Exit>>,
}

impl Interrupt {
    /// `done` is what a second Ctrl-C tells.
    pub(crate) fn listen(done: Arc<AtomicU64>) -> Result<Self, Failure> {
        let (tell_it, asked) = watch::channel(None);
        let mut signals =
            Signals::new().map_err(|error| Failure::text(format!("cannot listen for signals: {error}")))?;
        tokio::spawn(async move {
            let exit = signals.next().await;
            tell_it.send_replace(Some(exit));
            tell("\nending after the running batch; once more ends at once");
            let exit = signals.next().await;
            let done = counted(done.load(Ordering::Relaxed), "expired session");
            tell(&format!("\nended: cleared {done}, and maybe the running batch"));
            std::process::exit(exit as i32);
        });
        Ok(Self { asked })
    }

    /// How to end, if that was asked for.
    pub(crate) fn asked(&self) -> Option<Exit> {
        *self.asked.borrow()
    }

    /// Waits, but not if an end is asked for.
    pub(crate) async fn pause(&mut self, duration: Duration) {
        if duration.is_zero() {
            return;
        }
        let asked = async {
            // An error if nobody can ask any more, which is no reason to stop waiting.
            if self.asked.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        either(tokio::time::sleep(duration), asked).await;
    }
}

async fn either<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> Either<A, B> {
    match select(std::pin::pin!(a), std::pin::pin!(b)).await {
        Either::Left((a, _)) => Either::Left(a),
        Either::Right((b, _)) => Either::Right(b),
    }
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

    async fn next(&mut self) -> Exit {
        match either(self.int.recv(), self.term.recv()).await {
            Either::Left(_) => Exit::Interrupted,
            Either::Right(_) => Exit::Terminated,
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

    async fn next(&mut self) -> Exit {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Exit::Interrupted
    }
}
