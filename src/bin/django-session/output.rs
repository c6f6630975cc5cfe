//! Standard output and messages, and how keys, numbers and times look in them.

use std::{
    fmt,
    io::{self, BufWriter, IsTerminal as _, Stdout, Write as _},
    time::{Duration, SystemTime},
};

use cookie::time::{OffsetDateTime, format_description::well_known::Rfc3339};
use indicatif::{HumanCount, HumanDuration};

/// Standard output, flushed after each line on a terminal and buffered elsewhere.
#[derive(Debug)]
pub(crate) struct Output {
    writer: BufWriter<Stdout>,
    terminal: bool,
}

impl Output {
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

/// Prints an error message.
pub(crate) fn error(text: &str) {
    info(&format!("django-session: {text}"));
}

/// Prints a message to standard error. A closed standard error is ignored.
pub(crate) fn info(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The beginning of a session key or secret: whoever knows a whole key can impersonate the visitor.
pub(crate) fn shortened(text: &str) -> String {
    let mut short: String = printable(text).chars().take(4).collect();
    short.push('…');
    short
}

/// The text without control characters, which could move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `1 session`, `2,000 sessions`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", HumanCount(number), if number == 1 { "" } else { "s" })
}

/// `3.1 %`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 })
}

/// `2026-12-05 08:38:55 UTC`.
pub(crate) fn date(time: SystemTime) -> String {
    format!("{} UTC", iso(time).get(..19).unwrap_or_default().replace('T', " "))
}

/// `2026-12-05T08:38:55.25Z`. Times outside the years 0 to 9999 (`infinity`) are shown as that bound.
pub(crate) fn iso(time: SystemTime) -> String {
    let nanos = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => i128::try_from(before.duration().as_nanos()).map_or(i128::MIN, |nanos| -nanos),
    };
    let (first, last) = (-62_167_219_200_000_000_000, 253_402_300_799_000_000_000);
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos.clamp(first, last));
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// `in 3 days`, `2 hours ago`.
pub(crate) fn from_now(time: SystemTime) -> String {
    match time.duration_since(SystemTime::now()) {
        Ok(left) => format!("in {}", span(left)),
        Err(past) => format!("{} ago", span(past.duration())),
    }
}

/// `3 days`, `12.3 s`.
pub(crate) fn span(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        _ => HumanDuration(duration).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_210_096, "2024-02-29 12:34:56 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_800, "9999-12-31 23:59:59 UTC"),
            (i64::MAX as u64, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        let before = SystemTime::UNIX_EPOCH - Duration::from_micros(1);
        assert_eq!(iso(before), "1969-12-31T23:59:59.999999Z");
        let long_ago = SystemTime::UNIX_EPOCH - Duration::from_micros(i64::MAX as u64);
        assert_eq!(date(long_ago), "0000-01-01 00:00:00 UTC");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 1, 1000].map(|n| counted(n, "row")), ["0 rows", "1 row", "1,000 rows"]);
        assert_eq!([12, 7200].map(|n| span(Duration::from_secs(n))), ["12.0 s", "2 hours"]);
        assert_eq!(shortened("abcdefgh\u{1b}"), "abcd…");
    }
}
