//! What a request knows about its secret. Django keeps this in `request.META`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::{HttpMessage, HttpRequest, http::header::HeaderMap};

use super::{
    CsrfSettings,
    token::{BadFormat, Secret},
};
use crate::{Error, LazySession, web::find_cookie};

/// The key of a session that holds the secret.
pub(super) const SESSION_KEY: &str = "_csrftoken";

/// The secret of one request, shared by nested middlewares and by the handler's extractors.
#[derive(Clone, Debug)]
pub(super) struct CsrfState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    place: Place,
    inner: Mutex<Inner>,
}

/// Where the secret is kept.
#[derive(Debug)]
enum Place {
    /// With the settings of the middleware that read it: no other cookie is set.
    Cookie(Result<Option<Secret>, BadFormat>, Arc<CsrfSettings>),
    Session(LazySession),
    /// Nowhere. The client sends its session's key in a header: its cookies do not count, and it needs no
    /// token.
    Nowhere,
}

#[derive(Debug, Default)]
struct Inner {
    /// Django's `CSRF_COOKIE`.
    secret: Option<Secret>,
    /// Whether `secret` has been read from its place, or replaced.
    is_read: bool,
    /// Django's `CSRF_COOKIE_NEEDS_UPDATE`.
    to_send: bool,
    /// The application wants a new secret.
    is_rotated: bool,
    /// Django's `csrf_processing_done`.
    is_checked: bool,
}

impl CsrfState {
    /// The secret is in the cookie. A malformed one is replaced, by a secret that will be sent.
    pub(super) fn from_cookie(headers: &HeaderMap, settings: Arc<CsrfSettings>) -> Self {
        let cookie = match find_cookie(headers, &settings.cookie.cookie_name) {
            Some(cookie) => Secret::parse(&String::from_utf8_lossy(&cookie.value)).map(Some),
            None => Ok(None),
        };
        let secret = cookie.unwrap_or_else(|_| Some(Secret::generate()));
        let inner = Inner { secret, is_read: true, to_send: cookie.is_err(), ..Inner::default() };
        Self(Arc::new(Shared { place: Place::Cookie(cookie, settings), inner: Mutex::new(inner) }))
    }

    /// The secret is in the session, which is not loaded before somebody needs it.
    pub(super) fn from_session(session: LazySession) -> Self {
        Self(Arc::new(Shared { place: Place::Session(session), inner: Mutex::default() }))
    }

    /// There is no secret, and none will be sent or stored.
    pub(super) fn nowhere() -> Self {
        Self(Arc::new(Shared { place: Place::Nowhere, inner: Mutex::default() }))
    }

    /// The state of a request, if a middleware has made it.
    pub(super) fn of(req: &impl HttpMessage) -> Option<Self> {
        req.extensions().get::<Self>().cloned()
    }

    /// The state for middleware and extractors, or else how to get one.
    pub(super) fn required(req: &HttpRequest) -> Result<Self, Error> {
        Self::of(req).ok_or_else(|| {
            Error::configuration(
                "no CsrfMiddleware is wrapped around this handler: add .wrap(CsrfMiddleware::new()) to the \
                 App or scope",
            )
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic runs while it is locked.
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The secret that came with the request: what tokens are compared with.
    pub(super) async fn presented(&self) -> Result<Result<Option<Secret>, BadFormat>, Error> {
        match &self.0.place {
            Place::Cookie(cookie, _) => Ok(*cookie),
            Place::Session(session) => Ok(Ok(stored(session).await?)),
            Place::Nowhere => Ok(Ok(None)),
        }
    }

    /// Reads the secret from the session, once. From then on [`token`](Self::token) works.
    pub(super) async fn read(&self) -> Result<(), Error> {
        let Place::Session(session) = &self.0.place else { return Ok(()) };
        if self.inner().is_read {
            return Ok(());
        }
        let secret = stored(session).await?;
        let mut inner = self.inner();
        // A login may have replaced it meanwhile.
        if !inner.is_read {
            inner.secret = secret;
            inner.is_read = true;
        }
        Ok(())
    }

    /// A new token. The secret is sent with the response, also if the visitor has it: so it is renewed.
    pub(super) fn token(&self) -> String {
        let mut inner = self.inner();
        let secret = *inner.secret.get_or_insert_with(Secret::generate);
        inner.to_send = true;
        drop(inner);
        secret.mask()
    }

    /// Makes a new secret: tokens made before are worth nothing.
    pub(super) fn rotate(&self) {
        let mut inner = self.inner();
        inner.secret = Some(Secret::generate());
        inner.is_read = true;
        inner.to_send = true;
        inner.is_rotated = true;
    }

    /// The secret that the response has to carry. It is given out once.
    pub(super) fn take_to_send(&self) -> Option<Secret> {
        let mut inner = self.inner();
        let to_send = std::mem::take(&mut inner.to_send);
        inner.secret.filter(|_| to_send)
    }

    /// Puts the secret into the session, if it is kept there and is not what it holds.
    pub(super) async fn store(&self, secret: Secret) -> Result<(), Error> {
        let Place::Session(session) = &self.0.place else { return Ok(()) };
        let session = session.load().await?;
        if session.is_degraded() && !self.inner().is_rotated {
            return Ok(()); // the page is served all the same, and its forms will be refused
        }
        let held: Option<serde_json::Value> = session.get(SESSION_KEY)?;
        if held.as_ref().and_then(serde_json::Value::as_str) != Some(secret.as_str()) {
            session.insert(SESSION_KEY, secret.as_str())?;
        }
        Ok(())
    }

    /// The settings of the cookie, if it holds the secret.
    pub(super) fn cookie(&self) -> Option<&CsrfSettings> {
        match &self.0.place {
            Place::Cookie(_, settings) => Some(settings),
            Place::Session(_) | Place::Nowhere => None,
        }
    }

    /// The domain of the cookie that holds the secret, or the session's key.
    pub(super) fn cookie_domain(&self) -> Option<&str> {
        match &self.0.place {
            Place::Cookie(_, settings) => settings.cookie.cookie_domain.as_deref(),
            Place::Session(session) => session.cookie_domain(),
            Place::Nowhere => None,
        }
    }

    pub(super) fn is_checked(&self) -> bool {
        self.inner().is_checked
    }

    pub(super) fn set_checked(&self) {
        self.inner().is_checked = true;
    }
}

/// The secret in the session. Anything else under its key is none; in Django it is an error on every page.
async fn stored(session: &LazySession) -> Result<Option<Secret>, Error> {
    let value: Option<serde_json::Value> = session.load().await?.get(SESSION_KEY)?;
    Ok(value.as_ref().and_then(serde_json::Value::as_str).and_then(|text| Secret::parse(text).ok()))
}
