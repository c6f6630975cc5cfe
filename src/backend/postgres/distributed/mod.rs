//! Tables that are spread over several servers: Citus, YugabyteDB, CockroachDB, foreign partitions.
//!
//! There every statement is about one key, so that one server answers it, and runs beside the others on a
//! connection of its own. A statement for many keys would be a transaction over several servers; some engines
//! refuse it, and Citus can crash.

mod clear;
mod detect;
mod list;
mod rename;
mod rights;
mod sql;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

pub(super) use self::{list::page, rename::rename, rights::check, sql::DistributedSql};

/// Where the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nobody has looked yet, or there is no table yet.
    Unknown,
    /// On one PostgreSQL, also in partitions.
    OneServer,
    Distributed,
}

/// What is known about the table, shared by all runtimes.
///
/// It is looked up on each new connection: a table can be distributed while it is in use.
pub(super) struct Engine {
    /// The application's setting, if it has one.
    told: Option<bool>,
    found: Mutex<Found>,
}

struct Found {
    place: Place,
    /// The database has Citus, which can distribute the table at any time: then a coordinator crashes on a
    /// statement that gives a row another key and was prepared before.
    may_be_distributed: bool,
    /// A server has refused a statement that every PostgreSQL takes.
    in_doubt: bool,
    /// When the table was found to be distributed, although connections were there already.
    distributed_since: Option<Instant>,
}

impl Engine {
    pub(super) fn new(told: Option<bool>) -> Self {
        let place = match told {
            None => Place::Unknown,
            Some(false) => Place::OneServer,
            Some(true) => Place::Distributed,
        };
        let found = Found { place, may_be_distributed: false, in_doubt: false, distributed_since: None };
        Self { told, found: Mutex::new(found) }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn told(&self) -> Option<bool> {
        self.told
    }

    pub(super) fn place(&self) -> Place {
        let found = self.found();
        if found.in_doubt { Place::Unknown } else { found.place }
    }

    /// Whether a row gets another key by being deleted and inserted.
    pub(super) fn renames_apart(&self) -> bool {
        let found = self.found();
        found.place == Place::Distributed || found.may_be_distributed
    }

    /// The server refused a statement that every PostgreSQL takes: the table may be another one by now.
    pub(super) fn doubt(&self) {
        self.found().in_doubt = self.told.is_none();
    }

    /// The time before which no connection may have been opened: its settings are for a table on one server.
    pub(super) fn since(&self) -> Option<Instant> {
        self.found().distributed_since
    }

    fn note(&self, place: Place, may_be_distributed: bool) {
        let mut found = self.found();
        found.may_be_distributed = may_be_distributed;
        if self.told.is_none() && place == Place::Distributed && found.place != Place::Distributed {
            found.distributed_since = Some(Instant::now());
        }
        (found.place, found.in_doubt) = (place, false);
    }
}
