//! Looking at all sessions of a store, and ending those of one user.

use std::{collections::VecDeque, fmt, sync::Arc, time::SystemTime};

use super::{AnyStore, SessionData};
use crate::{Error, SessionKey, codec::json};

/// Looks at all sessions before it is given up to end those of a user who makes new ones all the time.
const PASSES: usize = 10;

/// Where Django's login keeps who the user is.
const USER: &str = "_auth_user_id";

/// Where a look at all sessions goes on. What is in it is the store's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// Takes what the store needs in order to go on.
    pub fn new(place: impl Into<String>) -> Self {
        Self(place.into())
    }

    /// What the store needs in order to go on.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Some sessions of a store.
#[derive(Clone, Debug)]
pub struct Page {
    /// Live and expired ones.
    pub sessions: Vec<Listed>,
    /// Where to go on, if there is more.
    pub next: Option<Cursor>,
}

/// A session as it was seen in passing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its key.
    pub key: SessionKey,
    /// When it ends or has ended.
    pub expires: SystemTime,
    /// What is in it, or why that cannot be read.
    pub data: Result<SessionData, Arc<Error>>,
}

impl Listed {
    /// Whether its time has come.
    pub fn is_expired(&self) -> bool {
        self.expires <= SystemTime::now()
    }

    /// The id of the user who is logged in, as Django keeps it: text.
    pub fn user_id(&self) -> Option<String> {
        let data = self.data.as_ref().ok()?;
        json::from_json(data.get_json(USER)?).ok()
    }
}

/// The sessions of a store one after the other, a page of them in memory. Made by [`AnyStore::sessions`].
pub struct Sessions {
    store: AnyStore,
    page: VecDeque<Listed>,
    cursor: Option<Cursor>,
    ended: bool,
}

impl Sessions {
    /// The next one, expired or not. Errors if the store cannot be used; a later call tries again.
    pub async fn next(&mut self) -> Result<Option<Listed>, Error> {
        while self.page.is_empty() && !self.ended {
            let page = self.store.page(self.cursor.as_ref()).await?;
            self.page = page.sessions.into();
            self.ended = page.next.is_none();
            self.cursor = page.next;
        }
        Ok(self.page.pop_front())
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// # All sessions
impl AnyStore {
    /// Looks at all sessions of the store, one after the other, in bounded memory.
    ///
    /// One that comes or goes meanwhile may be seen or not; in a Redis one may be seen twice. Errors, when asked for
    /// the first one, if the store does not know its sessions (cookies).
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::store::{AnyStore, MemoryStore};
    ///
    /// let store: AnyStore = MemoryStore::new().into();
    /// let mut sessions = store.sessions();
    /// while let Some(session) = sessions.next().await? {
    ///     println!("{:?} until {:?}", session.user_id(), session.expires);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn sessions(&self) -> Sessions {
        Sessions { store: self.clone(), page: VecDeque::new(), cursor: None, ended: false }
    }

    /// The keys of the live sessions in which this user is logged in (Django's login), found by looking at all of them.
    pub async fn sessions_of_user(&self, user_id: &str) -> Result<Vec<SessionKey>, Error> {
        let (mut sessions, mut found) = (self.sessions(), Vec::new());
        while let Some(session) = sessions.next().await? {
            if !session.is_expired()
                && session.user_id().as_deref() == Some(user_id)
                && !found.contains(&session.key)
            {
                found.push(session.key);
            }
        }
        Ok(found)
    }

    /// Ends all sessions of a user, but for the one to keep: "log out everywhere". Tells how many.
    ///
    /// Looks at every session of the store, again and again until there is none left: one may get another key meanwhile.
    /// A table without a column for the user has no quicker way. Sessions that cannot be read are nobody's. If one
    /// cannot be ended, the others are, and the answer is the error.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::{Session, store::{AnyStore, MemoryStore}};
    ///
    /// let store: AnyStore = MemoryStore::new().into();
    /// let session = Session::create(&store);
    /// session.insert("_auth_user_id", "7")?;
    /// session.save().await?;
    /// assert_eq!(store.end_sessions_of_user("7", None).await?, 1);
    /// # Ok(()) }
    /// ```
    pub async fn end_sessions_of_user(&self, user_id: &str, keep: Option<&SessionKey>) -> Result<u64, Error> {
        let (mut ended, mut failure) = (0, None);
        for _ in 0..PASSES {
            let mut keys = self.sessions_of_user(user_id).await?;
            keys.retain(|key| Some(key) != keep);
            if keys.is_empty() {
                break;
            }
            for key in keys {
                match self.delete(&key).await {
                    Ok(there) => ended += u64::from(there),
                    Err(error) => failure = Some(error),
                }
            }
            if failure.is_some() {
                break;
            }
        }
        failure.map_or(Ok(ended), Err)
    }
}
