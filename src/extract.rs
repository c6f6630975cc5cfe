//! How handlers and other middleware come by the session.

use std::{
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};
use tokio::sync::OnceCell;

use crate::{Error, Session, SessionKey, SessionSettings, store::AnyStore};

/// The session of a request before it is loaded. Nothing is asked of the store until
/// [`load`](Self::load).
///
/// Take this instead of [`Session`] where only some branches need the session:
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
/// ```
#[derive(Clone)]
pub struct LazySession(Arc<Lazy>);

struct Lazy {
    store: AnyStore,
    settings: Arc<SessionSettings>,
    presented: Presented,
    loaded: OnceCell<Session>,
    closed: AtomicBool,
}

/// What the request's cookie said.
#[derive(Clone)]
pub(crate) enum Presented {
    /// No cookie, or one too short to be a key: Django takes it as none.
    Nothing,
    /// A value that no session can have: unknown, without asking the store.
    Impossible,
    Key(SessionKey),
}

impl Presented {
    pub(crate) fn new(cookie: Option<&[u8]>, store: &AnyStore) -> Self {
        let text = String::from_utf8_lossy(cookie.unwrap_or_default());
        match store.parse_key(&text) {
            Some(key) => Self::Key(key),
            None if text.chars().nth(7).is_some() => Self::Impossible,
            None => Self::Nothing,
        }
    }
}

impl LazySession {
    pub(crate) fn new(store: AnyStore, settings: Arc<SessionSettings>, presented: Presented) -> Self {
        let (loaded, closed) = (OnceCell::new(), AtomicBool::new(false));
        Self(Arc::new(Lazy { store, settings, presented, loaded, closed }))
    }

    /// The session; loads it, once. Errors if the store cannot be used; a later call tries again.
    pub async fn load(&self) -> Result<Session, Error> {
        let lazy = &*self.0;
        let session = lazy.loaded.get_or_try_init(|| async {
            let (store, policy) = (lazy.store.clone(), lazy.settings.expiry());
            match &lazy.presented {
                Presented::Key(key) => Session::load(store, policy, key).await,
                Presented::Nothing | Presented::Impossible => Ok(Session::empty(store, policy)),
            }
        });
        let session = session.await?;
        if self.is_closed() {
            session.close();
        }
        Ok(session.clone())
    }

    /// Ends the session without loading it: one statement, at commit, instead of two. See [`Session::flush`].
    pub async fn flush(&self) -> Result<(), Error> {
        let lazy = &*self.0;
        let ended = lazy.loaded.get_or_try_init(|| async {
            let (store, policy) = (lazy.store.clone(), lazy.settings.expiry());
            Ok::<_, Error>(match &lazy.presented {
                Presented::Key(key) => Session::unseen(store, policy, key),
                Presented::Nothing | Presented::Impossible => Session::empty(store, policy),
            })
        });
        let session = ended.await?;
        if self.is_closed() {
            session.close();
        }
        session.flush()
    }

    /// The session if it has been loaded already.
    pub fn loaded(&self) -> Option<Session> {
        self.0.loaded.get().cloned()
    }

    /// The key: of the session if it is loaded, else what the cookie says, whether there is such a session
    /// or not.
    pub fn session_key(&self) -> Option<SessionKey> {
        match (self.0.loaded.get(), &self.0.presented) {
            (Some(session), _) => session.session_key(),
            (None, Presented::Key(key)) => Some(key.clone()),
            (None, _) => None,
        }
    }

    /// Whether there is neither a key nor data. Never loads: a key that was not looked up yet counts.
    pub fn is_empty(&self) -> bool {
        match self.0.loaded.get() {
            Some(session) => session.is_empty(),
            None => matches!(self.0.presented, Presented::Nothing),
        }
    }

    /// The response has begun: from here on, changes are refused.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        if let Some(session) = self.0.loaded.get() {
            session.close();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn settings(&self) -> &SessionSettings {
        &self.0.settings
    }
}

impl fmt::Debug for LazySession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LazySession({})", if self.0.loaded.get().is_some() { "loaded" } else { "not loaded" })
    }
}

/// The sessions of a request, outermost first: one for each cookie name that a middleware serves.
#[derive(Clone, Default)]
pub(crate) struct RequestSessions(pub(crate) Vec<LazySession>);

impl RequestSessions {
    pub(crate) fn named(&self, cookie_name: &str) -> Option<&LazySession> {
        let mut sessions = self.0.iter().rev();
        sessions.find(|session| session.settings().cookie_name == cookie_name && !session.is_closed())
    }

    /// The innermost, unless its middleware has done its work already.
    fn current(&self) -> Option<&LazySession> {
        self.0.iter().rev().find(|session| !session.is_closed()).or(self.0.last())
    }
}

/// Access to the session from a request, for middleware and helper functions.
pub trait SessionExt {
    /// The session of the innermost [`SessionMiddleware`](crate::SessionMiddleware). Errors if there is none.
    fn session(&self) -> Result<LazySession, Error>;

    /// The session behind a cookie name, where several middlewares with a name each are wrapped around one
    /// another. Errors if there is none.
    fn session_named(&self, cookie_name: &str) -> Result<LazySession, Error>;
}

impl<R: HttpMessage> SessionExt for R {
    fn session(&self) -> Result<LazySession, Error> {
        let extensions = self.extensions();
        let session = extensions.get::<RequestSessions>().and_then(RequestSessions::current);
        session.cloned().ok_or_else(|| Error::no_middleware(""))
    }

    fn session_named(&self, cookie_name: &str) -> Result<LazySession, Error> {
        let extensions = self.extensions();
        let session = extensions.get::<RequestSessions>().and_then(|all| all.named(cookie_name));
        session.cloned().ok_or_else(|| Error::no_middleware(&format!(" of the cookie {cookie_name:?}")))
    }
}

impl FromRequest for LazySession {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(req.session())
    }
}

impl FromRequest for Session {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let lazy = req.session();
        Box::pin(async move { lazy?.load().await })
    }
}
