//! Connections and batchers, which each runtime has of its own.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::runtime::{Handle, Id};

#[cfg(feature = "auth")]
use super::texts::Lookups;
use super::{
    batch::Batcher,
    columns::Columns,
    distributed::Engine,
    ops::{Deletes, Gets, Inserts, Replaces},
    pool::{Connections, Permits, Source},
    rows::SessionRows,
    sql::Sql,
    table::TableName,
};
use crate::Error;

/// A backend's settings.
#[derive(Clone)]
pub(super) struct PostgresSettings {
    pub(super) source: Source,
    pub(super) timeout: Duration,
    pub(super) pgbouncer: bool,
    /// The application's setting, if it has one.
    pub(super) distributed: Option<bool>,
    pub(super) engine: Arc<Engine>,
    /// Shared by all runtimes if a pooler has the connections.
    pub(super) pooler_permits: Permits,
    pub(super) table: TableName,
    pub(super) columns: Columns,
    pub(super) sql: Arc<Sql>,
    /// PostgreSQL has no longer values.
    pub(super) max_value_bytes: i32,
}

/// All runtimes that use a backend. A worker of actix is a runtime; so is a multi-threaded one.
pub(super) struct Runtimes {
    pub(super) settings: PostgresSettings,
    all: RwLock<HashMap<Id, Arc<PerRuntime>>>,
}

/// Connections and batchers of one runtime.
pub(super) struct PerRuntime {
    pub(super) rows: SessionRows,
    pub(super) gets: Batcher<Gets>,
    pub(super) inserts: Batcher<Inserts>,
    pub(super) replaces: Batcher<Replaces>,
    pub(super) deletes: Batcher<Deletes>,
    #[cfg(feature = "auth")]
    pub(super) lookups: Batcher<Lookups>,
    /// Other statements on the tables of users, those that wait and those in flight.
    #[cfg(feature = "auth")]
    pub(super) texts: Arc<super::queue::Load>,
}

impl PerRuntime {
    fn start(settings: &PostgresSettings) -> Result<Self, Error> {
        let rows = SessionRows {
            connections: Connections::new(settings)?,
            sql: settings.sql.clone(),
            max_value_bytes: settings.max_value_bytes,
        };
        let connections = &rows.connections;
        Ok(Self {
            gets: Batcher::start(Gets(rows.clone()), connections),
            inserts: Batcher::start(Inserts(rows.clone()), connections),
            replaces: Batcher::start(Replaces(rows.clone()), connections),
            deletes: Batcher::start(Deletes(rows.clone()), connections),
            #[cfg(feature = "auth")]
            texts: Arc::new(super::queue::Load::new(crate::backend::database::LOAD_USER)),
            #[cfg(feature = "auth")]
            lookups: Batcher::start(Lookups(connections.clone()), connections),
            rows,
        })
    }

    /// Whether its runtime still exists.
    fn is_running(&self) -> bool {
        #[cfg(feature = "auth")]
        if !self.lookups.is_running() {
            return false;
        }
        self.gets.is_running()
            && self.inserts.is_running()
            && self.replaces.is_running()
            && self.deletes.is_running()
    }
}

impl Runtimes {
    pub(super) fn new(settings: PostgresSettings) -> Self {
        Self { settings, all: RwLock::default() }
    }

    /// Returns what belongs to the runtime on which this is called.
    pub(super) fn current(&self) -> Result<Arc<PerRuntime>, Error> {
        let runtime = Handle::try_current().map_err(|cause| {
            Error::store_caused_by("Postgres works only on a runtime of tokio or actix", cause)
        })?;
        let known = self.all.read().unwrap_or_else(PoisonError::into_inner).get(&runtime.id()).cloned();
        if let Some(known) = known.filter(|known| known.is_running()) {
            return Ok(known);
        }
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, one| one.is_running());
        if let Some(known) = all.get(&runtime.id()) {
            return Ok(known.clone());
        }
        let started = Arc::new(PerRuntime::start(&self.settings)?);
        all.insert(runtime.id(), started.clone());
        Ok(started)
    }
}
