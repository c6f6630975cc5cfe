//! A session in memory: the dictionary, Django's flags, and the journal of changes.

use std::{fmt, sync::Arc, time::SystemTime};

use super::{
    degraded::Degraded,
    journal::{self, Change},
};
use crate::{
    Error, SessionKey,
    codec::SessionData,
    event_log::EventLog,
    store::record::{Record, Version},
};

/// The stored state of this session, as far as it is known.
#[derive(Clone)]
pub(super) enum Stored {
    Nothing,
    Row {
        key: SessionKey,
        version: Version,
        expires: SystemTime,
    },
    /// It may belong to another service: never overwritten.
    Unreadable(SessionKey),
}

impl Stored {
    pub(super) fn key(&self) -> Option<&SessionKey> {
        match self {
            Self::Nothing => None,
            Self::Row { key, .. } | Self::Unreadable(key) => Some(key),
        }
    }

    /// The same row, in a version that the next save has to look up.
    pub(super) fn outdated(&self) -> Self {
        match self {
            Self::Row { key, expires, .. } => {
                Self::Row { key: key.clone(), version: Version::Unknown, expires: *expires }
            }
            other => other.clone(),
        }
    }
}

pub(super) struct State {
    pub(super) stored: Stored,
    /// The key as the application sees it. Differs from the stored one between `cycle_key` or `flush` and the
    /// save that carries them out.
    pub(super) key: Option<SessionKey>,
    pub(super) data: SessionData,
    /// Changes that a save is writing. They stay if it fails or is cancelled.
    pub(super) in_flight: Option<Arc<Vec<Change>>>,
    /// Changes since.
    pub(super) journal: Vec<Change>,
    /// `flush` was called: the stored row must be deleted, and that it is gone already is no error.
    pub(super) flushed: bool,
    /// If the row is gone, the save stores the data in a new one.
    pub(super) new_if_gone: bool,
    /// `flush` was called and nothing was stored since: an empty session is not stored.
    pub(super) ended: bool,
    pub(super) accessed: bool,
    pub(super) modified: bool,
    /// Counts changes, and `saved_count` how many of them a save has written.
    pub(super) change_count: u64,
    pub(super) saved_count: Option<u64>,
    /// How many of them the crate made by itself: they must not fail the request.
    pub(super) unrequested_change_count: u64,
    /// A logout was requested, which a response with a 5xx carries out too.
    pub(super) logged_out: bool,
    /// Counts calls of `flush` and `cycle_key`, so that a save notices one that came meanwhile.
    pub(super) key_change_count: u64,
    /// A save of an `update` was dropped or had no reply: nobody knows whether it is stored.
    pub(super) in_doubt: bool,
    /// A save has stored the row under another key than it was loaded by.
    pub(super) renamed: bool,
    /// The response has begun.
    pub(super) closed: bool,
    /// The session could not be loaded.
    pub(super) degraded: Option<Box<Degraded>>,
    /// The store's.
    pub(super) log: Option<EventLog>,
}

impl State {
    pub(super) fn new(stored: Stored, data: SessionData) -> Self {
        Self {
            key: stored.key().cloned(),
            stored,
            data,
            in_flight: None,
            journal: Vec::new(),
            flushed: false,
            new_if_gone: false,
            ended: false,
            accessed: false,
            modified: false,
            change_count: 0,
            saved_count: None,
            unrequested_change_count: 0,
            logged_out: false,
            key_change_count: 0,
            in_doubt: false,
            renamed: false,
            closed: false,
            degraded: None,
            log: None,
        }
    }

    pub(super) fn loaded(key: SessionKey, record: Record) -> Self {
        let Record { data, version, expires } = record;
        Self::new(Stored::Row { key, version, expires }, data)
    }

    /// The one entrance for every change: refused after the response has begun, applied, flagged, journaled.
    pub(super) fn change(&mut self, change: Change) -> Result<(), Error> {
        self.refuse_if_read_only()?;
        change.apply(&mut self.data)?;
        self.note(change);
        Ok(())
    }

    /// Flags and journals a change that `data` already shows.
    pub(super) fn note(&mut self, change: Change) {
        self.mark_modified();
        journal::append(&mut self.journal, change);
    }

    pub(super) fn mark_modified(&mut self) {
        self.accessed = true;
        self.modified = true;
        self.change_count += 1;
    }

    /// Whether something was changed that no save has written.
    pub(super) fn is_unsaved(&self) -> bool {
        self.change_count > self.saved_count.unwrap_or(0)
    }

    /// The session's key from here on; a save carries it out.
    pub(super) fn change_key(&mut self, key: Option<SessionKey>) {
        self.mark_modified();
        self.key_change_count += 1;
        self.key = key;
    }

    pub(super) fn cycle_key(&mut self, key: SessionKey) -> Result<(), Error> {
        self.refuse_if_read_only()?;
        self.change_key(Some(key));
        Ok(())
    }

    /// Counts a change that the application did not request. The caller has the lock, so that no other
    /// thread's change is counted with it.
    #[cfg(feature = "auth")]
    pub(super) fn make_unrequested_change(
        &mut self,
        make: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let before = self.change_count;
        let made = make(self);
        self.unrequested_change_count += self.change_count - before;
        made
    }

    /// Refuses a change that nobody could save.
    pub(super) fn refuse_if_read_only(&mut self) -> Result<(), Error> {
        if !self.closed {
            return self.refuse_if_degraded();
        }
        let error = Error::closed();
        // A streaming body cannot report it to anybody.
        error.log(self.log.as_ref().unwrap_or(EventLog::general()));
        Err(error)
    }

    pub(super) fn refuse_if_degraded(&mut self) -> Result<(), Error> {
        self.degraded.as_mut().map_or(Ok(()), |degraded| Err(degraded.refuse()))
    }

    /// Django's `is_empty`: neither key nor data.
    pub(super) fn is_empty(&self) -> bool {
        self.key.is_none() && self.data.is_empty()
    }

    /// The stored row cannot be read, and there is nothing to start a new session with.
    pub(super) fn has_nothing_to_save(&self) -> bool {
        let unchanged = matches!(&self.stored, Stored::Unreadable(key) if self.key.as_ref() == Some(key));
        unchanged && self.data.is_empty()
    }

    /// `flush` was called, and the session has had neither row nor data nor a new key since.
    pub(super) fn stays_ended(&self) -> bool {
        self.ended && self.is_empty() && matches!(self.stored, Stored::Nothing)
    }

    /// `flush` was called and its delete is still to come.
    pub(super) fn is_flushed(&self) -> bool {
        self.is_empty() && !matches!(self.stored, Stored::Nothing)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("data", &self.data)
            .field("accessed", &self.accessed)
            .field("modified", &self.modified)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
