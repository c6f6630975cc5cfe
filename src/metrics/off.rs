//! The same without the feature: types without a size, and functions without a body.

use std::marker::PhantomData;

use super::labels::Labels;

#[derive(Debug)]
pub(super) struct Counter<L>(PhantomData<fn(L)>);

impl<L: Labels> Counter<L> {
    pub(super) const fn new(_: &'static str) -> Self {
        Self(PhantomData)
    }

    pub(super) fn add(&self, _: L, _: u64) {}

    pub(super) fn count(&self, _: L) {}
}

#[derive(Debug)]
pub(super) struct Gauge<L>(PhantomData<fn(L)>);

impl<L: Labels> Gauge<L> {
    pub(super) const fn new(_: &'static str) -> Self {
        Self(PhantomData)
    }

    pub(super) fn level(&self, _: L) -> GaugeHandle {
        GaugeHandle
    }

    pub(super) fn set(&self, _: L, _: f64) {}

    pub(super) fn enter(&self, _: L) -> GaugeGuard {
        GaugeGuard
    }
}

#[derive(Debug)]
pub(crate) struct GaugeHandle;

impl GaugeHandle {
    pub(crate) fn rise(&self) {}

    pub(crate) fn fall(&self) {}
}

#[derive(Debug)]
#[must_use = "it is counted until this is dropped"]
pub(crate) struct GaugeGuard;

#[derive(Debug)]
pub(super) struct Histogram<L>(PhantomData<fn(L)>);

impl<L: Labels> Histogram<L> {
    pub(super) const fn new(_: &'static str) -> Self {
        Self(PhantomData)
    }

    pub(super) fn record(&self, _: L, _: f64) {}
}

#[derive(Debug)]
pub(crate) struct Handles<M>(PhantomData<fn(M)>);

impl<M> Handles<M> {
    pub(super) fn new(_: &'static M) -> Self {
        Self(PhantomData)
    }
}

impl<L: Labels> Handles<Counter<L>> {
    pub(super) fn count(&self, _: L) {}
}

impl<L: Labels> Handles<Gauge<L>> {
    pub(super) fn enter(&self, _: L) -> GaugeGuard {
        GaugeGuard
    }
}

impl<L: Labels> Handles<Histogram<L>> {
    pub(super) fn record(&self, _: L, _: f64) {}

    pub(super) fn record_all(&self, _: L, _: impl Iterator<Item = f64>) {}
}
