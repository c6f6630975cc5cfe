//! Messages, with Django's recordings.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod app;
mod concurrency;
mod degraded;
mod django;
mod middleware;
mod recording;
mod replay;
#[path = "../support/mod.rs"]
mod support;
