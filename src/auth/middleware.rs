//! The middleware that lets handlers ask who the visitor is.

use std::{
    future::Ready,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use actix_service::{Service, Transform};
use actix_web::{
    Error as ActixError, HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::HeaderName,
};

use super::{Auth, AuthSession, login::RequestFacts};
use crate::{
    Error, LazySession, SessionExt as _,
    event_log::EventLog,
    hooks::{Flow, Hooks, HooksService, Middleware},
    web::{RequestHost, current_session},
};

/// Lets the handlers inside know the visitor's user. Django's `AuthenticationMiddleware`.
///
/// It needs the session: wrap the [`SessionMiddleware`](crate::SessionMiddleware) around it, which in actix is
/// the `wrap` that comes after. A request that does not ask for the user costs nothing.
///
/// If the user cannot be loaded, the response is a 503, even if the handler took an `Option<User>`, which is
/// `None` then: a visitor who is logged in must not be told that nobody is. An application may choose
/// otherwise for requests that only read: see
/// [`when_store_fails`](crate::SessionSettings::when_store_fails).
///
/// A scope inside with another `Auth` has its own logins, such as a shorter idle timeout.
///
/// ```
/// # #[cfg(feature = "postgres")] {
/// use actix_django_session::{
///     SecretKey, SessionMiddleware, Store,
///     auth::{Auth, AuthMiddleware, Users},
/// };
/// use actix_web::App;
///
/// let secret = SecretKey::new("a secret");
/// let store = Store::connect_lazy("postgres://app@db.example/site", secret.clone())?;
/// let auth = Auth::new(Users::of(&store)?, secret)?;
/// let app = App::new().wrap(AuthMiddleware::new(auth)).wrap(SessionMiddleware::new(store));
/// # }
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AuthMiddleware {
    auth: Auth,
}

impl AuthMiddleware {
    /// For the logins of this site.
    pub fn new(auth: Auth) -> Self {
        Self { auth }
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// In the request's extensions: the logins of the site, and who the visitor is once that was asked for.
#[derive(Clone, Debug)]
struct Slot(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    auth: Auth,
    /// That of the middleware around this one: an inner scope may have another.
    session: Option<LazySession>,
    asked: OnceLock<AuthSession>,
}

/// The same for the response.
#[derive(Debug)]
pub struct State(Slot);

impl AuthSession {
    /// Returns the login of a request, for middleware and helper functions. Errors if there is no
    /// [`AuthMiddleware`], or no session middleware around it.
    pub fn of(request: &HttpRequest) -> Result<Self, Error> {
        let slot = request.extensions().get::<Slot>().cloned().ok_or_else(|| {
            logged(Error::configuration(
                "no AuthMiddleware is wrapped around this handler: add .wrap(AuthMiddleware::new(auth)) to the \
                 App or scope, before the .wrap of the session",
            ))
        })?;
        let Inner { auth, session, asked } = &*slot.0;
        let known = match (asked.get(), session) {
            (Some(known), _) => known,
            (None, Some(session)) => asked
                .get_or_init(|| Self::new(auth.clone(), session.clone(), RequestFacts::of(request, auth))),
            (None, None) => {
                let session = request.session()?;
                asked.get_or_init(|| Self::new(auth.clone(), session, RequestFacts::of(request, auth)))
            }
        };
        // Its middleware may be inside the one that asked first.
        #[cfg(feature = "csrf")]
        known.set_csrf(crate::csrf::CsrfToken::of(request));
        Ok(known.clone())
    }
}

impl RequestFacts {
    fn of(request: &HttpRequest, auth: &Auth) -> Self {
        let settings = auth.get_settings();
        let host = RequestHost::of(request, &settings.host);
        Self {
            secure: host.secure,
            host: host.host,
            uri: request.uri().clone(),
            address: address(request, settings.trusted_proxies),
            is_behind_a_proxy: settings.trusted_proxies == 0 && request.headers().contains_key(FORWARDED_FOR),
        }
    }
}

/// The visitor's address. Each proxy appends the address that it sees to `X-Forwarded-For`; what stands
/// before those of our own proxies is the visitor's claim.
fn address(request: &HttpRequest, trusted_proxies: usize) -> Option<IpAddr> {
    let Some(position) = trusted_proxies.checked_sub(1) else {
        return request.peer_addr().map(|address| address.ip());
    };
    let lines = request.headers().get_all(FORWARDED_FOR);
    // A line that is no text has its place all the same.
    let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    let claimed = lines.iter().flat_map(|line| line.split(',')).map(str::trim).rev().nth(position);
    claimed.and_then(|text| text.parse().ok())
}

/// A missing middleware is logged where it is found.
fn logged(error: Error) -> Error {
    error.log(EventLog::general());
    error
}

impl Middleware for AuthMiddleware {
    /// `None` if an outer middleware of the same logins is there already.
    type State = Option<State>;

    async fn process_request(&self, request: &mut ServiceRequest) -> Result<Flow<Self::State>, ActixError> {
        let session = current_session(request);
        let mut extensions = request.extensions_mut();
        let is_served = |slot: &Slot| slot.0.auth.is_same(&self.auth);
        if extensions.get::<Slot>().is_some_and(is_served) {
            return Ok(Flow::Continue(None));
        }
        let slot = Slot(Arc::new(Inner { auth: self.auth.clone(), session, asked: OnceLock::new() }));
        extensions.insert(slot.clone());
        Ok(Flow::Continue(Some(State(slot))))
    }

    async fn process_response(
        &self,
        state: Self::State,
        response: HttpResponse,
    ) -> Result<HttpResponse, ActixError> {
        if let Some(error) = response.error().and_then(ActixError::as_error::<Error>) {
            error.log(self.auth.log());
        }
        let failed = state.is_some_and(|slot| slot.0.0.asked.get().is_some_and(AuthSession::has_failed));
        Ok(match failed && !response.status().is_server_error() {
            true => Error::store("cannot load the user").error_response(),
            false => response,
        })
    }
}

impl<S, B> Transform<S, ServiceRequest> for AuthMiddleware
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
