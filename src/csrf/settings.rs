//! Django's `CSRF_*` settings by their names, with its defaults and meanings.

use std::time::Duration;

use actix_web::http::header::HeaderName;

use super::origin::TrustedOrigin;
use crate::{Error, HostSettings, SameSite, SessionSettings, web::header_name};

/// How forms are protected and how the cookie behaves: Django's `CSRF_*` settings by their names.
///
/// Say the same as the Django site beside it. Its defaults are Django's.
///
/// ```
/// use actix_django_session::csrf::CsrfSettings;
///
/// let settings = CsrfSettings::default()
///     .cookie_secure(true)
///     .trusted_origins(["https://shop.example.com", "https://*.example.org"]);
/// ```
#[derive(Clone, Debug)]
pub struct CsrfSettings {
    /// The cookie's, except for its age.
    pub(super) cookie: SessionSettings,
    pub(super) cookie_age: Option<Duration>,
    pub(super) header_name: String,
    pub(super) trusted_origins: Vec<String>,
    pub(super) use_sessions: bool,
    pub(super) hosts: HostSettings,
    pub(super) max_form_bytes: usize,
    pub(super) max_form_fields: usize,
    pub(super) form_timeout: Duration,
    pub(super) max_buffered_bytes: usize,
}

impl Default for CsrfSettings {
    fn default() -> Self {
        Self {
            cookie: SessionSettings::default().cookie_name("csrftoken").cookie_httponly(false),
            cookie_age: Some(Duration::from_secs(52 * 7 * 24 * 60 * 60)),
            header_name: "X-CSRFToken".to_owned(),
            trusted_origins: Vec::new(),
            use_sessions: false,
            hosts: HostSettings::default(),
            max_form_bytes: 2_621_440,
            max_form_fields: 1000,
            form_timeout: Duration::from_secs(30),
            max_buffered_bytes: 64 * 1024 * 1024,
        }
    }
}

impl CsrfSettings {
    /// `CSRF_COOKIE_NAME`. Default: `csrftoken`.
    #[must_use]
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie = self.cookie.cookie_name(name);
        self
    }

    /// `CSRF_COOKIE_AGE`: how long the browser keeps the cookie, in whole seconds. `None` is until it closes.
    /// Default: 52 weeks.
    #[must_use]
    pub fn cookie_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.cookie_age = age.into();
        self
    }

    /// `CSRF_COOKIE_DOMAIN`. Default: none, so that only this host gets the cookie.
    ///
    /// With a domain such as `.example.com`, all its subdomains may post to this site over HTTPS.
    #[must_use]
    pub fn cookie_domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie = self.cookie.cookie_domain(domain);
        self
    }

    /// `CSRF_COOKIE_PATH`. Default: `/`.
    #[must_use]
    pub fn cookie_path(mut self, path: impl Into<String>) -> Self {
        self.cookie = self.cookie.cookie_path(path);
        self
    }

    /// `CSRF_COOKIE_SECURE`. Default: no, as in Django; say yes wherever the site is served over HTTPS.
    #[must_use]
    pub fn cookie_secure(mut self, yes: bool) -> Self {
        self.cookie = self.cookie.cookie_secure(yes);
        self
    }

    /// `CSRF_COOKIE_HTTPONLY`. Default: no, so that scripts of the site can send the token in a header.
    #[must_use]
    pub fn cookie_httponly(mut self, yes: bool) -> Self {
        self.cookie = self.cookie.cookie_httponly(yes);
        self
    }

    /// `CSRF_COOKIE_SAMESITE`. Default: `Lax`. `None` leaves the attribute out, as Django's `False`.
    #[must_use]
    pub fn cookie_samesite(mut self, samesite: Option<SameSite>) -> Self {
        self.cookie = self.cookie.cookie_samesite(samesite);
        self
    }

    /// `CSRF_HEADER_NAME`: the header of requests that are no forms. Default: `X-CSRFToken`. Django's
    /// spelling, `HTTP_X_CSRFTOKEN`, means the same.
    #[must_use]
    pub fn header_name(mut self, name: impl AsRef<str>) -> Self {
        self.header_name = header_name(name.as_ref());
        self
    }

    /// `CSRF_TRUSTED_ORIGINS`: other origins whose pages may post to this site, with their scheme:
    /// `https://shop.example.com`, or `https://*.example.com` for the domain and all its subdomains.
    /// Default: none.
    #[must_use]
    pub fn trusted_origins<I>(mut self, origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.trusted_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// `CSRF_USE_SESSIONS`: whether the session holds the secret, in the key `_csrftoken`, instead of a
    /// cookie. Default: no. Needs a [`SessionMiddleware`](crate::SessionMiddleware) around this middleware.
    #[must_use]
    pub fn use_sessions(mut self, yes: bool) -> Self {
        self.use_sessions = yes;
        self
    }

    /// `ALLOWED_HOSTS`, `SECURE_PROXY_SSL_HEADER` and `USE_X_FORWARDED_HOST`, which say what this site's own
    /// origin is. Behind a proxy that ends TLS, `secure_proxy_header` is needed.
    #[must_use]
    pub fn hosts(mut self, hosts: HostSettings) -> Self {
        self.hosts = hosts;
        self
    }

    /// `DATA_UPLOAD_MAX_MEMORY_SIZE`: the longest form, in bytes. Longer ones are answered 400. Default:
    /// 2,621,440 (2.5 MiB).
    ///
    /// Forms with files may be longer: only as much of them is searched for the token. A request's body
    /// takes this much memory at most until its handler reads on.
    #[must_use]
    pub fn max_form_bytes(mut self, bytes: usize) -> Self {
        self.max_form_bytes = bytes;
        self
    }

    /// `DATA_UPLOAD_MAX_NUMBER_FIELDS`: the most fields of a form. More are answered 400. Default: 1000.
    #[must_use]
    pub fn max_form_fields(mut self, fields: usize) -> Self {
        self.max_form_fields = fields;
        self
    }

    /// How long a form may take to arrive, as far as it is searched for the token. Later ones are answered
    /// 408. Default: 30 seconds. Each 8 KiB that come give back one second of those that have passed, so that
    /// a large form may take longer, but no pause may. Django leaves this to its server.
    #[must_use]
    pub fn form_timeout(mut self, timeout: Duration) -> Self {
        self.form_timeout = timeout;
        self
    }

    /// The most bytes of forms that may wait for their handlers at once, of all requests together. More are
    /// answered 503. Default: 67,108,864 (64 MiB). Django has no such setting.
    ///
    /// The first 16 KiB of each form do not count, so that large forms keep nobody from posting small ones.
    #[must_use]
    pub fn max_buffered_bytes(mut self, bytes: usize) -> Self {
        self.max_buffered_bytes = bytes;
        self
    }

    /// Refuses what could never work, and returns the trusted origins in parts.
    pub(super) fn check(&self) -> Result<Vec<TrustedOrigin>, Error> {
        self.cookie.clone().cookie_age(self.cookie_age.unwrap_or(Duration::from_secs(1))).check()?;
        self.hosts.check()?;
        if self.header_name.parse::<HeaderName>().is_err() {
            return Err(Error::configuration(format!(
                "header_name: {:?} cannot be a header's name: use X-CSRFToken or the like",
                self.header_name
            )));
        }
        if self.max_buffered_bytes < self.max_form_bytes {
            return Err(Error::configuration(
                "max_buffered_bytes is less than max_form_bytes, so that no form of that length could be \
                 read",
            ));
        }
        self.trusted_origins.iter().map(|origin| TrustedOrigin::parse(origin)).collect()
    }
}
