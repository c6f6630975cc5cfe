//! What each runtime has of its own: connections and lanes.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::runtime::{Handle, Id};

use super::{
    connection::{Connections, Source},
    lane::Lane,
    rows::{Creates, Deletes, Loads, Replaces, Rows},
    sql::Sql,
};
use crate::Error;

/// What a store was told.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) source: Source,
    pub(super) deadline: Duration,
    pub(super) sql: Arc<Sql>,
    /// The longest text that is read, in bytes.
    pub(super) max_text: i32,
}

/// All runtimes that use a store: the workers of actix, each of which is one, or one of several threads.
pub(super) struct Workers {
    pub(super) settings: Settings,
    all: RwLock<HashMap<Id, Arc<Worker>>>,
}

pub(super) struct Worker {
    pub(super) connections: Connections,
    pub(super) loads: Lane<Loads>,
    pub(super) creates: Lane<Creates>,
    pub(super) replaces: Lane<Replaces>,
    pub(super) deletes: Lane<Deletes>,
}

impl Worker {
    /// Whether its runtime still is.
    fn is_running(&self) -> bool {
        self.loads.is_running()
            && self.creates.is_running()
            && self.replaces.is_running()
            && self.deletes.is_running()
    }
}

impl Workers {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, all: RwLock::default() }
    }

    /// That of the runtime on which this is called.
    pub(super) fn here(&self) -> Result<Arc<Worker>, Error> {
        let runtime = Handle::try_current().map_err(|cause| {
            Error::store_caused_by("the store works only on a runtime of tokio or actix", cause)
        })?;
        let known = self.all.read().unwrap_or_else(PoisonError::into_inner).get(&runtime.id()).cloned();
        if let Some(worker) = known.filter(|worker| worker.is_running()) {
            return Ok(worker);
        }
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, worker| worker.is_running());
        if let Some(worker) = all.get(&runtime.id()) {
            return Ok(worker.clone());
        }
        let worker = Arc::new(self.start()?);
        all.insert(runtime.id(), worker.clone());
        Ok(worker)
    }

    fn start(&self) -> Result<Worker, Error> {
        let Settings { source, deadline, sql, max_text } = &self.settings;
        let connections = Connections::new(source, *deadline)?;
        let rows = || Rows { connections: connections.clone(), sql: sql.clone(), max_text: *max_text };
        let apart = || connections.apart.clone();
        Ok(Worker {
            loads: Lane::start(Loads(rows()), apart()),
            creates: Lane::start(Creates(rows()), apart()),
            replaces: Lane::start(Replaces(rows()), apart()),
            deletes: Lane::start(Deletes(rows()), apart()),
            connections,
        })
    }
}
