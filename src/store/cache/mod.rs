//! Caches, as Django's cache framework has them: bytes under a name, each with an end.
//!
//! [`CacheStore`] keeps whole sessions in one, [`CachedStore`](super::CachedStore) puts one in front of a
//! database.

mod format;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod store;

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub(super) use self::format::Format;
#[cfg(feature = "redis")]
pub use self::redis::RedisCache;
pub use self::{memory::MemoryCache, store::CacheStore};
use crate::Error;

/// A cache. Django's `BaseCache`, as far as sessions need it.
///
/// Every operation is one step, whoever else is at the same name. A value whose end has come is not there; one that
/// is stored with an end that has come is gone at once. An error means that the cache could not be used.
pub trait Cache: Send + Sync + 'static {
    /// What is stored under `name`.
    fn get(&self, name: &str) -> impl Future<Output = Result<Option<Entry>, Error>> + Send;

    /// Stores under a name that is free; false if it is not. Django's `add`.
    fn add(
        &self,
        name: &str,
        value: &[u8],
        expires: SystemTime,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Replaces the value if it still is `seen`, byte for byte (compare and set).
    fn replace(
        &self,
        name: &str,
        seen: &[u8],
        value: &[u8],
        expires: SystemTime,
    ) -> impl Future<Output = Result<Replaced, Error>> + Send;

    /// As [`replace`](Self::replace), and moves it to `new_name` in the same step.
    fn rename(
        &self,
        name: &str,
        seen: &[u8],
        new_name: &str,
        value: &[u8],
        expires: SystemTime,
    ) -> impl Future<Output = Result<Replaced, Error>> + Send;

    /// Removes a value; whether it was there.
    fn delete(&self, name: &str) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Whether [`rename`](Self::rename) can move `name` to `new_name`. In a Redis Cluster both must be in one slot.
    fn is_near(&self, name: &str, new_name: &str) -> bool {
        let _ = (name, new_name);
        true
    }

    /// Some of the names that begin with `prefix`, from where `cursor` says, and where to go on: for looking at all of
    /// them in bounded memory. A name that is there all the time is seen, maybe twice.
    fn names(
        &self,
        prefix: &str,
        cursor: Option<&str>,
    ) -> impl Future<Output = Result<(Vec<String>, Option<String>), Error>> + Send;

    /// Errors, saying what to do about it, if the cache does not answer.
    fn check(&self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// How long one operation may take. Default: 5 seconds.
    fn deadline(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// What a cache holds under a name.
#[derive(Clone)]
pub struct Entry {
    /// The value as it is stored.
    pub value: Arc<[u8]>,
    /// When it ends; in the year 9999 if it does not.
    pub expires: SystemTime,
}

/// Does not show the value, which is a visitor's.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Entry {
    /// An entry without an end.
    pub fn endless(value: impl Into<Arc<[u8]>>) -> Self {
        Self { value: value.into(), expires: SystemTime::UNIX_EPOCH + YEAR_9999 }
    }
}

/// Counted from 1970.
const YEAR_9999: Duration = Duration::from_secs(253_370_764_800);

/// How a [`Cache::replace`] or [`Cache::rename`] ended.
#[derive(Clone, Debug)]
pub enum Replaced {
    /// Done.
    Done,
    /// Nothing done: the new name is taken.
    Taken,
    /// Nothing done: this is there now.
    Changed(Entry),
    /// Nothing done: nothing is there.
    Gone,
}
