//! Kinds of events with the repeats of each. No clock and no I/O here.

use std::{
    collections::HashMap,
    fmt::Write as _,
    mem,
    time::{Duration, Instant},
};

use super::WINDOW;
use crate::metrics;

/// Kinds that are counted apart. Events of further kinds are counted together.
const MAX_KINDS: usize = 32;

/// A success ends a failure only this long after the last one: while some calls fail, others succeed.
const QUIET: Duration = Duration::from_secs(1);

/// A failure that comes back soon has to be quiet for longer each time, up to this.
const MAX_QUIET: Duration = WINDOW;
const SOON: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Level {
    Warn,
    Error,
}

#[derive(Debug)]
pub(super) struct Event {
    pub(super) level: Level,
    pub(super) text: String,
    /// Whether the next success is its recovery.
    pub(super) is_failure: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) struct Kinds {
    subject: &'static str,
    kinds: HashMap<(Level, String), Kind>,
    outage: Option<Outage>,
    quiet: Duration,
    last_recovery: Option<Instant>,
    has_task: bool,
}

/// Events whose texts differ in their numbers at most.
#[derive(Debug)]
struct Kind {
    is_failure: bool,
    /// The time of the last line.
    since: Instant,
    /// Repeats after the last line.
    repeats: u64,
    /// The text of the last repeat.
    last: String,
}

#[derive(Debug)]
struct Outage {
    first: Instant,
    last: Instant,
    errors: u64,
    _metric: metrics::GaugeGuard,
}

impl Kinds {
    pub(super) fn new(subject: &'static str) -> Self {
        Self {
            subject,
            kinds: HashMap::new(),
            outage: None,
            quiet: QUIET,
            last_recovery: None,
            has_task: false,
        }
    }

    /// Returns the lines to be logged.
    pub(super) fn record(&mut self, event: Event, now: Instant) -> Vec<Line> {
        let Event { level, text, is_failure } = event;
        if is_failure {
            let outage = self.outage.get_or_insert_with(|| Outage {
                first: now,
                last: now,
                errors: 0,
                _metric: metrics::outage(self.subject),
            });
            (outage.last, outage.errors) = (now, outage.errors + 1);
        }
        let key = self.key(level, &text, now);
        let new = Kind { is_failure, since: now, repeats: 0, last: String::new() };
        let Some(kind) = self.kinds.get_mut(&key) else {
            self.kinds.insert(key, new);
            return vec![Line { level, text }];
        };
        kind.is_failure |= is_failure;
        let is_over = now.duration_since(kind.since) >= WINDOW;
        if is_over && kind.repeats == 0 {
            kind.since = now;
            return vec![Line { level, text }];
        }
        kind.repeats += 1;
        kind.last = text;
        match is_over {
            true => kind.report(level, now).into_iter().collect(),
            false => Vec::new(),
        }
    }

    /// The kind of a text: the text without its numbers. Of too many, the same one for all.
    fn key(&mut self, level: Level, text: &str, now: Instant) -> (Level, String) {
        let key = (level, without_numbers(text));
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&key) {
            self.kinds.retain(|_, kind| kind.repeats > 0 || now.duration_since(kind.since) < WINDOW);
        }
        let has_room = self.kinds.len() < MAX_KINDS || self.kinds.contains_key(&key);
        if has_room { key } else { (level, String::new()) }
    }

    /// Ends an outage: returns its sums and that it is over. `None` if it may go on.
    pub(super) fn success(&mut self, now: Instant) -> Option<Vec<Line>> {
        let Some(outage) = &self.outage else { return Some(Vec::new()) };
        if now.duration_since(outage.last) < self.quiet {
            return None;
        }
        let seconds = outage.last.duration_since(outage.first).as_secs_f64();
        let errors = counted(outage.errors, "error");
        let text = format!("{} works again, after {errors} in {seconds:.1} s", self.subject);
        let mut lines = Vec::new();
        // The next outage begins with a line of its own.
        self.kinds.retain(|(level, _), kind| {
            if kind.is_failure {
                lines.extend(kind.report(*level, now));
            }
            !kind.is_failure
        });
        lines.push(Line { level: Level::Warn, text });
        let is_soon = self.last_recovery.is_some_and(|last| now.duration_since(last) < SOON);
        self.quiet = if is_soon { (self.quiet * 2).min(MAX_QUIET) } else { QUIET };
        (self.outage, self.last_recovery) = (None, Some(now));
        Some(lines)
    }

    /// Returns the sums of the kinds whose window is over.
    pub(super) fn report_due(&mut self, now: Instant) -> Vec<Line> {
        self.report(now, |kind| now.duration_since(kind.since) >= WINDOW)
    }

    pub(super) fn report_all(&mut self, now: Instant) -> Vec<Line> {
        self.report(now, |_| true)
    }

    fn report(&mut self, now: Instant, is_due: impl Fn(&Kind) -> bool) -> Vec<Line> {
        let due = self.kinds.iter_mut().filter(|(_, kind)| is_due(kind));
        due.filter_map(|((level, _), kind)| kind.report(*level, now)).collect()
    }

    /// When the next sum is to be logged. With nothing counted, the task has ended.
    pub(super) fn next_report(&mut self) -> Option<Instant> {
        let counted = self.kinds.values().filter(|kind| kind.repeats > 0);
        let next = counted.map(|kind| kind.since + WINDOW).min();
        self.has_task = next.is_some();
        next
    }

    /// Whether something is counted and there is no task to report it. The caller starts one.
    pub(super) fn needs_task(&mut self) -> bool {
        !self.has_task && {
            self.has_task = self.kinds.values().any(|kind| kind.repeats > 0);
            self.has_task
        }
    }

    pub(super) fn task_ended(&mut self) {
        self.has_task = false;
    }
}

impl Kind {
    /// Returns the sum of the repeats, if there are any, and counts anew.
    fn report(&mut self, level: Level, now: Instant) -> Option<Line> {
        let repeats = mem::take(&mut self.repeats);
        let seconds = now.duration_since(self.since).as_secs_f64();
        let last = mem::take(&mut self.last);
        if repeats == 0 {
            return None;
        }
        self.since = now;
        let text = format!("{} more in {seconds:.1} s, the last one: {last}", thousands(repeats));
        Some(Line { level, text })
    }
}

fn without_numbers(text: &str) -> String {
    let mut kind = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii_digit() {
            false => kind.push(c),
            true if kind.ends_with('#') => {}
            true => kind.push('#'),
        }
    }
    kind
}

fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// `3,573` for 3573.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        let _ = write!(text, "{digit}"); // writing to a String cannot fail
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn failure(text: &str) -> Event {
        Event { level: Level::Error, text: text.to_owned(), is_failure: true }
    }

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_minute_of_failures_is_some_lines_that_add_up() {
        let (mut kinds, start) = (Kinds::new("the store"), Instant::now());
        let mut lines = Vec::new();
        for n in 0..18_000 {
            let now = after(start, f64::from(n) / 300.0);
            lines.extend(kinds.record(failure(&format!("refused by port {n}")), now));
        }
        assert_eq!(kinds.success(after(start, 60.5)), None, "it is not quiet yet");
        lines.extend(kinds.success(after(start, 61.5)).unwrap());
        assert_eq!(
            texts(lines),
            [
                "refused by port 0",
                "9,000 more in 30.0 s, the last one: refused by port 9000",
                "8,999 more in 31.5 s, the last one: refused by port 17999",
                "the store works again, after 18,000 errors in 60.0 s",
            ]
        );
        assert_eq!(texts(kinds.record(failure("refused by port 1"), after(start, 62.0))).len(), 1);
    }

    #[test]
    fn a_failure_that_comes_and_goes_is_logged_ever_less_often() {
        let (mut kinds, start) = (Kinds::new("the store"), Instant::now());
        let mut lines = Vec::new();
        for n in 0..600 {
            let now = after(start, f64::from(n));
            lines.extend(kinds.record(failure("locked"), now));
            lines.extend(kinds.success(after(now, 0.99)).unwrap_or_default());
            if n % 4 == 3 {
                lines.extend(kinds.success(after(now, 1.01)).unwrap_or_default());
            }
        }
        assert!((20..60).contains(&lines.len()), "{lines:#?}");
    }

    #[test]
    fn repeats_are_reported_when_no_event_follows() {
        let (mut kinds, start) = (Kinds::new("the store"), Instant::now());
        kinds.record(failure("refused"), start);
        assert!(!kinds.needs_task(), "nothing is counted yet");
        kinds.record(failure("refused"), after(start, 2.0));
        assert!(kinds.needs_task() && !kinds.needs_task());
        assert_eq!(kinds.next_report(), Some(after(start, 30.0)));
        assert!(kinds.report_due(after(start, 29.0)).is_empty());
        let lines = texts(kinds.report_due(after(start, 30.0)));
        assert_eq!(lines, ["1 more in 30.0 s, the last one: refused"]);
        assert_eq!(kinds.next_report(), None);
    }

    #[test]
    fn an_event_after_a_quiet_window_is_logged_in_full() {
        let (mut kinds, start) = (Kinds::new("the store"), Instant::now());
        for minute in 0..3 {
            let lines = kinds.record(failure("refused"), after(start, 60.0 * f64::from(minute)));
            assert_eq!(texts(lines), ["refused"]);
        }
    }

    #[test]
    fn kinds_are_bounded_and_nothing_is_lost() {
        let (mut kinds, start) = (Kinds::new("the store"), Instant::now());
        let letters = |n: u8| [b'a' + n / 26, b'a' + n % 26].map(char::from).iter().collect::<String>();
        let mut lines = Vec::new();
        for n in 0..200 {
            lines.extend(kinds.record(failure(&letters(n)), start));
        }
        assert_eq!((lines.len(), kinds.kinds.len()), (MAX_KINDS + 1, MAX_KINDS + 1));
        let rest = texts(kinds.report_all(start));
        assert_eq!(rest, ["167 more in 0.0 s, the last one: hr"]);
        assert_eq!(texts(kinds.record(failure("new"), after(start, 40.0))), ["new"], "old ones make room");
        assert!(kinds.kinds.len() < MAX_KINDS);
    }
}
