//! The hosts of a database, and which connections may lead to a former primary.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio_postgres::Config;

use super::tls::Transport;

/// A database to connect to.
pub(super) struct Hosts {
    /// One for each host, in the URL's order.
    pub(super) configs: Vec<Config>,
    /// Whether to begin with a random host (`load_balance_hosts=random`).
    pub(super) any_first: bool,
    pub(super) transport: Transport,
    pub(super) primary: Primary,
}

/// Tracks failover: connections opened earlier may reach the old primary and return stale rows.
#[derive(Default)]
pub(super) struct Primary {
    /// A server refused a write because it is read-only.
    in_doubt: AtomicBool,
    /// When the first connection was opened to a server that takes writes again.
    since: Mutex<Option<Instant>>,
}

impl Primary {
    pub(super) fn refused_a_write(&self) {
        self.in_doubt.store(true, Ordering::Relaxed);
    }

    /// Notes a write on a connection that was opened then.
    pub(super) fn took_a_write(&self, opened: Instant) {
        if self.in_doubt.load(Ordering::Relaxed) && self.in_doubt.swap(false, Ordering::Relaxed) {
            let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
            *since = (*since).max(Some(opened));
        }
    }

    /// Returns the time before which no connection may have been opened.
    pub(super) fn since(&self) -> Option<Instant> {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
