//! Compare-and-set on what the cache holds under a key: nobody removes or replaces another's lease.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::value::{Content, Format, Holders};
use crate::{
    Error, SessionKey,
    backend::{DynBackend, Insert, Inserted, Replace, Replaced, Row},
};

/// More concurrent changes of one session than there are.
const MAX_SWAPS: usize = 50;

/// The leases in a cache.
#[derive(Clone)]
pub(super) struct Leases {
    pub(super) backend: Arc<dyn DynBackend>,
    pub(super) format: Format,
    /// How long a lease is valid.
    pub(super) duration: Duration,
}

/// A change of the cached value.
enum Step {
    Keep,
    Remove,
    Put(Bytes, SystemTime),
}

impl Leases {
    /// Before a change of the row: revokes the reader's lease or removes the value. `seen` is the value that
    /// is known to be cached.
    pub(super) async fn join(&self, key: &SessionKey, id: u64, seen: Option<Bytes>) -> Result<(), Error> {
        let join = |now| {
            let holders = match now {
                Some(Content::Change(holders)) => Holders::join(&holders, id),
                _ => Holders::sole(id),
            };
            self.put(&holders)
        };
        self.swap(key, seen, join).await
    }

    /// After the change of the row: caches the new state, if no other change came in between.
    pub(super) async fn leave(
        &self,
        key: &SessionKey,
        id: u64,
        state: Option<(Bytes, SystemTime)>,
    ) -> Result<(), Error> {
        let leave = |now| match (now, &state) {
            (Some(Content::Change(holders)), Some((value, expires))) if holders.is_sole(id) => {
                Step::Put(value.clone(), *expires)
            }
            (Some(Content::Change(holders)), _) if holders.is_sole(id) => Step::Remove,
            (Some(Content::Change(holders)), _) => match holders.leave(id) {
                None => Step::Keep,
                Some(left) if left.is_empty() => Step::Remove,
                Some(left) => self.put(&left),
            },
            // The lease was evicted, and this may be older than the change.
            (Some(Content::Value | Content::Fill), _) => Step::Remove,
            (None, _) => Step::Keep,
        };
        let own = self.format.change(&Holders::sole(id));
        self.swap(key, Some(own), leave).await
    }

    /// Before a read of the database that is to fill the cache.
    pub(super) async fn add_fill(&self, key: &SessionKey) -> Result<Option<Bytes>, Error> {
        let value = self.format.fill();
        let added = self.backend.insert(Insert::new(key, value.clone(), self.expires())).await?;
        Ok((added == Inserted::Done).then_some(value))
    }

    /// The same, in place of a value that cannot be read.
    pub(super) async fn replace_by_fill(
        &self,
        key: &SessionKey,
        now: Option<Bytes>,
    ) -> Result<Option<Bytes>, Error> {
        let Some(now) = now else {
            self.backend.delete(key).await?; // too long to be compared, so it is no lease
            return self.add_fill(key).await;
        };
        let value = self.format.fill();
        let change = Replace::new(key, now, self.expires()).value(value.clone());
        Ok((self.backend.replace(change).await? == Replaced::Done).then_some(value))
    }

    fn put(&self, holders: &Holders) -> Step {
        Step::Put(self.format.change(holders), self.expires())
    }

    fn expires(&self) -> SystemTime {
        SystemTime::now() + self.duration
    }

    async fn swap(
        &self,
        key: &SessionKey,
        seen: Option<Bytes>,
        step: impl Fn(Option<Content>) -> Step,
    ) -> Result<(), Error> {
        let mut now = match seen {
            None => self.current(key).await?,
            seen => seen,
        };
        for _ in 0..MAX_SWAPS {
            let change = match (step(now.as_deref().map(Content::parse)), now) {
                (Step::Keep, _) | (Step::Remove, None) => return Ok(()),
                (Step::Remove, Some(now)) => Replace::new(key, now, SystemTime::UNIX_EPOCH),
                (Step::Put(value, expires), Some(now)) => Replace::new(key, now, expires).value(value),
                (Step::Put(value, expires), None) => {
                    if self.backend.insert(Insert::new(key, value, expires)).await? == Inserted::Done {
                        return Ok(());
                    }
                    now = self.current(key).await?;
                    continue;
                }
            };
            now = match self.backend.replace(change).await? {
                Replaced::Done => return Ok(()),
                Replaced::Gone => None,
                Replaced::Conflict(row) => self.comparable(key, row).await?,
                Replaced::KeyTaken | Replaced::Unknown => {
                    return Err(Error::store("cannot change the cache: no reply came"));
                }
            };
        }
        Err(Error::store("cannot change the cache: other writers were always faster"))
    }

    async fn current(&self, key: &SessionKey) -> Result<Option<Bytes>, Error> {
        match self.backend.get(key).await? {
            None => Ok(None),
            Some(row) => self.comparable(key, row).await,
        }
    }

    async fn comparable(&self, key: &SessionKey, row: Row) -> Result<Option<Bytes>, Error> {
        if row.value.is_none() {
            self.backend.delete(key).await?; // too long to be compared, so it is no lease
        }
        Ok(row.value)
    }
}
