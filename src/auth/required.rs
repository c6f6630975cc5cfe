//! Scopes that need a login: Django's `login_required`, `permission_required` and `LoginRequiredMiddleware`.

use std::{fmt, future::Ready, sync::Arc};

use actix_service::{Service, Transform};
use actix_web::{
    Error as ActixError, HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::HeaderValue,
};

use super::{AuthSession, User, next_url};
use crate::{
    Error,
    hooks::{Flow, Hooks, HooksService, Middleware},
};

/// Admits only visitors who are logged in, and, if it says so, only those with certain rights. Wrap it around
/// a scope or a resource, inside the [`AuthMiddleware`](super::AuthMiddleware).
///
/// Who is not logged in is sent to the login page with Django's `next`, or gets a 401. Who lacks a right gets
/// a 403. A method does not matter: a POST is sent away, too, and loses its body.
///
/// ```
/// use actix_django_session::auth::LoginRequired;
/// use actix_web::web;
///
/// let pages = web::scope("/reports").wrap(LoginRequired::new().permission("reports.view_report"));
/// let api = web::scope("/api").wrap(LoginRequired::new().unauthorized());
/// ```
#[derive(Clone, Default)]
pub struct LoginRequired {
    rules: Rules,
    staff: bool,
    superuser: bool,
    permissions: Vec<String>,
    tests: Vec<Test>,
    redirect_denied: bool,
    exceptions: Vec<Except>,
}

type Test = Arc<dyn Fn(&User) -> bool + Send + Sync>;
type Except = Arc<dyn Fn(&HttpRequest) -> bool + Send + Sync>;

impl LoginRequired {
    /// Admits every user. Django's `login_required`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another login page than [`AuthSettings::login_url`](super::AuthSettings::login_url), also for the
    /// extractors inside.
    #[must_use]
    pub fn login_url(mut self, url: impl Into<String>) -> Self {
        self.rules.login_url = Some(url.into());
        self
    }

    /// Answers 401 instead of sending the visitor to the login page, also for the extractors inside: for APIs.
    #[must_use]
    pub fn unauthorized(mut self) -> Self {
        self.rules.unauthorized = Some(true);
        self
    }

    /// Admits only users with this permission, `app_label.codename`; with several calls, those who have them
    /// all. Django's `permission_required`.
    #[must_use]
    pub fn permission(mut self, name: impl Into<String>) -> Self {
        self.permissions.push(name.into());
        self
    }

    /// Admits only users who may enter Django's admin. Django's `staff_member_required`.
    #[must_use]
    pub fn staff(mut self) -> Self {
        self.staff = true;
        self
    }

    /// Admits only superusers.
    #[must_use]
    pub fn superuser(mut self) -> Self {
        self.superuser = true;
        self
    }

    /// Admits only users who pass a test; with several calls, those who pass them all. Django's
    /// `user_passes_test`.
    ///
    /// ```
    /// use actix_django_session::auth::LoginRequired;
    ///
    /// let own = LoginRequired::new().test(|user| user.email().ends_with("@example.com"));
    /// ```
    #[must_use]
    pub fn test(mut self, test: impl Fn(&User) -> bool + Send + Sync + 'static) -> Self {
        self.tests.push(Arc::new(test));
        self
    }

    /// Sends users who lack a right to the login page, as Django's decorators do, instead of a 403.
    #[must_use]
    pub fn redirect_denied(mut self) -> Self {
        self.redirect_denied = true;
        self
    }

    /// Leaves out requests; with several calls, those of each. Django's `login_not_required`: such as the login
    /// page itself, where this is wrapped around the whole App.
    ///
    /// ```
    /// use actix_django_session::auth::LoginRequired;
    ///
    /// let site = LoginRequired::new().except(|request| request.path() == "/accounts/login/");
    /// ```
    #[must_use]
    pub fn except(mut self, except: impl Fn(&HttpRequest) -> bool + Send + Sync + 'static) -> Self {
        self.exceptions.push(Arc::new(except));
        self
    }

    async fn admits(&self, user: &User) -> Result<bool, Error> {
        Ok((!self.staff || (user.is_active() && user.is_staff()))
            && (!self.superuser || (user.is_active() && user.is_superuser()))
            && self.tests.iter().all(|test| test(user))
            && user.has_perms(&self.permissions).await?)
    }

    async fn refusal(&self, auth: &AuthSession) -> Result<Option<Error>, Error> {
        Ok(match auth.known_user().await? {
            None => Some(self.rules.login_required(auth)),
            Some(user) if self.admits(&user).await? => None,
            Some(_) if self.redirect_denied => Some(self.rules.login_required(auth)),
            Some(_) => Some(Error::forbidden("the user lacks a right that this page needs")),
        })
    }
}

impl fmt::Debug for LoginRequired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequired")
            .field("permissions", &self.permissions)
            .field("staff", &self.staff)
            .field("superuser", &self.superuser)
            .finish_non_exhaustive()
    }
}

/// What a scope says to visitors who are not logged in.
#[derive(Clone, Default)]
pub(super) struct Rules {
    login_url: Option<String>,
    unauthorized: Option<bool>,
}

impl Rules {
    /// Those of the innermost scope around a handler.
    pub(super) fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    pub(super) fn login_required(&self, auth: &AuthSession) -> Error {
        let own = self.login_url.as_deref();
        self.send_to(own.unwrap_or(&auth.auth().get_settings().login_url), auth)
    }

    /// For a user who is logged in, and must enter the password again.
    pub(super) fn confirmation_required(&self, auth: &AuthSession) -> Error {
        match &auth.auth().get_settings().confirm_url {
            Some(url) => self.send_to(url, auth),
            None => self.login_required(auth),
        }
    }

    fn send_to(&self, url: &str, auth: &AuthSession) -> Error {
        let (settings, request) = (auth.auth().get_settings(), auth.facts());
        if self.unauthorized.unwrap_or(settings.unauthorized) {
            return Error::login_required(None);
        }
        // As in Django: a host that is not the site's is answered before any redirect.
        let Some(host) = request.host.as_ref() else {
            return Error::bad_request("the Host of the request is none of the site's (HostSettings)");
        };
        let location = next_url::login_redirect(
            url,
            request.secure,
            host,
            &next_url::full_path(request.uri.path(), request.uri.query()),
            &settings.redirect_field_name,
        );
        match location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            Some(location) => Error::login_required(Some(location)),
            None => Error::bad_request("the URL of the request is too long to come back to after a login"),
        }
    }
}

impl Middleware for LoginRequired {
    type State = ();

    async fn process_request(&self, request: &mut ServiceRequest) -> Result<Flow<()>, ActixError> {
        if self.exceptions.iter().any(|except| except(request.request())) {
            return Ok(Flow::Continue(()));
        }
        let refusal = match AuthSession::of(request.request()) {
            // The response of this middleware has no error that another one could log.
            Ok(auth) => {
                let refusal = self.refusal(&auth).await.unwrap_or_else(Some);
                refusal.inspect(|error| error.log(auth.auth().log()))
            }
            Err(error) => Some(error),
        };
        if let Some(error) = refusal {
            return Ok(Flow::Break(((), error.error_response())));
        }
        let mut rules = request.extensions_mut().remove::<Rules>().unwrap_or_default();
        rules.login_url = self.rules.login_url.clone().or(rules.login_url);
        rules.unauthorized = self.rules.unauthorized.or(rules.unauthorized);
        request.extensions_mut().insert(rules);
        Ok(Flow::Continue(()))
    }

    async fn process_response(&self, _: (), response: HttpResponse) -> Result<HttpResponse, ActixError> {
        Ok(response)
    }
}

impl<S, B> Transform<S, ServiceRequest> for LoginRequired
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
