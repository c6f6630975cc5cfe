//! Sessions in this process's memory, for tests. Django's LocMem.

use std::{fmt, time::SystemTime};

use super::{CacheStore, Cursor, Loaded, MemoryCache, Outcome, Page, Seen, SessionData, SessionStore};
use crate::{Error, SessionKey, codec::JsonSerializer};

/// Keeps sessions in memory: they end with the process and are not shared with any other. At most 100,000 of them;
/// a full store lets go of the one that would end first.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{Session, store::MemoryStore};
///
/// let store = MemoryStore::new();
/// let session = Session::create(&store);
/// session.insert("k1", "v1")?;
/// session.save().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryStore(CacheStore<MemoryCache>);

impl MemoryStore {
    /// An empty store. Clones share their sessions.
    pub fn new() -> Self {
        Self::in_cache(MemoryCache::new())
    }

    /// An empty store for at most so many sessions.
    pub fn with_max_sessions(sessions: usize) -> Self {
        Self::in_cache(MemoryCache::new().max_entries(sessions))
    }

    fn in_cache(cache: MemoryCache) -> Self {
        Self(CacheStore::new(cache).serializer(JsonSerializer))
    }
}

impl SessionStore for MemoryStore {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        self.0.load(key).await
    }

    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.0.create(key, data, expires).await
    }

    async fn update(
        &self,
        key: &SessionKey,
        seen: &Seen,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.0.update(key, seen, data, expires).await
    }

    async fn rename(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.0.rename(key, seen, new_key, data, expires).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.0.delete(key).await
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        self.0.exists(key).await
    }

    async fn clear_expired(&self) -> Result<u64, Error> {
        Ok(self.0.cache().sweep())
    }

    async fn page(&self, cursor: Option<&Cursor>) -> Result<Page, Error> {
        self.0.page(cursor).await
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} sessions)", self.0.cache().len())
    }
}
