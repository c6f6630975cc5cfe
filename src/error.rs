//! One opaque error with predicates.

#[cfg(feature = "auth")]
mod login;

use std::{
    error::Error as StdError,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
};

use crate::{
    event_log::EventLog,
    metrics::{self, ErrorKind},
};

/// Text of Django's `SessionInterrupted`, which is also what the client sees.
const INTERRUPTED: &str = "The request's session was deleted before the request completed. \
     The user may have logged out in a concurrent request, for example.";

type Cause = Box<dyn StdError + Send + Sync>;

/// Everything that can go wrong with a session.
///
/// The kinds are private so that they can grow; the predicates tell them apart. As an actix [`ResponseError`]
/// it is a 400 if the session was interrupted, a 503 if the store could not be used, what its predicate says
/// if it is about a login, and a 500 otherwise. The
/// response body never contains the error's text or causes: the session middleware logs them. Clones are
/// cheap and share their causes.
///
/// ```
/// use actix_django_session::{Session, Error};
///
/// let session = Session::detached();
/// session.insert("n", "not a number")?;
/// let error = session.get::<u32>("n").unwrap_err();
/// assert!(error.is_value());
/// # Ok::<(), Error>(())
/// ```
pub struct Error {
    inner: Arc<Inner>,
    /// Of this clone: an error that many requests share is counted for each of them.
    logged: AtomicBool,
}

struct Inner {
    kind: Kind,
    text: String,
    cause: Option<Cause>,
    /// A header of the response.
    header: Option<(HeaderName, HeaderValue)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Interrupted,
    Store,
    InDoubt,
    Closed,
    #[cfg(feature = "auth")]
    Login(login::Kind),
    TooLarge,
    Value,
    Unreadable,
    BadSignature,
    NoMiddleware,
    Configuration,
}

impl Kind {
    fn label(self) -> ErrorKind {
        match self {
            Self::Interrupted => ErrorKind::Interrupted,
            Self::Store => ErrorKind::Store,
            Self::InDoubt => ErrorKind::InDoubt,
            Self::Closed => ErrorKind::Closed,
            #[cfg(feature = "auth")]
            Self::Login(_) => ErrorKind::Login,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Value => ErrorKind::Value,
            Self::Unreadable | Self::BadSignature => ErrorKind::Unreadable,
            Self::NoMiddleware | Self::Configuration => ErrorKind::Configuration,
        }
    }
}

/// # Constructors
impl Error {
    fn new(kind: Kind, text: impl Into<String>, cause: Option<Cause>) -> Self {
        let inner = Arc::new(Inner { kind, text: text.into(), cause, header: None });
        Self { inner, logged: AtomicBool::new(false) }
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Kind::Interrupted, INTERRUPTED, None)
    }

    /// A backend could not do its work. `text` says what to do about it and must contain neither session keys
    /// nor secrets.
    ///
    /// ```
    /// use actix_django_session::Error;
    ///
    /// assert!(Error::store("cannot load a session: the disk is full").is_store());
    /// ```
    pub fn store(text: impl Into<String>) -> Self {
        Self::new(Kind::Store, text, None)
    }

    /// The same as [`Error::store`], with the error that caused it.
    pub fn store_caused_by(text: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::new(Kind::Store, text, Some(cause.into()))
    }

    pub(crate) fn in_doubt() -> Self {
        let text = "cannot save a session: no reply came, so the changes may or may not be stored; load the \
             session again before the next change";
        Self::new(Kind::InDoubt, text, None)
    }

    /// A write outside a session has no reply.
    pub(crate) fn closed() -> Self {
        let text = "the response has already begun: a change to the session can no longer be saved; change \
             it before the handler returns, or open it again with Session::open";
        Self::new(Kind::Closed, text, None)
    }

    #[cfg(feature = "messages")]
    pub(crate) fn closed_messages() -> Self {
        let text = "the response has already begun: messages can be neither added nor taken any more; do it \
             before the handler returns";
        Self::new(Kind::Closed, text, None)
    }

    pub(crate) fn too_large(bytes: usize, limit: usize) -> Self {
        let text = format!("the session has {bytes} bytes, more than max_session_bytes ({limit})");
        Self::new(Kind::TooLarge, text, None)
    }

    pub(crate) fn too_many_values(values: usize, limit: usize) -> Self {
        let text = format!(
            "the session has more than {values} values, which take too much memory for max_session_bytes \
             ({limit})"
        );
        Self::new(Kind::TooLarge, text, None)
    }

    pub(crate) fn too_large_to_read(limit: usize) -> Self {
        let text = format!("the stored value is larger than any session of max_session_bytes ({limit})");
        Self::new(Kind::TooLarge, text, None)
    }

    pub(crate) fn too_large_for_a_cookie(bytes: usize, limit: usize) -> Self {
        let text = format!(
            "the session's cookie would have {bytes} bytes, and browsers keep {limit}: put less into the \
             session, or use another store"
        );
        Self::new(Kind::TooLarge, text, None)
    }

    /// A value cannot be stored, or not be read. `text` must not quote it. For authors of serializers.
    pub fn value(text: impl Into<String>) -> Self {
        Self::new(Kind::Value, text, None)
    }

    /// Stored bytes are broken. `text` must not quote them. For authors of serializers.
    pub fn unreadable(text: impl Into<String>) -> Self {
        Self::new(Kind::Unreadable, text, None)
    }

    pub(crate) fn bad_signature() -> Self {
        Self::new(Kind::BadSignature, "no secret key or fallback made this signature", None)
    }

    /// `which` describes the missing one, or is empty.
    pub(crate) fn no_middleware(which: &str) -> Self {
        let text = format!(
            "no SessionMiddleware{which} is wrapped around this handler: add \
             .wrap(SessionMiddleware::new(store)) to the App or scope"
        );
        Self::new(Kind::NoMiddleware, text, None)
    }

    /// A setting cannot be right. `text` says what to use instead.
    pub fn configuration(text: impl Into<String>) -> Self {
        Self::new(Kind::Configuration, text, None)
    }
}

/// # Predicates
impl Error {
    /// The row was deleted or renamed while the request ran, as by a logout elsewhere. Django's
    /// `SessionInterrupted` (`UpdateError` outside a request).
    pub fn is_interrupted(&self) -> bool {
        self.inner.kind == Kind::Interrupted
    }

    /// The store could not be used: unreachable, too slow, without a right, without its table.
    pub fn is_store(&self) -> bool {
        matches!(self.inner.kind, Kind::Store | Kind::InDoubt)
    }

    /// The store did not reply, so nobody knows whether the changes are stored. Also a store error
    /// ([`is_store`](Self::is_store)). Other store errors of a save mean that no stored session was changed;
    /// after those of a flush it may be deleted.
    pub fn is_in_doubt(&self) -> bool {
        self.inner.kind == Kind::InDoubt
    }

    /// A change of the session, or of its messages, came after the response had begun.
    pub fn is_closed(&self) -> bool {
        self.inner.kind == Kind::Closed
    }

    /// The session is larger than [`Codec::max_session_bytes`](crate::codec::Codec::max_session_bytes), or
    /// than a cookie may be that contains one.
    pub fn is_too_large(&self) -> bool {
        self.inner.kind == Kind::TooLarge
    }

    /// A value could not be written as JSON, or not be read as the requested type.
    pub fn is_value(&self) -> bool {
        self.inner.kind == Kind::Value
    }

    /// Stored bytes could not be decoded, also because of their signature.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.inner.kind, Kind::Unreadable | Kind::BadSignature)
    }

    /// Stored text has no valid signature. Django's `BadSignature`.
    pub fn is_bad_signature(&self) -> bool {
        self.inner.kind == Kind::BadSignature
    }

    /// Settings, a URL or a secret key that cannot work.
    pub fn is_configuration(&self) -> bool {
        self.inner.kind == Kind::Configuration
    }
}

impl Error {
    /// Returns the error and its causes in one line, for logs and command lines.
    ///
    /// ```
    /// let error = actix_django_session::Error::store_caused_by("cannot load", std::fmt::Error);
    /// assert!(error.with_causes().starts_with("cannot load: "));
    /// ```
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }

    /// Logs the error with its causes, once: nested middlewares see the same one.
    pub(crate) fn log(&self, log: &EventLog) {
        if self.logged.swap(true, Ordering::Relaxed) {
            return;
        }
        metrics::error(self.inner.kind.label());
        match self.inner.kind {
            Kind::Interrupted => log.warn(self.to_string()),
            #[cfg(feature = "auth")]
            Kind::Login(kind) if !kind.is_odd() => {}
            #[cfg(feature = "auth")]
            Kind::Login(_) => log.warn(self.to_string()),
            Kind::Store | Kind::InDoubt => log.failure(self.with_causes()),
            _ => log.error(self.with_causes()),
        }
    }
}

impl Clone for Error {
    fn clone(&self) -> Self {
        let logged = AtomicBool::new(self.logged.load(Ordering::Relaxed));
        Self { inner: self.inner.clone(), logged }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, text, cause, .. } = &*self.inner;
        write!(f, "{kind:?}({text:?}, {cause:?})")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.cause.as_deref().map(|cause| cause as _)
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self.inner.kind {
            Kind::Interrupted => StatusCode::BAD_REQUEST,
            Kind::Store | Kind::InDoubt => StatusCode::SERVICE_UNAVAILABLE,
            #[cfg(feature = "auth")]
            Kind::Login(kind) => kind.status(self.inner.header.is_some()),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The client learns no more than the status.
    fn error_response(&self) -> HttpResponse {
        let body = match self.inner.kind {
            Kind::Interrupted => INTERRUPTED,
            Kind::Store | Kind::InDoubt => "Service unavailable",
            #[cfg(feature = "auth")]
            Kind::Login(kind) => kind.body(self.inner.header.is_some()),
            _ => "Internal server error",
        };
        let mut response = HttpResponse::build(self.status_code());
        if let Some((name, value)) = &self.inner.header {
            response.insert_header((name.clone(), value.clone()));
        }
        response.content_type("text/plain; charset=utf-8").body(body)
    }
}
