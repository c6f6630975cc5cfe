//! The feature `metrics`: a recorder shows exactly what known requests did, and nothing of visitors.

#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod cache;
mod feature;
mod logins;
mod outages;
mod recorder;
mod requests;
mod spans;
mod sweeps;
