//! Lists all sessions of a store, and deletes those of one user.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
};

use super::{SessionEntry, Store};
use crate::{
    Error, SessionKey,
    backend::{Cursor, Page},
};

/// Passes over all sessions, for a user who gets new ones all the time.
const PASSES: usize = 10;

/// All sessions of a store, one after the other, with one page of them in memory. Made by
/// [`Store::sessions`].
pub struct Sessions {
    store: Store,
    page: VecDeque<SessionEntry>,
    cursor: Option<Cursor>,
    complete: bool,
}

impl Sessions {
    /// Returns the next session, expired or not. Errors if the store cannot be used; a later call tries
    /// again.
    pub async fn next(&mut self) -> Result<Option<SessionEntry>, Error> {
        while self.page.is_empty() && !self.complete {
            let (entries, next) = self.store.page(self.cursor.clone()).await?;
            self.page = entries.into();
            self.complete = next.is_none();
            self.cursor = next;
        }
        Ok(self.page.pop_front())
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("complete", &self.complete).finish_non_exhaustive()
    }
}

/// # All sessions
impl Store {
    /// Returns what is stored under a key, as a listing shows it, if it is live.
    pub async fn entry(&self, key: &SessionKey) -> Result<Option<SessionEntry>, Error> {
        let Some(place) = self.place() else { return Err(no_listing()) };
        let row = place.backend.get(key).await?;
        Ok(match row {
            Some(row) => Some(place.entry(key.clone(), Ok(row), self.settings().cookie_age).await),
            None => None,
        })
    }

    async fn page(&self, after: Option<Cursor>) -> Result<(Vec<SessionEntry>, Option<Cursor>), Error> {
        let Some(place) = self.place() else { return Err(no_listing()) };
        let Page { entries, next, .. } = place.backend.list(after).await?;
        let (age, mut decoded) = (self.settings().cookie_age, Vec::with_capacity(entries.len()));
        for (key, row) in entries {
            decoded.push(place.entry(key, row, age).await);
        }
        Ok((decoded, next))
    }

    /// Lists all sessions of the store, in bounded memory.
    ///
    /// A session created or deleted meanwhile may be listed or not; in Redis one may be listed twice. The
    /// first call of [`Sessions::next`] errs for signed cookies, which no server has.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::{SecretKey, Store, backend::Memory};
    ///
    /// let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    /// let mut sessions = store.sessions();
    /// while let Some(session) = sessions.next().await? {
    ///     println!("{:?} until {:?}", session.user_id(), session.expires);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn sessions(&self) -> Sessions {
        Sessions { store: self.clone(), page: VecDeque::new(), cursor: None, complete: false }
    }

    /// Returns the keys of the live sessions in which this user is logged in (by Django's login). Reads all
    /// sessions.
    pub async fn sessions_of_user(&self, user_id: &str) -> Result<Vec<SessionKey>, Error> {
        // A set: Redis may list a session twice.
        let (mut sessions, mut found) = (self.sessions(), HashSet::new());
        while let Some(session) = sessions.next().await? {
            if !session.is_expired() && session.user_id().as_deref() == Some(user_id) {
                found.insert(session.key);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Deletes all sessions of a user but the one to keep, and returns how many: "log out everywhere".
    ///
    /// Reads all sessions, repeatedly until no session of the user is left: one may get another key
    /// meanwhile. A table without a column for the user has no quicker way. A session that cannot be read
    /// belongs to nobody. If one cannot be deleted, the others are, and the result is the error.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::{SecretKey, Session, Store, backend::Memory};
    ///
    /// let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    /// let session = Session::new(&store);
    /// session.insert("_auth_user_id", "7")?;
    /// session.save().await?;
    /// assert_eq!(store.end_sessions_of_user("7", None).await?, 1);
    /// # Ok(()) }
    /// ```
    pub async fn end_sessions_of_user(&self, user_id: &str, keep: Option<&SessionKey>) -> Result<u64, Error> {
        let (mut deleted, mut failure) = (0, None);
        for _ in 0..PASSES {
            let mut keys = self.sessions_of_user(user_id).await?;
            keys.retain(|key| Some(key) != keep);
            if keys.is_empty() {
                break;
            }
            for key in keys {
                match self.delete(&key).await {
                    Ok(existed) => deleted += u64::from(existed),
                    Err(error) => failure = Some(error),
                }
            }
            if failure.is_some() {
                break;
            }
        }
        failure.map_or(Ok(deleted), Err)
    }
}

fn no_listing() -> Error {
    Error::configuration("sessions in signed cookies cannot be listed: no server has them")
}
