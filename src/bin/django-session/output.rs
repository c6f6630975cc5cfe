//! What is printed, and how keys, numbers and times look in it.

use std::{
    fmt,
    io::{self, BufWriter, IsTerminal as _, Stdout, Write as _},
    time::{Duration, SystemTime},
};

/// Standard output: each line at once on a terminal, in large pieces elsewhere.
#[derive(Debug)]
pub(crate) struct Out {
    writer: BufWriter<Stdout>,
    terminal: bool,
}

impl Out {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self { writer: BufWriter::new(stdout), terminal }
    }

    pub(crate) fn line(&mut self, line: impl fmt::Display) -> io::Result<()> {
        writeln!(self.writer, "{line}")?;
        if self.terminal { self.writer.flush() } else { Ok(()) }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A message about what goes wrong.
pub(crate) fn complain(text: &str) {
    tell(&format!("django-session: {text}"));
}

/// A message to whoever watches. That nobody does is no error.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A session's key as it may be shown: whoever knows all of it is the visitor.
pub(crate) fn shown(key: &str, full: bool) -> String {
    if full { printable(key) } else { shortened(key) }
}

pub(crate) fn shortened(text: &str) -> String {
    let mut short: String = printable(text).chars().take(4).collect();
    short.push('…');
    short
}

/// The text without what would move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `12,345,678`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 session`, `2 sessions`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `3.1 %`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 })
}

/// `12 kB`, `3.4 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size < 1000.0 {
            return if unit == "bytes" { format!("{size} bytes") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

/// `2026-12-05 08:38:55 UTC`.
pub(crate) fn date(time: SystemTime) -> String {
    let (day, second, _) = split(time);
    format!("{} {} UTC", ymd(day), hms(second))
}

/// `2026-12-05T08:38:55.000000Z`.
pub(crate) fn iso(time: SystemTime) -> String {
    let (day, second, micros) = split(time);
    format!("{}T{}.{micros:06}Z", ymd(day), hms(second))
}

/// `in 3 days`, `2 hours ago`.
pub(crate) fn from_now(time: SystemTime) -> String {
    match time.duration_since(SystemTime::now()) {
        Ok(left) => format!("in {}", span(left)),
        Err(past) => format!("{} ago", span(past.duration())),
    }
}

/// `3 days`, `1 hour`, `2 min 5 s`, `12.3 s`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => counted(seconds / 3600, "hour"),
        _ => counted(seconds / 86_400, "day"),
    }
}

/// Days since 1970, seconds of the day, microseconds of the second.
fn split(time: SystemTime) -> (i64, i64, i64) {
    let micros = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_micros()).unwrap_or(i128::MAX),
        Err(before) => -i128::try_from(before.duration().as_micros()).unwrap_or(i128::MAX),
    };
    let day = 86_400_000_000;
    let small = |number: i128| i64::try_from(number).unwrap_or_default(); // far below i64's bounds
    let rest = micros.rem_euclid(day);
    (small(micros.div_euclid(day)), small(rest / 1_000_000), small(rest % 1_000_000))
}

/// The Gregorian date of a day since 1970, by eras of 400 years that begin in March.
fn ymd(day: i64) -> String {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (date, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{date:02}", year + era * 400 + i64::from(month <= 2))
}

fn hms(second: i64) -> String {
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_210_096, "2024-02-29 12:34:56 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_800, "10000-01-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        let before = SystemTime::UNIX_EPOCH - Duration::from_micros(1);
        assert_eq!(iso(before), "1969-12-31T23:59:59.999999Z");
        let long_ago = SystemTime::UNIX_EPOCH - Duration::from_micros(i64::MAX as u64);
        assert!(date(long_ago).starts_with("-29") && date(long_ago).ends_with(" UTC"));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 999, 1000, 3_400_000_000].map(bytes), ["0 bytes", "999 bytes", "1.0 kB", "3.4 GB"]);
        assert_eq!(shortened("abcdefgh\u{1b}"), "abcd…");
    }
}
