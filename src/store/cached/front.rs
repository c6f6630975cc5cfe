//! The cache in front of the database: it may fail, and what is put into it late must not bring back what has ended.
//!
//! Whoever wants to fill it after a look into the database first leaves a lease in the value's place, a value that
//! Django takes for none, and then replaces exactly that. Whoever ends or changes the session meanwhile removes
//! the lease, ours or Django, and the fill comes to nothing.

use std::{
    collections::BTreeSet,
    future::Future,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::try_join_all;
use rand::RngExt as _;

use crate::{
    Error, SessionKey,
    codec::SessionData,
    store::{Cache, Entry, Replaced, cache::Format},
};

/// Django's `KEY_PREFIX` of this engine.
const PREFIX: &str = "django.contrib.sessions.cached_db";

/// How long a lease holds: longer than any load or save takes.
const LEASE: Duration = Duration::from_secs(30);

/// How long a cache that failed is left alone.
const REST: Duration = Duration::from_secs(1);

/// Names of values to remove, remembered while the cache is away.
const REMEMBERED: usize = 10_000;

pub(super) struct Front<C> {
    cache: Arc<C>,
    pub(super) format: Format,
    pub(super) deadline: Duration,
    health: Arc<Mutex<Health>>,
}

#[derive(Default)]
struct Health {
    resting_until: Option<Instant>,
    /// What is to be removed as soon as the cache is back.
    outdated: BTreeSet<String>,
    /// Somebody is at it.
    removing: bool,
    overflowed: bool,
}

/// What the cache says of a session.
pub(super) enum Found {
    Data(SessionData, Entry),
    Nothing,
    /// Somebody else is about to fill it.
    Lease,
    Unreadable(Entry),
    /// The cache failed.
    Away,
}

/// The right to fill.
pub(super) struct Lease {
    name: String,
    /// None where somebody else has it, or the cache failed.
    value: Option<Vec<u8>>,
}

impl Lease {
    pub(super) fn is_held(&self) -> bool {
        self.value.is_some()
    }
}

impl<C: Cache> Front<C> {
    pub(super) fn new(cache: C) -> Self {
        let (format, health) = (Format::default(), Arc::default());
        Self { cache: Arc::new(cache), format, deadline: Duration::from_millis(500), health }
    }

    pub(super) async fn look(&self, key: &SessionKey) -> Found {
        match self.ask(self.cache.get(&name(key))).await {
            Err(Away) => Found::Away,
            Ok(None) => Found::Nothing,
            Ok(Some(entry)) if is_lease(&entry.value) => Found::Lease,
            Ok(Some(entry)) => match self.format.load(&entry.value) {
                Ok(data) => Found::Data(data, entry),
                Err(error) => {
                    tracing::warn!("a session's value in the cache cannot be read: {error}");
                    Found::Unreadable(entry)
                }
            },
        }
    }

    /// Before a look into the database, where nothing is in the cache.
    pub(super) async fn lease(&self, key: &SessionKey) -> Lease {
        let (name, value) = (name(key), self.lease_value());
        let until = SystemTime::now() + LEASE;
        let added = self.ask(self.cache.add(&name, &value, until)).await;
        Lease { name, value: (added == Ok(true)).then_some(value) }
    }

    /// Before a change in the database: what is in the cache goes, whatever it is. `seen` is what is known to be there.
    pub(super) async fn clear(&self, key: &SessionKey, seen: Option<&[u8]>) -> Lease {
        let (name, value) = (name(key), self.lease_value());
        let until = SystemTime::now() + LEASE;
        let cleared = async {
            if let Some(seen) = seen
                && let Replaced::Done = self.cache.replace(&name, seen, &value, until).await?
            {
                return Ok(true);
            }
            for _ in 0..3 {
                self.cache.delete(&name).await?;
                if self.cache.add(&name, &value, until).await? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match self.ask(cleared).await {
            Ok(held) => Lease { name, value: held.then_some(value) },
            Err(Away) => {
                // Before the row changes: whoever is stopped in between leaves nothing outdated in the cache.
                self.remember(name.clone());
                Lease { name, value: None }
            }
        }
    }

    /// After a look into the database: what was found, unless it changed meanwhile.
    pub(super) async fn fill(&self, lease: Lease, data: &SessionData, expires: SystemTime) {
        let (Some(held), Ok(value)) = (&lease.value, self.format.dump(data)) else { return };
        // If it fails, the lease ends by itself.
        let _ = self.ask(self.cache.replace(&lease.name, held, &value, expires)).await;
    }

    /// After a change in the database: fills, or else makes sure that nothing older stays.
    pub(super) async fn put(&self, lease: Lease, data: &SessionData, expires: SystemTime) {
        if let (Some(held), Ok(value)) = (&lease.value, self.format.dump(data))
            && let Ok(Replaced::Done) = self.ask(self.cache.replace(&lease.name, held, &value, expires)).await
        {
            return;
        }
        self.remove(lease.name).await;
    }

    /// A new session, whose key nobody else knows yet.
    pub(super) async fn add(&self, key: &SessionKey, data: &SessionData, expires: SystemTime) {
        let Ok(value) = self.format.dump(data) else { return };
        let _ = self.ask(self.cache.add(&name(key), &value, expires)).await;
    }

    /// After the session has ended in the database.
    pub(super) async fn forget(&self, key: &SessionKey) {
        self.remove(name(key)).await;
    }

    /// After a look into the database that found nothing.
    pub(super) async fn give_up(&self, lease: Lease) {
        let Some(held) = &lease.value else { return };
        let now = SystemTime::UNIX_EPOCH; // an end that has come: replaced by nothing
        let _ = self.ask(self.cache.replace(&lease.name, held, held, now)).await;
    }

    pub(super) async fn check(&self) {
        let _ = self.ask(self.cache.check()).await;
    }

    async fn remove(&self, name: String) {
        if self.ask(self.cache.delete(&name)).await.is_err() {
            self.remember(name);
        }
    }

    /// A value that is to be removed once the cache is back: until then, nothing is read from it.
    fn remember(&self, name: String) {
        let mut health = self.health();
        if health.outdated.len() < REMEMBERED {
            health.outdated.insert(name);
        } else if !mem::replace(&mut health.overflowed, true) {
            tracing::error!("the cache is away for long: outdated sessions may come out of it afterwards");
        }
        if !mem::replace(&mut health.removing, true) {
            let (cache, health) = (self.cache.clone(), Arc::downgrade(&self.health));
            tokio::spawn(remove_outdated(cache, health));
        }
    }

    /// Waits until nothing outdated is left in the cache; false if that takes too long.
    pub(super) async fn is_clean(&self) -> bool {
        for _ in 0..40 {
            if !self.health().removing {
                return true;
            }
            tokio::time::sleep(REST / 8).await;
        }
        false
    }

    /// Asks the cache, within the deadline; not if it failed lately, or holds what is outdated.
    async fn ask<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Away> {
        {
            let health = self.health();
            if health.removing || health.resting_until.is_some_and(|until| Instant::now() < until) {
                return Err(Away);
            }
        }
        let failure = match tokio::time::timeout(self.deadline, work).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.with_causes(),
            Err(_) => format!("no answer within {:?}", self.deadline),
        };
        tracing::error!("the cache failed, and the database serves alone: {failure}");
        self.health().resting_until = Some(Instant::now() + REST);
        Err(Away)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        // Nothing that can panic runs while it is locked.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` in the eyes of Python, unlike any other: a reader stops at the end of the value and does not see what follows.
    fn lease_value(&self) -> Vec<u8> {
        let random: u128 = rand::rng().random();
        let pickled =
            self.format.dump(&SessionData::default()).is_ok_and(|empty| empty.first() == Some(&0x80));
        if pickled {
            return [PICKLED_NONE, &random.to_be_bytes()].concat();
        }
        let blanks = (0..64).map(|bit| [b' ', b'\t', b'\n', b'\r'][(random >> (2 * bit)) as usize % 4]);
        JSON_NULL.iter().copied().chain(blanks).collect()
    }
}

/// Tries until nothing outdated is left, or nobody uses the store any more.
async fn remove_outdated<C: Cache>(cache: Arc<C>, health: Weak<Mutex<Health>>) {
    loop {
        let some: Vec<String> = {
            let Some(health) = health.upgrade() else { return };
            let mut health = health.lock().unwrap_or_else(PoisonError::into_inner);
            if health.outdated.is_empty() {
                (health.removing, health.overflowed, health.resting_until) = (false, false, None);
                return;
            }
            health.outdated.iter().take(200).cloned().collect()
        };
        let removed = try_join_all(some.iter().map(|name| cache.delete(name))).await;
        if removed.is_err() {
            tokio::time::sleep(REST).await;
        } else if let Some(health) = health.upgrade() {
            let mut health = health.lock().unwrap_or_else(PoisonError::into_inner);
            health.outdated.retain(|name| !some.contains(name));
        }
    }
}

const PICKLED_NONE: &[u8] = b"\x80\x02N.";
const JSON_NULL: &[u8] = b"null";

fn is_lease(value: &[u8]) -> bool {
    value.starts_with(PICKLED_NONE) || value.starts_with(JSON_NULL)
}

/// The cache could not be asked. The log knows more.
#[derive(Debug, PartialEq, Eq)]
struct Away;

fn name(key: &SessionKey) -> String {
    format!("{PREFIX}{}", key.as_str())
}

impl<C> Clone for Front<C> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            format: self.format.clone(),
            deadline: self.deadline,
            health: self.health.clone(),
        }
    }
}
