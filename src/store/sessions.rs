//! Lists all sessions of a store, and deletes those of one user.

use std::{
    collections::{HashSet, VecDeque, hash_map::RandomState},
    fmt,
    hash::BuildHasher as _,
    time::{Duration, Instant, SystemTime},
};

use super::{SessionEntry, Store};
use crate::{
    Error, SessionKey,
    backend::{Cursor, Page, Row},
};

/// Passes over all sessions, for a user whose sessions change their keys, or who gets new ones, all the time.
const MAX_PASSES: usize = 100;

/// Passes that must find none, one after the other.
///
/// A pass may miss a session that gets another key before each page, with a probability of 1/e if there are
/// many pages. So many passes in a row miss it with a probability of one in ten million.
const CLEAN_PASSES: usize = 16;

/// Enough passes that found none if they have taken this long, and no session has changed its key.
const ENOUGH: (usize, Duration) = (3, Duration::from_secs(2));

/// Rows remembered between two passes: 8 to 16 bytes each.
const MAX_OTHERS: usize = 500_000;

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
    /// Reads all sessions, repeatedly until the user has none: one may get another key meanwhile, and then
    /// the listing may miss it. So it reads a small table 16 times. On a large one it stops after two seconds
    /// and three readings without a session of the user, unless one was seen to change its key. A table
    /// without a column for the user has no quicker way. A session that cannot be read belongs to nobody. A
    /// login that begins after the call may be ended or not.
    ///
    /// Errors if a session cannot be deleted; the others are. Errors also if after 100 readings the user
    /// still has sessions, which then are created, or change their keys, all the time: deactivate the user
    /// first. Both errors say how many sessions were ended.
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
        let (mut ended, mut clean, mut clean_since) = (0, 0, Instant::now());
        let (mut has_rotated, mut others) = (false, Others::default());
        for pass in 0..MAX_PASSES {
            let Pass { found, deleted, failure } =
                self.end_listed_sessions(user_id, keep, &mut others).await?;
            ended += deleted;
            if let Some(error) = failure {
                let text = not_all_ended(ended, "the store failed; retry");
                return Err(if error.is_store() { Error::store_caused_by(text, error) } else { error });
            }
            if found > 0 {
                // After the first pass, those that it missed, too.
                has_rotated |= pass > 0 || deleted < found;
                (clean, clean_since) = (0, Instant::now());
                continue;
            }
            clean += 1;
            let enough = !has_rotated && clean >= ENOUGH.0 && clean_since.elapsed() >= ENOUGH.1;
            if clean == CLEAN_PASSES || enough {
                return Ok(ended);
            }
        }
        let text = format!(
            "after {MAX_PASSES} readings of all sessions some are still created, or change their keys: \
             deactivate the user or stop the user's requests, then retry"
        );
        Err(Error::store(not_all_ended(ended, &text)))
    }

    /// One pass. Deletes at once: a session that changes its key soon has another one.
    async fn end_listed_sessions(
        &self,
        user_id: &str,
        keep: Option<&SessionKey>,
        others: &mut Others,
    ) -> Result<Pass, Error> {
        let Some(place) = self.place() else { return Err(no_listing()) };
        let (mut pass, mut after, age) = (Pass::default(), None, self.settings().cookie_age);
        loop {
            let page = match place.backend.list(after).await {
                Ok(page) => page,
                Err(error) => {
                    pass.failure = Some(error);
                    return Ok(pass);
                }
            };
            for (key, row) in page.entries {
                let row = match row {
                    Ok(row) => row,
                    // It may be the user's.
                    Err(error) => {
                        pass.failure = Some(error);
                        continue;
                    }
                };
                let hash = others.hash(&key, &row);
                if Some(&key) == keep || row.expires <= SystemTime::now() || others.rows.contains(&hash) {
                    continue;
                }
                let session = place.entry(key, Ok(row), age).await;
                if let Err(error) = &session.data
                    && error.is_store()
                {
                    pass.failure = Some(error.clone());
                    continue;
                }
                if session.user_id().as_deref() != Some(user_id) {
                    others.add(hash);
                    continue;
                }
                pass.found += 1;
                match self.delete(&session.key).await {
                    Ok(existed) => pass.deleted += u64::from(existed),
                    Err(error) => pass.failure = Some(error),
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(pass);
            }
        }
    }
}

/// Rows that are known not to be the user's. They need not be decoded again, and so a session that changes
/// its key has little time until it is deleted.
#[derive(Default)]
struct Others {
    hasher: RandomState,
    rows: HashSet<u64>,
}

impl Others {
    fn hash(&self, key: &SessionKey, row: &Row) -> u64 {
        self.hasher.hash_one((key.as_str(), &row.value))
    }

    fn add(&mut self, hash: u64) {
        if self.rows.len() < MAX_OTHERS {
            self.rows.insert(hash);
        }
    }
}

/// One reading of all sessions.
#[derive(Default)]
struct Pass {
    found: u64,
    deleted: u64,
    failure: Option<Error>,
}

fn not_all_ended(ended: u64, why: &str) -> String {
    format!("not all sessions of the user are ended, only {ended}: {why}")
}

fn no_listing() -> Error {
    Error::configuration("sessions in signed cookies cannot be listed: no server has them")
}
