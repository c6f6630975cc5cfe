//! The log of the code under test.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, Once, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::proc::PATIENCE;

type Lines = Mutex<Vec<String>>;

/// The threads of a site. Shared, because its workers start after it.
pub type Threads = Arc<Mutex<HashSet<ThreadId>>>;

enum Source {
    Thread(ThreadId),
    Threads(Threads),
    Process,
}

impl Source {
    fn has(&self, thread: ThreadId) -> bool {
        match self {
            Self::Thread(one) => *one == thread,
            Self::Threads(some) => some.lock().unwrap().contains(&thread),
            Self::Process => true,
        }
    }
}

struct Listener {
    source: Source,
    lines: Weak<Lines>,
}

static LISTENERS: Mutex<Vec<Listener>> = Mutex::new(Vec::new());

/// The events since it was made, one line each: level, spans, target, message and fields.
#[derive(Debug)]
pub struct Logs(Arc<Lines>);

/// Collects what this thread logs.
pub fn capture() -> Logs {
    listen(Source::Thread(thread::current().id()))
}

/// Collects what these threads log. A site has its own: `Site::logs`.
pub fn capture_threads(threads: &Threads) -> Logs {
    listen(Source::Threads(threads.clone()))
}

/// Collects what any thread of this process logs, other tests' included: only to show that something is
/// logged nowhere, or with a marker that no other test has.
pub fn capture_all_threads() -> Logs {
    listen(Source::Process)
}

impl Logs {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// The lines that hold `text`.
    pub fn with(&self, text: &str) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| line.contains(text));
        lines
    }

    /// Checks that so many events hold `text`, once the store of the code under test is gone and its sums are
    /// logged. The workers of a site may end a moment after it.
    pub fn expect_total(&self, text: &str, expected: usize) {
        let start = Instant::now();
        while self.total(text) != expected && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(self.total(text), expected, "{text}: {:#?}", self.lines());
    }

    /// How many events hold `text`, with those that the log only counts, as far as their sums are logged.
    pub fn total(&self, text: &str) -> usize {
        let repeats = |line: &str| {
            let (number, _) = line.split_once(" more in ")?;
            number.rsplit(' ').next()?.replace(',', "").parse::<usize>().ok()
        };
        self.with(text).iter().map(|line| repeats(line).unwrap_or(1)).sum()
    }
}

fn listen(source: Source) -> Logs {
    // One subscriber for the whole process, never one per thread: tracing may decide for good that
    // nobody wants an event when a thread without a subscriber is the first to log it.
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(|| Writer)
            .init();
    });
    let lines = Arc::new(Lines::default());
    LISTENERS.lock().unwrap().push(Listener { source, lines: Arc::downgrade(&lines) });
    Logs(lines)
}

struct Writer;

impl io::Write for Writer {
    // Called once for each event, with the whole line, on the thread that logged it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        let here = thread::current().id();
        LISTENERS.lock().unwrap().retain(|listener| {
            let Some(lines) = listener.lines.upgrade() else {
                return false;
            };
            if listener.source.has(here) {
                lines.lock().unwrap().push(text.clone());
            }
            true
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
