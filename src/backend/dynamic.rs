//! A backend whose type is chosen at run time, as Django's SESSION_ENGINE is.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

#[cfg(feature = "auth")]
use super::database::Database;
use super::{Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row, SiteSettings};
use crate::{Error, SessionKey, metrics::EngineLabel};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// [`Backend`] as a trait object.
pub(crate) trait DynBackend: Send + Sync {
    fn get<'a>(&'a self, key: &'a SessionKey) -> Boxed<'a, Option<Row>>;
    fn insert<'a>(&'a self, new: Insert<'a>) -> Boxed<'a, Inserted>;
    fn replace<'a>(&'a self, change: Replace<'a>) -> Boxed<'a, Replaced>;
    fn delete<'a>(&'a self, key: &'a SessionKey) -> Boxed<'a, bool>;
    fn list(&self, after: Option<Cursor>) -> Boxed<'_, Page>;
    fn exists<'a>(&'a self, key: &'a SessionKey) -> Boxed<'a, bool>;
    fn clear_expired(&self, limit: u32) -> Boxed<'_, u64>;
    fn uncleared(&self) -> Option<Error>;
    fn check(&self) -> Boxed<'_, ()>;
    fn create_table(&self) -> Boxed<'_, ()>;
    fn generate_key(&self, old: Option<&SessionKey>) -> SessionKey;
    fn save_timeout(&self) -> Duration;
    /// For metrics.
    fn engine(&self) -> EngineLabel;
    fn indexes_expiry(&self) -> bool;
    /// Its database, if that has other tables too.
    #[cfg(feature = "auth")]
    fn database(&self) -> Option<Database>;
    fn with_settings(&self, site: &SiteSettings) -> Result<Option<Arc<dyn DynBackend>>, Error>;
}

impl<B: Backend> DynBackend for B {
    fn get<'a>(&'a self, key: &'a SessionKey) -> Boxed<'a, Option<Row>> {
        Box::pin(Backend::get(self, key))
    }

    fn insert<'a>(&'a self, new: Insert<'a>) -> Boxed<'a, Inserted> {
        Box::pin(Backend::insert(self, new))
    }

    fn replace<'a>(&'a self, change: Replace<'a>) -> Boxed<'a, Replaced> {
        Box::pin(Backend::replace(self, change))
    }

    fn delete<'a>(&'a self, key: &'a SessionKey) -> Boxed<'a, bool> {
        Box::pin(Backend::delete(self, key))
    }

    fn list(&self, after: Option<Cursor>) -> Boxed<'_, Page> {
        Box::pin(Backend::list(self, after))
    }

    fn exists<'a>(&'a self, key: &'a SessionKey) -> Boxed<'a, bool> {
        Box::pin(Backend::exists(self, key))
    }

    fn clear_expired(&self, limit: u32) -> Boxed<'_, u64> {
        Box::pin(Backend::clear_expired(self, limit))
    }

    fn uncleared(&self) -> Option<Error> {
        Backend::uncleared(self)
    }

    fn check(&self) -> Boxed<'_, ()> {
        Box::pin(Backend::check(self))
    }

    fn create_table(&self) -> Boxed<'_, ()> {
        Box::pin(Backend::create_table(self))
    }

    fn generate_key(&self, old: Option<&SessionKey>) -> SessionKey {
        Backend::generate_key(self, old)
    }

    fn save_timeout(&self) -> Duration {
        Backend::save_timeout(self)
    }

    fn engine(&self) -> EngineLabel {
        let backend = self as &dyn std::any::Any;
        #[cfg(feature = "postgres")]
        if backend.is::<super::Postgres>() {
            return EngineLabel::Postgres;
        }
        #[cfg(feature = "sqlite")]
        if backend.is::<super::Sqlite>() {
            return EngineLabel::Sqlite;
        }
        #[cfg(feature = "redis")]
        if backend.is::<super::Redis>() {
            return EngineLabel::Redis;
        }
        match backend {
            _ if backend.is::<super::Files>() => EngineLabel::Files,
            _ if backend.is::<super::Memory>() => EngineLabel::Memory,
            _ => EngineLabel::Other,
        }
    }

    fn indexes_expiry(&self) -> bool {
        Backend::indexes_expiry(self)
    }

    #[cfg(feature = "auth")]
    fn database(&self) -> Option<Database> {
        let backend = self as &dyn std::any::Any;
        #[cfg(feature = "postgres")]
        if let Some(postgres) = backend.downcast_ref::<super::Postgres>() {
            return Some(Database::Postgres(postgres.clone()));
        }
        #[cfg(feature = "sqlite")]
        if let Some(sqlite) = backend.downcast_ref::<super::Sqlite>() {
            return Some(Database::Sqlite(sqlite.clone()));
        }
        None
    }

    fn with_settings(&self, site: &SiteSettings) -> Result<Option<Arc<dyn DynBackend>>, Error> {
        let adapted = Backend::with_settings(self, site)?;
        Ok(adapted.map(|backend| Arc::new(backend) as Arc<dyn DynBackend>))
    }
}
