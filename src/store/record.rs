//! Results of the store: dictionaries with the version that the next save compares, and entries of a listing.

use std::{fmt, time::SystemTime};

use bytes::Bytes;

use crate::{
    Error, SessionKey,
    codec::{SessionData, json},
    metrics::{OutcomeLabel, store::HasOutcome},
};

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

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    /// In doubt: the reply was lost. The session decides, which knows whether its changes may be made twice.
    Unknown,
}

impl Loaded {
    /// The result of a compare-and-set that changed nothing, from what is stored now.
    pub(crate) fn not_saved(self) -> Saved {
        match self {
            Self::Found(record) => Saved::Conflict(record),
            Self::Missing => Saved::Gone,
            Self::Unreadable(error) => Saved::Unreadable(error),
        }
    }
}

/// Where Django's login keeps the user's id.
const USER_KEY: &str = "_auth_user_id";

/// A session as a listing shows it.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionEntry {
    /// Its key.
    pub key: SessionKey,
    /// When it expires or has expired.
    pub expires: SystemTime,
    /// The stored bytes; `None` if they are too large to be read or could not be read.
    pub value: Option<Bytes>,
    /// The dictionary, or why it cannot be read.
    pub data: Result<SessionData, Error>,
}

impl SessionEntry {
    /// Returns whether it has expired.
    pub fn is_expired(&self) -> bool {
        self.expires <= SystemTime::now()
    }

    /// Returns the id of the user who is logged in, as Django stores it: text.
    pub fn user_id(&self) -> Option<String> {
        let id = self.data.as_ref().ok()?.get_json(USER_KEY)?;
        // A number is accepted too: a site may have written one.
        let is_number = id.bytes().all(|b| b.is_ascii_digit());
        if is_number { Some(id.to_owned()) } else { json::from_json(id).ok() }
    }
}

/// Does not show the bytes, which belong to a visitor.
impl fmt::Debug for SessionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionEntry")
            .field("expires", &self.expires)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl HasOutcome for Loaded {
    fn outcome(&self) -> OutcomeLabel {
        match self {
            Self::Found(_) => OutcomeLabel::Found,
            Self::Missing => OutcomeLabel::Missing,
            Self::Unreadable(_) => OutcomeLabel::Unreadable,
        }
    }
}

impl HasOutcome for Saved {
    fn outcome(&self) -> OutcomeLabel {
        match self {
            Self::Done(..) => OutcomeLabel::Done,
            Self::KeyTaken => OutcomeLabel::KeyTaken,
            Self::Conflict(_) => OutcomeLabel::Conflict,
            Self::Unreadable(_) => OutcomeLabel::Unreadable,
            Self::Gone => OutcomeLabel::Gone,
            Self::Unknown => OutcomeLabel::InDoubt,
        }
    }
}
