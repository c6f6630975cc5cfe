//! A cache in front of a database. Django's `cached_db` engine.
//!
//! The database has the last word: a save is compared with its row, never with the cache alone.

use std::{future::Future, time::SystemTime};

use bytes::Bytes;
use tracing::Instrument as _;

use super::{
    encoded::EncodedBackend,
    lease::{LeasedCache, Lookup},
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
        let cache = LeasedCache::new(cache, database.backend.save_timeout());
        Self { cache, database }
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
            Lookup::Miss => self.cache.fill_lease(key).await,
            Lookup::Unreadable(value) => self.cache.fill_lease_instead(key, value).await,
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

    /// The lease comes first: a listing shows the row at once, and somebody may delete it before it is
    /// cached.
    pub(super) async fn insert(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Saved, Error> {
        let lease = self.cache.fill_lease(key).await;
        let saved = self.database.insert(key, data, expires).await?;
        match (lease, &saved) {
            (Some(lease), Saved::Done(..)) => self.cache.fill(lease, data, expires).await,
            (Some(lease), _) => self.cache.release(lease).await,
            (None, _) => {}
        }
        Ok(saved)
    }

    pub(super) async fn update(&self, update: Update<'_>) -> Result<Saved, Error> {
        let Some(new_key) = update.new_key else { return self.save(update).await };
        let (this, key, new_key) = (self.clone(), update.key.clone(), new_key.clone());
        let (version, data, expires) = (update.version.clone(), update.data.clone(), update.expires);
        to_the_end(async move {
            let update =
                Update { key: &key, version: &version, new_key: Some(&new_key), data: &data, expires };
            this.rename(update, &new_key).await
        })
        .await
    }

    async fn save(&self, update: Update<'_>) -> Result<Saved, Error> {
        let lease = self.cache.change_lease(update.key, cached(update.version)).await;
        let saved = self.compare_and_save(update).await;
        match &saved {
            Ok(Saved::Done(..)) => lease.publish(update.data, update.expires).await,
            Ok(Saved::Conflict(now)) => lease.publish(&now.data, now.expires).await,
            Ok(Saved::KeyTaken | Saved::Unreadable(_) | Saved::Gone) => lease.leave().await,
            Ok(Saved::Unknown) | Err(_) => drop(lease), // it may be applied later
        }
        saved
    }

    async fn rename(&self, update: Update<'_>, new_key: &SessionKey) -> Result<Saved, Error> {
        let lease = self.cache.change_lease(update.key, cached(update.version)).await;
        let new_lease = self.cache.fill_lease(new_key).await;
        let saved = self.compare_and_save(update).await;
        match &saved {
            Ok(Saved::Unknown) | Err(_) => drop(lease), // it may be applied later
            Ok(_) => lease.leave().await,
        }
        match (new_lease, &saved) {
            (Some(new_lease), Ok(Saved::Done(..))) => {
                self.cache.fill(new_lease, update.data, update.expires).await;
            }
            (Some(new_lease), Ok(_)) => self.cache.release(new_lease).await,
            (Some(_), Err(_)) | (None, _) => {}
        }
        saved
    }

    async fn compare_and_save(&self, update: Update<'_>) -> Result<Saved, Error> {
        match self.version_in_database(update.key, update.version).await? {
            Ok(version) => self.database.update(Update { version: &version, ..update }).await,
            Err(refused) => Ok(refused),
        }
    }

    /// The next reader fills the cache.
    pub(super) async fn touch(
        &self,
        key: &SessionKey,
        version: &Version,
        expires: SystemTime,
    ) -> Result<Saved, Error> {
        let lease = self.cache.change_lease(key, cached(version)).await;
        let touched = match self.version_in_database(key, version).await {
            Ok(Ok(version)) => self.database.touch(key, &version, expires).await,
            Ok(Err(refused)) => Ok(refused),
            Err(error) => Err(error),
        };
        match &touched {
            Ok(Saved::Unknown) | Err(_) => drop(lease), // it may be applied later
            Ok(_) => lease.leave().await,
        }
        touched
    }

    pub(super) async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        let (this, key) = (self.clone(), key.clone());
        to_the_end(async move {
            let lease = this.cache.change_lease(&key, None).await;
            // After an error the lease is dropped: the row may be deleted later.
            let deleted = this.database.backend.delete(&key).await?;
            lease.leave().await;
            Ok(deleted)
        })
        .await
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

/// Carries the work out although the caller may be dropped: a logout, or a new key, must not stop half-way.
///
/// If the runtime stops too, the lease protects the cache until it expires.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::store("the runtime stopped during a change of a session: retry it")),
        },
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
