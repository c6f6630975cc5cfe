//! Limits on failed logins.

mod database;
mod sql;

pub use self::database::DatabaseThrottle;

use std::{fmt, future::Future, net::IpAddr, pin::Pin, time::Duration};

use crate::Error;

/// An attempt to log in. `Debug` shows nothing of it.
#[derive(Clone)]
#[non_exhaustive]
pub struct LoginAttempt {
    /// The login name that was entered.
    pub username: String,
    /// The visitor's address, if it is known.
    pub address: Option<IpAddr>,
}

impl LoginAttempt {
    /// An attempt with this login name, from this address if it is known.
    pub fn new(username: impl Into<String>, address: Option<IpAddr>) -> Self {
        Self { username: username.into(), address }
    }
}

impl fmt::Debug for LoginAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginAttempt(…)")
    }
}

/// Decides whether an attempt to log in is made at all. Implement it to count elsewhere than
/// [`DatabaseThrottle`](super::DatabaseThrottle) does.
pub trait LoginThrottle: Send + Sync + 'static {
    /// Counts an attempt, before any password is looked at: many at the same time must not pass together.
    /// Returns how long to wait if it must not be made.
    fn begin(&self, attempt: &LoginAttempt) -> impl Future<Output = Result<Option<Duration>, Error>> + Send;

    /// The attempt was successful: it counts no longer, and neither do those of the same visitor for the same
    /// user before it.
    fn succeeded(&self, attempt: &LoginAttempt) -> impl Future<Output = Result<(), Error>> + Send;
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// [`LoginThrottle`] as a trait object.
pub(super) trait DynThrottle: Send + Sync {
    fn begin<'a>(&'a self, attempt: &'a LoginAttempt) -> Boxed<'a, Option<Duration>>;
    fn succeeded<'a>(&'a self, attempt: &'a LoginAttempt) -> Boxed<'a, ()>;
}

impl<T: LoginThrottle> DynThrottle for T {
    fn begin<'a>(&'a self, attempt: &'a LoginAttempt) -> Boxed<'a, Option<Duration>> {
        Box::pin(LoginThrottle::begin(self, attempt))
    }

    fn succeeded<'a>(&'a self, attempt: &'a LoginAttempt) -> Boxed<'a, ()> {
        Box::pin(LoginThrottle::succeeded(self, attempt))
    }
}
