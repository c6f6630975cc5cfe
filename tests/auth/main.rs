//! Login: passwords, users, permissions, redirects, with Django's recordings.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod login;
mod next_url;
mod passwords;
mod recorded;
mod required;
mod throttle;
mod users;
