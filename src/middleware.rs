//! The session middleware: Django's decision table.

use std::{future::Ready, sync::Arc};

use actix_service::{Service, Transform};
use actix_web::{
    Error as ActixError, HttpMessage, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header,
};

use crate::{
    Error, LazySession, OnInterrupted, Session, SessionKey, SessionSettings, cookie,
    extract::{Presented, RequestSessions},
    hooks::{Hooks, HooksService, Middleware, MiddlewareNotUsed, Next},
    store::{AnyStore, MAX_COOKIE_BYTES},
};

/// Gives every request inside a session. Django's `SessionMiddleware`.
///
/// Wrap it around an App, or around a scope that alone needs sessions. Make it once, outside the App's
/// factory, and clone it: clones share the store. Where two of them with one cookie name are nested, the
/// outer one serves both.
///
/// ```
/// use actix_web::App;
/// use actix_django_session::{SessionMiddleware, SessionSettings, store::MemoryStore};
///
/// let session = SessionMiddleware::new(MemoryStore::new())
///     .settings(SessionSettings::default().cookie_secure(true))?;
/// let app = App::new().wrap(session.clone());
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SessionMiddleware {
    store: AnyStore,
    settings: Arc<SessionSettings>,
}

impl SessionMiddleware {
    /// Sessions in `store`, with Django's default settings.
    pub fn new(store: impl Into<AnyStore>) -> Self {
        Self { store: store.into(), settings: Arc::default() }
    }

    /// With these settings. Errors if no browser would keep such a cookie.
    pub fn settings(mut self, settings: SessionSettings) -> Result<Self, Error> {
        settings.check()?;
        self.settings = Arc::new(settings);
        Ok(self)
    }

    /// Opens the session under `key` outside a request, with this middleware's store and settings. See
    /// [`Session::open`].
    pub async fn open(&self, key: &SessionKey) -> Result<Session, Error> {
        Session::open_with(&self.store, &self.settings, key).await
    }

    /// A new session outside a request, with this middleware's store and settings. See [`Session::create`].
    pub fn create(&self) -> Session {
        Session::create_with(&self.store, &self.settings)
    }

    /// What Django's `process_response` does after the look at its flags, as far as it can go wrong.
    async fn respond(
        &self,
        lazy: &LazySession,
        had_cookie: bool,
        response: &mut HttpResponse,
    ) -> Result<(), Error> {
        let settings = &*self.settings;
        let loaded = lazy.loaded();
        let accessed = loaded.as_ref().is_some_and(Session::accessed);
        let modified = loaded.as_ref().is_some_and(Session::modified);
        let save = modified || settings.save_every_request;
        if accessed {
            cookie::vary_on_cookie(response.headers_mut());
        }
        if lazy.is_empty() {
            return end(loaded.as_ref(), settings, had_cookie, response).await;
        }
        if !save || response.status().is_server_error() {
            return Ok(());
        }
        let session = lazy.load().await?;
        if session.is_empty() {
            // An unknown key on a page that did not look. Django makes a row for it; here it is unknown.
            return end(None, settings, had_cookie, response).await;
        }
        if session.has_nothing_to_keep() {
            return Ok(()); // an unreadable row keeps its cookie
        }
        if modified || settings.touch_interval.is_zero() {
            session.commit(settings.save_every_request).await?;
        } else if !session.touch(settings.touch_interval).await? {
            return Ok(());
        }
        set_cookie(&session, settings, response)
    }
}

/// The session is empty: what is left of it goes, and so does the visitor's cookie.
async fn end(
    session: Option<&Session>,
    settings: &SessionSettings,
    had_cookie: bool,
    response: &mut HttpResponse,
) -> Result<(), Error> {
    if let Some(session) = session.filter(|session| session.is_ended()) {
        session.save().await?;
    }
    if had_cookie {
        let deletion = cookie::set_cookie(settings, None, None);
        response.headers_mut().append(header::SET_COOKIE, deletion);
        cookie::vary_on_cookie(response.headers_mut());
    }
    Ok(())
}

fn set_cookie(
    session: &Session,
    settings: &SessionSettings,
    response: &mut HttpResponse,
) -> Result<(), Error> {
    let Some(key) = session.session_key() else { return Ok(()) };
    let line = cookie::set_cookie(settings, Some(key.as_str()), session.cookie_age());
    if line.len() > MAX_COOKIE_BYTES {
        return Err(Error::too_large_for_a_cookie(line.len(), MAX_COOKIE_BYTES));
    }
    response.headers_mut().append(header::SET_COOKIE, line);
    cookie::vary_on_cookie(response.headers_mut());
    Ok(())
}

/// What `process_request` hands on.
#[derive(Debug)]
pub struct RequestState {
    lazy: LazySession,
    had_cookie: bool,
}

impl Middleware for SessionMiddleware {
    /// Nothing where an outer middleware of the same cookie name does the work.
    type State = Option<RequestState>;

    async fn process_request(&self, req: &mut ServiceRequest) -> Result<Next<Self::State>, ActixError> {
        let name = &self.settings.cookie_name;
        let served = |all: &RequestSessions| all.named(name).is_some();
        if req.extensions().get::<RequestSessions>().is_some_and(served) {
            return Ok(Next::View(None));
        }
        let cookie = cookie::find(req.headers(), name);
        let presented = Presented::new(cookie.as_deref(), &self.store);
        let lazy = LazySession::new(self.store.clone(), self.settings.clone(), presented);
        let mut extensions = req.extensions_mut();
        let mut sessions = extensions.remove::<RequestSessions>().unwrap_or_default();
        sessions.0.push(lazy.clone());
        extensions.insert(sessions);
        Ok(Next::View(Some(RequestState { lazy, had_cookie: cookie.is_some() })))
    }

    async fn process_response(
        &self,
        state: Self::State,
        mut response: HttpResponse,
    ) -> Result<HttpResponse, ActixError> {
        let Some(RequestState { lazy, had_cookie }) = state else { return Ok(response) };
        lazy.close();
        match self.respond(&lazy, had_cookie, &mut response).await {
            Ok(()) => Ok(response),
            Err(error)
                if error.is_interrupted() && self.settings.on_interrupted == OnInterrupted::DropChanges =>
            {
                tracing::warn!("{error} The changes of this request were dropped.");
                Ok(response)
            }
            Err(error) => Ok(error.error_response()),
        }
    }
}

impl<S, B> Transform<S, ServiceRequest> for SessionMiddleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = ActixError> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = ActixError;
    type Transform = HooksService<S, Self>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        Hooks::new(|| Ok::<_, MiddlewareNotUsed>(self.clone())).new_transform(service)
    }
}
