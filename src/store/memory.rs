//! Sessions in this process's memory, for tests. Django's LocMem.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{Loaded, Outcome, Record, Seen, SessionData, SessionStore};
use crate::{Error, SessionKey};

/// Keeps sessions in memory: they end with the process and are not shared with any other.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{Session, store::MemoryStore};
///
/// let store = MemoryStore::new();
/// let session = Session::create(&store);
/// session.insert("k1", "v1")?;
/// session.save().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore {
    sessions: Arc<Mutex<Sessions>>,
}

/// JSON text and expiry by key.
type Sessions = HashMap<SessionKey, (Arc<str>, SystemTime)>;

impl MemoryStore {
    /// An empty store. Clones share their sessions.
    pub fn new() -> Self {
        Self::default()
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Nothing that can panic runs while it is locked.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compare and set: what to do with the entry if it still is what was seen.
    fn if_unchanged(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let mut sessions = self.sessions();
        match sessions.get(key) {
            Some((text, until)) if *until > SystemTime::now() => {
                if **text != *seen.as_str() {
                    return Ok(Outcome::Changed(record(text, *until)?));
                }
            }
            _ => return Ok(Outcome::Gone),
        }
        if new_key != key && sessions.contains_key(new_key) {
            return Ok(Outcome::KeyTaken);
        }
        sessions.remove(key);
        let text: Arc<str> = data.to_json().into();
        sessions.insert(new_key.clone(), (text.clone(), expires));
        Ok(Outcome::Saved(Seen::new(text)))
    }
}

impl SessionStore for MemoryStore {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        match self.sessions().get(key) {
            Some((text, expires)) if *expires > SystemTime::now() => {
                Ok(Loaded::Found(record(text, *expires)?))
            }
            _ => Ok(Loaded::Missing),
        }
    }

    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let mut sessions = self.sessions();
        if sessions.contains_key(key) {
            return Ok(Outcome::KeyTaken);
        }
        let text: Arc<str> = data.to_json().into();
        sessions.insert(key.clone(), (text.clone(), expires));
        Ok(Outcome::Saved(Seen::new(text)))
    }

    async fn update(
        &self,
        key: &SessionKey,
        seen: &Seen,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.if_unchanged(key, seen, key, data, expires)
    }

    async fn rename(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.if_unchanged(key, seen, new_key, data, expires)
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        Ok(self.sessions().remove(key).is_some())
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        Ok(self.sessions().contains_key(key))
    }

    async fn clear_expired(&self) -> Result<u64, Error> {
        let (mut sessions, now) = (self.sessions(), SystemTime::now());
        let before = sessions.len();
        sessions.retain(|_, (_, expires)| *expires >= now);
        Ok((before - sessions.len()) as u64)
    }
}

fn record(text: &Arc<str>, expires: SystemTime) -> Result<Record, Error> {
    let data = SessionData::from_json(text.clone())?;
    Ok(Record { data, seen: Seen::new(text.clone()), expires })
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} sessions)", self.sessions().len())
    }
}
