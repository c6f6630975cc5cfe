//! Protection against cross-site request forgery, with Django's recordings.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod differences;
mod live;
mod recording;
mod site;
mod tokens;
mod vectors_up_to_date;
