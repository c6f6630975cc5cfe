//! Where sessions are kept: bytes under a key, with an expiry.
//!
//! A [`Backend`] knows no HTTP, no dictionary and no secret: a [`Store`](crate::Store) encodes sessions for
//! it.

#[cfg(any(feature = "postgres", feature = "auth"))]
mod action;
pub(crate) mod blocking;
#[cfg(feature = "test-suite")]
pub mod conformance;
#[cfg(feature = "auth")]
pub(crate) mod database;
mod dynamic;
mod file;
mod memory;
pub(crate) mod parameters;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod site;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "tls")]
mod tls;

use std::{
    fmt,
    future::Future,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

#[cfg(any(feature = "postgres", feature = "auth"))]
pub(crate) use self::action::Action;
pub(crate) use self::dynamic::DynBackend;
#[cfg(feature = "postgres")]
pub use self::postgres::Postgres;
#[cfg(all(feature = "auth", feature = "postgres"))]
pub(crate) use self::postgres::short_lock_timeout;
#[cfg(feature = "redis")]
pub use self::redis::Redis;
#[cfg(feature = "sqlite")]
pub use self::sqlite::Sqlite;
pub use self::{file::Files, memory::Memory, site::SiteSettings};
use crate::{Error, SessionKey};

/// A storage backend: bytes under a key, with an expiry. Implement five methods with `async fn`; the others
/// have defaults.
///
/// Every method is atomic, whoever else uses the same key. [`insert`](Self::insert) never overwrites, and
/// [`replace`](Self::replace) never inserts. Expected outcomes (a taken key, a conflict, a missing row) are
/// `Ok` values. An error of [`replace`](Self::replace) means that nothing changed; what may have been applied
/// is [`Replaced::Unknown`]. After an error of another write, the write may or may not have been applied. An
/// expiry is compared with the clock of the application.
///
/// `backend::conformance::check` (feature `test-suite`) tests an implementation against this contract. The
/// guide has a whole backend in sixty lines.
pub trait Backend: Send + Sync + 'static {
    /// Returns the live row under `key`. An expired one (`expires <= now`) is `None`.
    fn get(&self, key: &SessionKey) -> impl Future<Output = Result<Option<Row>, Error>> + Send;

    /// Stores a new row. Returns [`Inserted::KeyTaken`] if a row has the key, even an expired one that still
    /// exists.
    fn insert(&self, new: Insert<'_>) -> impl Future<Output = Result<Inserted, Error>> + Send;

    /// Changes a live row if it still holds the expected bytes: compare-and-set. A rename is atomic: at every
    /// moment exactly one of the old and the new key exists.
    ///
    /// A change with a [`value`](Replace::value) is made at most once by one call: never send it again if the
    /// first attempt may have been applied, even if the row holds the expected bytes again. Return
    /// [`Replaced::Unknown`] then, also for a timeout. A touch may be repeated.
    fn replace(&self, change: Replace<'_>) -> impl Future<Output = Result<Replaced, Error>> + Send;

    /// Deletes a row, live or expired. Returns whether there was one.
    fn delete(&self, key: &SessionKey) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Returns the page of rows after the cursor, or the first page for `None`; expired rows too. A row that
    /// exists during the whole listing appears at least once. The backend bounds a page in rows and in bytes.
    fn list(&self, after: Option<Cursor>) -> impl Future<Output = Result<Page, Error>> + Send;

    /// Returns whether there is a row under `key`; also for an expired row that still exists, if the backend
    /// knows. Default: whether [`get`](Self::get) finds a live one.
    fn exists(&self, key: &SessionKey) -> impl Future<Output = Result<bool, Error>> + Send {
        async { Ok(self.get(key).await?.is_some()) }
    }

    /// Deletes up to `limit` expired rows and returns how many. Fewer than `limit` means that no
    /// other can be deleted. Default: lists all rows and deletes the expired ones.
    fn clear_expired(&self, limit: u32) -> impl Future<Output = Result<u64, Error>> + Send {
        async move {
            let (mut cleared, mut after) = (0, None);
            loop {
                let page = self.list(after).await?;
                for (key, row) in page.entries {
                    if cleared < u64::from(limit) && row.is_ok_and(|row| row.expires <= SystemTime::now()) {
                        cleared += u64::from(self.delete(&key).await?);
                    }
                }
                after = page.next;
                if after.is_none() || cleared >= u64::from(limit) {
                    return Ok(cleared);
                }
            }
        }
    }

    /// Returns why the last calls of [`clear_expired`](Self::clear_expired) left expired rows, if they did.
    /// For the program `django-session`.
    #[doc(hidden)]
    fn uncleared(&self) -> Option<Error> {
        None
    }

    /// Checks that the backend is usable: server reachable, table and privileges present. Call it at startup.
    /// The error says what to do. Default: one [`get`](Self::get).
    fn check(&self) -> impl Future<Output = Result<(), Error>> + Send {
        async { self.get(&SessionKey::generate()).await.map(drop) }
    }

    /// Creates Django's table and indexes if they do not exist, as its migration does. Default: nothing, for
    /// backends without a table.
    fn create_table(&self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Generates a key, for a new row or to rename `old` to. A Redis Cluster needs both in one hash slot.
    /// Default: [`SessionKey::generate`].
    fn generate_key(&self, old: Option<&SessionKey>) -> SessionKey {
        let _ = old;
        SessionKey::generate()
    }

    /// Returns how long a whole save may take, which can be several calls of [`replace`](Self::replace).
    /// Default: 5 seconds.
    fn save_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Returns whether it keeps an index on the expiry. Sessions then round the expiry, so that most saves
    /// leave the index alone; see [`exact_expiry`](crate::SessionSettings::exact_expiry). Default: no.
    fn indexes_expiry(&self) -> bool {
        false
    }

    /// Returns this backend adapted to the site's settings, or `None` if they make no difference to it.
    /// Default: `None`.
    fn with_settings(&self, site: &SiteSettings) -> Result<Option<Self>, Error>
    where
        Self: Sized,
    {
        let _ = site;
        Ok(None)
    }
}

/// A live or expired row.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The stored bytes; `None` if they are longer than [`SiteSettings::max_value_bytes`] and were not read.
    pub value: Option<Bytes>,
    /// When it expires.
    pub expires: SystemTime,
}

impl Row {
    /// A row with its value.
    pub fn new(value: impl Into<Bytes>, expires: SystemTime) -> Self {
        Self { value: Some(value.into()), expires }
    }

    /// A row whose value is too large to be read.
    pub fn too_large(expires: SystemTime) -> Self {
        Self { value: None, expires }
    }
}

/// Does not show the value, which belongs to a visitor.
impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// A row to be stored by [`Backend::insert`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Insert<'a> {
    /// The new row's key.
    pub key: &'a SessionKey,
    /// The bytes to store.
    pub value: Bytes,
    /// When it expires.
    pub expires: SystemTime,
}

impl<'a> Insert<'a> {
    /// Stores `value` under `key` until `expires`.
    pub fn new(key: &'a SessionKey, value: impl Into<Bytes>, expires: SystemTime) -> Self {
        Self { key, value: value.into(), expires }
    }
}

impl fmt::Debug for Insert<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Insert").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// The result of [`Backend::insert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inserted {
    /// The row is stored.
    Done,
    /// Nothing changed: the key is taken.
    KeyTaken,
}

/// A change for [`Backend::replace`]: update, rename and touch in one. A part that is `None` stays
/// as it is. A row that is too large to be read cannot be changed.
#[derive(Clone)]
#[non_exhaustive]
pub struct Replace<'a> {
    /// The row's key.
    pub key: &'a SessionKey,
    /// The bytes that the row must hold.
    pub expected: Bytes,
    /// The row's key afterwards.
    pub new_key: Option<&'a SessionKey>,
    /// The row's bytes afterwards.
    pub value: Option<Bytes>,
    /// The new expiry.
    pub expires: SystemTime,
}

impl<'a> Replace<'a> {
    /// Sets the expiry of the row under `key`, if it holds the `expected` bytes. Add [`value`](Self::value)
    /// and [`new_key`](Self::new_key) to change more.
    pub fn new(key: &'a SessionKey, expected: impl Into<Bytes>, expires: SystemTime) -> Self {
        Self { key, expected: expected.into(), new_key: None, value: None, expires }
    }

    /// Also replaces the bytes.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Also renames the row.
    #[must_use]
    pub fn new_key(mut self, key: &'a SessionKey) -> Self {
        self.new_key = Some(key);
        self
    }
}

impl fmt::Debug for Replace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replace").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// The result of [`Backend::replace`]. If several apply, `Gone` precedes `Conflict`, and `Conflict` precedes
/// `KeyTaken`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replaced {
    /// The change is applied.
    Done,
    /// Not applied: the new key is taken.
    KeyTaken,
    /// Not applied: the row holds other bytes, which are these.
    Conflict(Row),
    /// Not applied: there is no live row.
    Gone,
    /// In doubt: the reply was lost, and the change may or may not have been applied. It may even be applied
    /// later, as long as the row holds the expected bytes.
    Unknown,
}

/// An opaque position for the next call of [`Backend::list`].
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor of the backend's own format.
    pub fn new(position: impl Into<String>) -> Self {
        Self(position.into())
    }

    /// Returns what the backend gave to [`new`](Self::new).
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Does not show the position, which may be a session key.
impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursor(…)")
    }
}

/// Some rows of a backend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// Keys with their rows. An error is about this row alone: it exists, and could not be read.
    pub entries: Vec<(SessionKey, Result<Row, Error>)>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Cursor>,
}

impl Page {
    /// A page and the cursor for the next one.
    pub fn new(entries: Vec<(SessionKey, Result<Row, Error>)>, next: Option<Cursor>) -> Self {
        Self { entries, next }
    }
}
