//! The store's results for the session layer: dictionaries with the version that the next save compares.

use std::time::SystemTime;

use bytes::Bytes;

use crate::{Error, SessionKey, codec::SessionData};

/// The result of a load.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// A live session.
    Found(Record),
    /// None, or an expired one.
    Missing,
    /// Something that the codec cannot read: signed with another secret, damaged, too large. It may belong to
    /// another service and must not be overwritten.
    Unreadable(Error),
}

/// A live session as it is stored.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) data: SessionData,
    pub(crate) version: Version,
    pub(crate) expires: SystemTime,
}

/// The stored state that a reader saw, which the next save compares.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Version {
    /// Nobody has looked: a save has to look first.
    Unknown,
    /// These bytes in the backend.
    Stored(Bytes),
    /// These bytes in the cache in front of the database.
    Cached(Bytes),
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Version(…)")
    }
}

/// A change to a stored session.
#[derive(Clone, Copy)]
pub(crate) struct Update<'a> {
    pub(crate) key: &'a SessionKey,
    pub(crate) version: &'a Version,
    /// The key afterwards, if it changes.
    pub(crate) new_key: Option<&'a SessionKey>,
    pub(crate) data: &'a SessionData,
    pub(crate) expires: SystemTime,
}

/// The result of an insert, an update or a touch.
#[derive(Debug)]
pub(crate) enum Saved {
    /// Stored under this key, which is not the requested one where the key is the data (signed cookies).
    Done(SessionKey, Version),
    /// Nothing changed: the new key is taken.
    KeyTaken,
    /// Not applied: another writer was faster, and this is stored now.
    Conflict(Record),
    /// Nothing changed: another writer was faster, with something that cannot be read.
    Unreadable(Error),
    /// Nothing changed: the session was deleted or renamed, or it has expired.
    Gone,
}

impl Loaded {
    /// The result of a compare-and-set that changed nothing, from what is stored now.
    pub(crate) fn refused(self) -> Saved {
        match self {
            Self::Found(record) => Saved::Conflict(record),
            Self::Missing => Saved::Gone,
            Self::Unreadable(error) => Saved::Unreadable(error),
        }
    }
}
