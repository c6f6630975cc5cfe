//! The messages middleware.

use std::{fmt, future::Ready, sync::Arc};

use actix_service::{Service, Transform};
use actix_web::{
    Error as ActixError, HttpMessage, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header,
};

use super::{
    MessageSettings, MessageStorage, Messages,
    cookie::SALT,
    settings::COOKIE_NAME,
    storage::{Config, CookieChange, Storage, no_session},
};
use crate::{
    Error, SecretKey,
    codec::cookie_signer::CookieSigner,
    event_log::EventLog,
    hooks::{Flow, Hooks, HooksService, Middleware},
    web::{cookie, current_session},
};

/// Gives every request inside its [`Messages`]. Django's `MessageMiddleware`.
///
/// It has to be inside the session middleware: actix calls the last `wrap` first. Only
/// [`MessageStorage::Cookie`] works without sessions. Where two of them are nested, the outer one serves
/// both.
///
/// ```
/// use actix_django_session::{
///     SecretKey, SessionMiddleware, Store,
///     backend::Memory,
///     messages::{MessageLevel, MessageSettings, MessagesMiddleware},
/// };
/// use actix_web::App;
///
/// let secret = SecretKey::new("Django's SECRET_KEY");
/// let session = SessionMiddleware::new(Store::new(Memory::new(), secret.clone()));
/// let messages = MessagesMiddleware::new(secret)
///     .settings(MessageSettings::default().tag(MessageLevel::ERROR, "danger"))?;
/// let app = App::new().wrap(messages.clone()).wrap(session.clone());
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone)]
pub struct MessagesMiddleware(Arc<Config>);

impl MessagesMiddleware {
    /// Takes Django's `SECRET_KEY`, which signs the cookie. An empty one is an error of every request.
    pub fn new(secret: SecretKey) -> Self {
        let signer = CookieSigner::new(secret, SALT);
        Self(Arc::new(Config { settings: MessageSettings::default(), signer }))
    }

    /// Uses these settings. Errors if no browser would keep such a cookie.
    pub fn settings(self, settings: MessageSettings) -> Result<Self, Error> {
        settings.cookie.check()?;
        Ok(Self(Arc::new(Config { settings, signer: self.0.signer.clone() })))
    }

    fn begin(&self, req: &ServiceRequest) -> Result<Messages, Error> {
        self.0.signer.check()?;
        let session = current_session(req);
        if session.is_none() && self.0.settings.storage != MessageStorage::Cookie {
            return Err(no_session());
        }
        Ok(Messages::new(Storage {
            config: self.0.clone(),
            cookie: cookie::find(req.headers(), COOKIE_NAME).map(|cookie| cookie.value.into_owned()),
            session,
        }))
    }
}

/// Shows neither the secret nor what it signs.
impl fmt::Debug for MessagesMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagesMiddleware").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Middleware for MessagesMiddleware {
    /// Nothing where an outer middleware does the work.
    type State = Option<Messages>;

    async fn process_request(&self, req: &mut ServiceRequest) -> Result<Flow<Self::State>, ActixError> {
        if req.extensions().get::<Messages>().is_some() {
            return Ok(Flow::Continue(None));
        }
        let messages = self.begin(req).inspect_err(|error| error.log(EventLog::general()))?;
        req.extensions_mut().insert(messages.clone());
        Ok(Flow::Continue(Some(messages)))
    }

    async fn process_response(
        &self,
        state: Self::State,
        mut response: HttpResponse,
    ) -> Result<HttpResponse, ActixError> {
        let Some(messages) = state else { return Ok(response) };
        let change = messages.finish().await;
        if messages.cookie_read() {
            cookie::vary_on_cookie(response.headers_mut());
        }
        let value = match change {
            Ok(CookieChange::Keep) => return Ok(response),
            Ok(CookieChange::Set(value)) => Some(value),
            Ok(CookieChange::Delete) => None,
            Err(error) => {
                error.log(messages.log());
                return Ok(error.error_response());
            }
        };
        let line = cookie::set_cookie(&messages.cookie_settings(), value.as_deref(), None);
        response.headers_mut().append(header::SET_COOKIE, line);
        Ok(response)
    }
}

impl<S, B> Transform<S, ServiceRequest> for MessagesMiddleware
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
        Hooks::new(self.clone()).new_transform(service)
    }
}
