//! Where sessions are kept: the contract that every engine fulfils, and the engines.
//!
//! Knows nothing of HTTP. Each operation is one statement where the engine has statements, atomic in any
//! case, and none ever turns into another: `update` never inserts, `create` never overwrites.

#[cfg(feature = "test-suite")]
pub mod conformance;
mod erased;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod text;
mod url;

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
pub use self::{erased::AnyStore, memory::MemoryStore, url::open};
pub use crate::codec::SessionData;
use crate::{Error, SessionKey};

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

    /// Ends a session, expired or not. Whether it was there; that it was not is no error.
    fn delete(&self, key: &SessionKey) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Whether the key is taken, by a session expired or not.
    fn exists(&self, key: &SessionKey) -> impl Future<Output = Result<bool, Error>> + Send;

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

/// How a create, update or rename ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Done; the session now is what this says.
    Saved(Seen),
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

/// The exact state that a reader saw, in whatever form its store compares: the stored text, a version.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen(Arc<str>);

impl Seen {
    /// Takes what the store will compare.
    pub fn new(state: impl Into<Arc<str>>) -> Self {
        Self(state.into())
    }

    /// What the store compares.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen(…)")
    }
}
