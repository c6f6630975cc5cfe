//! Progress of a long command on standard error: a bar on a terminal, a line every few seconds elsewhere.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{info, span};

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(5);

pub(crate) struct Progress {
    /// The expected number, if it is known.
    total: Option<u64>,
    started: Instant,
    shown: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(total: Option<u64>) -> Self {
        let now = Instant::now();
        let bar = io::stderr().is_terminal().then(|| bar(total));
        Self { total, started: now, shown: now, bar }
    }

    pub(crate) fn set(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            // The total was counted before; more may have expired since.
            if self.total.is_some_and(|total| total < done) {
                bar.set_length(done);
            }
            bar.set_position(done);
        } else if self.shown.elapsed() >= INTERVAL {
            self.shown = Instant::now();
            info(&self.line(done));
        }
    }

    /// Leaves the bar as it is and returns the time it took.
    pub(crate) fn finish(self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
        self.started.elapsed()
    }

    fn line(&self, done: u64) -> String {
        let rate = done as f64 / self.started.elapsed().as_secs_f64();
        let (count, per_second) = (HumanCount(done), HumanCount(rate as u64));
        match self.total.map(|total| total.saturating_sub(done)) {
            Some(left) if rate > 0.0 => {
                let time = Duration::try_from_secs_f64(left as f64 / rate).unwrap_or(Duration::MAX);
                let (total, time) = (HumanCount(left + done), span(time));
                format!("cleared {count} of {total}, {per_second}/s, about {time} left")
            }
            _ => format!("cleared {count}, {per_second}/s"),
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match total {
        Some(_) => "{bar:30} {human_pos} of {human_len}, {per_sec}, {eta} left",
        None => "{spinner} {human_pos} cleared, {per_sec}, {elapsed}",
    };
    // Both templates are valid; the default style would do as well.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
