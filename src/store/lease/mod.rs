//! The cache in front of a database. It may fail, and nothing outdated may stay in it.
//!
//! A reader that wants to fill the cache first puts a lease there, a value that Django takes for none. Then
//! it reads the database, and then replaces exactly its lease. A writer puts a lease of another kind there
//! before it changes the row. This lease revokes those of readers, and nobody fills the cache until its
//! holder has left or it expires: not even if the writer, its request or its process ends in between.
//!
//! Leases of concurrent writers become one with several holders. Each of them leaves it, none removes it for
//! the others, and none caches its own state, which may be older than that of another.

mod health;
mod swap;
mod value;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use rand::RngExt as _;

use self::{
    health::{Health, PAUSE},
    swap::Leases,
    value::{Content, Format},
};
use super::{
    encoded::EncodedBackend,
    record::{Loaded, Record},
};
use crate::{
    Error, SessionKey, SessionSettings,
    backend::{DynBackend, Replace, Replaced},
    codec::SessionData,
    event_log::EventLog,
    metrics::{self, store::CacheMetrics},
};

/// How long a lease is valid, at least.
const LEASE: Duration = Duration::from_secs(30);

/// Longer than any operation of a database takes.
const MAX_LEASE: Duration = Duration::from_secs(60 * 60);

#[derive(Clone)]
pub(super) struct LeasedCache {
    cache: EncodedBackend,
    leases: Leases,
    health: Arc<Health>,
    log: EventLog,
    metrics: Arc<CacheMetrics>,
}

/// The cache's result for a session.
pub(super) enum Lookup {
    Hit(Record),
    Miss,
    /// A reader is about to fill it, or the session is being changed.
    Leased,
    /// A value that cannot be read; `None` if it is too long.
    Unreadable(Option<Bytes>),
    Unavailable,
}

impl Lookup {
    fn label(&self) -> metrics::LookupLabel {
        match self {
            Self::Hit(_) => metrics::LookupLabel::Hit,
            Self::Miss => metrics::LookupLabel::Miss,
            Self::Leased => metrics::LookupLabel::Leased,
            Self::Unreadable(_) => metrics::LookupLabel::Unreadable,
            Self::Unavailable => metrics::LookupLabel::Unavailable,
        }
    }
}

/// The right to fill the cache. Without an end it expires.
pub(super) struct FillLease<'a> {
    key: &'a SessionKey,
    value: Bytes,
}

/// While it exists, nobody fills the cache. If it is dropped instead of ended, that lasts until it expires:
/// the change may be applied later.
pub(super) struct ChangeLease<'a> {
    cache: &'a LeasedCache,
    key: &'a SessionKey,
    id: u64,
    /// Whether it is in the cache. Otherwise the cached value has to be removed as soon as that is possible.
    held: bool,
}

impl LeasedCache {
    /// `timeout` is how long an operation of the database takes: leases are longer.
    pub(super) fn new(cache: EncodedBackend, timeout: Duration) -> Self {
        let duration = timeout.saturating_mul(3).clamp(LEASE, MAX_LEASE);
        let format = Format::of(&cache.codec);
        let leases = Leases { backend: cache.backend.clone(), format, duration };
        let metrics = Arc::new(CacheMetrics::new());
        Self { cache, leases, health: Arc::default(), log: EventLog::new("the cache"), metrics }
    }

    pub(super) fn with_settings(&self, settings: &SessionSettings) -> Result<Self, Error> {
        let cache = self.cache.with_settings(settings, true)?;
        let leases = Leases { backend: cache.backend.clone(), ..self.leases.clone() };
        Ok(Self { cache, leases, ..self.clone() })
    }

    fn backend(&self) -> &dyn DynBackend {
        &*self.cache.backend
    }

    pub(super) async fn get(&self, key: &SessionKey) -> Lookup {
        let found = self.look_up(key).await;
        self.metrics.looked_up(found.label());
        found
    }

    async fn look_up(&self, key: &SessionKey) -> Lookup {
        match self.attempt_read(self.backend().get(key)).await {
            Err(Unavailable) => Lookup::Unavailable,
            Ok(None) => Lookup::Miss,
            Ok(Some(row)) => {
                let value = row.value.clone();
                if value.as_deref().is_some_and(|value| Content::parse(value) != Content::Value) {
                    return Lookup::Leased;
                }
                // A large value that the stopping runtime does not decode is as if the cache were away.
                match self.cache.loaded(row).await.unwrap_or_else(Loaded::Unreadable) {
                    Loaded::Found(record) => Lookup::Hit(record),
                    Loaded::Missing => Lookup::Miss,
                    Loaded::Unreadable(error) => {
                        self.log.warn(format!("a session's value in the cache cannot be read: {error}"));
                        Lookup::Unreadable(value)
                    }
                }
            }
        }
    }

    /// Whether two dictionaries are the same value in the cache: Python objects that look alike in JSON can
    /// differ.
    pub(super) fn is_same(&self, value: &[u8], data: &SessionData) -> bool {
        let codec = &self.cache.codec;
        let encoded = codec.decode(value).and_then(|cached| codec.encode(&cached));
        matches!((encoded, codec.encode(data)), (Ok(cached), Ok(stored)) if cached == stored)
    }

    /// Before a read of the database after a miss, or before a session is stored under a new key. `None` if
    /// the cache is not to be filled.
    pub(super) async fn fill_lease<'a>(&self, key: &'a SessionKey) -> Option<FillLease<'a>> {
        self.fill_lease_by(key, self.leases.add_fill(key)).await
    }

    /// The same, in place of a value that cannot be read.
    pub(super) async fn fill_lease_instead<'a>(
        &self,
        key: &'a SessionKey,
        unreadable: Option<Bytes>,
    ) -> Option<FillLease<'a>> {
        self.fill_lease_by(key, self.leases.replace_by_fill(key, unreadable)).await
    }

    async fn fill_lease_by<'a>(
        &self,
        key: &'a SessionKey,
        work: impl Future<Output = Result<Option<Bytes>, Error>>,
    ) -> Option<FillLease<'a>> {
        let value = self.attempt_read(work).await.ok().flatten();
        self.metrics.lease(metrics::LeaseLabel::Fill, value.is_some());
        Some(FillLease { key, value: value? })
    }

    /// Caches what is in the database, unless the lease was revoked.
    pub(super) async fn fill(&self, lease: FillLease<'_>, data: &SessionData, expires: SystemTime) {
        let Ok(value) = self.cache.codec.encode(data) else { return };
        let fill = Replace::new(lease.key, lease.value, expires).value(value);
        // After a failure, the lease expires.
        let filled = self.attempt(self.backend().replace(fill)).await;
        self.metrics.filled(filled == Ok(Replaced::Done));
    }

    /// There is nothing to cache.
    pub(super) async fn release(&self, lease: FillLease<'_>) {
        let release = Replace::new(lease.key, lease.value, SystemTime::UNIX_EPOCH);
        let _ = self.attempt(self.backend().replace(release)).await;
    }

    /// Before a change in the database. `seen` is the value that is known to be cached.
    pub(super) async fn change_lease<'a>(
        &'a self,
        key: &'a SessionKey,
        seen: Option<&Bytes>,
    ) -> ChangeLease<'a> {
        let id = rand::rng().random();
        let held = self.attempt(self.leases.join(key, id, seen.cloned())).await.is_ok();
        self.metrics.lease(metrics::LeaseLabel::Change, held);
        ChangeLease { cache: self, key, id, held }
    }

    pub(super) async fn check(&self) {
        let _ = self.attempt(self.backend().check()).await;
    }

    /// Waits until nothing outdated is left in the cache; false if that takes too long.
    pub(super) async fn is_clean(&self) -> bool {
        for _ in 0..40 {
            if !self.health.has_outdated(&self.leases) {
                return true;
            }
            tokio::time::sleep(PAUSE / 8).await;
        }
        false
    }

    /// Not while it may hold outdated values.
    async fn attempt_read<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Unavailable> {
        if self.health.has_outdated(&self.leases) { Err(Unavailable) } else { self.attempt(work).await }
    }

    /// Uses the cache within its timeout; not if it failed within the last second.
    async fn attempt<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Unavailable> {
        if self.health.is_paused() {
            return Err(Unavailable);
        }
        let timeout = self.backend().save_timeout();
        let began = metrics::Timer::start();
        let result = tokio::time::timeout(timeout, work).await;
        self.metrics.called(began, !matches!(result, Ok(Ok(_))));
        let failure = match result {
            Ok(Ok(done)) => {
                self.log.success();
                return Ok(done);
            }
            Ok(Err(error)) => error.with_causes(),
            Err(_) => format!("no reply within {timeout:?}"),
        };
        self.log.failure(format!("the cache failed, and the database serves alone: {failure}"));
        self.health.pause();
        Err(Unavailable)
    }
}

impl ChangeLease<'_> {
    /// The change is made: caches the new state, unless there was another change beside it.
    pub(super) async fn publish(self, data: &SessionData, expires: SystemTime) {
        let value = self.cache.cache.codec.encode(data).ok();
        self.end(value.map(|value| (value.into(), expires))).await;
    }

    /// The change is made, or it certainly never will be. The next reader fills the cache.
    pub(super) async fn leave(self) {
        self.end(None).await;
    }

    async fn end(mut self, state: Option<(Bytes, SystemTime)>) {
        let Self { cache, key, id, .. } = self;
        self.held = match self.held {
            true => cache.attempt(cache.leases.leave(key, id, state)).await.is_ok(),
            // A lease that expires takes the place of what is outdated.
            false => cache.attempt(cache.leases.join(key, id, None)).await.is_ok(),
        };
    }
}

impl Drop for ChangeLease<'_> {
    fn drop(&mut self) {
        if !self.held {
            self.cache.health.remember(self.key, &self.cache.leases);
        }
    }
}

/// The cache cannot be used at present. The log has the reason.
#[derive(Debug, PartialEq, Eq)]
struct Unavailable;
