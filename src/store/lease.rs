//! The cache in front of a database. It may fail, and a late reader must not fill it with what is outdated.
//!
//! A reader that wants to fill the cache first puts a lease there, a value that Django takes for none, then
//! reads the database, and then replaces exactly that lease. A writer that changes or deletes the session
//! meanwhile, here or in Django, removes the lease, so that the late fill does nothing.

use std::{
    collections::BTreeSet,
    future::Future,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::future::try_join_all;
use rand::RngExt as _;
use tokio::task::AbortHandle;

use super::{
    encoded::EncodedBackend,
    record::{Loaded, Record},
};
use crate::{
    Error, SessionKey, SessionSettings,
    backend::{DynBackend, Insert, Inserted, Replace, Replaced},
    codec::SessionData,
    event_log::EventLog,
};

/// How long a lease is valid: longer than any load or save takes.
const LEASE: Duration = Duration::from_secs(30);

/// How long a cache that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Keys of outdated values, remembered while the cache is away.
const MAX_OUTDATED: usize = 10_000;

#[derive(Clone)]
pub(super) struct LeasedCache {
    cache: EncodedBackend,
    health: Arc<Mutex<Health>>,
    log: EventLog,
}

#[derive(Default)]
struct Health {
    paused_until: Option<Instant>,
    /// Values to be removed as soon as the cache is back.
    outdated: BTreeSet<SessionKey>,
    /// The task that removes them. It ends with the worker on which it was started.
    remover: Option<AbortHandle>,
    overflowed: bool,
}

/// The cache's result for a session.
pub(super) enum Lookup {
    Hit(Record),
    Miss,
    /// Another reader is about to fill it.
    Leased,
    /// A value that cannot be read.
    Unreadable(Bytes),
    Unavailable,
}

/// The right to fill the cache.
pub(super) struct Lease {
    key: SessionKey,
    /// `None` where another one has the right, or the cache is unavailable.
    value: Option<Bytes>,
}

impl Lease {
    pub(super) fn is_held(&self) -> bool {
        self.value.is_some()
    }
}

impl LeasedCache {
    pub(super) fn new(cache: EncodedBackend) -> Self {
        Self { cache, health: Arc::default(), log: EventLog::new("the cache") }
    }

    pub(super) fn with_settings(&self, settings: &SessionSettings) -> Result<Self, Error> {
        Ok(Self { cache: self.cache.with_settings(settings, true)?, ..self.clone() })
    }

    fn backend(&self) -> &dyn DynBackend {
        &*self.cache.backend
    }

    pub(super) async fn get(&self, key: &SessionKey) -> Lookup {
        match self.attempt(self.backend().get(key)).await {
            Err(Unavailable) => Lookup::Unavailable,
            Ok(None) => Lookup::Miss,
            Ok(Some(row)) => {
                let value = row.value.clone().unwrap_or_default();
                if is_lease(&value) {
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

    /// Before a read of the database, after a miss.
    pub(super) async fn lease(&self, key: &SessionKey) -> Lease {
        let value = self.lease_value();
        let added = self.attempt(self.backend().insert(self.lease_row(key, &value))).await;
        Lease { key: key.clone(), value: (added == Ok(Inserted::Done)).then_some(value) }
    }

    /// Before a change in the database: replaces whatever is cached by a lease. `seen` is the value that is
    /// known to be cached.
    pub(super) async fn invalidate(&self, key: &SessionKey, seen: Option<&Bytes>) -> Lease {
        let value = self.lease_value();
        let invalidated = async {
            if let Some(seen) = seen {
                let expires = SystemTime::now() + LEASE;
                let change = Replace::new(key, seen.clone(), expires).value(value.clone());
                if self.backend().replace(change).await? == Replaced::Done {
                    return Ok(true);
                }
            }
            for _ in 0..3 {
                self.backend().delete(key).await?;
                if self.backend().insert(self.lease_row(key, &value)).await? == Inserted::Done {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match self.attempt(invalidated).await {
            Ok(held) => Lease { key: key.clone(), value: held.then_some(value) },
            Err(Unavailable) => {
                // Before the row changes: a process that stops in between leaves nothing outdated in the
                // cache.
                self.remember(key);
                Lease { key: key.clone(), value: None }
            }
        }
    }

    /// After a read of the database: caches what was found, unless the lease is gone.
    pub(super) async fn fill(&self, lease: Lease, data: &SessionData, expires: SystemTime) {
        let _ = self.exchange(&lease, data, expires).await; // after a failure, the lease expires
    }

    /// After a change in the database: caches the new state, or removes what is cached.
    pub(super) async fn publish(&self, lease: Lease, data: &SessionData, expires: SystemTime) {
        if !self.exchange(&lease, data, expires).await {
            self.remove(&lease.key).await;
        }
    }

    async fn exchange(&self, lease: &Lease, data: &SessionData, expires: SystemTime) -> bool {
        let (Some(held), Ok(value)) = (&lease.value, self.cache.codec.encode(data)) else { return false };
        let change = Replace::new(&lease.key, held.clone(), expires).value(value);
        self.attempt(self.backend().replace(change)).await == Ok(Replaced::Done)
    }

    /// A new session, whose key nobody else knows yet.
    pub(super) async fn add(&self, key: &SessionKey, data: &SessionData, expires: SystemTime) {
        let Ok(value) = self.cache.codec.encode(data) else { return };
        let _ = self.attempt(self.backend().insert(Insert::new(key, value, expires))).await;
    }

    /// After a read of the database that found nothing.
    pub(super) async fn release(&self, lease: Lease) {
        let Some(held) = lease.value else { return };
        let expired = SystemTime::UNIX_EPOCH;
        let _ = self.attempt(self.backend().replace(Replace::new(&lease.key, held, expired))).await;
    }

    /// Removes what is cached of a session, now or as soon as the cache is back.
    pub(super) async fn remove(&self, key: &SessionKey) {
        if self.attempt(self.backend().delete(key)).await.is_err() {
            self.remember(key);
        }
    }

    pub(super) async fn check(&self) {
        let _ = self.attempt(self.backend().check()).await;
    }

    fn lease_row<'a>(&self, key: &'a SessionKey, value: &Bytes) -> Insert<'a> {
        Insert::new(key, value.clone(), SystemTime::now() + LEASE)
    }

    /// A value to be removed once the cache is back. Until then nothing is read from the cache.
    fn remember(&self, key: &SessionKey) {
        let mut health = self.health();
        if health.outdated.len() < MAX_OUTDATED {
            health.outdated.insert(key.clone());
        } else if !mem::replace(&mut health.overflowed, true) {
            tracing::error!(
                "the cache has been away for long: outdated sessions may come out of it afterwards"
            );
        }
        self.has_outdated(&mut health);
    }

    /// Whether outdated values are left. If so, a task is removing them: a new one, unless one runs already.
    fn has_outdated(&self, health: &mut Health) -> bool {
        let outdated = !health.outdated.is_empty();
        if outdated && health.remover.as_ref().is_none_or(AbortHandle::is_finished) {
            let work = remove_outdated(self.cache.backend.clone(), Arc::downgrade(&self.health));
            health.remover = Some(tokio::spawn(work).abort_handle());
        }
        outdated
    }

    /// Waits until nothing outdated is left in the cache; false if that takes too long.
    pub(super) async fn is_clean(&self) -> bool {
        for _ in 0..40 {
            if !self.has_outdated(&mut self.health()) {
                return true;
            }
            tokio::time::sleep(PAUSE / 8).await;
        }
        false
    }

    /// Uses the cache within its timeout; not if it failed within the last second, or has outdated values.
    async fn attempt<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Unavailable> {
        {
            let mut health = self.health();
            if self.has_outdated(&mut health)
                || health.paused_until.is_some_and(|until| Instant::now() < until)
            {
                return Err(Unavailable);
            }
        }
        let timeout = self.backend().save_timeout();
        let failure = match tokio::time::timeout(timeout, work).await {
            Ok(Ok(done)) => {
                self.log.success();
                return Ok(done);
            }
            Ok(Err(error)) => error.with_causes(),
            Err(_) => format!("no reply within {timeout:?}"),
        };
        self.log.failure(format!("the cache failed, and the database serves alone: {failure}"));
        self.health().paused_until = Some(Instant::now() + PAUSE);
        Err(Unavailable)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        // Nothing that can panic runs while it is locked.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` to Python, and unique: a reader stops at the end of the value and does not see what follows.
    fn lease_value(&self) -> Bytes {
        let random: u128 = rand::rng().random();
        let empty = self.cache.codec.encode(&SessionData::default());
        if empty.is_ok_and(|empty| empty.first() == Some(&0x80)) {
            return [PICKLED_NONE, &random.to_be_bytes()].concat().into();
        }
        let blanks = (0..64).map(|bit| [b' ', b'\t', b'\n', b'\r'][(random >> (2 * bit)) as usize % 4]);
        JSON_NULL.iter().copied().chain(blanks).collect()
    }
}

/// Retries until nothing outdated is left, or the store is dropped.
async fn remove_outdated(cache: Arc<dyn DynBackend>, health: Weak<Mutex<Health>>) {
    loop {
        let some: Vec<SessionKey> = {
            let Some(health) = health.upgrade() else { return };
            let mut health = health.lock().unwrap_or_else(PoisonError::into_inner);
            if health.outdated.is_empty() {
                (health.overflowed, health.paused_until) = (false, None);
                return;
            }
            health.outdated.iter().take(200).cloned().collect()
        };
        let removed = try_join_all(some.iter().map(|key| cache.delete(key))).await;
        if removed.is_err() {
            tokio::time::sleep(PAUSE).await;
        } else if let Some(health) = health.upgrade() {
            let mut health = health.lock().unwrap_or_else(PoisonError::into_inner);
            health.outdated.retain(|key| !some.contains(key));
        }
    }
}

const PICKLED_NONE: &[u8] = b"\x80\x02N.";
const JSON_NULL: &[u8] = b"null";

fn is_lease(value: &[u8]) -> bool {
    value.starts_with(PICKLED_NONE) || value.starts_with(JSON_NULL)
}

/// The cache cannot be used at present. The log has the reason.
#[derive(Debug, PartialEq, Eq)]
struct Unavailable;
