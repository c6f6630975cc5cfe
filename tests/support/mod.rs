//! Shared by the integration tests: servers, and clients for them.
//!
//! The servers come from `tests/run`, which says in the environment where they are.

// Each directory of tests is a crate of its own and uses a part of this one.
#![allow(dead_code, unreachable_pub)]
// A failure ends the test, with a message.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod browser;
pub mod certificates;
pub mod django;
pub mod gate;
pub mod http;
pub mod logins;
pub mod logs;
pub mod names;
pub mod pgbouncer;
pub mod postgres;
pub mod proc;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod scripted;
pub mod signing;
pub mod site;
pub mod stores;
pub mod table;
pub mod visitors;

/// Whether everything is to be tested at length: `tests/run --long`.
pub fn at_length() -> bool {
    std::env::var_os("TEST_LONG").is_some()
}

/// A setting that `tests/run` makes.
pub fn required(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!("{name} is not set: run tests/run"),
    }
}
