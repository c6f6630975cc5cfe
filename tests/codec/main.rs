//! Texts and pickles of sessions, compared with what real Djangos write and read.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod memory;
mod pickle;
mod vectors;
mod vectors_up_to_date;
