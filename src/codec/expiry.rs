//! What a session says of its own end: Django's `_session_expiry`.

use std::time::{Duration, SystemTime};

use super::{
    EXPIRY_KEY, SessionData, json,
    time::{from_micros, fromisoformat, micros},
};

/// What a session keeps of its own expiry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Own {
    None,
    Nonsense,
    Seconds(f64),
    Date(SystemTime),
}

pub(crate) fn own(data: &SessionData) -> Own {
    let Some(text) = data.get_json(EXPIRY_KEY) else { return Own::None };
    match text {
        "null" => return Own::None,
        "true" => return Own::Seconds(1.0), // Python's bools are numbers
        "false" => return Own::Seconds(0.0),
        _ => {}
    }
    if let Some(quoted) = text.strip_prefix('"') {
        if let Some(date) = quoted.strip_suffix('"').and_then(fromisoformat) {
            let known = data.end_without_zone().filter(|_| !date.zoned);
            return Own::Date(known.unwrap_or(date.time));
        }
    } else if let Ok(seconds) = json::from_json::<f64>(text)
        && seconds.is_finite()
    {
        return Own::Seconds(seconds);
    }
    // Django answers 500 to every request of such a session. Its data is worth more than its expiry.
    tracing::warn!("a session's {EXPIRY_KEY} is neither a number nor an ISO date: using the cookie age");
    Own::Nonsense
}

/// Takes note of when a session that was just read ends by its row. If it has a date without a zone (`USE_TZ = False`), that
/// is what it means; only the site knows its zone.
pub(crate) fn note_end(data: &mut SessionData, end: SystemTime) {
    let text = data.get_json(EXPIRY_KEY).and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    if text.and_then(fromisoformat).is_some_and(|date| !date.zoned) {
        data.set_end_without_zone(end);
    }
}

/// The instant at which a session ends that was saved at `saved`, where sessions live for `age` by default.
pub(crate) fn date(data: &SessionData, age: Duration, saved: SystemTime) -> SystemTime {
    let after = match own(data) {
        Own::Date(date) => return date,
        Own::Seconds(seconds) if seconds != 0.0 => (seconds * 1e6) as i64,
        _ => i64::try_from(age.as_micros()).unwrap_or(i64::MAX),
    };
    from_micros(micros(saved).saturating_add(after))
}
