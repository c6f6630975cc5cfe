//! A metric with every combination of its labels' values. The only place that calls the facade `metrics`.
//!
//! A recorder finds a metric by a key that was made once, and returns a handle. Some allocate for that. So
//! what counts with every request keeps its handles, see [`Handles`]. The other values are rare.

use std::{marker::PhantomData, sync::OnceLock};

use metrics::{Key, Metadata, with_recorder};

use super::labels::Labels;

static METADATA: Metadata<'static> =
    Metadata::new("actix_django_session", metrics::Level::INFO, Some("actix_django_session"));

/// The name of a metric, its unit and its description.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    pub(super) name: &'static str,
    pub(super) kind: MetricKind,
    pub(super) unit: metrics::Unit,
    pub(super) description: &'static str,
    #[cfg(test)]
    pub(super) labels: &'static [(&'static str, &'static [&'static str])],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// The keys of a metric.
pub(crate) struct Keys<L> {
    name: &'static str,
    keys: OnceLock<Box<[Key]>>,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Keys<L> {
    const fn new(name: &'static str) -> Self {
        Self { name, keys: OnceLock::new(), labels: PhantomData }
    }

    fn all(&self) -> &[Key] {
        self.keys.get_or_init(|| keys(self.name, L::ALL))
    }

    fn get(&self, labels: L) -> &Key {
        &self.all()[labels.index()]
    }
}

/// The handles of one owner, say of a store, from its first value on.
///
/// The facade has a recorder without a size until the application installs one. Its handles do nothing, and
/// are not kept: a recorder may come late. Static handles would not do, since tests have recorders that end.
pub(crate) struct Handles<M: Metric> {
    metric: &'static M,
    handles: OnceLock<Box<[OnceLock<M::Handle>]>>,
}

impl<M: Metric> Handles<M> {
    pub(super) fn new(metric: &'static M) -> Self {
        Self { metric, handles: OnceLock::new() }
    }

    /// Calls `with` with the handle.
    fn with<T>(&self, labels: M::Labels, with: impl FnOnce(&M::Handle) -> T) -> T {
        let empty = || self.metric.keys().all().iter().map(|_| OnceLock::new()).collect();
        let slot = &self.handles.get_or_init(empty)[labels.index()];
        if let Some(handle) = slot.get() {
            return with(handle);
        }
        let handle = self.metric.handle(labels);
        if with_recorder(|recorder| size_of_val(recorder)) > 0 {
            return with(slot.get_or_init(|| handle));
        }
        with(&handle)
    }
}

impl<L: Labels + 'static> Handles<Counter<L>> {
    pub(super) fn count(&self, labels: L) {
        self.with(labels, |counter| counter.increment(1));
    }
}

impl<L: Labels + 'static> Handles<Gauge<L>> {
    pub(super) fn enter(&self, labels: L) -> GaugeGuard {
        self.with(labels, |level| GaugeGuard::new(level.clone()))
    }
}

impl<L: Labels + 'static> Handles<Histogram<L>> {
    pub(super) fn record(&self, labels: L, value: f64) {
        self.with(labels, |histogram| histogram.record(value));
    }

    pub(super) fn record_all(&self, labels: L, values: impl Iterator<Item = f64>) {
        self.with(labels, |histogram| values.for_each(|value| histogram.record(value)));
    }
}

impl<M: Metric> std::fmt::Debug for Handles<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handles")
    }
}

/// A counter, a gauge or a histogram.
pub(crate) trait Metric: 'static {
    type Labels: Labels;
    type Handle;

    fn keys(&self) -> &Keys<Self::Labels>;

    fn handle(&self, labels: Self::Labels) -> Self::Handle;
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

impl<L: Labels + 'static> Counter<L> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self(Keys::new(name))
    }

    pub(super) fn add(&self, labels: L, number: u64) {
        self.handle(labels).increment(number);
    }

    pub(super) fn count(&self, labels: L) {
        self.add(labels, 1);
    }
}

impl<L: Labels + 'static> Metric for Counter<L> {
    type Labels = L;
    type Handle = metrics::Counter;

    fn keys(&self) -> &Keys<L> {
        &self.0
    }

    fn handle(&self, labels: L) -> metrics::Counter {
        with_recorder(|recorder| recorder.register_counter(self.0.get(labels), &METADATA))
    }
}

pub(super) struct Gauge<L>(Keys<L>);

impl<L: Labels + 'static> Gauge<L> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self(Keys::new(name))
    }

    pub(super) fn level(&self, labels: L) -> GaugeHandle {
        self.handle(labels)
    }

    pub(super) fn set(&self, labels: L, value: f64) {
        self.handle(labels).0.set(value);
    }

    /// Counts one more until the guard is dropped.
    pub(super) fn enter(&self, labels: L) -> GaugeGuard {
        GaugeGuard::new(self.handle(labels))
    }
}

impl<L: Labels + 'static> Metric for Gauge<L> {
    type Labels = L;
    type Handle = GaugeHandle;

    fn keys(&self) -> &Keys<L> {
        &self.0
    }

    fn handle(&self, labels: L) -> GaugeHandle {
        GaugeHandle(with_recorder(|recorder| recorder.register_gauge(self.0.get(labels), &METADATA)))
    }
}

/// A gauge that rises and falls. It stays with one recorder: a fall without its rise would be wrong for ever.
#[derive(Clone, Debug)]
pub(crate) struct GaugeHandle(metrics::Gauge);

impl GaugeHandle {
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
pub(crate) struct GaugeGuard(GaugeHandle);

impl GaugeGuard {
    fn new(level: GaugeHandle) -> Self {
        level.rise();
        Self(level)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.fall();
    }
}

pub(super) struct Histogram<L>(Keys<L>);

impl<L: Labels + 'static> Histogram<L> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self(Keys::new(name))
    }

    pub(super) fn record(&self, labels: L, value: f64) {
        self.handle(labels).record(value);
    }
}

impl<L: Labels + 'static> Metric for Histogram<L> {
    type Labels = L;
    type Handle = metrics::Histogram;

    fn keys(&self) -> &Keys<L> {
        &self.0
    }

    fn handle(&self, labels: L) -> metrics::Histogram {
        with_recorder(|recorder| recorder.register_histogram(self.0.get(labels), &METADATA))
    }
}

/// Tells the recorder names, units and descriptions.
pub(super) fn describe(list: &[Info]) {
    with_recorder(|recorder| {
        for info in list {
            let (name, unit) = (metrics::KeyName::from_const_str(info.name), Some(info.unit));
            let description = metrics::SharedString::const_str(info.description);
            match info.kind {
                MetricKind::Counter => recorder.describe_counter(name, unit, description),
                MetricKind::Gauge => recorder.describe_gauge(name, unit, description),
                MetricKind::Histogram => recorder.describe_histogram(name, unit, description),
            }
        }
    });
}
