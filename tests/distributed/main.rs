//! Tables that are more than one heap: partitions, foreign partitions on several servers, and servers that
//! somebody else started (`tests/run --against URL`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod against;
mod django;
mod every_table;
mod faults;
mod moving;
mod parts;
mod report;
mod standby;
mod tables;
mod target;
