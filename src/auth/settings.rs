//! Django's settings of logins by their names, and lifetimes of a login.

use std::time::Duration;

use crate::{Error, HostSettings};

/// How logins behave: Django's `LOGIN_*` settings by their names, and more.
///
/// ```
/// use std::time::Duration;
/// use actix_django_session::auth::AuthSettings;
///
/// let settings = AuthSettings::default()
///     .login_url("/accounts/login/")
///     .idle_timeout(Duration::from_secs(30 * 60))
///     .fresh_for(Duration::from_secs(5 * 60));
/// ```
#[derive(Clone, Debug)]
pub struct AuthSettings {
    pub(crate) login_url: String,
    pub(crate) login_redirect_url: String,
    pub(crate) redirect_field_name: String,
    pub(crate) unauthorized: bool,
    pub(crate) host: HostSettings,
    pub(crate) trusted_proxies: usize,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) fresh_for: Option<Duration>,
    pub(crate) confirm_url: Option<String>,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            login_url: "/accounts/login/".to_owned(),
            login_redirect_url: "/accounts/profile/".to_owned(),
            redirect_field_name: "next".to_owned(),
            unauthorized: false,
            host: HostSettings::default(),
            trusted_proxies: 0,
            lifetime: None,
            idle_timeout: None,
            fresh_for: None,
            confirm_url: None,
        }
    }
}

impl AuthSettings {
    /// `LOGIN_URL`: a path or an absolute URL. Default: `/accounts/login/`. Names of URL patterns are Django's
    /// own: give the path.
    #[must_use]
    pub fn login_url(mut self, url: impl Into<String>) -> Self {
        self.login_url = url.into();
        self
    }

    /// `LOGIN_REDIRECT_URL`: where a login leads that was not sent from a page. Default:
    /// `/accounts/profile/`.
    #[must_use]
    pub fn login_redirect_url(mut self, url: impl Into<String>) -> Self {
        self.login_redirect_url = url.into();
        self
    }

    /// The name of the parameter for the page to return to. Default: `next`. Empty: no such parameter.
    #[must_use]
    pub fn redirect_field_name(mut self, name: impl Into<String>) -> Self {
        self.redirect_field_name = name.into();
        self
    }

    /// Whether visitors who are not logged in get a 401 instead of being sent to the login page. Default: no.
    /// For a scope alone, see [`LoginRequired::unauthorized`](super::LoginRequired::unauthorized).
    #[must_use]
    pub fn unauthorized(mut self, yes: bool) -> Self {
        self.unauthorized = yes;
        self
    }

    /// Which hosts the site has, and which headers of a proxy are believed.
    ///
    /// They decide which `next` is the site's own, and what a redirect to the login page is made of. Give the
    /// same to [`CsrfSettings`](crate::csrf::CsrfSettings).
    #[must_use]
    pub fn hosts(mut self, settings: HostSettings) -> Self {
        self.host = settings;
        self
    }

    /// How many proxies of the site's own stand in front, each of which appends to `X-Forwarded-For`. Default:
    /// none, so that the address of a visitor is that of the connection. It matters for throttling.
    #[must_use]
    pub fn trusted_proxies(mut self, number: usize) -> Self {
        self.trusted_proxies = number;
        self
    }

    /// How long a login lasts, whatever the visitor does; then the session is flushed. Default: as long as
    /// its session. A login made by Django counts from its first request here.
    ///
    /// Kept in the session, where Django ignores it: its pages know no such limit.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// How long a login lasts without any request that looks at the user; then the session is flushed.
    /// Default: as long as its session.
    ///
    /// Kept in the session, which is saved for it at most once in a twentieth of this time. **Requests that
    /// Django serves are no visits**: who is busy on Django's pages alone is idle here.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// How long after the password was entered a login counts as fresh: see [`FreshLogin`](super::FreshLogin).
    /// Only a password that was entered here counts: give a [`confirm_url`](Self::confirm_url), or a login page
    /// in Rust.
    #[must_use]
    pub fn fresh_for(mut self, time: Duration) -> Self {
        self.fresh_for = Some(time);
        self
    }

    /// The page that asks a user who is logged in for the password again, by
    /// [`AuthSession::confirm_password`](super::AuthSession::confirm_password): there a
    /// [`FreshLogin`](super::FreshLogin) sends users whose login is not fresh. Default: the login page.
    #[must_use]
    pub fn confirm_url(mut self, url: impl Into<String>) -> Self {
        self.confirm_url = Some(url.into());
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.host.check()?;
        super::next_url::check_login_url(&self.login_url)?;
        self.confirm_url.as_deref().map_or(Ok(()), super::next_url::check_login_url)?;
        let times = [self.lifetime, self.idle_timeout, self.fresh_for];
        if times.into_iter().flatten().any(|time| time.as_secs() == 0) {
            return Err(Error::configuration(
                "lifetime, idle_timeout and fresh_for have to be a second or more",
            ));
        }
        Ok(())
    }
}
