//! What the code under test logged.

use std::io;
use std::sync::{Arc, Mutex, Once, Weak};
use std::thread::{self, ThreadId};

type Lines = Mutex<Vec<String>>;

struct Listener {
    thread: Option<ThreadId>,
    lines: Weak<Lines>,
}

static LISTENERS: Mutex<Vec<Listener>> = Mutex::new(Vec::new());

/// The events since it was made, one line each: level, spans, target, message and fields.
#[derive(Debug)]
pub struct Logs(Arc<Lines>);

/// Collects what this thread logs.
pub fn capture() -> Logs {
    listen(Some(thread::current().id()))
}

/// Collects what any thread of this process logs, other tests' included.
pub fn capture_all_threads() -> Logs {
    listen(None)
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
}

fn listen(thread: Option<ThreadId>) -> Logs {
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
    LISTENERS.lock().unwrap().push(Listener { thread, lines: Arc::downgrade(&lines) });
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
            if listener.thread.is_none_or(|thread| thread == here) {
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
