//! Where sessions are kept: the contract that every engine fulfils, and the engines.
//!
//! Knows nothing of HTTP. Each operation is one statement where the engine has statements, atomic in any
//! case, and none ever turns into another: `update` never inserts, `create` never overwrites.

mod cache;
mod cached;
#[cfg(feature = "test-suite")]
pub mod conformance;
mod cookie;
mod erased;
mod file;
mod memory;
mod parameters;
#[cfg(feature = "postgres")]
mod postgres;
mod sessions;
#[cfg(feature = "sqlite")]
mod sqlite;
mod sweeper;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod text;
#[cfg(all(feature = "tls", any(feature = "postgres", feature = "redis")))]
mod tls;
mod url;

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

#[cfg(feature = "redis")]
pub use self::cache::RedisCache;
pub(crate) use self::cookie::MAX_COOKIE_BYTES;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
pub use self::{
    cache::{Cache, CacheStore, Entry, MemoryCache, Replaced},
    cached::CachedStore,
    cookie::CookieStore,
    erased::AnyStore,
    file::FileStore,
    memory::MemoryStore,
    sessions::{Cursor, Listed, Page, Sessions},
    sweeper::Sweeper,
    url::open,
};
pub use crate::codec::SessionData;
use crate::{Error, SessionKey, codec::expiry::resolve_naive};

/// A session engine. Django's `SessionStore` classes.
///
/// Write it with `async fn`; `store::conformance::check` (feature `test-suite`) tells whether it keeps the
/// contract. Times are the application's clock. An error means that the store could not be used: everything
/// else has an outcome of its own.
pub trait SessionStore: Send + Sync + 'static {
    /// The live session under this key. One whose time has come (`expires <= now`) is missing.
    /// Creates nothing.
    fn load(&self, key: &SessionKey) -> impl Future<Output = Result<Loaded, Error>> + Send;

    /// Stores a new session. Never overwrites: a taken key, expired or not, is [`Outcome::KeyTaken`].
    fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send;

    /// Replaces a live session, but only if it still is what `seen` says (compare and set). Never inserts
    /// and never revives.
    fn update(
        &self,
        key: &SessionKey,
        seen: &Seen,
        data: &SessionData,
        expires: SystemTime,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send;

    /// As [`update`](Self::update), and gives the session a new key in the same instant: at any moment
    /// there is either the old one or the new one.
    fn rename(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send;

    /// Moves the end of a live session that still ends at `was`, and nothing else. Default: a load and an update.
    fn touch(
        &self,
        key: &SessionKey,
        seen: &Seen,
        was: SystemTime,
        expires: SystemTime,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send {
        let _ = was;
        async move {
            match self.load(key).await? {
                Loaded::Found(record) if record.seen == *seen => {
                    self.update(key, seen, &record.data, expires).await
                }
                now_there => Ok(now_there.refused()),
            }
        }
    }

    /// Ends a session, expired or not. Whether it was there; that it was not is no error.
    fn delete(&self, key: &SessionKey) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Whether the key is taken, by a session expired or not.
    fn exists(&self, key: &SessionKey) -> impl Future<Output = Result<bool, Error>> + Send;

    /// The key that a cookie's text names, if it can be one of this store's. Default: [`SessionKey::parse`].
    fn parse_key(&self, text: &str) -> Option<SessionKey> {
        SessionKey::parse(text)
    }

    /// Draws a key, for a new session or to rename `old` to. Default: [`SessionKey::generate`].
    fn draw_key(&self, old: Option<&SessionKey>) -> SessionKey {
        let _ = old;
        SessionKey::generate()
    }

    /// How long a whole save may take, which is more than one operation if other writers are faster.
    /// Default: 5 seconds.
    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Errors, saying what to do about it, if sessions cannot be kept here: the store is away, its table is
    /// missing, it lacks a right. For the start of an application.
    fn check(&self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Removes expired sessions and tells how many. Django's `clear_expired`, which `clearsessions` calls.
    fn clear_expired(&self) -> impl Future<Output = Result<u64, Error>> + Send;

    /// As [`clear_expired`](Self::clear_expired), but at most `limit` of them, where the store can do it by parts: fewer
    /// than `limit` means that there are no more. `after` is what the call before answered: without it, the
    /// store may have to pass by all that was cleared before. Default: all.
    fn clear_some(
        &self,
        limit: u32,
        after: Option<SystemTime>,
    ) -> impl Future<Output = Result<Cleared, Error>> + Send {
        let _ = (limit, after);
        async { Ok(Cleared { sessions: self.clear_expired().await?, until: None }) }
    }

    /// Some of the sessions, expired ones too, from where `cursor` says: for looking at all of them in bounded memory.
    /// One that is there all the time is seen, maybe twice. Default: an error, since a store need not know its sessions.
    ///
    /// [`AnyStore::sessions`] is the way to use it.
    fn page(&self, cursor: Option<&Cursor>) -> impl Future<Output = Result<Page, Error>> + Send {
        let _ = cursor;
        async { Err(Error::configuration("this store cannot list its sessions")) }
    }
}

/// What [`SessionStore::clear_some`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// How many were removed.
    pub sessions: u64,
    /// Up to which expiry, if the store went by that.
    pub until: Option<SystemTime>,
}

/// What a load found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Loaded {
    /// A live session.
    Found(Record),
    /// None, or an expired one.
    Missing,
    /// Something is there that this store's codec cannot read: signed with another secret, damaged, too
    /// large. It may be somebody else's and must not be overwritten. The error says why.
    Unreadable(Arc<Error>),
}

impl Loaded {
    /// The answer to a compare-and-set that changed nothing, from what is there now.
    pub(crate) fn refused(self) -> Outcome {
        match self {
            Self::Found(record) => Outcome::Changed(record),
            Self::Missing => Outcome::Gone,
            Self::Unreadable(error) => Outcome::Unreadable(error),
        }
    }
}

/// How a create, update or rename ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Done; the session now is what this says.
    Saved(Seen),
    /// Done, and the session's key is another than was asked for: the store gives keys of its own
    /// (`cookie:`, where the key is the data).
    SavedAs(SessionKey, Seen),
    /// Nothing done: the new key is taken (`create`, `rename`).
    KeyTaken,
    /// Nothing done: another writer was faster, and this is there now (`update`, `rename`).
    Changed(Record),
    /// Nothing done: another writer was faster, with something that cannot be read (`update`, `rename`).
    Unreadable(Arc<Error>),
    /// Nothing done: the session was ended or renamed, or its time has come (`update`, `rename`).
    Gone,
}

/// A live session as its store holds it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The dictionary.
    pub data: SessionData,
    /// What the next update compares with.
    pub seen: Seen,
    /// When it ends.
    pub expires: SystemTime,
}

impl Record {
    /// What a session needs of it to be saved again.
    pub(crate) fn into_seen(mut self) -> (Seen, SessionData) {
        resolve_naive(&mut self.data, self.expires);
        (self.seen, self.data)
    }
}

/// The exact state that a reader saw, in whatever form its store compares: the stored text, a version.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen(Arc<[u8]>);

impl Seen {
    /// Takes what the store will compare: text or bytes.
    pub fn new(state: impl AsRef<[u8]>) -> Self {
        Self(state.as_ref().into())
    }

    /// As [`new`](Self::new), of a text that is shared already.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn of_text(text: Arc<str>) -> Self {
        Self(text.into())
    }

    /// What the store compares.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same for a store that made it of text; empty if it did not.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen(…)")
    }
}
