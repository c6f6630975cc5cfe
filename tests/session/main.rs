//! The session of one visitor: the object, the middleware, concurrent saves, cookies, opening stores.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod coalescing;
mod counting;
mod in_doubt;
mod middleware;
mod middleware_recording;
mod object;
mod object_recording;
mod opening;
mod rounding;
mod signed_cookies;
mod touch;
