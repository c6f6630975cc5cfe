//! The session's own expiry: Django's `_session_expiry`.

use std::time::{Duration, SystemTime};

use super::{EXPIRY_KEY, SessionData, json};
use crate::{
    datetime::{from_micros, fromisoformat, micros},
    event_log::EventLog,
};

/// The value of `_session_expiry`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StoredExpiry {
    None,
    /// Neither a number nor an ISO date.
    Invalid,
    Seconds(f64),
    Date(SystemTime),
}

pub(crate) fn stored_expiry(data: &SessionData) -> StoredExpiry {
    let Some(text) = data.get_json(EXPIRY_KEY) else { return StoredExpiry::None };
    match text {
        "null" => return StoredExpiry::None,
        "true" => return StoredExpiry::Seconds(1.0), // Python's bools are numbers
        "false" => return StoredExpiry::Seconds(0.0),
        _ => {}
    }
    if let Some(quoted) = text.strip_prefix('"') {
        if let Some(date) = quoted.strip_suffix('"').and_then(fromisoformat) {
            let resolved = data.naive_expiry().filter(|_| !date.aware);
            return StoredExpiry::Date(resolved.unwrap_or(date.time));
        }
    } else if let Ok(seconds) = json::from_json::<f64>(text)
        && seconds.is_finite()
    {
        return StoredExpiry::Seconds(seconds);
    }
    // Django answers 500 to every request with such a session. Its data is worth more than its expiry.
    let text = format!("a session's {EXPIRY_KEY} is neither a number nor an ISO date: using the cookie age");
    EventLog::general().warn(text);
    StoredExpiry::Invalid
}

/// Resolves a naive datetime (`USE_TZ = False`) using the row's `expire_date`: only the site knows its zone.
pub(crate) fn resolve_naive(data: &mut SessionData, expire_date: SystemTime) {
    let text = data.get_json(EXPIRY_KEY).and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    if text.and_then(fromisoformat).is_some_and(|date| !date.aware) {
        data.set_naive_expiry(expire_date);
    }
}

/// The instant at which a session saved at `saved` expires. `age` is the cookie age.
pub(crate) fn date(data: &SessionData, age: Duration, saved: SystemTime) -> SystemTime {
    let after = match stored_expiry(data) {
        StoredExpiry::Date(date) => return date,
        StoredExpiry::Seconds(seconds) if seconds != 0.0 => (seconds * 1e6) as i64,
        _ => i64::try_from(age.as_micros()).unwrap_or(i64::MAX),
    };
    from_micros(micros(saved).saturating_add(after))
}
