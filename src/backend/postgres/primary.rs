//! Whether connections lead to where the primary is. One that was opened before it was another server may stay open for long,
//! and whoever reads there reads what was.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// What all connections to a database have found out.
#[derive(Default)]
pub(super) struct Primary {
    /// A server took no writes any more.
    in_doubt: AtomicBool,
    /// When the first connection was opened to one that takes them again.
    since: Mutex<Option<Instant>>,
}

impl Primary {
    pub(super) fn takes_no_writes(&self) {
        self.in_doubt.store(true, Ordering::Relaxed);
    }

    /// By a connection that was opened then.
    pub(super) fn took_a_write(&self, opened: Instant) {
        if self.in_doubt.load(Ordering::Relaxed) && self.in_doubt.swap(false, Ordering::Relaxed) {
            let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
            *since = (*since).max(Some(opened));
        }
    }

    /// Connections that were opened before this may lead elsewhere.
    pub(super) fn since(&self) -> Option<Instant> {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
