//! The CSRF middleware: Django's order of checks.

use std::{future::Ready, sync::Arc};

use actix_service::{Service, Transform};
use actix_web::{
    Error as ActixError, HttpMessage as _, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, header},
};

use super::{
    CsrfSettings, CsrfToken,
    body::Buffers,
    exempt::{Exemptions, has_token_session},
    form::{self, BadForm, Field, Limits},
    origin::{TrustedOrigin, check_referer, is_trusted_origin},
    reject::{self, Reason, TokenSource, loggable},
    state::CsrfState,
    token::Secret,
};
use crate::{
    Error,
    event_log::EventLog,
    hooks::{Flow, Hooks, HooksService, Middleware},
    web::{RequestHost, current_session, header_line, set_cookie, vary_on_cookie},
};

type FailureResponse = Arc<dyn Fn(&HttpRequest, &str) -> HttpResponse + Send + Sync>;

/// Rejects requests that another site has made a visitor's browser send. Django's `CsrfViewMiddleware`.
///
/// Requests other than GET, HEAD, OPTIONS and TRACE need the token of a page of this site, or of the Django
/// site beside it. Wrap it around an App or scope, inside of the
/// [`SessionMiddleware`](crate::SessionMiddleware) (in actix, the last `.wrap` is the outermost):
///
/// ```
/// use actix_web::{App, web};
/// use actix_django_session::csrf::{CsrfMiddleware, CsrfToken};
///
/// async fn page(csrf: CsrfToken) -> String {
///     csrf.hidden_input()
/// }
///
/// let csrf = CsrfMiddleware::new().exempt_path("/webhooks/{name}");
/// let app = App::new().wrap(csrf.clone()).route("/", web::get().to(page));
/// ```
///
/// Make it once, outside the App's factory, and clone it: clones share their bound of memory for forms.
///
/// Django checks after the URL is matched, this middleware before. So a request to an unknown URL is
/// rejected as any other: the App's default service may be a handler too.
#[derive(Clone)]
pub struct CsrfMiddleware {
    settings: Arc<CsrfSettings>,
    trusted: Arc<[TrustedOrigin]>,
    exemptions: Exemptions,
    failure: Option<FailureResponse>,
    buffers: Buffers,
    log: EventLog,
}

impl CsrfMiddleware {
    /// With Django's default settings.
    pub fn new() -> Self {
        let settings = CsrfSettings::default();
        Self {
            buffers: Buffers::new(settings.max_buffered_bytes),
            settings: Arc::new(settings),
            trusted: Arc::new([]),
            exemptions: Exemptions::default(),
            failure: None,
            log: EventLog::new("the CSRF check"),
        }
    }

    /// Uses these settings. Errors if a setting could never work.
    ///
    /// ```
    /// use actix_django_session::csrf::{CsrfMiddleware, CsrfSettings};
    ///
    /// let csrf = CsrfMiddleware::new().settings(CsrfSettings::default().cookie_secure(true))?;
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn settings(self, settings: CsrfSettings) -> Result<Self, Error> {
        let trusted = settings.check()?.into();
        let buffers = Buffers::new(settings.max_buffered_bytes);
        Ok(Self { settings: Arc::new(settings), trusted, buffers, ..self })
    }

    /// Checks no request whose path matches `pattern`, of the syntax of
    /// [`web::resource`](actix_web::web::resource). Django's `csrf_exempt`, by path. `/api/{rest:.*}` is
    /// everything below `/api/`. The path is the whole one, also inside a scope.
    ///
    /// # Panics
    ///
    /// If the pattern is malformed, as `web::resource` does.
    #[must_use]
    pub fn exempt_path(mut self, pattern: &str) -> Self {
        self.exemptions.path(pattern);
        self
    }

    /// Checks no request for which this is true. Django's `csrf_exempt`, by any rule.
    ///
    /// Exempt only requests that a browser does not send by itself, with a token in `Authorization` for
    /// example. A handler still can take a [`CsrfToken`](super::CsrfToken), and a `CsrfMiddleware` around an
    /// inner scope still checks.
    ///
    /// ```
    /// use actix_django_session::csrf::CsrfMiddleware;
    ///
    /// let csrf = CsrfMiddleware::new().exempt(|req| {
    ///     req.headers().contains_key("authorization") && !req.headers().contains_key("cookie")
    /// });
    /// ```
    #[must_use]
    pub fn exempt(mut self, predicate: impl Fn(&ServiceRequest) -> bool + Send + Sync + 'static) -> Self {
        self.exemptions.predicate(predicate);
        self
    }

    /// Answers rejected requests with this instead of Django's page. `CSRF_FAILURE_VIEW`.
    ///
    /// The second argument is the reason, for logs and developers: visitors should not see it. It may quote
    /// headers of the request.
    ///
    /// ```
    /// use actix_web::HttpResponse;
    /// use actix_django_session::csrf::CsrfMiddleware;
    ///
    /// let csrf = CsrfMiddleware::new().failure_response(|_req, _reason| {
    ///     HttpResponse::Forbidden().body("This page is too old. Reload it and try again.")
    /// });
    /// ```
    #[must_use]
    pub fn failure_response(
        mut self,
        response: impl Fn(&HttpRequest, &str) -> HttpResponse + Send + Sync + 'static,
    ) -> Self {
        self.failure = Some(Arc::new(response));
        self
    }

    /// The state of the request: that of an outer middleware, or a new one.
    fn state(&self, req: &ServiceRequest) -> Result<CsrfState, Error> {
        if let Some(state) = CsrfState::of(req) {
            return Ok(state);
        }
        let state = if self.settings.use_sessions {
            let session = current_session(req).ok_or_else(|| {
                Error::configuration(
                    "use_sessions needs a SessionMiddleware around CsrfMiddleware: add it by a later .wrap()",
                )
            })?;
            CsrfState::from_session(session)
        } else if has_token_session(req) {
            CsrfState::nowhere()
        } else {
            CsrfState::from_cookie(req.headers(), self.settings.clone())
        };
        req.extensions_mut().insert(state.clone());
        Ok(state)
    }

    /// Django's `process_view`: the answer to a request that is rejected.
    async fn check(
        &self,
        req: &mut ServiceRequest,
        state: &CsrfState,
    ) -> Result<Option<HttpResponse>, Error> {
        if state.is_checked() || self.exemptions.include(req) {
            return Ok(None);
        }
        state.set_checked();
        if matches!(*req.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE) {
            return Ok(None);
        }
        let result = match self.check_source(req.request(), state) {
            Ok(()) => self.check_token(req, state).await?,
            Err(reason) => Err(Rejected::Forbidden(reason)),
        };
        Ok(result.err().map(|rejected| self.reject(req.request(), &rejected)))
    }

    /// By the Origin, or over HTTPS by the Referer.
    fn check_source(&self, req: &HttpRequest, state: &CsrfState) -> Result<(), Reason> {
        let host = RequestHost::of(req, &self.settings.hosts);
        let headers = req.headers();
        if let Some(origin) = header_line(headers, header::ORIGIN.as_str()) {
            let scheme = if host.secure { "https" } else { "http" };
            let own = host.host.map(|host| format!("{scheme}://{host}"));
            return match is_trusted_origin(&origin, own.as_deref(), &self.trusted) {
                true => Ok(()),
                false => Err(Reason::BadOrigin(origin.into_owned())),
            };
        }
        if !host.secure {
            return Ok(());
        }
        let own = match state.cookie_domain() {
            Some(domain) if matches!(&*host.port, "443" | "80") => Some(domain.to_owned()),
            Some(domain) => Some(format!("{domain}:{}", host.port)),
            None => host.host,
        };
        let referer = header_line(headers, header::REFERER.as_str());
        check_referer(referer.as_deref(), own.as_deref(), &self.trusted)
    }

    async fn check_token(
        &self,
        req: &mut ServiceRequest,
        state: &CsrfState,
    ) -> Result<Result<(), Rejected>, Error> {
        let secret = match state.presented().await? {
            Ok(Some(secret)) => secret,
            Ok(None) => return Ok(Err(Reason::NoCookie.into())),
            Err(format) => return Ok(Err(Reason::BadCookie(format).into())),
        };
        let field = if req.method() == Method::POST {
            let CsrfSettings {
                max_form_bytes: bytes, max_form_fields: fields, form_timeout: timeout, ..
            } = *self.settings;
            match form::token(req, Limits { bytes, fields, timeout }, &self.buffers).await {
                Ok(field) => field,
                Err(bad) => return Ok(Err(Rejected::BadForm(bad))),
            }
        } else {
            Field::Missing
        };
        let (token, source) = match field {
            Field::Value(token) if !token.is_empty() => (token, TokenSource::Form),
            field => match header_line(req.headers(), &self.settings.header_name) {
                Some(token) => {
                    (token.into_owned(), TokenSource::Header(title_case(&self.settings.header_name)))
                }
                None if field == Field::NotReached => return Ok(Err(Reason::TokenNotReached.into())),
                None => return Ok(Err(Reason::NoToken.into())),
            },
        };
        Ok(match Secret::parse(&token) {
            Ok(token) if token.matches(&secret) => Ok(()),
            Ok(_) => Err(Reason::WrongToken(source).into()),
            Err(format) => Err(Reason::BadToken(source, format).into()),
        })
    }

    /// The log has no line for each: anybody can send a million of them.
    fn reject(&self, req: &HttpRequest, rejected: &Rejected) -> HttpResponse {
        let path = loggable(req.path());
        match rejected {
            Rejected::Forbidden(reason) => {
                let text = reason.to_string();
                self.log.warn(format!("Forbidden ({}): {path}", loggable(&text)));
                match &self.failure {
                    Some(response) => response(req, &text),
                    None => reject::page(reason),
                }
            }
            Rejected::BadForm(bad) => {
                let status = bad.status();
                let name = status.canonical_reason().unwrap_or_default();
                self.log.warn(format!("{name}: {path}: {}", bad.text()));
                reject::bad_form(status)
            }
        }
    }
}

impl Default for CsrfMiddleware {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for CsrfMiddleware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { settings, exemptions, .. } = self;
        f.debug_struct("CsrfMiddleware").field("settings", settings).field("exempt", exemptions).finish()
    }
}

enum Rejected {
    Forbidden(Reason),
    BadForm(BadForm),
}

impl From<Reason> for Rejected {
    fn from(reason: Reason) -> Self {
        Self::Forbidden(reason)
    }
}

/// Python's `str.title`: `X-CSRFToken` is `X-Csrftoken`.
fn title_case(name: &str) -> String {
    let mut after_letter = false;
    let title = name.chars().map(|c| {
        let titled = if after_letter { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
        after_letter = c.is_ascii_alphabetic();
        titled
    });
    title.collect()
}

impl Middleware for CsrfMiddleware {
    type State = CsrfToken;

    async fn process_request(&self, req: &mut ServiceRequest) -> Result<Flow<CsrfToken>, ActixError> {
        let state = self.state(req).inspect_err(|error| error.log(EventLog::general()))?;
        Ok(match self.check(req, &state).await? {
            Some(response) => Flow::Break((CsrfToken(state), response)),
            None => Flow::Continue(CsrfToken(state)),
        })
    }

    async fn process_response(
        &self,
        CsrfToken(state): CsrfToken,
        mut response: HttpResponse,
    ) -> Result<HttpResponse, ActixError> {
        let Some(secret) = state.take_to_send() else { return Ok(response) };
        let Some(CsrfSettings { cookie, cookie_age, .. }) = state.cookie() else {
            state.store(secret).await?;
            return Ok(response);
        };
        let age = cookie_age.map(|age| age.as_secs_f64());
        let line = set_cookie(cookie, Some(secret.as_str()), age);
        response.headers_mut().append(header::SET_COOKIE, line);
        vary_on_cookie(response.headers_mut());
        Ok(response)
    }
}

impl<S, B> Transform<S, ServiceRequest> for CsrfMiddleware
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
