//! The open connections: one for each server and runtime.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::runtime::{Handle, Id};

use super::{connection::Connection, error::CallError, stream::Address, url::RedisConfig};

pub(super) struct ConnectionPool {
    pub(super) config: RedisConfig,
    /// A connection belongs to the runtime that drives it; each worker of actix is one.
    connections: Mutex<HashMap<(Id, Address), SharedConnection>>,
}

/// A connection, or none yet; locked while it is opened.
type SharedConnection = Arc<tokio::sync::Mutex<Option<Connection>>>;

impl ConnectionPool {
    pub(super) fn new(config: RedisConfig) -> Self {
        Self { config, connections: Mutex::default() }
    }

    /// Returns an open connection, or opens one. Concurrent callers wait for the same one, each within its
    /// own timeout.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) async fn get(&self, server: &Address) -> Result<Connection, CallError> {
        let shared = {
            let mut all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (Handle::current().id(), server.clone());
            if !all.contains_key(&key) {
                // Removes those of runtimes that have ended, and of servers that are gone.
                all.retain(|_, shared| {
                    shared.try_lock().map_or(true, |one| one.as_ref().is_some_and(Connection::is_usable))
                });
            }
            all.entry(key).or_default().clone()
        };
        let mut shared = shared.lock().await;
        if let Some(connection) = shared.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(connection.clone());
        }
        *shared = None;
        let connection = Connection::open(&self.config, server, true).await?;
        *shared = Some(connection.clone());
        Ok(connection)
    }

    /// Excludes all connections to a server from new calls.
    pub(super) fn retire(&self, server: &Address) {
        let all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, shared) in all.iter().filter(|((_, other), _)| other == server) {
            if let Ok(Some(connection)) = shared.try_lock().as_deref() {
                connection.retire();
            }
        }
    }
}

impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}
