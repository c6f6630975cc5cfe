//! A metric with every combination of its labels' values. The only place that calls the facade `metrics`.
//!
//! The recorder finds the metric by a key that was made once, so nothing is allocated for a value. No handle
//! of a recorder is kept for values that are counted one by one: whether the recorder is installed before the
//! first request or after it makes no difference.

use std::{marker::PhantomData, sync::OnceLock};

use metrics::{Key, Metadata, with_recorder};

use super::labels::Labels;

static METADATA: Metadata<'static> =
    Metadata::new("actix_django_session", metrics::Level::INFO, Some("actix_django_session"));

/// What a metric is called, and what it tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: metrics::Unit,
    pub(super) description: &'static str,
    #[cfg(test)]
    pub(super) labels: &'static [(&'static str, &'static [&'static str])],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The keys of a metric.
struct Keys<L> {
    name: &'static str,
    keys: OnceLock<Box<[Key]>>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Keys<L> {
    const fn new(name: &'static str) -> Self {
        Self { name, keys: OnceLock::new(), labels: PhantomData }
    }

    fn get(&self, labels: L) -> &Key {
        &self.keys.get_or_init(|| keys(self.name, L::ALL))[labels.index()]
    }
}

/// The keys of all combinations, in the order of [`Labels::index`].
pub(super) fn keys(name: &'static str, labels: &[(&'static str, &'static [&'static str])]) -> Box<[Key]> {
    let mut keys = vec![Key::from_static_name(name)];
    for (label, values) in labels {
        let with = |key: &Key, value: &&'static str| {
            key.with_extra_labels(vec![metrics::Label::from_static_parts(label, value)])
        };
        keys = keys.iter().flat_map(|key| values.iter().map(move |value| with(key, value))).collect();
    }
    keys.into()
}

pub(super) struct Counter<L>(Keys<L>);

impl<L: Labels> Counter<L> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self(Keys::new(name))
    }

    pub(super) fn add(&self, labels: L, number: u64) {
        with_recorder(|recorder| recorder.register_counter(self.0.get(labels), &METADATA).increment(number));
    }

    pub(super) fn count(&self, labels: L) {
        self.add(labels, 1);
    }
}

pub(super) struct Gauge<L>(Keys<L>);

impl<L: Labels> Gauge<L> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self(Keys::new(name))
    }

    pub(super) fn handle(&self, labels: L) -> Level {
        Level(with_recorder(|recorder| recorder.register_gauge(self.0.get(labels), &METADATA)))
    }

    pub(super) fn set(&self, labels: L, value: f64) {
        self.handle(labels).0.set(value);
    }

    /// Counts one more until the guard is dropped.
    pub(super) fn enter(&self, labels: L) -> OneMore {
        let level = self.handle(labels);
        level.rise();
        OneMore(level)
    }
}

/// A gauge that rises and falls. It stays with one recorder: a fall without its rise would be wrong for ever.
#[derive(Debug)]
pub(crate) struct Level(metrics::Gauge);

impl Level {
    pub(crate) fn rise(&self) {
        self.0.increment(1);
    }

    pub(crate) fn fall(&self) {
        self.0.decrement(1);
    }
}

/// One of those that a gauge counts.
#[derive(Debug)]
#[must_use = "it is counted until this is dropped"]
pub(crate) struct OneMore(Level);

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.fall();
    }
}

pub(super) struct Histogram<L>(Keys<L>);

impl<L: Labels> Histogram<L> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self(Keys::new(name))
    }

    pub(super) fn record(&self, labels: L, value: f64) {
        with_recorder(|recorder| recorder.register_histogram(self.0.get(labels), &METADATA).record(value));
    }

    /// Several values with one look-up.
    pub(super) fn record_all(&self, labels: L, values: impl Iterator<Item = f64>) {
        let histogram = with_recorder(|recorder| recorder.register_histogram(self.0.get(labels), &METADATA));
        values.for_each(|value| histogram.record(value));
    }
}

/// Tells the recorder names, units and descriptions.
pub(super) fn describe(list: &[Info]) {
    with_recorder(|recorder| {
        for info in list {
            let (name, unit) = (metrics::KeyName::from_const_str(info.name), Some(info.unit));
            let description = metrics::SharedString::const_str(info.description);
            match info.kind {
                Kind::Counter => recorder.describe_counter(name, unit, description),
                Kind::Gauge => recorder.describe_gauge(name, unit, description),
                Kind::Histogram => recorder.describe_histogram(name, unit, description),
            }
        }
    });
}
