//! The recorder of this process, and what has changed in it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// The values of all series: `name{label="value",…}` without the common prefix.
type Values = BTreeMap<String, f64>;

/// The recorder for one test at a time, as there can be only one in a process.
pub(crate) struct Recorder {
    _alone: MutexGuard<'static, ()>,
    handle: &'static PrometheusHandle,
    before: Values,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = HANDLE.get_or_init(|| {
            let seconds = Matcher::Suffix("_seconds".to_owned());
            let requests = Matcher::Suffix("_batch_requests".to_owned());
            let builder =
                PrometheusBuilder::new().set_buckets_for_metric(seconds, &[0.01, 1.0, 60.0]).unwrap();
            builder.set_buckets_for_metric(requests, &[1.0, 128.0]).unwrap().install_recorder().unwrap()
        });
        let mut recorder = Self { _alone: alone, handle, before: Values::new() };
        recorder.begin();
        recorder
    }

    /// Forgets what has changed up to now.
    pub(crate) fn begin(&mut self) {
        self.before = self.values();
    }

    /// What Prometheus would read.
    pub(crate) fn text(&self) -> String {
        self.handle.render()
    }

    fn values(&self) -> Values {
        let text = self.text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| {
            let (series, value) = line.strip_prefix("actix_django_session_")?.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().unwrap()))
        });
        series.collect()
    }

    /// A gauge, or a counter since the start of the process.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.values().get(series).copied().unwrap_or_default()
    }

    /// Counters and numbers of values that have changed, of the metrics with one of these names.
    pub(crate) fn changes(&self, names: &[&str]) -> Vec<String> {
        let changes = self.values().into_iter().filter_map(|(series, now)| {
            let name = series.split('{').next().unwrap_or_default();
            let before = self.before.get(&series).copied().unwrap_or_default();
            (names.contains(&name) && now != before).then(|| format!("{series} {}", now - before))
        });
        changes.collect()
    }
}
