//! How far a long work is: a bar on a terminal, a line now and then elsewhere. On standard error.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{count, span, tell};

/// Between two lines, where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Progress {
    /// What there is to do, if that is known.
    total: Option<u64>,
    begun: Instant,
    shown: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(total: Option<u64>) -> Self {
        let now = Instant::now();
        let bar = io::stderr().is_terminal().then(|| bar(total));
        Self { total, begun: now, shown: now, bar }
    }

    pub(crate) fn at(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            // The total is from before, and may have been an estimate.
            if self.total.is_some_and(|total| total < done) {
                bar.set_length(done);
            }
            return bar.set_position(done);
        }
        if self.shown.elapsed() < EVERY {
            return;
        }
        self.shown = Instant::now();
        tell(&self.line(done));
    }

    /// Leaves what was shown last and tells how long it took.
    pub(crate) fn end(self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
        self.begun.elapsed()
    }

    fn line(&self, done: u64) -> String {
        let rate = done as f64 / self.begun.elapsed().as_secs_f64();
        let left = self.total.map(|total| total.saturating_sub(done));
        match left.filter(|_| rate > 0.0) {
            Some(left) => {
                let time = Duration::try_from_secs_f64(left as f64 / rate).unwrap_or(Duration::MAX);
                let (total, rate) = (count(left + done), count(rate as u64));
                format!("cleared {} of {total}, {rate}/s, about {} left", count(done), span(time))
            }
            None => format!("cleared {}, {}/s", count(done), count(rate as u64)),
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match total {
        Some(_) => "{bar:30} {human_pos} of {human_len}, {per_sec}, {eta} left",
        None => "{spinner} {human_pos} cleared, {per_sec}, {elapsed}",
    };
    // The template is one of the two above; the default style is as good.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
