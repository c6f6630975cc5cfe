//! A cache in front of a database. Django's `cached_db` engine.
//!
//! The database has the last word: a save is compared with its row, never with the cache alone.

use std::time::SystemTime;

use bytes::Bytes;

use super::{
    encoded::EncodedBackend,
    lease::{Lease, LeasedCache, Lookup},
    record::{Loaded, Record, Saved, Update, Version},
};
use crate::{Error, SessionKey, SessionSettings, codec::SessionData};

#[derive(Clone)]
pub(super) struct Cached {
    cache: LeasedCache,
    pub(super) database: EncodedBackend,
}

impl Cached {
    pub(super) fn new(cache: EncodedBackend, database: EncodedBackend) -> Self {
        Self { cache: LeasedCache::new(cache), database }
    }

    pub(super) fn with_settings(&self, settings: &SessionSettings) -> Result<Self, Error> {
        Ok(Self {
            cache: self.cache.with_settings(settings)?,
            database: self.database.with_settings(settings, false)?,
        })
    }

    pub(super) async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        let lease = match self.cache.get(key).await {
            Lookup::Hit(record) => return Ok(Loaded::Found(from_cache(record))),
            Lookup::Miss => Some(self.cache.lease(key).await),
            Lookup::Unreadable(value) => Some(self.cache.invalidate(key, Some(&value)).await),
            Lookup::Leased | Lookup::Unavailable => None,
        };
        let loaded = self.database.load(key).await?;
        match (lease, &loaded) {
            (Some(lease), Loaded::Found(row)) => self.cache.fill(lease, &row.data, row.expires).await,
            (Some(lease), _) => self.cache.release(lease).await,
            (None, _) => {}
        }
        Ok(loaded)
    }

    pub(super) async fn insert(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Saved, Error> {
        let saved = self.database.insert(key, data, expires).await?;
        if let Saved::Done(..) = saved {
            self.cache.add(key, data, expires).await;
        }
        Ok(saved)
    }

    pub(super) async fn update(&self, update: Update<'_>) -> Result<Saved, Error> {
        let Update { key, new_key, data, expires, .. } = update;
        let lease = self.cache.invalidate(key, cached(update.version)).await;
        let saved = match self.version_in_database(key, update.version).await {
            Ok(Ok(version)) => self.database.update(Update { version: &version, ..update }).await,
            Ok(Err(refused)) => Ok(refused),
            Err(error) => Err(error),
        };
        match (&saved, new_key) {
            (Ok(Saved::Done(..)), Some(new_key)) => {
                self.cache.remove(key).await;
                self.cache.add(new_key, data, expires).await;
            }
            (Ok(Saved::Done(..)), None) => self.cache.publish(lease, data, expires).await,
            (Ok(Saved::Conflict(now)), _) => self.cache.publish(lease, &now.data, now.expires).await,
            _ => self.cache.remove(key).await,
        }
        saved
    }

    /// The next reader fills the cache.
    pub(super) async fn touch(
        &self,
        key: &SessionKey,
        version: &Version,
        expires: SystemTime,
    ) -> Result<Saved, Error> {
        let lease = self.cache.invalidate(key, cached(version)).await;
        let saved = match self.version_in_database(key, version).await {
            Ok(Ok(version)) => self.database.touch(key, &version, expires).await,
            Ok(Err(refused)) => Ok(refused),
            Err(error) => Err(error),
        };
        self.end_touch(lease, key).await;
        saved
    }

    async fn end_touch(&self, lease: Lease, key: &SessionKey) {
        match lease.is_held() {
            true => self.cache.release(lease).await,
            false => self.cache.remove(key).await,
        }
    }

    /// First puts a lease into the cache, so that nobody fills it and a process that dies in between leaves
    /// nothing there.
    pub(super) async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        let _lease = self.cache.invalidate(key, None).await;
        let deleted = self.database.backend.delete(key).await?;
        self.cache.remove(key).await;
        Ok(deleted)
    }

    /// As in Django, the cache is looked at first.
    pub(super) async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        match self.cache.get(key).await {
            Lookup::Hit(_) => Ok(true),
            _ => self.database.backend.exists(key).await,
        }
    }

    /// Checks the database. A cache that does not answer is logged; it is an error if sessions that were
    /// deleted may still be in it.
    pub(super) async fn check(&self) -> Result<(), Error> {
        self.cache.check().await;
        self.database.backend.check().await?;
        if self.cache.is_clean().await {
            return Ok(());
        }
        Err(Error::store(
            "the cache is away, and sessions that were deleted meanwhile may come out of it when it is back: \
             keep this process running until then, or flush the cache",
        ))
    }

    /// The version to compare the row with. A session that was read from the cache has none: it is the row's
    /// own, if both hold the same dictionary.
    async fn version_in_database(
        &self,
        key: &SessionKey,
        version: &Version,
    ) -> Result<Result<Version, Saved>, Error> {
        let Some(value) = cached(version) else { return Ok(Ok(version.clone())) };
        Ok(match self.database.load(key).await? {
            Loaded::Found(row) if self.cache.is_same(value, &row.data) => Ok(row.version),
            other => Err(other.not_saved()),
        })
    }
}

fn from_cache(record: Record) -> Record {
    let version = match record.version {
        Version::Stored(value) => Version::Cached(value),
        other => other,
    };
    Record { version, ..record }
}

/// The value that was read from the cache.
fn cached(version: &Version) -> Option<&Bytes> {
    match version {
        Version::Cached(value) => Some(value),
        _ => None,
    }
}
