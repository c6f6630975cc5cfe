//! A cache in front of a database. Django's `cached_db` engine.

mod front;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use self::front::{Found, Front, Lease};
use super::{
    AnyStore, Cache, Cleared, Cursor, Loaded, Outcome, Page, Record, Seen, SessionData, SessionStore,
};
use crate::{Error, SessionKey, codec::Serializer};

/// Keeps sessions in a database, and in a cache for reading: a session that is in the cache costs the database
/// nothing. Django's `django.contrib.sessions.backends.cached_db`, and shared with it.
///
/// The database has the last word: a save is compared with its row, never with the cache alone. What has
/// ended in the database stays ended: a reader that comes late cannot put it back into the cache, whether Django or we
/// ended it. (Django's own readers can, as they always could; then the cache shows it until its time has come.)
///
/// A cache that fails or does not answer in time never fails a request. It is left alone for a second, the log says so,
/// and what became outdated meanwhile is removed from it when it is back, before anything is read from it. (This
/// process remembers what; [`check`](SessionStore::check) tells whether it still has to.)
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::store::{CachedStore, MemoryCache, MemoryStore};
///
/// let store = CachedStore::new(MemoryCache::new(), MemoryStore::new());
/// # Ok(()) }
/// ```
pub struct CachedStore<C> {
    front: Front<C>,
    database: AnyStore,
}

/// What a [`Seen`] begins with: the value that was in the cache, or what the database compares.
const FROM_CACHE: u8 = 0;
const FROM_DATABASE: u8 = 1;

impl<C: Cache> CachedStore<C> {
    /// Sessions of `database`, with `cache` in front of it, where they are pickled as Django does it (JSON without the
    /// feature `pickle`).
    pub fn new(cache: C, database: impl Into<AnyStore>) -> Self {
        Self { front: Front::new(cache), database: database.into() }
    }

    /// Another serializer for the cache. See [`CacheStore::serializer`](super::CacheStore::serializer).
    #[must_use]
    pub fn serializer(mut self, serializer: impl Serializer) -> Self {
        self.front.format.serializer = std::sync::Arc::new(serializer);
        self
    }

    /// See [`CacheStore::compress_from`](super::CacheStore::compress_from).
    #[must_use]
    pub fn compress_from(mut self, bytes: usize) -> Self {
        self.front.format.compress_from = Some(bytes);
        self
    }

    /// The largest session that is read from the cache or written to it. Default: 16 MiB.
    #[must_use]
    pub fn max_session_bytes(mut self, bytes: usize) -> Self {
        self.front.format.max_session_bytes = bytes;
        self
    }

    /// How long the cache may take before the database is asked instead. Default: half a second.
    #[must_use]
    pub fn cache_deadline(mut self, deadline: Duration) -> Self {
        self.front.deadline = deadline;
        self
    }

    /// What the row is compared with, if the session was seen in the cache: the row, as long as it holds the same. Then
    /// also when the row ends, which the cache does not know exactly.
    async fn seen_in_database(
        &self,
        key: &SessionKey,
        seen: &Seen,
    ) -> Result<Result<(Seen, Option<SystemTime>), Outcome>, Error> {
        let value = match seen.as_bytes() {
            [FROM_CACHE, value @ ..] => value,
            [FROM_DATABASE, seen @ ..] => return Ok(Ok((Seen::new(seen), None))),
            _ => return Ok(Ok((seen.clone(), None))),
        };
        Ok(match self.database.load(key).await? {
            Loaded::Found(row) => {
                // As the cache would hold it: objects of Python's that look alike are not the same.
                let format = &self.front.format;
                let same =
                    |cached: SessionData| Ok::<_, Error>(format.dump(&cached)? == format.dump(&row.data)?);
                match format.load(value).and_then(same) {
                    Ok(true) => Ok((row.seen, Some(row.expires))),
                    _ => Err(Outcome::Changed(row)),
                }
            }
            Loaded::Missing => Err(Outcome::Gone),
            Loaded::Unreadable(error) => Err(Outcome::Unreadable(error)),
        })
    }

    /// After a save: the cache shows what the database holds now, or nothing.
    async fn settle(
        &self,
        key: &SessionKey,
        lease: Lease,
        outcome: &Result<Outcome, Error>,
        data: &SessionData,
        expires: SystemTime,
    ) {
        match outcome {
            Ok(Outcome::Saved(_)) => self.front.put(lease, data, expires).await,
            Ok(Outcome::Changed(now)) => self.front.put(lease, &now.data, now.expires).await,
            _ => self.front.forget(key).await,
        }
    }
}

impl<C: Cache> SessionStore for CachedStore<C> {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        let lease = match self.front.look(key).await {
            Found::Data(data, entry) => {
                let seen = marked(FROM_CACHE, &entry.value);
                return Ok(Loaded::Found(Record { data, seen, expires: entry.expires }));
            }
            Found::Nothing => Some(self.front.lease(key).await),
            Found::Unreadable(entry) => Some(self.front.clear(key, Some(&entry.value)).await),
            Found::Lease | Found::Away => None,
        };
        let loaded = self.database.load(key).await?;
        match (lease, &loaded) {
            (Some(lease), Loaded::Found(row)) => self.front.fill(lease, &row.data, row.expires).await,
            (Some(lease), _) => self.front.give_up(lease).await,
            (None, _) => {}
        }
        Ok(match loaded {
            Loaded::Found(record) => Loaded::Found(of_database(record)),
            other => other,
        })
    }

    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let outcome = self.database.create(key, data, expires).await?;
        if let Outcome::Saved(_) = outcome {
            self.front.add(key, data, expires).await;
        }
        Ok(outcome_of_database(outcome))
    }

    async fn update(
        &self,
        key: &SessionKey,
        seen: &Seen,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let lease = self.front.clear(key, cached(seen)).await;
        let outcome = match self.seen_in_database(key, seen).await {
            Ok(Ok((seen, _))) => self.database.update(key, &seen, data, expires).await,
            Ok(Err(refused)) => Ok(refused),
            Err(error) => Err(error),
        };
        self.settle(key, lease, &outcome, data, expires).await;
        outcome.map(outcome_of_database)
    }

    async fn rename(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let lease = self.front.clear(key, cached(seen)).await;
        let outcome = match self.seen_in_database(key, seen).await {
            Ok(Ok((seen, _))) => self.database.rename(key, &seen, new_key, data, expires).await,
            Ok(Err(refused)) => Ok(refused),
            Err(error) => Err(error),
        };
        if let Ok(Outcome::Saved(_)) = outcome {
            self.front.forget(key).await;
            self.front.add(new_key, data, expires).await;
        } else {
            self.settle(key, lease, &outcome, data, expires).await;
        }
        outcome.map(outcome_of_database)
    }

    /// The next reader fills the cache.
    async fn touch(
        &self,
        key: &SessionKey,
        seen: &Seen,
        was: SystemTime,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let lease = self.front.clear(key, cached(seen)).await;
        let outcome = match self.seen_in_database(key, seen).await {
            Ok(Ok((seen, exactly))) => self.database.touch(key, &seen, exactly.unwrap_or(was), expires).await,
            Ok(Err(refused)) => Ok(refused),
            Err(error) => Err(error),
        };
        match lease.is_held() {
            true => self.front.give_up(lease).await,
            false => self.front.forget(key).await,
        }
        outcome.map(outcome_of_database)
    }

    /// First the cache gets a lease, so that nobody fills it and a process that dies in between leaves nothing there.
    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        let _lease = self.front.clear(key, None).await;
        let deleted = self.database.delete(key).await?;
        self.front.forget(key).await;
        Ok(deleted)
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        self.database.exists(key).await
    }

    fn parse_key(&self, text: &str) -> Option<SessionKey> {
        self.database.parse_key(text)
    }

    fn draw_key(&self, old: Option<&SessionKey>) -> SessionKey {
        self.database.draw_key(old)
    }

    fn patience(&self) -> Duration {
        self.database.patience()
    }

    /// Of the database; a cache that does not answer is an error in the log. It is one for the caller if sessions
    /// that have ended may still be in it.
    async fn check(&self) -> Result<(), Error> {
        self.front.check().await;
        self.database.check().await?;
        if self.front.is_clean().await {
            return Ok(());
        }
        Err(Error::store(
            "the cache is away, and sessions that ended meanwhile may come out of it when it is back: \
             keep this process running until then, or flush the cache",
        ))
    }

    /// In the database. A cache forgets by itself.
    async fn clear_expired(&self) -> Result<u64, Error> {
        self.database.clear_expired().await
    }

    async fn clear_some(&self, limit: u32, after: Option<SystemTime>) -> Result<Cleared, Error> {
        self.database.clear_some(limit, after).await
    }

    async fn page(&self, cursor: Option<&Cursor>) -> Result<Page, Error> {
        self.database.page(cursor).await
    }
}

fn marked(origin: u8, seen: &[u8]) -> Seen {
    Seen::new([&[origin], seen].concat())
}

fn of_database(record: Record) -> Record {
    Record { seen: marked(FROM_DATABASE, record.seen.as_bytes()), ..record }
}

fn outcome_of_database(outcome: Outcome) -> Outcome {
    let mark = |seen: Seen| marked(FROM_DATABASE, seen.as_bytes());
    match outcome {
        Outcome::Saved(seen) => Outcome::Saved(mark(seen)),
        Outcome::SavedAs(key, seen) => Outcome::SavedAs(key, mark(seen)),
        Outcome::Changed(record) => Outcome::Changed(of_database(record)),
        other => other,
    }
}

/// The value that was seen in the cache.
fn cached(seen: &Seen) -> Option<&[u8]> {
    match seen.as_bytes() {
        [FROM_CACHE, value @ ..] => Some(value),
        _ => None,
    }
}

impl<C> Clone for CachedStore<C> {
    fn clone(&self) -> Self {
        Self { front: self.front.clone(), database: self.database.clone() }
    }
}

impl<C> fmt::Debug for CachedStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStore").field("format", &self.front.format).finish_non_exhaustive()
    }
}
