//! Sessions in this process's memory. Django's LocMem.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row};
use crate::{Error, SessionKey};

/// A page ends with the first of these.
const PAGE_ROWS: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// Keeps sessions in this process's memory, for tests: they are lost with the process, and no other process
/// sees them.
///
/// Holds 100,000 sessions at most; a full one evicts the session that would expire first. An expired session
/// is gone. Clones share their sessions.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{SecretKey, Session, Store, backend::Memory};
///
/// let store = Store::new(Memory::new(), SecretKey::new("a secret"));
/// let session = Session::new(&store);
/// session.insert("k1", "v1")?;
/// session.save().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Memory {
    rows: Arc<Mutex<Rows>>,
    max_sessions: usize,
}

#[derive(Default)]
struct Rows {
    by_key: BTreeMap<SessionKey, Row>,
    by_expiry: BTreeSet<(SystemTime, SessionKey)>,
}

impl Memory {
    /// An empty backend for 100,000 sessions.
    pub fn new() -> Self {
        Self::with_max_sessions(100_000)
    }

    /// An empty backend for at most so many sessions. Django's `MAX_ENTRIES`.
    pub fn with_max_sessions(sessions: usize) -> Self {
        Self { rows: Arc::default(), max_sessions: sessions.max(1) }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // Nothing that can panic runs while it is locked.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn live(&self, key: &SessionKey) -> Option<&Row> {
        self.by_key.get(key).filter(|row| row.expires > SystemTime::now())
    }

    fn remove(&mut self, key: &SessionKey) -> Option<Row> {
        let (key, row) = self.by_key.remove_entry(key)?;
        self.by_expiry.remove(&(row.expires, key));
        Some(row)
    }

    /// Stores a row under a key that no live row has.
    fn insert(&mut self, key: &SessionKey, row: Row, limit: usize) {
        self.remove(key);
        if row.expires <= SystemTime::now() {
            return; // forgotten at once, as by any cache
        }
        while self.by_key.len() >= limit
            && let Some((_, first)) = self.by_expiry.first().cloned()
        {
            self.remove(&first);
        }
        self.by_expiry.insert((row.expires, key.clone()));
        self.by_key.insert(key.clone(), row);
    }
}

impl Backend for Memory {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        Ok(self.rows().live(key).cloned())
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        let mut rows = self.rows();
        if rows.live(new.key).is_some() {
            return Ok(Inserted::KeyTaken);
        }
        rows.insert(new.key, Row::new(new.value, new.expires), self.max_sessions);
        Ok(Inserted::Done)
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        let mut rows = self.rows();
        match rows.live(change.key) {
            None => return Ok(Replaced::Gone),
            Some(row) if row.value.as_ref() != Some(&change.expected) => {
                return Ok(Replaced::Conflict(row.clone()));
            }
            Some(_) => {}
        }
        let new_key = change.new_key.unwrap_or(change.key);
        if new_key != change.key && rows.live(new_key).is_some() {
            return Ok(Replaced::KeyTaken);
        }
        rows.remove(change.key);
        let value = change.value.unwrap_or(change.expected);
        rows.insert(new_key, Row::new(value, change.expires), self.max_sessions);
        Ok(Replaced::Done)
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        Ok(self.rows().remove(key).is_some_and(|row| row.expires > SystemTime::now()))
    }

    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        let rows = self.rows();
        let last = after.as_ref().and_then(|cursor| SessionKey::parse(cursor.as_str()));
        let from = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (key, row) in rows.by_key.range((from, Bound::Unbounded)) {
            if entries.len() == PAGE_ROWS || bytes >= PAGE_BYTES {
                let next = entries.last().map(|(key, _): &(SessionKey, _)| Cursor::new(key.as_str()));
                return Ok(Page::new(entries, next));
            }
            bytes += row.value.as_ref().map_or(0, |value| value.len());
            entries.push((key.clone(), Ok(row.clone())));
        }
        Ok(Page::new(entries, None))
    }

    async fn clear_expired(&self, limit: u32) -> Result<u64, Error> {
        let (mut rows, now, mut cleared) = (self.rows(), SystemTime::now(), 0);
        while cleared < u64::from(limit)
            && let Some((expires, key)) = rows.by_expiry.first().cloned()
            && expires <= now
        {
            rows.remove(&key);
            cleared += 1;
        }
        Ok(cleared)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} sessions)", self.rows().by_key.len())
    }
}
