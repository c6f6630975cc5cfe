//! The stores: what each of them does by itself, and what all of them promise under concurrent requests.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod atomicity;
mod batches;
mod cached;
mod concurrency;
mod conformance;
mod dictionaries;
mod file;
mod large;
mod listing;
mod logout_races;
mod model;
mod postgres;
mod redis;
mod sqlite;
mod url;
