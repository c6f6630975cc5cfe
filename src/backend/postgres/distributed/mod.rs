//! Tables that are spread over several servers: Citus, YugabyteDB, CockroachDB, foreign partitions.
//!
//! There every statement is about one key, so that one server answers it, and runs beside the others on a
//! connection of its own. A statement for many keys would be a transaction over several servers; some engines
//! refuse it, and Citus can crash.

mod clear;
mod detect;
mod list;
mod rights;
mod sql;

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Instant,
};

pub(super) use self::{
    list::page,
    rights::check,
    sql::{DistributedSql, rename},
};

/// Where the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nobody has looked yet, or there is no table yet.
    Unknown,
    /// On one PostgreSQL, also in partitions.
    OneServer,
    Distributed,
}

const UNKNOWN: u8 = 0;
const ONE_SERVER: u8 = 1;
const DISTRIBUTED: u8 = 2;

/// What is known about the table, shared by all runtimes.
///
/// It is looked up on each new connection: a table can be distributed while it is in use.
pub(super) struct Engine {
    /// The application's setting, if it has one.
    told: Option<bool>,
    place: AtomicU8,
    /// The table's other columns, quoted, which a new key takes along. `None` until they are looked up.
    others: RwLock<Option<Arc<[String]>>>,
    was_on_one_server: AtomicBool,
    /// When a table that was on one server was found to be distributed.
    changed: Mutex<Option<Instant>>,
}

impl Engine {
    pub(super) fn new(told: Option<bool>) -> Self {
        let place = match told {
            None => UNKNOWN,
            Some(false) => ONE_SERVER,
            Some(true) => DISTRIBUTED,
        };
        Self {
            told,
            place: AtomicU8::new(place),
            others: RwLock::default(),
            was_on_one_server: AtomicBool::new(false),
            changed: Mutex::default(),
        }
    }

    pub(super) fn told(&self) -> Option<bool> {
        self.told
    }

    pub(super) fn place(&self) -> Place {
        match self.place.load(Ordering::Relaxed) {
            ONE_SERVER => Place::OneServer,
            DISTRIBUTED => Place::Distributed,
            _ => Place::Unknown,
        }
    }

    /// The server refused a statement that every PostgreSQL takes: the table may be another one by now.
    pub(super) fn forget(&self) {
        if self.told.is_none() {
            self.place.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    /// The table's further columns, quoted.
    pub(super) fn others(&self) -> Arc<[String]> {
        self.others.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// The time before which no connection may have been opened: its settings are for a table on one server.
    pub(super) fn since(&self) -> Option<Instant> {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, place: Place) {
        if place == Place::Distributed && self.was_on_one_server.load(Ordering::Relaxed) {
            self.was_on_one_server.store(false, Ordering::Relaxed);
            *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        if place == Place::OneServer {
            self.was_on_one_server.store(true, Ordering::Relaxed);
        }
        let place = match place {
            Place::Unknown => UNKNOWN,
            Place::OneServer => ONE_SERVER,
            Place::Distributed => DISTRIBUTED,
        };
        self.place.store(place, Ordering::Relaxed);
    }
}
