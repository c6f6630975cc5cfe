//! When a session ends: `_session_expiry` as Django keeps and reads it. No I/O here.

use std::time::{Duration, SystemTime};

use cookie::time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset, Weekday};

use crate::codec::{SessionData, json};

/// The key under which Django keeps a session's own expiry.
pub(crate) const EXPIRY_KEY: &str = "_session_expiry";

/// What [`Session::set_expiry`](crate::Session::set_expiry) takes; Django's forms by name.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use actix_django_session::{Expiry, Session};
///
/// let session = Session::detached();
/// session.set_expiry(Duration::from_secs(300))?;                      // set_expiry(300)
/// assert_eq!(session.get_expiry_age(), 300);
/// session.set_expiry(Expiry::BrowserClose)?;                          // set_expiry(0)
/// assert!(session.get_expire_at_browser_close());
/// session.set_expiry(SystemTime::now() + Duration::from_secs(3600))?; // set_expiry(timedelta(hours=1))
/// session.set_expiry(Expiry::Default)?;                               // set_expiry(None)
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As the settings say. `set_expiry(None)`.
    Default,
    /// The cookie ends with the browser, the row after the cookie age. `set_expiry(0)`.
    BrowserClose,
    /// So long after each save (not after each read). `set_expiry(seconds)`.
    After(Duration),
    /// At a fixed time. `set_expiry(datetime)`; for a `timedelta` add it to the present time.
    At(SystemTime),
}

impl From<Duration> for Expiry {
    fn from(after: Duration) -> Self {
        Self::After(after)
    }
}

impl From<SystemTime> for Expiry {
    fn from(at: SystemTime) -> Self {
        Self::At(at)
    }
}

impl Expiry {
    /// The JSON value to keep, or nothing to keep.
    pub(crate) fn to_json(self) -> Option<String> {
        match self {
            Self::Default => None,
            Self::BrowserClose => Some("0".to_owned()),
            Self::After(after) if after.subsec_nanos() == 0 => Some(after.as_secs().to_string()),
            Self::After(after) => json::to_json(&after.as_secs_f64()).ok(),
            Self::At(at) => Some(format!("\"{}\"", isoformat(at))),
        }
    }
}

/// The two settings that expiry depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) cookie_age: Duration,
    pub(crate) expire_at_browser_close: bool,
}

/// What a session keeps of its own expiry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Own {
    None,
    Nonsense,
    Seconds(f64),
    Date(SystemTime),
}

fn own(data: &SessionData) -> Own {
    let Some(text) = data.get_json(EXPIRY_KEY) else { return Own::None };
    match text {
        "null" => return Own::None,
        "true" => return Own::Seconds(1.0), // Python's bools are numbers
        "false" => return Own::Seconds(0.0),
        _ => {}
    }
    if let Some(quoted) = text.strip_prefix('"') {
        if let Some(date) = quoted.strip_suffix('"').and_then(fromisoformat) {
            return Own::Date(date);
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

/// Seconds until the session ends, counted from `now`; whole ones, unless the application set others.
/// Django's `get_expiry_age`.
pub(crate) fn age(data: &SessionData, policy: Policy, now: SystemTime) -> f64 {
    match own(data) {
        Own::Seconds(seconds) if seconds != 0.0 => seconds,
        Own::Date(date) => (micros(date) - micros(now)).div_euclid(1_000_000) as f64,
        _ => policy.cookie_age.as_secs() as f64,
    }
}

/// The instant at which the session ends. Django's `get_expiry_date`.
pub(crate) fn date(data: &SessionData, policy: Policy, now: SystemTime) -> SystemTime {
    let after = match own(data) {
        Own::Date(date) => return date,
        Own::Seconds(seconds) if seconds != 0.0 => (seconds * 1e6) as i64,
        _ => i64::try_from(policy.cookie_age.as_micros()).unwrap_or(i64::MAX),
    };
    from_micros(micros(now).saturating_add(after))
}

/// Whether the cookie ends with the browser. Django's `get_expire_at_browser_close`.
pub(crate) fn at_browser_close(data: &SessionData, policy: Policy) -> bool {
    match own(data) {
        Own::None => policy.expire_at_browser_close,
        Own::Seconds(seconds) => seconds == 0.0,
        Own::Date(_) | Own::Nonsense => false,
    }
}

/// The years that Python, PostgreSQL and HTTP dates can all write, as microseconds since 1970.
const MIN_MICROS: i64 = -62_135_596_800_000_000; // 0001-01-01
const MAX_MICROS: i64 = 253_402_300_799_999_999; // 9999-12-31T23:59:59.999999

/// Microseconds since 1970, the precision of Django's dates.
pub(crate) fn micros(time: SystemTime) -> i64 {
    let micros = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_nanos().div_ceil(1000)).unwrap_or(i64::MAX),
    };
    micros.clamp(MIN_MICROS, MAX_MICROS)
}

pub(crate) fn from_micros(micros: i64) -> SystemTime {
    let micros = micros.clamp(MIN_MICROS, MAX_MICROS);
    let distance = Duration::from_micros(micros.unsigned_abs());
    let time = if micros < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH) // only on a platform that cannot hold these years
}

/// Python's `datetime.isoformat()` of an aware UTC time.
fn isoformat(time: SystemTime) -> String {
    let micros = micros(time);
    let nanos = i128::from(micros) * 1000;
    let utc = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (utc.date(), utc.time());
    let fraction = match micros.rem_euclid(1_000_000) {
        0 => String::new(),
        fraction => format!(".{fraction:06}"),
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}+00:00",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
    )
}

/// Python's `datetime.fromisoformat` (3.11 and newer). A time without offset is taken as UTC, which it is
/// on a site with `USE_TZ`; anywhere else only that site knows better.
pub(crate) fn fromisoformat(text: &str) -> Option<SystemTime> {
    if !text.is_ascii() {
        return None;
    }
    let date_length = date_length(text)?;
    let date = parse_date(text.get(..date_length)?)?;
    let (clock, micros_of_day, offset) = match text.get(date_length..)? {
        "" => (Time::MIDNIGHT, 0, 0),
        // Any one character may separate date and time.
        rest => parse_time(rest.get(1..).filter(|time| !time.is_empty())?)?,
    };
    let seconds = PrimitiveDateTime::new(date, clock).assume_offset(UtcOffset::UTC).unix_timestamp();
    Some(from_micros(seconds * 1_000_000 + micros_of_day - offset))
}

/// `YYYY-MM-DD`, `YYYYMMDD`, and with a week: `YYYY-Www[-D]`, `YYYYWww[D]`.
fn date_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let dashed = *bytes.get(4)? == b'-';
    let week = *bytes.get(if dashed { 5 } else { 4 })? == b'W';
    Some(match (dashed, week) {
        (true, false) => 10,
        (false, false) => 8,
        (true, true) if bytes.get(8) == Some(&b'-') && bytes.get(9).is_some_and(u8::is_ascii_digit) => 10,
        (true, true) => 8,
        // A digit after the week is its day, unless an odd run of digits makes it a separator's neighbour.
        (false, true) if bytes.get(7).is_some_and(u8::is_ascii_digit) => 8,
        (false, true) => 7,
    })
}

fn parse_date(text: &str) -> Option<Date> {
    let year: i32 = digits(text.get(..4)?)?.try_into().ok()?;
    if year == 0 {
        return None;
    }
    let rest = text.get(4..)?;
    if let Some(week) = rest.trim_start_matches('-').strip_prefix('W') {
        let week = week.replace('-', "");
        let number = u8::try_from(digits(week.get(..2)?)?).ok()?;
        let day = match week.get(2..)? {
            "" => 1,
            day => digits(day)?,
        };
        let weekday = match day {
            1..=7 => Weekday::Monday.nth_next(day as u8 - 1),
            _ => return None,
        };
        return Date::from_iso_week_date(year, number, weekday).ok();
    }
    let (month, day) = match rest.strip_prefix('-') {
        Some(dashed) => dashed.split_once('-')?,
        None => rest.split_at_checked(2)?,
    };
    if month.len() != 2 || day.len() != 2 {
        return None;
    }
    let month = Month::try_from(u8::try_from(digits(month)?).ok()?).ok()?;
    Date::from_calendar_date(year, month, u8::try_from(digits(day)?).ok()?).ok()
}

/// The clock in whole seconds, its microseconds, and the offset in microseconds.
fn parse_time(text: &str) -> Option<(Time, i64, i64)> {
    let (clock, offset) = match text.find(['+', '-', 'Z']) {
        None => (text, 0),
        Some(at) => {
            let (clock, zone) = text.split_at(at);
            let offset = match (zone, zone.get(1..)?) {
                ("Z", _) => 0,
                (zone, amount) => {
                    let (seconds, micros) = parse_clock(amount)?;
                    let sign = if zone.starts_with('-') { -1 } else { 1 };
                    sign * (seconds * 1_000_000 + micros)
                }
            };
            (clock, offset)
        }
    };
    if offset.abs() >= 86_400_000_000 {
        return None;
    }
    let (seconds, micros) = parse_clock(clock)?;
    let part = |n: i64| u8::try_from(n).ok();
    let time = Time::from_hms(part(seconds / 3600)?, part(seconds / 60 % 60)?, part(seconds % 60)?);
    Some((time.ok()?, micros, offset))
}

/// `HH[:MM[:SS[.f…]]]` or the same without colons, as seconds and microseconds.
fn parse_clock(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = match text.find(['.', ',']) {
        Some(at) => (text.get(..at)?, Some(text.get(at + 1..)?)),
        None => (text, None),
    };
    let colons = whole.contains(':');
    let parts: Vec<i64> = if colons {
        whole
            .split(':')
            .map(|part| (part.len() == 2).then(|| digits(part)).flatten())
            .collect::<Option<_>>()?
    } else {
        whole
            .as_bytes()
            .chunks(2)
            .map(|part| (part.len() == 2).then(|| std::str::from_utf8(part).ok().and_then(digits)).flatten())
            .collect::<Option<_>>()?
    };
    let (hours, minutes, seconds) = match *parts.as_slice() {
        [h] => (h, 0, 0),
        [h, m] => (h, m, 0),
        [h, m, s] => (h, m, s),
        _ => return None,
    };
    if hours > 23 || minutes > 59 || seconds > 59 || (fraction.is_some() && parts.len() != 3) {
        return None;
    }
    let micros = match fraction {
        None => 0,
        Some(fraction) if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) => {
            return None;
        }
        Some(fraction) => digits(&format!("{fraction:0<6}")[..6])?, // further digits are cut off
    };
    Some((hours * 3600 + minutes * 60 + seconds, micros))
}

fn digits(text: &str) -> Option<i64> {
    let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What real Django answered: made by tests/django/make_vectors.py.
    fn vectors(kind: &str) -> Vec<Value> {
        let file = include_str!("../../tests/vectors/expiry.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let all = file["vectors"].as_array().unwrap();
        let found: Vec<Value> = all.iter().filter(|v| v["kind"] == kind).cloned().collect();
        assert!(found.len() > 100, "{kind}");
        found
    }

    fn with_expiry(stored: &Value) -> SessionData {
        let mut data = SessionData::default();
        if let Some(stored) = stored.as_str() {
            data.set_json(EXPIRY_KEY, stored.into());
        }
        data
    }

    #[test]
    fn expiry_is_read_as_django_reads_it() {
        // What CPython's reader lets through or cuts off, in texts that nothing writes, and dates that are
        // outside Python's years once they are in UTC.
        let slips = [
            "23:13:20 Z",
            "23:13:20 +00:00",
            "23:13:20+00:00:00.000001",
            "22.5+00:00",
            "22:13.5+00:00",
            "20.+00:00",
            "20.1234567x+00:00",
            "20:25+00:00",
            "+05:60",
            "200Z",
            "\\ud800",
            "\\ud83d",
            "\\u00e9",
            "0001-01-01T00:00:00+05:30",
            "9999-12-31T23:59:59-05:30",
        ];
        for v in vectors("read") {
            if v["stored"].as_str().is_some_and(|stored| slips.iter().any(|slip| stored.contains(slip))) {
                continue;
            }
            let data = with_expiry(&v["stored"]);
            let now = from_micros(v["now_micros"].as_i64().unwrap());
            let policy = |expire_at_browser_close| Policy {
                cookie_age: Duration::from_secs(1_209_600),
                expire_at_browser_close,
            };
            // Where Django answers 500, or has a time without a zone, we have an answer of our own.
            let no_answer = |v: &Value| v.get("error").is_some() || v.get("naive").is_some();
            if !no_answer(&v["age"]) && !no_answer(&v["date_micros"]) {
                if let Some(expected) = v["age"].as_f64() {
                    assert_eq!(age(&data, policy(false), now), expected, "{v}");
                }
                if let Some(expected) = v["date_micros"].as_i64() {
                    assert_eq!(micros(date(&data, policy(false), now)), expected, "{v}");
                }
                for (setting, name) in [(false, "browser_close_false"), (true, "browser_close_true")] {
                    assert_eq!(at_browser_close(&data, policy(setting)), v[name] == true, "{v}");
                }
            } else if v["age"].get("error").is_some() && v["date_micros"].get("naive").is_none() {
                assert_eq!(age(&data, policy(false), now), 1_209_600.0, "{v}");
            }
        }
    }

    #[test]
    fn dates_are_written_as_django_writes_them() {
        for v in vectors("set") {
            let now = from_micros(v["now_micros"].as_i64().unwrap());
            let micros = |name: &str| v["call"][name].as_i64();
            let expiry = if let Some(after) = micros("timedelta_micros") {
                Expiry::At(from_micros(super::micros(now) + after))
            } else if let Some(at) = micros("datetime_micros").filter(|_| v["call"]["offset"] == 0) {
                Expiry::At(from_micros(at))
            } else if let Some(seconds) = v["call"]["number"].as_str().and_then(|n| n.parse().ok()) {
                Expiry::After(Duration::from_secs(seconds))
            } else {
                continue;
            };
            if let Some(stored) = v["stored"].as_str() {
                assert_eq!(expiry.to_json().as_deref(), Some(stored), "{v}");
            }
        }
    }
}
