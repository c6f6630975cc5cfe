//! How long a login lasts, besides its session: seconds since 1970 in the session, which Django ignores.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Auth;
use crate::{Error, Session};

const LOGIN_AT: &str = "_auth_login_at";
const SEEN_AT: &str = "_auth_seen_at";
const FRESH_AT: &str = "_auth_fresh_at";

/// A visit is noted only after this part of the idle timeout: a page that changes nothing is to save nothing.
const NOTE_AFTER: u64 = 20;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Seconds since a time in the session. A time in the future is now: clocks of hosts differ.
fn seconds_since(session: &Session, key: &str) -> Option<u64> {
    let at = session.get::<u64>(key).ok().flatten()?;
    Some(now().saturating_sub(at))
}

impl Auth {
    /// Whether the login has not expired. One made by Django has no times yet.
    pub(super) fn is_in_time(&self, session: &Session) -> bool {
        let settings = self.get_settings();
        let limits = [(LOGIN_AT, settings.lifetime), (SEEN_AT, settings.idle_timeout)];
        limits.into_iter().all(|(key, limit)| match limit {
            Some(limit) => seconds_since(session, key).is_none_or(|seconds| seconds < limit.as_secs()),
            None => true,
        })
    }

    /// Notes that the visitor was here. A login made by Django begins to count.
    pub(super) fn note_visit(&self, session: &Session) -> Result<(), Error> {
        let settings = self.get_settings();
        if settings.lifetime.is_some() && seconds_since(session, LOGIN_AT).is_none() {
            session.insert_unrequested(LOGIN_AT, &now())?;
        }
        if let Some(timeout) = settings.idle_timeout {
            let is_recent = |seconds: u64| seconds <= timeout.as_secs() / NOTE_AFTER;
            if !seconds_since(session, SEEN_AT).is_some_and(is_recent) {
                session.insert_unrequested(SEEN_AT, &now())?;
            }
        }
        Ok(())
    }

    pub(super) fn note_login(&self, session: &Session) -> Result<(), Error> {
        let settings = self.get_settings();
        for (key, limit) in
            [(LOGIN_AT, settings.lifetime), (SEEN_AT, settings.idle_timeout), (FRESH_AT, settings.fresh_for)]
        {
            if limit.is_some() {
                session.insert(key, &now())?;
            }
        }
        Ok(())
    }

    /// Whether the password was entered a moment ago. Errors without the setting.
    pub(super) fn is_fresh(&self, session: &Session) -> Result<bool, Error> {
        let limit = self
            .get_settings()
            .fresh_for
            .ok_or_else(|| Error::configuration("say how long a login is fresh: AuthSettings::fresh_for"))?;
        Ok(seconds_since(session, FRESH_AT).is_some_and(|seconds| seconds < limit.as_secs()))
    }

    pub(super) fn note_password(&self, session: &Session) -> Result<(), Error> {
        session.insert(FRESH_AT, &now())
    }
}
