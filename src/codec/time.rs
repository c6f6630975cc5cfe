//! Times as Django has them: to the microsecond, and as text in the form of Python's `datetime.isoformat`.

use std::time::{Duration, SystemTime};

use cookie::time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset, Weekday};

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
pub(crate) fn isoformat(time: SystemTime) -> String {
    naive(time, 'T') + "+00:00"
}

/// `YYYY-MM-DD?HH:MM:SS[.ffffff]` in UTC, with that separator.
pub(crate) fn naive(time: SystemTime, separator: char) -> String {
    let micros = micros(time);
    let nanos = i128::from(micros) * 1000;
    let utc = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (utc.date(), utc.time());
    let fraction = match micros.rem_euclid(1_000_000) {
        0 => String::new(),
        fraction => format!(".{fraction:06}"),
    };
    format!(
        "{:04}-{:02}-{:02}{separator}{:02}:{:02}:{:02}{fraction}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
    )
}

/// A date as text has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IsoDate {
    /// Taken as UTC if the text does not say.
    pub(crate) time: SystemTime,
    /// Whether the text says of which zone it is. On a site with `USE_TZ = False` it does not.
    pub(crate) zoned: bool,
}

/// Python's `datetime.fromisoformat` (3.11 and newer).
pub(crate) fn fromisoformat(text: &str) -> Option<IsoDate> {
    if !text.is_ascii() {
        return None;
    }
    let date_length = date_length(text)?;
    let date = parse_date(text.get(..date_length)?)?;
    let (clock, micros_of_day, offset) = match text.get(date_length..)? {
        "" => (Time::MIDNIGHT, 0, None),
        // Any one character may separate date and time.
        rest => parse_time(rest.get(1..).filter(|time| !time.is_empty())?)?,
    };
    let seconds = PrimitiveDateTime::new(date, clock).assume_offset(UtcOffset::UTC).unix_timestamp();
    let time = from_micros(seconds * 1_000_000 + micros_of_day - offset.unwrap_or(0));
    Some(IsoDate { time, zoned: offset.is_some() })
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

/// The clock in whole seconds, its microseconds, and the offset in microseconds, if there is one.
fn parse_time(text: &str) -> Option<(Time, i64, Option<i64>)> {
    let (clock, offset) = match text.find(['+', '-', 'Z']) {
        None => (text, None),
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
            (clock, Some(offset))
        }
    };
    if offset.is_some_and(|offset| offset.abs() >= 86_400_000_000) {
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
