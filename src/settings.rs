//! Django's `SESSION_*` settings by their names, with its defaults and meanings.

mod store_failure;

use std::time::Duration;

use actix_web::http::header::HeaderName;
use cookie::SameSite;

pub use self::store_failure::StoreFailure;
use crate::Error;

/// The longest age of a session. Added to any present date, it stays before the year 10,000, which Python's
/// dates cannot express.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(1000 * 365 * 24 * 60 * 60);
pub(crate) const MAX_AGE_TEXT: &str = "1,000 years (31,536,000,000 seconds)";

/// Headers beginning with `X-` that browsers, proxies or scripts send by themselves. A request with one would
/// be taken for one of a client without cookies, which needs no CSRF token.
const NOT_FOR_TOKENS: &[&str] = &[
    "x-att-deviceid",
    "x-client-data",
    "x-client-ip",
    "x-cloud-trace-context",
    "x-cluster-client-ip",
    "x-correlation-id",
    "x-csrf-token",
    "x-csrftoken",
    "x-do-not-track",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-moz",
    "x-pingback",
    "x-purpose",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-request-id",
    "x-request-start",
    "x-requested-with",
    "x-scheme",
    "x-trace-id",
    "x-true-client-ip",
    "x-uidh",
    "x-url-scheme",
    "x-wap-profile",
    "x-xsrf-token",
];

/// The same, with anything behind these.
const NOT_FOR_TOKENS_PREFIXES: &[&str] = &[
    "x-amz-",
    "x-amzn-",
    "x-appengine-",
    "x-arr-",
    "x-azure-",
    "x-b3-",
    "x-envoy-",
    "x-forwarded",
    "x-goog-",
    "x-ms-client-principal",
    "x-operamini-",
    "x-original-",
    "x-proxy",
    "x-rewrite-",
    "x-vercel-",
];

/// How sessions and their cookie behave: Django's `SESSION_*` settings by their names.
///
/// ```
/// use std::time::Duration;
/// use actix_django_session::SessionSettings;
///
/// let settings = SessionSettings::default()
///     .cookie_age(Duration::from_secs(3600))
///     .cookie_secure(true);
/// ```
#[derive(Clone, Debug)]
pub struct SessionSettings {
    pub(crate) cookie_name: String,
    pub(crate) cookie_age: Duration,
    pub(crate) cookie_domain: Option<String>,
    pub(crate) cookie_path: String,
    pub(crate) cookie_secure: bool,
    pub(crate) cookie_httponly: bool,
    pub(crate) cookie_samesite: Option<SameSite>,
    pub(crate) cookie_partitioned: bool,
    pub(crate) save_every_request: bool,
    pub(crate) touch_interval: Duration,
    pub(crate) exact_expiry: bool,
    pub(crate) expire_at_browser_close: bool,
    pub(crate) drop_interrupted_changes: bool,
    pub(crate) when_store_fails: StoreFailure,
    /// `Err` with a text that is no header's name, until it is checked.
    token_header: Option<Result<HeaderName, String>>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            cookie_name: "sessionid".to_owned(),
            cookie_age: Duration::from_secs(14 * 24 * 60 * 60),
            cookie_domain: None,
            cookie_path: "/".to_owned(),
            cookie_secure: false,
            cookie_httponly: true,
            cookie_samesite: Some(SameSite::Lax),
            cookie_partitioned: false,
            save_every_request: false,
            touch_interval: Duration::ZERO,
            exact_expiry: false,
            expire_at_browser_close: false,
            drop_interrupted_changes: false,
            when_store_fails: StoreFailure::Unavailable,
            token_header: None,
        }
    }
}

impl SessionSettings {
    /// `SESSION_COOKIE_NAME`. Default: `sessionid`.
    #[must_use]
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie_name = name.into();
        self
    }

    /// `SESSION_COOKIE_AGE`: how long after its last save a session expires, in whole seconds. Default: two
    /// weeks.
    #[must_use]
    pub fn cookie_age(mut self, age: Duration) -> Self {
        self.cookie_age = age;
        self
    }

    /// `SESSION_COOKIE_DOMAIN`. Default: none, so that only this host gets the cookie.
    #[must_use]
    pub fn cookie_domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie_domain = Some(domain.into());
        self
    }

    /// `SESSION_COOKIE_PATH`. Default: `/`.
    #[must_use]
    pub fn cookie_path(mut self, path: impl Into<String>) -> Self {
        self.cookie_path = path.into();
        self
    }

    /// `SESSION_COOKIE_SECURE`. Default: no, as in Django; say yes wherever the site is served over HTTPS.
    #[must_use]
    pub fn cookie_secure(mut self, yes: bool) -> Self {
        self.cookie_secure = yes;
        self
    }

    /// `SESSION_COOKIE_HTTPONLY`. Default: yes. With no, scripts on the page can read the session key.
    #[must_use]
    pub fn cookie_httponly(mut self, yes: bool) -> Self {
        self.cookie_httponly = yes;
        self
    }

    /// `SESSION_COOKIE_SAMESITE`. Default: `Lax`. `None` leaves the attribute out, as Django's `False`;
    /// `Some(SameSite::None)` writes `SameSite=None`, which browsers accept only with Secure.
    #[must_use]
    pub fn cookie_samesite(mut self, samesite: Option<SameSite>) -> Self {
        self.cookie_samesite = samesite;
        self
    }

    /// Adds `Partitioned` (CHIPS): a page of another site that embeds this one gets a session of its own.
    /// Default: no. Django has no such setting. Needs [`cookie_secure`](Self::cookie_secure), and in most
    /// cases `SameSite=None`.
    ///
    /// ```
    /// use actix_django_session::{SameSite, SessionSettings};
    ///
    /// let settings = SessionSettings::default()
    ///     .cookie_secure(true)
    ///     .cookie_samesite(Some(SameSite::None))
    ///     .cookie_partitioned(true);
    /// ```
    #[must_use]
    pub fn cookie_partitioned(mut self, yes: bool) -> Self {
        self.cookie_partitioned = yes;
        self
    }

    /// `SESSION_SAVE_EVERY_REQUEST`. Default: no. With yes, every request of a session saves it and renews
    /// its cookie, so that it expires when the visitor has been idle for the cookie age.
    #[must_use]
    pub fn save_every_request(mut self, yes: bool) -> Self {
        self.save_every_request = yes;
        self
    }

    /// With [`save_every_request`](Self::save_every_request): the least time between two renewals of an
    /// unchanged session. Default: zero, so that every request renews it, as in Django.
    ///
    /// A minute or an hour spares the database nearly all of these writes, and shortens the cookie age by no
    /// more than that and a thousandth (see [`exact_expiry`](Self::exact_expiry)).
    #[must_use]
    pub fn touch_interval(mut self, interval: Duration) -> Self {
        self.touch_interval = interval;
        self
    }

    /// Whether `expire_date` is stored to the microsecond, as Django does. Default: no, and it is rounded up
    /// by at most a thousandth of the session's age (20 minutes of two weeks).
    ///
    /// Saves within such a step leave `expire_date` as it is, so that PostgreSQL need not touch the indexes
    /// (HOT updates). Only that column of PostgreSQL and SQLite is rounded. A date given to
    /// [`set_expiry`](crate::Session::set_expiry), the cookie,
    /// [`get_expiry_age`](crate::Session::get_expiry_age) and
    /// [`get_expiry_date`](crate::Session::get_expiry_date) are exact.
    ///
    /// ```
    /// use actix_django_session::SessionSettings;
    ///
    /// let settings = SessionSettings::default().exact_expiry(true);
    /// ```
    #[must_use]
    pub fn exact_expiry(mut self, yes: bool) -> Self {
        self.exact_expiry = yes;
        self
    }

    /// `SESSION_EXPIRE_AT_BROWSER_CLOSE`. Default: no.
    #[must_use]
    pub fn expire_at_browser_close(mut self, yes: bool) -> Self {
        self.expire_at_browser_close = yes;
        self
    }

    /// Whether a request may succeed whose session another one deleted before it could be saved. Default: no,
    /// and the response is replaced by a 400, as in Django. With yes, the handler's response goes out, its
    /// changes to the session are dropped, and the log says so.
    #[must_use]
    pub fn drop_interrupted_changes(mut self, yes: bool) -> Self {
        self.drop_interrupted_changes = yes;
        self
    }

    /// Also takes the session's key from this request header, for clients without cookies such as mobile
    /// apps. Default: none. Django has no such setting; `X-Session-Token` is the name that django-allauth
    /// uses.
    ///
    /// The name has to begin with `X-`, and must not be one that browsers or proxies send by themselves, such
    /// as `X-Requested-With` or `X-Forwarded-For`: requests with the header need no CSRF token.
    ///
    /// A request with the header gets its session from it. Its cookie is ignored, and no session cookie is
    /// set. The response has the same header whenever the client must change its token:
    ///
    /// | request | response | meaning |
    /// |---|---|---|
    /// | `X-Session-Token:` (empty) | `X-Session-Token: KEY` | a session was made: keep the key |
    /// | `X-Session-Token: KEY` | none | keep the token |
    /// | `X-Session-Token: KEY` | `X-Session-Token: NEW` | the key is another one, as after a login |
    /// | `X-Session-Token: KEY` | `X-Session-Token:` (empty) | there is no such session: forget the token |
    ///
    /// Several headers with different values are a 400. A value that no key can have is an unknown session.
    /// A response that depends on the session has `Vary` with this header and `Cache-Control: no-store`. A
    /// request without the header uses the cookie, also as its answer. The guide has more on [clients without
    /// cookies](crate::guide::running#clients-without-cookies).
    ///
    /// ```
    /// use actix_django_session::SessionSettings;
    ///
    /// let settings = SessionSettings::default().token_header("X-Session-Token");
    /// ```
    #[must_use]
    pub fn token_header(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.token_header = Some(HeaderName::try_from(name.as_str()).map_err(|_| name));
        self
    }

    pub(crate) fn token_header_name(&self) -> Option<&HeaderName> {
        self.token_header.as_ref().and_then(|name| name.as_ref().ok())
    }

    pub(crate) fn expiry(&self) -> ExpiryPolicy {
        ExpiryPolicy {
            cookie_age: self.cookie_age,
            expire_at_browser_close: self.expire_at_browser_close,
            rounded: !self.exact_expiry,
        }
    }

    /// Refuses what no browser would keep, or what would let text into the header that is not a cookie's.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let bad = |text: String| Err(Error::configuration(text));
        let name = &self.cookie_name;
        // A colon is no token's, but Python and browsers accept it.
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return bad(format!("{name:?} cannot be a cookie's name: use letters, digits, - and _"));
        }
        for (what, text) in
            [("cookie_path", Some(&self.cookie_path)), ("cookie_domain", self.cookie_domain.as_ref())]
        {
            if text.is_some_and(|t| t.bytes().any(|b| b == b';' || !(b' '..=b'~').contains(&b))) {
                return bad(format!("{what} holds a character that a cookie cannot carry"));
            }
        }
        let prefix = self.name_prefix();
        let no_domain = self.cookie_domain.as_ref().is_none_or(String::is_empty);
        if prefix.host_only && !(self.cookie_secure && self.cookie_path == "/" && no_domain) {
            return bad(format!("{name} needs cookie_secure(true), the path / and no domain"));
        }
        if prefix.secure && !self.cookie_secure {
            return bad(format!("{name} needs cookie_secure(true)"));
        }
        if prefix.http_only && !self.cookie_httponly {
            return bad(format!("{name} needs cookie_httponly(true)"));
        }
        if self.cookie_partitioned && !self.cookie_secure {
            return bad("cookie_partitioned needs cookie_secure(true)".to_owned());
        }
        if self.cookie_samesite == Some(SameSite::None) && !self.cookie_secure {
            return bad("SameSite=None needs cookie_secure(true)".to_owned());
        }
        if !self.cookie_path.starts_with('/') {
            return bad("cookie_path has to begin with /".to_owned());
        }
        if self.cookie_domain.as_ref().is_some_and(|domain| domain.contains(['/', ':'])) {
            return bad("cookie_domain is a name alone, without scheme, port or path".to_owned());
        }
        match &self.token_header {
            Some(Err(text)) => return bad(format!("{text:?} cannot be the name of token_header")),
            Some(Ok(name)) if !is_for_tokens(name) => {
                return bad(format!(
                    "token_header cannot be {name}, which browsers or proxies may send by themselves: use a \
                     name of your own that begins with X-, such as X-Session-Token"
                ));
            }
            _ => {}
        }
        if self.cookie_age.as_secs() == 0 {
            return bad("cookie_age has to be a second or more".to_owned());
        }
        if self.cookie_age > MAX_AGE {
            return bad(format!(
                "cookie_age can be {MAX_AGE_TEXT} at most: Django cannot store a later date"
            ));
        }
        Ok(())
    }

    /// The attributes that browsers demand because of a name's prefix, in any letter case.
    pub(crate) fn name_prefix(&self) -> NamePrefix {
        let name = &self.cookie_name;
        let begins =
            |prefix: &str| name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
        let http_only = begins("__Http-") || begins("__Host-Http-");
        let host_only = begins("__Host-");
        NamePrefix { secure: http_only || host_only || begins("__Secure-"), http_only, host_only }
    }
}

/// Whether no browser or proxy sends the header by itself. Names of the standards have no `X-`.
fn is_for_tokens(name: &HeaderName) -> bool {
    let name = name.as_str(); // in lower case
    name.starts_with("x-")
        && !NOT_FOR_TOKENS.contains(&name)
        && !NOT_FOR_TOKENS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The rules of `__Secure-`, `__Host-`, `__Http-` and `__Host-Http-`. They hold for a deletion too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamePrefix {
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    pub(crate) host_only: bool,
}

/// The settings that expiry depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpiryPolicy {
    pub(crate) cookie_age: Duration,
    pub(crate) expire_at_browser_close: bool,
    /// Rounded up in the store.
    pub(crate) rounded: bool,
}
