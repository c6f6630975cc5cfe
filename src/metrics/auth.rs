//! Logins and passwords.

use super::{OneMore, Timer, labels::LoginAttempt, list};
use crate::Error;

/// An attempt to log in has ended: with a user, or without.
pub(crate) fn login_attempt<T>(result: &Result<Option<T>, Error>) {
    list::LOGIN_ATTEMPTS.count(match result {
        Ok(Some(_)) => LoginAttempt::Accepted,
        Ok(None) => LoginAttempt::Rejected,
        Err(error) if error.is_throttled() => LoginAttempt::Throttled,
        Err(_) => LoginAttempt::Error,
    });
}

pub(crate) fn logged_in() {
    list::LOGINS.count(());
}

pub(crate) fn logged_out() {
    list::LOGOUTS.count(());
}

/// A password waits to be hashed or is being hashed, until the result is dropped.
pub(crate) fn hash() -> OneMore {
    list::HASHES.enter(())
}

pub(crate) fn hashed(since: Timer) {
    list::HASH_TIME.record((), since.seconds());
}

/// Too many passwords wait to be hashed.
pub(crate) fn hash_refused() {
    list::HASHES_REFUSED.count(());
}
