//! Logins and passwords.

use super::{GaugeGuard, Timer, labels::AttemptLabel, list};
use crate::Error;

/// An attempt to log in has ended: with a user, or without.
pub(crate) fn login_attempt<T>(result: &Result<Option<T>, Error>) {
    list::LOGIN_ATTEMPTS.count(match result {
        Ok(Some(_)) => AttemptLabel::Accepted,
        Ok(None) => AttemptLabel::Rejected,
        Err(error) if error.is_throttled() => AttemptLabel::Throttled,
        Err(_) => AttemptLabel::Error,
    });
}

pub(crate) fn logged_in() {
    list::LOGINS.count(());
}

pub(crate) fn logged_out() {
    list::LOGOUTS.count(());
}

/// A password waits to be hashed or is being hashed, until the result is dropped.
pub(crate) fn hash_in_flight() -> GaugeGuard {
    list::HASHES.enter(())
}

pub(crate) fn hashed(since: Timer) {
    list::HASH_TIME.record((), since.seconds());
}

/// Too many passwords wait to be hashed.
pub(crate) fn hash_refused() {
    list::HASHES_REFUSED.count(());
}
