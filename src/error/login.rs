//! Errors of logins: what they answer, and their predicates.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use actix_web::http::{
    StatusCode,
    header::{self, HeaderName, HeaderValue},
};

use super::{Error, Inner};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Taken,
    Required,
    BadRequest,
    Forbidden,
    Throttled,
}

impl Kind {
    /// Whether the log should say so. Who must log in first, or chooses a name that is taken, is nothing odd.
    pub(super) fn is_odd(self) -> bool {
        !matches!(self, Self::Required | Self::Forbidden | Self::Taken)
    }

    pub(super) fn status(self, has_location: bool) -> StatusCode {
        match self {
            Self::Required if has_location => StatusCode::FOUND,
            Self::Required => StatusCode::UNAUTHORIZED,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Taken => StatusCode::CONFLICT,
            Self::Throttled => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    pub(super) fn body(self, has_location: bool) -> &'static str {
        match self {
            Self::Required if has_location => "",
            Self::Required => "Unauthorized",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::Taken => "Conflict",
            Self::Throttled => "Too many attempts",
        }
    }
}

/// # Constructors of logins
impl Error {
    fn of_login(kind: Kind, text: impl Into<String>, header: Option<(HeaderName, HeaderValue)>) -> Self {
        let inner = Inner { kind: super::Kind::Login(kind), text: text.into(), cause: None, header };
        Self { inner: Arc::new(inner), logged: AtomicBool::new(false) }
    }

    /// A write outside a session has no reply.
    pub(crate) fn write_in_doubt(action: impl fmt::Display) -> Self {
        let text = format!("cannot {action}: no reply came, so it may or may not be stored");
        Self::new(super::Kind::InDoubt, text, None)
    }

    pub(crate) fn taken(text: impl Into<String>) -> Self {
        Self::of_login(Kind::Taken, text, None)
    }

    /// Nobody is logged in. With a location, the visitor is sent there.
    pub(crate) fn login_required(location: Option<HeaderValue>) -> Self {
        let header = location.map(|location| (header::LOCATION, location));
        Self::of_login(Kind::Required, "nobody is logged in", header)
    }

    /// The request is none that this site answers: a wrong host, or a URL that is too long to come back to.
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::of_login(Kind::BadRequest, text, None)
    }

    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        Self::of_login(Kind::Forbidden, text, None)
    }

    pub(crate) fn throttled(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let text = format!("too many attempts to log in: wait {seconds} seconds");
        Self::of_login(Kind::Throttled, text, Some((header::RETRY_AFTER, seconds.into())))
    }

    fn is(&self, kind: Kind) -> bool {
        self.inner.kind == super::Kind::Login(kind)
    }
}

/// # Predicates of logins
///
/// With the feature `auth`.
impl Error {
    /// A new user's login name, or another unique value, is taken. Answers 409.
    pub fn is_taken(&self) -> bool {
        self.is(Kind::Taken)
    }

    /// Nobody is logged in, where somebody must be. Answers 302 to the login page, or 401.
    pub fn is_login_required(&self) -> bool {
        self.is(Kind::Required)
    }

    /// The user may not do this. Answers 403.
    pub fn is_forbidden(&self) -> bool {
        self.is(Kind::Forbidden)
    }

    /// There were too many attempts to log in. Answers 429 with `Retry-After`.
    pub fn is_throttled(&self) -> bool {
        self.is(Kind::Throttled)
    }
}
