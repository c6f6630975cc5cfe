//! The requirements of every table. Each part begins with an empty table, panics with what is wrong, and
//! returns how many operations it made.

mod batches;
mod clearing;
mod counting;
mod listing;
mod load;
mod locks;
mod logouts;
mod rotation;

use actix_django_session::backend::{Backend as _, conformance};
use futures_util::future::{FutureExt as _, LocalBoxFuture};

use crate::target::{Target, ok};

type Run = fn(&Target) -> LocalBoxFuture<'_, u64>;

/// A part of the report.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

pub(crate) const ALL: [Part; 12] = [
    Part { name: "check", run: |target| check(target).boxed_local() },
    Part { name: "conformance", run: |target| conformance(target).boxed_local() },
    Part { name: "counters are exact", run: |target| counting::counters(target).boxed_local() },
    Part { name: "numbers are unique", run: |target| counting::numbers(target).boxed_local() },
    Part { name: "new keys under load", run: |target| rotation::keys(target).boxed_local() },
    Part { name: "logouts win", run: |target| logouts::logouts(target).boxed_local() },
    Part { name: "batches", run: |target| batches::batches(target).boxed_local() },
    Part { name: "clearing", run: |target| clearing::clearing(target).boxed_local() },
    Part { name: "listing", run: |target| listing::listing(target).boxed_local() },
    Part { name: "a user's sessions", run: |target| listing::of_a_user(target).boxed_local() },
    Part { name: "a locked row", run: |target| locks::a_locked_row(target).boxed_local() },
    Part { name: "load", run: |target| load::load(target).boxed_local() },
];

/// The rights are there; a table that exists already is no error.
async fn check(target: &Target) -> u64 {
    let store = target.store().await;
    ok("check", store.check().await);
    ok("create_table", store.create_table().await);
    2
}

/// The contract of every backend.
async fn conformance(target: &Target) -> u64 {
    let backend = target.backend().await;
    conformance::check(backend.clone()).await;
    assert_eq!(ok("clear", backend.clear_expired(10).await), 0, "the suite leaves nothing behind");
    0
}
