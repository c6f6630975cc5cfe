//! What a session holds in memory: the dictionary, Django's flags, and the journal of changes.

use std::{fmt, sync::Arc, time::SystemTime};

use crate::{
    Error, SessionKey,
    codec::SessionData,
    store::{Record, Seen},
};

/// What the store holds for this session, as far as we have seen.
#[derive(Clone)]
pub(super) enum Row {
    None,
    Stored {
        key: SessionKey,
        seen: Seen,
        expires: SystemTime,
    },
    /// Somebody else's until proven otherwise: never overwritten.
    Unreadable(SessionKey),
}

impl Row {
    pub(super) fn key(&self) -> Option<&SessionKey> {
        match self {
            Self::None => None,
            Self::Stored { key, .. } | Self::Unreadable(key) => Some(key),
        }
    }

    /// The same row, as seen at no time: the next save has to look at it again.
    pub(super) fn outdated(&self) -> Self {
        match self {
            Self::Stored { key, expires, .. } => {
                Self::Stored { key: key.clone(), seen: Seen::new(""), expires: *expires }
            }
            other => other.clone(),
        }
    }
}

/// One change, kept so that it can be made again on what another writer stored meanwhile.
#[derive(Clone)]
pub(super) enum Change {
    Set(Arc<str>, Arc<str>),
    Update(Arc<str>, Updater),
    Remove(Arc<str>),
    Clear,
}

/// Makes the new JSON text of a value from the present one.
pub(super) type Updater = Arc<dyn Fn(Option<&str>) -> Result<Arc<str>, Error> + Send + Sync>;

impl Change {
    pub(super) fn apply(&self, data: &mut SessionData) -> Result<(), Error> {
        match self {
            Self::Set(key, value) => data.set(key, value.clone()),
            Self::Update(key, f) => {
                let value = f(data.get_json(key))?;
                data.set(key, value);
            }
            Self::Remove(key) => {
                data.remove(key);
            }
            Self::Clear => data.clear(),
        }
        Ok(())
    }

    fn key(&self) -> Option<&str> {
        match self {
            Self::Set(key, _) | Self::Update(key, _) | Self::Remove(key) => Some(key),
            Self::Clear => None,
        }
    }
}

/// Adds a change to a journal. A later change of the same key makes an earlier one pointless, and `Clear` all of
/// them; an `Update` needs what came before it.
pub(super) fn push(journal: &mut Vec<Change>, change: Change) {
    match &change {
        Change::Clear => journal.clear(),
        Change::Set(key, _) | Change::Remove(key) => {
            journal.retain(|earlier| earlier.key() != Some(key));
        }
        Change::Update(..) => {}
    }
    journal.push(change);
}

pub(super) struct State {
    pub(super) row: Row,
    /// The key as the application sees it; differs from the row's between `cycle_key` or `flush` and the
    /// save that carries them out.
    pub(super) key: Option<SessionKey>,
    pub(super) data: SessionData,
    /// Changes that a save has in hand. They come back if it fails or is dropped half-way.
    pub(super) saving: Arc<Vec<Change>>,
    /// Changes since.
    pub(super) journal: Vec<Change>,
    /// `flush` was called: whatever the row holds must go, and that it is gone already is no surprise.
    pub(super) flushed: bool,
    pub(super) accessed: bool,
    pub(super) modified: bool,
    /// Counts what there was to save, and `saved` how much of it a save has carried out.
    pub(super) changes: u64,
    pub(super) saved: Option<u64>,
    /// Counts calls of `flush` and `cycle_key`, for a save to notice one that came meanwhile.
    pub(super) key_changes: u64,
    /// The response has begun.
    pub(super) closed: bool,
}

impl State {
    pub(super) fn new(row: Row, data: SessionData) -> Self {
        Self {
            key: row.key().cloned(),
            row,
            data,
            saving: Arc::default(),
            journal: Vec::new(),
            flushed: false,
            accessed: false,
            modified: false,
            changes: 0,
            saved: None,
            key_changes: 0,
            closed: false,
        }
    }

    pub(super) fn stored(key: SessionKey, record: Record) -> Self {
        let expires = record.expires;
        let (seen, data) = record.into_seen();
        Self::new(Row::Stored { key, seen, expires }, data)
    }

    /// The one door for every change: refused after the response has begun, applied, flagged, noted.
    pub(super) fn change(&mut self, change: Change) -> Result<(), Error> {
        self.refuse_if_closed()?;
        change.apply(&mut self.data)?;
        self.note(change);
        Ok(())
    }

    /// Flags and notes a change that `data` already shows.
    pub(super) fn note(&mut self, change: Change) {
        self.mark_modified();
        push(&mut self.journal, change);
    }

    pub(super) fn mark_modified(&mut self) {
        self.accessed = true;
        self.modified = true;
        self.changes += 1;
    }

    /// Something was changed that no save has carried out.
    pub(super) fn is_unsaved(&self) -> bool {
        self.changes > self.saved.unwrap_or(0)
    }

    /// The session's key from here on; a save carries it out.
    pub(super) fn change_key(&mut self, key: Option<SessionKey>) {
        self.mark_modified();
        self.key_changes += 1;
        self.key = key;
    }

    pub(super) fn refuse_if_closed(&self) -> Result<(), Error> {
        if !self.closed {
            return Ok(());
        }
        let error = Error::closed();
        error.log(); // a body that streams has nobody to report to
        Err(error)
    }

    /// Django's `is_empty`: neither key nor data.
    pub(super) fn is_empty(&self) -> bool {
        self.key.is_none() && self.data.is_empty()
    }

    /// What is stored cannot be read, and there is nothing to begin a new session with.
    pub(super) fn has_nothing_to_keep(&self) -> bool {
        let key_is_its_own = matches!(&self.row, Row::Unreadable(key) if self.key.as_ref() == Some(key));
        key_is_its_own && self.data.is_empty()
    }

    /// `flush` was called and its delete is still to come.
    pub(super) fn is_ended(&self) -> bool {
        self.is_empty() && !matches!(self.row, Row::None)
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
