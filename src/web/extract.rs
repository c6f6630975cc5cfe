//! How handlers and other middleware get the session.

use std::{
    future::{Future, Ready, ready},
    mem,
    pin::Pin,
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};

use super::lazy::LazySession;
use crate::{Error, Session, event_log::EventLog};

/// The sessions of a request, outermost first: one for each cookie name that a middleware serves.
pub(crate) struct RequestSessions {
    /// Mostly there are none, which needs no memory.
    outer: Vec<LazySession>,
    innermost: LazySession,
}

impl RequestSessions {
    /// Adds a session to the request.
    pub(super) fn push(request: &impl HttpMessage, session: LazySession) {
        let mut extensions = request.extensions_mut();
        match extensions.get_mut::<Self>() {
            Some(all) => all.outer.push(mem::replace(&mut all.innermost, session)),
            None => drop(extensions.insert(Self { outer: Vec::new(), innermost: session })),
        }
    }

    fn innermost_first(&self) -> impl Iterator<Item = &LazySession> {
        std::iter::once(&self.innermost).chain(self.outer.iter().rev())
    }

    pub(crate) fn named(&self, cookie_name: &str) -> Option<&LazySession> {
        let mut sessions = self.innermost_first();
        sessions.find(|session| session.cookie_name() == cookie_name && !session.is_closed())
    }

    /// The innermost, unless its middleware has finished already.
    pub(crate) fn current(&self) -> &LazySession {
        self.innermost_first().find(|session| !session.is_closed()).unwrap_or(&self.innermost)
    }
}

/// The session of the innermost middleware, for a middleware that can do without.
#[cfg(any(feature = "auth", feature = "csrf", feature = "messages"))]
pub(crate) fn current_session(request: &impl HttpMessage) -> Option<LazySession> {
    request.extensions().get::<RequestSessions>().map(RequestSessions::current).cloned()
}

/// Access to the session from a request, for middleware and helper functions.
///
/// ```
/// use actix_web::HttpRequest;
/// use actix_django_session::{Error, SessionExt};
///
/// async fn visitor_name(request: &HttpRequest) -> Result<Option<String>, Error> {
///     request.session()?.load().await?.get("name")
/// }
/// ```
pub trait SessionExt {
    /// Returns the session of the innermost [`SessionMiddleware`](crate::SessionMiddleware). Errors if there
    /// is none.
    fn session(&self) -> Result<LazySession, Error>;

    /// Returns the session behind a cookie name, where several middlewares with a name each are nested.
    /// Errors if there is none.
    fn session_named(&self, cookie_name: &str) -> Result<LazySession, Error>;
}

impl<R: HttpMessage> SessionExt for R {
    fn session(&self) -> Result<LazySession, Error> {
        let extensions = self.extensions();
        let session = extensions.get::<RequestSessions>().map(RequestSessions::current);
        session.cloned().ok_or_else(|| logged(Error::no_middleware("")))
    }

    fn session_named(&self, cookie_name: &str) -> Result<LazySession, Error> {
        let extensions = self.extensions();
        let session = extensions.get::<RequestSessions>().and_then(|all| all.named(cookie_name));
        session
            .cloned()
            .ok_or_else(|| logged(Error::no_middleware(&format!(" of the cookie {cookie_name:?}"))))
    }
}

/// A missing middleware is logged where it is found: there is none to log it.
fn logged(error: Error) -> Error {
    error.log(EventLog::general());
    error
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
        // Logged here too: an inner middleware may replace the response and its error.
        Box::pin(async move {
            let lazy = lazy?;
            lazy.load().await.inspect_err(|error| error.log(lazy.log()))
        })
    }
}
