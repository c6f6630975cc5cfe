//! The sessions of the user who is logged in, for a page "where you are logged in".

use std::{fmt, time::SystemTime};

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::AuthSession;
use crate::{Error, SessionEntry, SessionKey};

/// One of the sessions of a user. See [`AuthSession::sessions`].
#[derive(Clone)]
pub struct UserSession {
    entry: SessionEntry,
    is_current: bool,
}

impl UserSession {
    /// A name for pages and forms. It is made of the session's key, and does not tell it.
    pub fn id(&self) -> String {
        id(&self.entry.key)
    }

    /// Whether it is the session of this request.
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    /// When it expires.
    pub fn expires(&self) -> SystemTime {
        self.entry.expires
    }

    /// Returns a value of it, such as a name of the device that the login has stored there.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let data = self.entry.data.as_ref().ok()?;
        serde_json::from_str(data.get_json(key)?).ok()
    }
}

/// Shows neither key nor data.
impl fmt::Debug for UserSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserSession")
            .field("is_current", &self.is_current)
            .field("expires", &self.entry.expires)
            .finish_non_exhaustive()
    }
}

fn id(key: &SessionKey) -> String {
    let digest = Sha256::new().chain_update("session id").chain_update(key.as_str()).finalize();
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// # Other sessions
impl AuthSession {
    /// Lists the sessions in which this user is logged in, the current one first; not those of an earlier
    /// password. Reads all sessions of the store, so do not offer it to everybody on a huge table: see
    /// [`Store::sessions_of_user`](crate::Store::sessions_of_user).
    ///
    /// Errors if nobody is logged in.
    ///
    /// ```
    /// use actix_django_session::{Error, auth::AuthSession};
    /// use actix_web::{Responder, web};
    ///
    /// async fn list(auth: AuthSession) -> Result<impl Responder, Error> {
    ///     let sessions = auth.sessions().await?;
    ///     Ok(sessions.iter().map(|session| format!("{}\n", session.id())).collect::<String>())
    /// }
    ///
    /// async fn end(auth: AuthSession, id: web::Path<String>) -> Result<impl Responder, Error> {
    ///     let ended = auth.end_session(&id).await?;
    ///     Ok(if ended { "logged out there" } else { "no such session" })
    /// }
    /// ```
    pub async fn sessions(&self) -> Result<Vec<UserSession>, Error> {
        let user = self.known_user().await?.ok_or_else(|| Error::login_required(None))?;
        let session = self.session();
        let (current, mut found) = (session.stored_key(), Vec::<UserSession>::new());
        let mut all = session.store().sessions();
        while let Some(entry) = all.next().await? {
            let is_known = || found.iter().any(|known| known.entry.key == entry.key);
            // Redis may list a session twice.
            let is_alive = || self.auth().is_hash_of(&entry, &user);
            if !entry.is_expired()
                && entry.user_id().as_deref() == Some(user.id())
                && is_alive()
                && !is_known()
            {
                let is_current = Some(&entry.key) == current.as_ref();
                found.push(UserSession { entry, is_current });
            }
        }
        found.sort_by_key(|session| (!session.is_current, std::cmp::Reverse(session.entry.expires)));
        Ok(found)
    }

    /// Ends one of the user's other sessions, by its [`UserSession::id`]. Returns whether there was such a
    /// session. The current one is ended by [`logout`](Self::logout) alone.
    ///
    /// Errors if nobody is logged in.
    pub async fn end_session(&self, id: &str) -> Result<bool, Error> {
        let sessions = self.sessions().await?;
        match sessions.into_iter().find(|session| !session.is_current && session.id() == id) {
            Some(session) => self.session().store().delete(&session.entry.key).await,
            None => Ok(false),
        }
    }

    /// Deletes all other sessions of the user who is logged in, and returns how many. See
    /// [`Store::end_sessions_of_user`](crate::Store::end_sessions_of_user).
    ///
    /// Errors if nobody is logged in.
    pub async fn end_other_sessions(&self) -> Result<u64, Error> {
        let user = self.known_user().await?.ok_or_else(|| Error::login_required(None))?;
        let key = self.session().stored_key();
        self.session().store().end_sessions_of_user(user.id(), key.as_ref()).await
    }
}
