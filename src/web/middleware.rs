//! The session middleware: Django's decision table.

use std::future::Ready;

use actix_service::{Service, Transform};
use actix_web::{
    Error as ActixError, HttpMessage, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, header},
};

use super::{
    cookie,
    extract::RequestSessions,
    hooks::{Flow, Hooks, HooksService, Middleware},
    lazy::LazySession,
    token::{self, RequestToken},
};
use crate::{
    Error, Session, SessionKey, SessionSettings, Store, StoreFailure, metrics, store::MAX_COOKIE_BYTES,
};

/// Gives every request inside a session. Django's `SessionMiddleware`.
///
/// Wrap it around an App, or around a scope that alone needs sessions. Make it once, outside the App's
/// factory, and clone it: clones share the store. Where two of them with one cookie name are nested, the
/// outer one serves both.
///
/// ```
/// use actix_web::App;
/// use actix_django_session::{SecretKey, SessionMiddleware, SessionSettings, Store, backend::Memory};
///
/// let store = Store::new(Memory::new(), SecretKey::new("a secret"));
/// let session = SessionMiddleware::new(store).settings(SessionSettings::default().cookie_secure(true))?;
/// let app = App::new().wrap(session.clone());
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SessionMiddleware {
    store: Store,
}

impl SessionMiddleware {
    /// Serves the sessions of `store`, with the store's settings: Django's defaults, unless its URL says
    /// something else.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Uses these settings. Errors if no browser would keep such a cookie.
    pub fn settings(self, settings: SessionSettings) -> Result<Self, Error> {
        Ok(Self { store: self.store.with_settings(&settings)? })
    }

    /// Returns the store with this middleware's settings.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Opens the session under `key` outside a request. See [`Session::open`].
    pub async fn open(&self, key: &SessionKey) -> Result<Option<Session>, Error> {
        Session::open(&self.store, key).await
    }

    /// Makes a new session outside a request. See [`Session::new`].
    pub fn new_session(&self) -> Session {
        Session::new(&self.store)
    }

    /// Django's `process_response`, as far as it can fail.
    ///
    /// Saves are boxed, so that a request without changes does not carry the size of their futures.
    async fn respond(&self, lazy: &LazySession, response: &mut HttpResponse) -> Result<(), Error> {
        let settings = self.store.settings();
        if lazy.has_pending_flush() || (lazy.has_pending() && !response.status().is_server_error()) {
            Box::pin(lazy.load()).await?; // which makes the pending changes
        }
        let loaded = lazy.loaded();
        if let Some(session) = loaded.as_ref().filter(|session| session.is_degraded()) {
            return respond_degraded(session, lazy, settings, response);
        }
        if let Some(session) = loaded.as_ref().filter(|_| response.status().is_server_error()) {
            session.drop_data_after_logout();
        }
        let accessed = loaded.as_ref().is_some_and(Session::accessed);
        let modified = loaded.as_ref().is_some_and(Session::modified);
        let save = modified || settings.save_every_request;
        if accessed {
            token::vary(response.headers_mut(), settings, lazy.is_by_token());
        }
        if lazy.is_empty() {
            return self.end_session(loaded.as_ref(), lazy, response).await;
        }
        if response.status().is_server_error() {
            return send_renamed_key(lazy, settings, response);
        }
        if !save {
            return Ok(());
        }
        let session = match loaded {
            Some(session) => session,
            None => Box::pin(lazy.load()).await?,
        };
        if session.is_degraded() {
            return Ok(()); // the response does not depend on it
        }
        if session.is_empty() {
            // An unknown key on a page that did not load it. Django makes a row for it; here it stays
            // unknown.
            return self.end_session(None, lazy, response).await;
        }
        if session.has_nothing_to_save() {
            return Ok(()); // an unreadable row keeps its cookie
        }
        let saved = if modified || settings.touch_interval.is_zero() {
            Box::pin(session.commit(settings.save_every_request)).await.map(|()| true)
        } else {
            Box::pin(session.touch(settings.touch_interval)).await
        };
        match saved {
            Ok(true) => send_key(&session, session.session_key(), lazy, settings, response),
            Ok(false) => Ok(()),
            // A cached session can be read without the database, but not renewed.
            Err(error) if error.is_store() && lazy.may_degrade() && !modified => {
                error.log(self.store.log());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The session is empty: its row is deleted, and the visitor's cookie or token with it.
    async fn end_session(
        &self,
        session: Option<&Session>,
        lazy: &LazySession,
        response: &mut HttpResponse,
    ) -> Result<(), Error> {
        let settings = self.store.settings();
        let is_logout = session.is_some_and(Session::was_flushed);
        if let Some(session) = session.filter(|session| session.is_flushed()) {
            Box::pin(session.save()).await?;
        }
        if lazy.had_key() {
            token::vary(response.headers_mut(), settings, lazy.is_by_token());
            if let Some(name) = settings.token_header_name().filter(|_| lazy.is_by_token()) {
                token::send(response.headers_mut(), name, None);
                return Ok(());
            }
            if lazy.has_ambiguous_cookie() && !is_logout {
                let name = &settings.cookie_name;
                self.store.log().warn(format!(
                    "a request has several cookies named {name}; the last one counts, and no session has \
                     its key. \
                     No cookie is deleted, since the deletion could hit the cookie of a live session: find \
                     out \
                     what else sets {name} on this domain, a parent domain or another path"
                ));
                return Ok(());
            }
            let deletion = cookie::set_cookie(settings, None, None);
            response.headers_mut().append(header::SET_COOKIE, deletion);
        }
        Ok(())
    }
}

/// The response of a request that was served without its session: the visitor keeps the key, and no cache the
/// response.
fn respond_degraded(
    session: &Session,
    lazy: &LazySession,
    settings: &SessionSettings,
    response: &mut HttpResponse,
) -> Result<(), Error> {
    if let Some(error) = session.refused_change().filter(|_| !response.status().is_server_error()) {
        return Err(error);
    }
    token::vary(response.headers_mut(), settings, lazy.is_by_token());
    token::forbid_storing(response.headers_mut());
    Ok(())
}

/// Whether a request may be served without its session: it only reads, and no WebSocket outlives the outage.
fn may_degrade(req: &ServiceRequest, settings: &SessionSettings) -> bool {
    settings.when_store_fails == StoreFailure::Anonymous
        && matches!(*req.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && !req.headers().contains_key(header::UPGRADE)
}

/// Tells the visitor the key of a saved session: by a cookie, which is renewed, or by the token header if the
/// client does not know the key.
fn send_key(
    session: &Session,
    key: Option<SessionKey>,
    lazy: &LazySession,
    settings: &SessionSettings,
    response: &mut HttpResponse,
) -> Result<(), Error> {
    let Some(key) = key else { return Ok(()) };
    if let Some(name) = settings.token_header_name().filter(|_| lazy.is_by_token()) {
        if !lazy.is_request_key(&key) {
            token::send(response.headers_mut(), name, Some(&key));
        }
        token::vary(response.headers_mut(), settings, true);
        return Ok(());
    }
    let line = cookie::set_cookie(settings, Some(key.as_str()), session.cookie_age());
    if line.len() > MAX_COOKIE_BYTES {
        return Err(Error::too_large_for_a_cookie(line.len(), MAX_COOKIE_BYTES));
    }
    response.headers_mut().append(header::SET_COOKIE, line);
    token::vary(response.headers_mut(), settings, false);
    Ok(())
}

/// The request has failed, and saves nothing more. But if it has renamed its row before, the visitor would
/// lose the session without the key of that row.
fn send_renamed_key(
    lazy: &LazySession,
    settings: &SessionSettings,
    response: &mut HttpResponse,
) -> Result<(), Error> {
    let Some(session) = lazy.loaded() else { return Ok(()) };
    send_key(&session, session.renamed_key(), lazy, settings, response)
}

/// The application has changed nothing: a session that is gone is no failure of its request.
fn has_only_unrequested_changes(lazy: &LazySession) -> bool {
    lazy.loaded().is_some_and(|session| session.has_only_unrequested_changes())
}

impl Middleware for SessionMiddleware {
    fn log_error(&self, error: &Error) {
        error.log(self.store.log());
    }

    /// Nothing where an outer middleware of the same cookie name does the work.
    type State = Option<LazySession>;

    async fn process_request(&self, req: &mut ServiceRequest) -> Result<Flow<Self::State>, ActixError> {
        let settings = self.store.settings();
        let name = &settings.cookie_name;
        let served = |all: &RequestSessions| all.named(name).is_some();
        if req.extensions().get::<RequestSessions>().is_some_and(served) {
            return Ok(Flow::Continue(None));
        }
        let may_degrade = may_degrade(req, settings);
        let lazy = match token::find(req.headers(), settings) {
            RequestToken::Absent => {
                LazySession::new(&self.store, cookie::find(req.headers(), name).as_ref(), may_degrade)
            }
            RequestToken::One(token) => LazySession::by_token(&self.store, token.as_bytes(), may_degrade),
            RequestToken::Several(name) => {
                self.store.log().warn(format!("a request has several {name} headers: refused with a 400"));
                return Ok(Flow::Break((None, token::refuse_several(name))));
            }
        };
        RequestSessions::push(req, lazy.clone());
        Ok(Flow::Continue(Some(lazy)))
    }

    async fn process_response(
        &self,
        state: Self::State,
        mut response: HttpResponse,
    ) -> Result<HttpResponse, ActixError> {
        if let Some(error) = response.error().and_then(ActixError::as_error::<Error>) {
            error.log(self.store.log());
        }
        let Some(lazy) = state else { return Ok(response) };
        lazy.close();
        match self.respond(&lazy, &mut response).await {
            Ok(()) => Ok(response),
            Err(error) if error.is_interrupted() && has_only_unrequested_changes(&lazy) => Ok(response),
            Err(error) if error.is_interrupted() && self.store.settings().drop_interrupted_changes => {
                self.store.log().warn(format!("{error} The changes of this request were dropped."));
                Ok(response)
            }
            Err(error) => {
                error.log(self.store.log());
                let mut response = error.error_response();
                // A key that is too large for a cookie can be told to nobody.
                let _ = send_renamed_key(&lazy, self.store.settings(), &mut response);
                Ok(response)
            }
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
        metrics::describe();
        Hooks::new(self.clone()).new_transform(service)
    }
}
