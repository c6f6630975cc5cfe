//! A real store with a gate in it: one operation stops after it was carried out, until the test lets it go on.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, SessionKey,
    store::{AnyStore, Cursor, Loaded, Outcome, Page, Seen, SessionData, SessionStore},
};
use tokio::sync::Notify;

use super::proc::PATIENCE;

/// Clones share the gate.
#[derive(Clone, Debug)]
pub struct Gated {
    store: AnyStore,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    operation: Mutex<Option<&'static str>>,
    carried_out: Mutex<Vec<String>>,
    reached: Notify,
    open: Notify,
}

impl Gated {
    pub fn new(store: impl Into<AnyStore>) -> Self {
        Self { store: store.into(), gate: Arc::default() }
    }

    /// The next `operation` (such as `"load"`) will stop.
    pub fn close(&self, operation: &'static str) {
        *self.gate.operation.lock().unwrap() = Some(operation);
    }

    /// Waits until it has.
    pub async fn reached(&self) {
        let waited = tokio::time::timeout(PATIENCE, self.gate.reached.notified()).await;
        waited.expect("nobody came to the gate");
    }

    pub fn open(&self) {
        self.gate.open.notify_one();
    }

    /// How often it was carried out.
    pub fn count(&self, operation: &str) -> usize {
        self.gate.carried_out.lock().unwrap().iter().filter(|one| *one == operation).count()
    }

    async fn pass<T>(&self, operation: &str, answer: T) -> T {
        self.gate.carried_out.lock().unwrap().push(operation.to_owned());
        let stop = self.gate.operation.lock().unwrap().take_if(|wanted| *wanted == operation).is_some();
        if stop {
            self.gate.reached.notify_one();
            self.gate.open.notified().await;
        }
        answer
    }
}

impl SessionStore for Gated {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        self.pass("load", self.store.load(key).await).await
    }

    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.pass("create", self.store.create(key, data, expires).await).await
    }

    async fn update(
        &self,
        key: &SessionKey,
        seen: &Seen,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.pass("update", self.store.update(key, seen, data, expires).await).await
    }

    async fn rename(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.pass("rename", self.store.rename(key, seen, new_key, data, expires).await).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.pass("delete", self.store.delete(key).await).await
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        self.store.exists(key).await
    }

    async fn clear_expired(&self) -> Result<u64, Error> {
        self.store.clear_expired().await
    }

    async fn page(&self, cursor: Option<&Cursor>) -> Result<Page, Error> {
        self.pass("page", self.store.page(cursor).await).await
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}
