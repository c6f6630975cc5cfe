//! The user whom a session names: what Django's `get_user` finds out.

use super::{Auth, User, session_hash::MadeBy};
use crate::{Error, Session};

pub(super) const ID: &str = "_auth_user_id";
pub(super) const BACKEND: &str = "_auth_user_backend";
pub(super) const HASH: &str = "_auth_user_hash";

/// The user whom a session names, and what must become of the session.
pub(super) enum SessionUser {
    Known(User),
    /// The hash was made with a fallback secret: it must be renewed.
    ByFallback(User),
    /// The session is not of the present password, or too old: it must be flushed.
    Expired,
    /// None, or one who may not be logged in. The session stays as it is.
    Nobody,
}

impl Auth {
    /// Returns the user who is logged in by a session, outside a request: in a WebSocket or a task. Changes
    /// nothing.
    ///
    /// A connection that lives long should ask again now and then, with the session opened anew: the user may
    /// have logged out, or lost a right.
    ///
    /// ```
    /// use actix_django_session::{Error, SessionKey, SessionMiddleware, auth::Auth};
    ///
    /// async fn may_stay(sessions: &SessionMiddleware, auth: &Auth, key: &SessionKey) -> Result<bool, Error> {
    ///     let Some(session) = sessions.open(key).await? else { return Ok(false) };
    ///     let Some(user) = auth.user_of(&session).await? else { return Ok(false) };
    ///     user.has_perm("chat.view_room").await
    /// }
    /// ```
    pub async fn user_of(&self, session: &Session) -> Result<Option<User>, Error> {
        Ok(match self.session_user(session).await? {
            SessionUser::Known(user) | SessionUser::ByFallback(user) => Some(user),
            SessionUser::Expired | SessionUser::Nobody => None,
        })
    }

    pub(super) async fn session_user(&self, session: &Session) -> Result<SessionUser, Error> {
        let Some((id, path)) = self.named_user(session) else { return Ok(SessionUser::Nobody) };
        let Some(backend) = self.backend_at(&path) else { return Ok(SessionUser::Nobody) };
        let Some(user) = self.users().get_by_key(id).await? else { return Ok(SessionUser::Nobody) };
        if !user.is_active() && !backend.allows_inactive() {
            return Ok(SessionUser::Nobody);
        }
        let made_by = self.verify_hash(session, user.password_column());
        if made_by == MadeBy::Nobody || !self.is_in_time(session) {
            return Ok(SessionUser::Expired);
        }
        let user = user.with_backend(&path);
        Ok(match made_by {
            MadeBy::Fallback => SessionUser::ByFallback(user),
            MadeBy::Current | MadeBy::Nobody => SessionUser::Known(user),
        })
    }

    /// The key of the user and the path of the backend that the session names.
    fn named_user(&self, session: &Session) -> Option<(String, String)> {
        let id = session.get_json(ID)?;
        let path = session.get::<String>(BACKEND).ok().flatten()?;
        let key = self.users().model().key.1.of_json(&id);
        if key.is_none() && id != "null" {
            self.log().warn("a session names a user by a key that no user can have: ignored".to_owned());
        }
        Some((key?, path))
    }

    /// Whether the session names this user, and its hash is of this password column.
    pub(super) fn is_session_of(&self, session: &Session, user: &User, password_column: &str) -> bool {
        let key = session.get_json(ID).and_then(|id| self.users().model().key.1.of_json(&id));
        key.as_deref() == Some(user.id()) && self.verify_hash(session, password_column) == MadeBy::Current
    }

    /// Whether the user was logged in by this session before this process changed the password.
    pub(super) fn was_session_of(&self, session: &Session, user: &User) -> bool {
        let Some(previous) = user.previous_password_column() else { return false };
        let path = session.get::<String>(BACKEND).ok().flatten();
        let backend = path.and_then(|path| self.backend_at(&path));
        backend.is_some_and(|backend| user.is_active() || backend.allows_inactive())
            && self.is_session_of(session, user, previous)
            && self.is_in_time(session)
    }

    fn verify_hash(&self, session: &Session, password_column: &str) -> MadeBy {
        let hash = session.get::<String>(HASH).ok().flatten().unwrap_or_default();
        self.hash().verify(&hash, password_column)
    }
}
