//! A real backend with a gate in it: one operation stops after it was carried out, until the test lets it go
//! on.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_django_session::{
    Error, SecretKey, SessionKey, Store,
    backend::{Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row, SiteSettings},
};
use tokio::sync::Notify;

use super::proc::PATIENCE;

/// Clones share the gate.
#[derive(Clone, Debug)]
pub struct Gated<B> {
    backend: B,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    operation: Mutex<Option<&'static str>>,
    carried_out: Mutex<Vec<String>>,
    reached: Notify,
    open: Notify,
}

impl<B: Backend> Gated<B> {
    pub fn new(backend: B) -> Self {
        Self { backend, gate: Arc::default() }
    }

    /// The next `operation` will stop: `"get"`, `"insert"`, `"update"`, `"rename"`, `"touch"`, `"delete"` or
    /// `"list"`.
    pub fn close(&self, operation: &'static str) {
        *self.gate.operation.lock().unwrap() = Some(operation);
    }

    /// Waits until it has.
    pub async fn reached(&self) {
        let waited = tokio::time::timeout(PATIENCE, self.gate.reached.notified()).await;
        waited.expect("no operation came to the gate");
    }

    pub fn open(&self) {
        self.gate.open.notify_one();
    }

    /// How often it was carried out.
    pub fn count(&self, operation: &str) -> usize {
        self.gate.carried_out.lock().unwrap().iter().filter(|one| *one == operation).count()
    }

    async fn pass<T>(&self, operation: &str, result: T) -> T {
        self.gate.carried_out.lock().unwrap().push(operation.to_owned());
        let stop = self.gate.operation.lock().unwrap().take_if(|wanted| *wanted == operation).is_some();
        if stop {
            self.gate.reached.notify_one();
            self.gate.open.notified().await;
        }
        result
    }
}

impl<B: Backend + Clone> Gated<B> {
    /// A store behind this gate.
    pub fn store(&self) -> Store {
        Store::new(self.clone(), SecretKey::new("a secret"))
    }
}

impl<B: Backend + Clone> Backend for Gated<B> {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        self.pass("get", self.backend.get(key).await).await
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        self.pass("insert", self.backend.insert(new).await).await
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        let operation = match (&change.new_key, &change.value) {
            (Some(_), _) => "rename",
            (None, Some(_)) => "update",
            (None, None) => "touch",
        };
        self.pass(operation, self.backend.replace(change).await).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.pass("delete", self.backend.delete(key).await).await
    }

    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        self.pass("list", self.backend.list(after).await).await
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        self.backend.exists(key).await
    }

    async fn clear_expired(&self, limit: u32) -> Result<u64, Error> {
        self.backend.clear_expired(limit).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.backend.check().await
    }

    fn save_timeout(&self) -> Duration {
        PATIENCE
    }

    fn with_settings(&self, site: &SiteSettings) -> Result<Option<Self>, Error> {
        let adapted = self.backend.with_settings(site)?;
        Ok(adapted.map(|backend| Self { backend, gate: self.gate.clone() }))
    }
}
