//! Dates as Django has them: microseconds in UTC, and the text of Python's `datetime.isoformat()`.

use std::time::{Duration, SystemTime};

use cookie::time::{Date, Month, OffsetDateTime};

/// The years that Python, PostgreSQL and HTTP dates can all express, in microseconds since 1970.
const MIN_MICROS: i64 = -62_135_596_800_000_000; // 0001-01-01
const MAX_MICROS: i64 = 253_402_300_799_999_999; // 9999-12-31T23:59:59.999999

/// Microseconds since 1970, rounded down to the precision of Django's dates.
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
    time.unwrap_or(SystemTime::UNIX_EPOCH) // only on platforms that cannot represent these years
}

/// Python's `datetime.isoformat()` of an aware datetime in UTC.
pub(crate) fn isoformat(time: SystemTime) -> String {
    naive_isoformat(time, 'T') + "+00:00"
}

/// Python's `datetime.isoformat(sep)` of a naive datetime in UTC.
pub(crate) fn naive_isoformat(time: SystemTime, separator: char) -> String {
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

/// A parsed datetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IsoDateTime {
    /// A naive datetime is taken as UTC.
    pub(crate) time: SystemTime,
    /// Whether the text has an offset from UTC. Sites with `USE_TZ = False` write none.
    pub(crate) aware: bool,
}

/// Python's `datetime.fromisoformat`, for every text that `isoformat()` writes, any number of fractional
/// digits, and `Z`.
///
/// Python 3.11 and newer also read weeks, decimal commas, and dates without dashes or colons. No Django
/// writes these, and older Pythons reject them.
pub(crate) fn fromisoformat(text: &str) -> Option<IsoDateTime> {
    if !text.is_ascii() {
        return None;
    }
    let (date, time) = text.split_at_checked(10)?;
    let (micros_of_day, offset) = match time.get(1..) {
        None => (0, None),
        Some(time) => parse_time(time)?,
    };
    let midnight = parse_date(date)?.midnight().assume_utc().unix_timestamp();
    let time = from_micros(midnight * 1_000_000 + micros_of_day - offset.unwrap_or(0));
    Some(IsoDateTime { time, aware: offset.is_some() })
}

fn parse_date(text: &str) -> Option<Date> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    if year.len() != 4 || month.len() != 2 || year == "0000" {
        return None;
    }
    let month = Month::try_from(digits(month)? as u8).ok()?;
    Date::from_calendar_date(digits(year)? as i32, month, digits(day)? as u8).ok()
}

/// The microseconds of a time of day and those of its offset from UTC.
fn parse_time(text: &str) -> Option<(i64, Option<i64>)> {
    let (clock, zone) = text.split_at(text.find(['+', '-', 'Z']).unwrap_or(text.len()));
    let offset = match (zone, zone.strip_prefix('-')) {
        ("", _) => None,
        ("Z", _) => Some(0),
        (_, Some(west)) => Some(-parse_clock(west)?),
        (_, None) => Some(parse_clock(zone.strip_prefix('+')?)?),
    };
    Some((parse_clock(clock)?, offset))
}

/// `HH[:MM[:SS[.f…]]]` in microseconds.
fn parse_clock(text: &str) -> Option<i64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let (mut units, mut count) = ([0; 3], 0);
    for part in whole.split(':') {
        *units.get_mut(count)? = digits(part).filter(|_| part.len() == 2)?;
        count += 1;
    }
    let [hours, minutes, seconds] = units;
    if hours > 23 || minutes > 59 || seconds > 59 || (fraction.is_some() && count != 3) {
        return None;
    }
    let micros = match fraction {
        None => 0,
        // Python ignores digits beyond the sixth.
        Some(fraction) => {
            let known = fraction.get(..6).unwrap_or(fraction);
            let rest = fraction.get(6..).unwrap_or_default();
            let micros = digits(known)? * 10_i64.pow(6 - known.len() as u32);
            rest.bytes().all(|byte| byte.is_ascii_digit()).then_some(micros)?
        }
    };
    Some((hours * 3600 + minutes * 60 + seconds) * 1_000_000 + micros)
}

fn digits(text: &str) -> Option<i64> {
    let all = text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_isoformat_are_read() {
        let at = |micros| Some(IsoDateTime { time: from_micros(micros), aware: true });
        assert_eq!(fromisoformat("2023-11-14T22:13:20+00:00"), at(1_700_000_000_000_000));
        assert_eq!(fromisoformat("2023-11-14 22:13:20.5Z"), at(1_700_000_000_500_000));
        assert_eq!(fromisoformat("2023-11-14T22:13:20.1234567-00:01"), at(1_700_000_060_123_456));
        assert_eq!(fromisoformat("2023-11-15T03:43:20.000001+05:30:00.000001"), at(1_700_000_000_000_000));
        for naive in ["2023-11-14", "2023-11-14T00", "2023-11-14T00:00", "2023-11-14T00:00:00.000"] {
            let midnight = IsoDateTime { time: from_micros(1_699_920_000_000_000), aware: false };
            assert_eq!(fromisoformat(naive), Some(midnight), "{naive}");
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        for bad in ["", "2023-11-1", "2023-11-31", "0000-01-01", "20231114T221320", "2023-W46-2"] {
            assert_eq!(fromisoformat(bad), None, "{bad}");
        }
        for bad in ["", "24:00", "1:00", "22:13.5", "22:13:20.", "22:13:20.1234567x", "22:13:20,5"] {
            assert_eq!(fromisoformat(&format!("2023-11-14T{bad}")), None, "{bad}");
        }
        for bad in ["+", "Z01", "+24:00", "+0530", "\u{e9}"] {
            assert_eq!(fromisoformat(&format!("2023-11-14T22:13:20{bad}")), None, "{bad}");
        }
    }
}
