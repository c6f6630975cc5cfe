//! The session of a request before it is loaded, and the changes that need no load.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::OnceCell;

use super::cookie::RequestCookie;
use crate::{Error, Session, SessionKey, SessionSettings, Store, event_log::EventLog};

/// The session of a request before it is loaded. No query is sent until [`load`](Self::load).
///
/// Take this instead of [`Session`] where only some branches need the session. A change that needs no data
/// (logging out, say) needs no load either:
///
/// ```
/// use actix_web::{HttpResponse, Responder};
/// use actix_django_session::{Error, LazySession};
///
/// async fn view(session: LazySession) -> Result<impl Responder, Error> {
///     # let needs_the_visitor = true;
///     if needs_the_visitor {
///         let name: Option<String> = session.load().await?.get("name")?;
///     }
///     Ok(HttpResponse::Ok())
/// }
///
/// async fn log_out(session: LazySession) -> Result<impl Responder, Error> {
///     session.flush()?;
///     Ok(HttpResponse::Ok())
/// }
/// ```
#[derive(Clone)]
pub struct LazySession(Arc<Lazy>);

struct Lazy {
    store: Store,
    presented: Presented,
    request_key: RequestKey,
    /// Whether the request is served without its session if that cannot be loaded.
    may_degrade: bool,
    loaded: OnceCell<Session>,
    /// Changes to be made once the session is loaded.
    pending: Mutex<Vec<Pending>>,
    closed: AtomicBool,
}

/// Cookies or token header of the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presented {
    Nothing,
    Cookie,
    /// Several with different values, of which the last counts.
    SeveralCookies,
    /// A header instead of a cookie.
    Token,
    /// The header without a value: there is no session yet.
    EmptyToken,
}

/// A change that needs no data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pending {
    Clear,
    CycleKey,
    Flush,
    /// A flush that a later failure of the request does not take back.
    #[cfg(feature = "auth")]
    LogOut,
    SetModified,
}

/// The key in the request's cookie or token header.
enum RequestKey {
    /// None, or one too short to be a key: Django takes it as none.
    Missing,
    /// A value that no session can have: unknown, without a query.
    Impossible,
    Key(SessionKey),
}

impl RequestKey {
    fn new(value: Option<&[u8]>, store: &Store) -> Self {
        let value = value.unwrap_or_default();
        match std::str::from_utf8(value).ok().and_then(|text| store.parse_key(text)) {
            Some(key) => Self::Key(key),
            None if String::from_utf8_lossy(value).chars().nth(7).is_some() => Self::Impossible,
            None => Self::Missing,
        }
    }
}

impl LazySession {
    /// For a request with this cookie.
    pub(crate) fn new(store: &Store, cookie: Option<&RequestCookie<'_>>, may_degrade: bool) -> Self {
        let presented = match cookie {
            None => Presented::Nothing,
            Some(cookie) if cookie.is_ambiguous => Presented::SeveralCookies,
            Some(_) => Presented::Cookie,
        };
        Self::presented(store, presented, cookie.map(|cookie| &*cookie.value), may_degrade)
    }

    /// For a request with this token header, whatever its cookies.
    pub(crate) fn by_token(store: &Store, token: &[u8], may_degrade: bool) -> Self {
        let presented = if token.is_empty() { Presented::EmptyToken } else { Presented::Token };
        Self::presented(store, presented, Some(token), may_degrade)
    }

    fn presented(store: &Store, presented: Presented, value: Option<&[u8]>, may_degrade: bool) -> Self {
        Self(Arc::new(Lazy {
            store: store.clone(),
            presented,
            request_key: RequestKey::new(value, store),
            may_degrade,
            loaded: OnceCell::new(),
            pending: Mutex::default(),
            closed: AtomicBool::new(false),
        }))
    }

    /// Returns the session; loads it, once. Errors if the store cannot be used; a later call tries again.
    /// With [`StoreFailure::Anonymous`](crate::StoreFailure::Anonymous), a request that only reads gets a
    /// degraded session instead.
    pub async fn load(&self) -> Result<Session, Error> {
        let lazy = &*self.0;
        let session = lazy.loaded.get_or_try_init(|| async {
            match &lazy.request_key {
                RequestKey::Key(key) => match Session::load(lazy.store.clone(), key).await {
                    // With changes that wait for the load, it is no request that only reads.
                    Err(error) if error.is_store() && lazy.may_degrade && !self.has_pending() => {
                        Ok(Session::degraded(lazy.store.clone(), error))
                    }
                    loaded => loaded,
                },
                RequestKey::Missing | RequestKey::Impossible => Ok(Session::empty(lazy.store.clone())),
            }
        });
        let session = session.await?.clone();
        self.apply_pending(&session)?;
        if self.is_closed() {
            session.close();
        }
        Ok(session)
    }

    /// Makes the changes that came before the load, under the lock, so that none slips in between.
    fn apply_pending(&self, session: &Session) -> Result<(), Error> {
        let mut pending = self.pending();
        pending.drain(..).try_for_each(|change| change.apply(session))
    }

    /// Deletes the session without loading it: one statement when the response goes out, instead of two. See
    /// [`Session::flush`].
    pub fn flush(&self) -> Result<(), Error> {
        self.flush_by(Pending::Flush)
    }

    fn flush_by(&self, flush: Pending) -> Result<(), Error> {
        let lazy = &*self.0;
        let mut pending = self.pending();
        self.refuse_if_closed()?;
        if lazy.loaded.get().is_none() {
            let session = match &lazy.request_key {
                RequestKey::Key(key) => Session::not_loaded(lazy.store.clone(), key),
                RequestKey::Missing | RequestKey::Impossible => Session::empty(lazy.store.clone()),
            };
            let _ = lazy.loaded.set(session); // a load that has just finished serves as well
        }
        pending.clear();
        match lazy.loaded.get() {
            Some(session) => flush.apply(session),
            None => {
                pending.push(flush); // a load is in flight
                Ok(())
            }
        }
    }

    /// Removes all data, loading the session only when the response goes out. See [`Session::clear`].
    pub fn clear(&self) -> Result<(), Error> {
        self.change(Pending::Clear)
    }

    /// Gives the session a new key, loading it only when the response goes out. See [`Session::cycle_key`].
    pub fn cycle_key(&self) -> Result<(), Error> {
        self.change(Pending::CycleKey)
    }

    /// Has the session saved and its cookie renewed, loading it only when the response goes out. See
    /// [`Session::set_modified`].
    pub fn set_modified(&self) -> Result<(), Error> {
        self.change(Pending::SetModified)
    }

    fn change(&self, change: Pending) -> Result<(), Error> {
        let mut pending = self.pending();
        self.refuse_if_closed()?;
        match self.0.loaded.get() {
            Some(session) => change.apply(session),
            None => {
                if !pending.contains(&change) {
                    pending.push(change);
                }
                Ok(())
            }
        }
    }

    fn pending(&self) -> MutexGuard<'_, Vec<Pending>> {
        // Nothing that can panic runs while it is locked.
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the client has a cookie or token to forget.
    pub(crate) fn had_key(&self) -> bool {
        !matches!(self.0.presented, Presented::Nothing | Presented::EmptyToken)
    }

    /// Whether the request has several session cookies, so that a deletion may hit another session's.
    pub(crate) fn has_ambiguous_cookie(&self) -> bool {
        self.0.presented == Presented::SeveralCookies
    }

    /// Whether the session comes by the token header. No page of another site can make a browser send that
    /// header by itself, so such a request needs no CSRF token.
    pub(crate) fn is_by_token(&self) -> bool {
        matches!(self.0.presented, Presented::Token | Presented::EmptyToken)
    }

    /// Returns whether this is the key that the request came with.
    pub(crate) fn is_request_key(&self, key: &SessionKey) -> bool {
        matches!(&self.0.request_key, RequestKey::Key(known) if known == key)
    }

    /// Whether the request is served although the store cannot be used.
    pub(crate) fn may_degrade(&self) -> bool {
        self.0.may_degrade
    }

    /// Whether the session could not be loaded, and the request is served without.
    #[cfg(feature = "auth")]
    pub(crate) fn is_degraded(&self) -> bool {
        self.0.loaded.get().is_some_and(Session::is_degraded)
    }

    /// Degrades the loaded session, if the request may be served so.
    #[cfg(feature = "auth")]
    pub(crate) fn degrade(&self, cause: &Error) -> bool {
        self.0.may_degrade && self.0.loaded.get().is_some_and(|session| session.degrade(cause))
    }

    /// Whether changes wait for the load.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending().is_empty()
    }

    /// Whether one of them is a flush, which a response with a 5xx may carry out too.
    pub(crate) fn has_pending_flush(&self) -> bool {
        self.pending().iter().any(|change| change.is_flush())
    }

    /// Returns the session if it has been loaded already.
    pub fn loaded(&self) -> Option<Session> {
        self.0.loaded.get().cloned()
    }

    /// Returns the key: that of the session if it is loaded, else that in the cookie or token header,
    /// whether there is such a session or not.
    pub fn session_key(&self) -> Option<SessionKey> {
        match (self.0.loaded.get(), &self.0.request_key) {
            (Some(session), _) => session.session_key(),
            (None, RequestKey::Key(key)) => Some(key.clone()),
            (None, _) => None,
        }
    }

    /// Returns whether there is neither a key nor data. Never loads: a key that was not looked up yet counts.
    pub fn is_empty(&self) -> bool {
        match self.0.loaded.get() {
            Some(session) => session.is_empty(),
            None => matches!(self.0.request_key, RequestKey::Missing),
        }
    }

    /// Refuses changes from here on: the response has begun.
    pub(crate) fn close(&self) {
        let mut pending = self.pending();
        self.0.closed.store(true, Ordering::SeqCst);
        if let Some(session) = self.0.loaded.get() {
            // Of a load that has just finished.
            let _ = pending.drain(..).try_for_each(|change| change.apply(session));
            session.close();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    fn refuse_if_closed(&self) -> Result<(), Error> {
        if self.is_closed() {
            let error = Error::closed();
            error.log(self.log()); // a streaming body cannot report it to anybody
            return Err(error);
        }
        Ok(())
    }

    /// Flushes, also if the request fails later.
    #[cfg(feature = "auth")]
    pub(crate) fn log_out(&self) -> Result<(), Error> {
        self.flush_by(Pending::LogOut)
    }

    #[cfg(feature = "auth")]
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// Returns the key of the row, or that in the cookie if the session is not loaded.
    #[cfg(feature = "auth")]
    pub(crate) fn stored_key(&self) -> Option<SessionKey> {
        match self.0.loaded.get() {
            Some(session) => session.stored_key(),
            None => self.session_key(),
        }
    }

    /// Where the errors of its store are counted and logged.
    pub(crate) fn log(&self) -> &EventLog {
        self.0.store.log()
    }

    pub(crate) fn cookie_name(&self) -> &str {
        &self.settings().cookie_name
    }

    /// The settings of its middleware.
    pub(crate) fn settings(&self) -> &SessionSettings {
        self.0.store.settings()
    }

    #[cfg(feature = "csrf")]
    pub(crate) fn cookie_domain(&self) -> Option<&str> {
        self.0.store.settings().cookie_domain.as_deref()
    }
}

impl Pending {
    fn is_flush(self) -> bool {
        match self {
            Self::Flush => true,
            #[cfg(feature = "auth")]
            Self::LogOut => true,
            Self::Clear | Self::CycleKey | Self::SetModified => false,
        }
    }

    fn apply(self, session: &Session) -> Result<(), Error> {
        match self {
            Self::Clear => session.clear(),
            Self::CycleKey => session.cycle_key(),
            Self::Flush => session.flush(),
            #[cfg(feature = "auth")]
            Self::LogOut => {
                session.flush()?;
                session.note_logout();
                Ok(())
            }
            Self::SetModified => session.set_modified(),
        }
    }
}

impl fmt::Debug for LazySession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LazySession({})", if self.0.loaded.get().is_some() { "loaded" } else { "not loaded" })
    }
}
