//! Whole sessions in a cache. Django's `cache` engine.

use std::{fmt, sync::Arc, time::SystemTime};

use futures_util::future::try_join_all;

use super::{Cache, Entry, Format, Replaced};
use crate::{
    Error, SessionKey,
    codec::{Serializer, SessionData},
    store::{Cursor, Listed, Loaded, Outcome, Page, Record, Seen, SessionStore},
};

/// Django's `KEY_PREFIX` of this engine.
const PREFIX: &str = "django.contrib.sessions.cache";

/// That of the other engine, which begins with ours.
const OTHER: &str = "_db";

/// How many keys are drawn to find one near an old one. In a Redis Cluster one of 16,384 is.
const DRAWS: usize = 1 << 20;

/// Keeps sessions in a cache alone: as fast as the cache, and gone when it forgets them. Django's
/// `django.contrib.sessions.backends.cache`.
///
/// What is in the cache is not signed, as in Django: who can write there is anybody.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{Session, store::{CacheStore, MemoryCache}};
///
/// let store = CacheStore::new(MemoryCache::new());
/// let session = Session::create(&store);
/// session.insert("k1", "v1")?;
/// session.save().await?;
/// # Ok(()) }
/// ```
pub struct CacheStore<C> {
    cache: Arc<C>,
    format: Format,
}

impl<C: Cache> CacheStore<C> {
    /// Sessions in `cache`, pickled as Django does it (JSON without the feature `pickle`).
    pub fn new(cache: C) -> Self {
        Self { cache: Arc::new(cache), format: Format::default() }
    }

    /// Another serializer: [`JsonSerializer`](crate::codec::JsonSerializer) for django-redis' own of that name.
    #[must_use]
    pub fn serializer(mut self, serializer: impl Serializer) -> Self {
        self.format.serializer = Arc::new(serializer);
        self
    }

    /// Compress from this size on, if that makes it shorter. Only for django-redis with its `ZlibCompressor`, since
    /// Django's own `RedisCache` cannot read it. What is compressed is always read.
    #[must_use]
    pub fn compress_from(mut self, bytes: usize) -> Self {
        self.format.compress_from = Some(bytes);
        self
    }

    /// The largest session that is read or written. Default: 16 MiB.
    #[must_use]
    pub fn max_session_bytes(mut self, bytes: usize) -> Self {
        self.format.max_session_bytes = bytes;
        self
    }

    pub(in crate::store) fn cache(&self) -> &C {
        &self.cache
    }

    fn loaded(&self, entry: Option<Entry>) -> Loaded {
        let Some(Entry { value, expires }) = entry else { return Loaded::Missing };
        match self.format.load(&value) {
            Ok(data) => Loaded::Found(Record { data, seen: Seen::new(value), expires }),
            Err(error) => Loaded::Unreadable(Arc::new(error)),
        }
    }

    fn replaced(&self, outcome: Replaced, value: Vec<u8>) -> Outcome {
        match outcome {
            Replaced::Done => Outcome::Saved(Seen::new(value)),
            Replaced::Taken => Outcome::KeyTaken,
            Replaced::Gone => Outcome::Gone,
            Replaced::Changed(entry) => self.loaded(Some(entry)).refused(),
        }
    }
}

impl<C: Cache> SessionStore for CacheStore<C> {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        Ok(self.loaded(self.cache.get(&name(key)).await?))
    }

    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let value = self.format.dump(data)?;
        match self.cache.add(&name(key), &value, expires).await? {
            true => Ok(Outcome::Saved(Seen::new(value))),
            false => Ok(Outcome::KeyTaken),
        }
    }

    async fn update(
        &self,
        key: &SessionKey,
        seen: &Seen,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let value = self.format.dump(data)?;
        let outcome = self.cache.replace(&name(key), seen.as_bytes(), &value, expires).await?;
        Ok(self.replaced(outcome, value))
    }

    async fn rename(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let value = self.format.dump(data)?;
        let (old, new) = (name(key), name(new_key));
        let outcome = self.cache.rename(&old, seen.as_bytes(), &new, &value, expires).await?;
        Ok(self.replaced(outcome, value))
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.cache.delete(&name(key)).await
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        Ok(self.cache.get(&name(key)).await?.is_some())
    }

    /// One that the cache can rename the old one to.
    fn draw_key(&self, old: Option<&SessionKey>) -> SessionKey {
        let Some(old) = old.map(name) else { return SessionKey::generate() };
        let mut keys = (0..DRAWS).map(|_| SessionKey::generate());
        keys.find(|key| self.cache.is_near(&old, &name(key))).unwrap_or_else(SessionKey::generate)
    }

    /// None that would name a session of the other engine.
    fn parse_key(&self, text: &str) -> Option<SessionKey> {
        SessionKey::parse(text).filter(|key| !is_others(key))
    }

    fn patience(&self) -> std::time::Duration {
        self.cache.deadline()
    }

    async fn check(&self) -> Result<(), Error> {
        self.cache.check().await
    }

    /// Nothing to do: a cache forgets by itself.
    async fn clear_expired(&self) -> Result<u64, Error> {
        Ok(0)
    }

    async fn page(&self, cursor: Option<&Cursor>) -> Result<Page, Error> {
        let (names, next) = self.cache.names(PREFIX, cursor.map(Cursor::as_str)).await?;
        let entries = try_join_all(names.iter().map(|name| self.cache.get(name))).await?;
        let mut sessions = Vec::with_capacity(names.len());
        for (name, entry) in names.iter().zip(entries) {
            let key = name.strip_prefix(PREFIX).and_then(|key| self.parse_key(key));
            let (Some(key), Some(entry)) = (key, entry) else { continue };
            let data = self.format.load(&entry.value).map_err(Arc::new);
            sessions.push(Listed { key, expires: entry.expires, data });
        }
        Ok(Page { sessions, next: next.map(Cursor::new) })
    }
}

/// `…sessions.cache` and `d_db…` are `…sessions.cached_db` and `…`.
fn is_others(key: &SessionKey) -> bool {
    key.as_str().strip_prefix('d').is_some_and(|rest| rest.starts_with(OTHER))
}

fn name(key: &SessionKey) -> String {
    format!("{PREFIX}{}", key.as_str())
}

impl<C> Clone for CacheStore<C> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), format: self.format.clone() }
    }
}

impl<C: fmt::Debug> fmt::Debug for CacheStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheStore").field("cache", &self.cache).field("format", &self.format).finish()
    }
}
