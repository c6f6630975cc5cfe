//! A Django site and ours at the same time: one store of sessions, one cookie, every version of Django.
//!
//! A scenario is a function, run with visitors of its own and, where that makes sense, in both directions:
//! what one side did, the other one must see.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod auth;
mod backing;
mod basics;
mod cached;
mod cookie;
mod custom_users;
mod expiry;
mod login;
mod merging;
mod pair;
mod python;
mod races;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod values;

use std::{
    any::Any,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
    time::Instant,
};

use crate::support::django::{Django, Version};
use backing::{Backing, Cache, CachedDatabase, Client, Cookies, Database, Files};
use pair::Pair;

type Scenario = (&'static str, fn(&Pair));

/// The least that each engine must do.
const CORE: &[Scenario] = &[
    ("a session born on either side", basics::born_on_either_side),
    ("a login at Django's admin, read by us", login::login_is_read),
    ("what we write, rendered by Django", basics::rendered_by_django),
    ("flush", basics::flush),
    ("cycle_key", basics::cycle_key),
];

/// For every engine that stores sessions under a key.
const LIFE: &[Scenario] = &[
    ("unknown, expired and deleted keys are not adopted", basics::no_fixation),
    ("writes at the same time", races::writes_at_once),
    ("ended in the middle of a request", races::ended_meanwhile),
    ("save_every_request", expiry::save_every_request),
    ("the key in a header", basics::token_header),
];

const LOGIN: &[Scenario] = &[
    ("the admin, after we cycled the key", login::admin_after_cycle_key),
    ("an anonymous session becomes a user's", login::anonymous_becomes_user),
    ("logout at Django's admin, and by us", login::logout),
    ("a new password", login::new_password),
];

/// Independent of where the sessions are stored.
const VALUES: &[Scenario] = &[
    ("messages of Django", login::messages),
    ("values that Django wrote", values::values_of_django),
    ("values that we wrote", values::values_of_ours),
    ("set_expiry in all its forms", expiry::expiry),
    ("the test cookie", basics::test_cookie),
    ("CSRF tokens kept in the session", login::csrf_in_session),
];

const SWEPT: &[Scenario] = &[("clearsessions and clear_expired", basics::clear_expired)];

/// For engines that sign their text. Cached values are not signed.
const ROTATED: &[Scenario] = &[("a new SECRET_KEY, the old one as a fallback", secrets::rotation)];

const MISLED: &[Scenario] = &[("a wrong SECRET_KEY or serializer on our side", secrets::wrong_secret)];

/// Where sessions are pickled.
const PICKLED: &[Scenario] = &[
    ("values that only Python knows", python::python_values),
    ("values that only Python knows, replaced", python::python_values_replaced),
    ("objects in two places, and in themselves", python::python_references),
];

const CACHED: &[Scenario] = &[
    ("the cache is emptied", cached::cache_emptied),
    ("the cache is filled too late", cached::late_fill),
    ("the cache shows what was before", cached::stale_cache),
    ("the cache does not answer", cached::cache_away),
    ("a wrong SECRET_KEY, and the cache can be read", cached::wrong_secret),
];

const PICKLED_AND_CACHED: &[Scenario] =
    &[("the cache shows an object that was before", cached::stale_object)];

const FILES: &[Scenario] = &[("an expiry that is a number", expiry::number_in_a_file)];

/// For signed cookies, which have no row. Nothing is adopted, swept or deleted during a request, and
/// concurrent writers do not see one another. A copied cookie stays valid after a logout or a new password.
const COOKIE: &[Scenario] = &[
    ("a session born on either side", cookie::born),
    ("a login at Django's admin, read by us", login::login_is_read),
    ("what we write, rendered by Django", basics::rendered_by_django),
    ("flush", cookie::flush),
    ("cycle_key", cookie::cycle_key),
    ("save_every_request", cookie::save_every_request),
    ("a wrong SECRET_KEY on our side", cookie::wrong_secret),
    ("larger than a cookie", cookie::too_large),
    ("older than the cookie age", cookie::too_old),
];

/// Where rows have a date of their own.
const LOCAL_TIME: &[Scenario] = &[("a site with USE_TZ = False", expiry::local_time)];

/// For the engine `merging_db` on Django's side.
const MERGED: &[Scenario] = &[
    ("changes of both sides, merged by either", merging::merged_by_either),
    ("a new key during a request, and changes meanwhile", merging::key_changed_meanwhile),
    ("both sides count on one row", merging::counting),
];

/// With our own logins, on databases that have users.
const AUTH: &[Scenario] = &[
    ("a login at Django's admin is a user here", auth::login_at_django),
    ("a login here enters Django's admin", auth::login_here),
    ("a login as another user, on either side", auth::login_as_another),
    ("logout on either side", auth::logout),
    ("a new password at Django's admin", auth::password_at_django),
    ("a new password here", auth::password_here),
    ("a user deactivated at Django's admin", auth::deactivated),
    ("permissions given at Django's admin", auth::permissions),
    ("a new SECRET_KEY, and a login of the old one", auth::rotated_secret),
];

const AT_ONCE: &[Scenario] = &[("both sites under load", races::both_under_load)];

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn postgres() {
    let scenarios = &[CORE, LIFE, LOGIN, VALUES, SWEPT, ROTATED, MISLED, LOCAL_TIME];
    run_all("db, PostgreSQL", Database::postgres, scenarios);
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn sqlite_with_rollback_journal() {
    run_all("db, SQLite", || Database::sqlite("delete"), &[CORE, AT_ONCE]);
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn sqlite_with_wal() {
    run_all("db, SQLite, WAL", || Database::sqlite("wal"), &[CORE, AT_ONCE]);
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn postgres_merging() {
    let scenarios = &[CORE, LIFE, LOGIN, VALUES, SWEPT, ROTATED, MISLED, LOCAL_TIME, AT_ONCE, MERGED];
    run_all("merging_db, PostgreSQL", || Database::postgres().merging(), scenarios);
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn sqlite_merging() {
    run_all("merging_db, SQLite", || Database::sqlite("wal").merging(), &[CORE, LIFE, AT_ONCE, MERGED]);
}

#[test]
#[ignore = "needs PostgreSQL and Django 4.2: run tests/run"]
fn postgres_pickled() {
    let scenarios = &[CORE, LIFE, LOGIN, VALUES, SWEPT, ROTATED, MISLED, PICKLED];
    run_for("db, PickleSerializer", until_4, Database::pickled, scenarios);
}

#[test]
#[ignore = "needs PostgreSQL, Redis and Django 4.2: run tests/run"]
fn cached_database_pickled() {
    let scenarios = &[CORE, VALUES, SWEPT, ROTATED, PICKLED, CACHED, PICKLED_AND_CACHED];
    run_for("cached_db, PickleSerializer", until_4, CachedDatabase::pickled, scenarios);
}

/// Later versions have no `PickleSerializer`.
fn until_4(version: &Version) -> bool {
    version.name.starts_with("4.")
}

#[test]
#[ignore = "needs Redis and Django: run tests/run"]
fn cache_of_django() {
    run_cache("cache, RedisCache", Client::Django, PICKLED);
}

#[test]
#[ignore = "needs Redis and Django: run tests/run"]
fn cache_compressed() {
    run_cache("cache, django-redis, zlib", Client::Compressed, PICKLED);
}

#[test]
#[ignore = "needs Redis and Django: run tests/run"]
fn cache_in_json() {
    run_cache("cache, django-redis, JSON", Client::Json, &[]);
}

#[test]
#[ignore = "needs Redis and Django: run tests/run"]
fn cache_with_gzip_and_a_key_function() {
    let scenarios = &[CORE, LIFE, MISLED, PICKLED];
    run_all("cache, django-redis, gzip", || Cache::new(Client::Gzip), scenarios);
}

/// A cache removes expired values itself, so no scenario sweeps.
fn run_cache(engine: &str, client: Client, more: &[Scenario]) {
    run_all(engine, || Cache::new(client), &[CORE, LIFE, LOGIN, VALUES, MISLED, more, AT_ONCE]);
}

#[test]
#[ignore = "needs PostgreSQL, Redis and Django: run tests/run"]
fn cached_database() {
    let scenarios = &[CORE, LIFE, LOGIN, VALUES, SWEPT, ROTATED, MISLED, CACHED, LOCAL_TIME, AT_ONCE];
    run_all("cached_db, RedisCache", CachedDatabase::new, scenarios);
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn files() {
    let scenarios = &[CORE, LIFE, LOGIN, VALUES, SWEPT, ROTATED, MISLED, FILES, AT_ONCE];
    run_all("file", Files::new, scenarios);
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn signed_cookies() {
    run_all("signed_cookies", Cookies::new, &[COOKIE, VALUES, ROTATED]);
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn logins_on_postgres() {
    run_all("logins, PostgreSQL", Database::postgres, &[AUTH]);
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn logins_on_sqlite() {
    run_all("logins, SQLite, WAL", || Database::sqlite("wal"), &[AUTH]);
}

fn run_all<B: Backing + 'static>(engine: &str, backing: impl Fn() -> B, scenarios: &[&[Scenario]]) {
    run_for(engine, |_| true, backing, scenarios);
}

/// Every scenario for every version of Django, also after one has failed, with a table at the end.
fn run_for<B: Backing + 'static>(
    engine: &str,
    wanted: impl Fn(&Version) -> bool,
    backing: impl Fn() -> B,
    scenarios: &[&[Scenario]],
) {
    let (mut table, mut failures) = (String::new(), Vec::new());
    let versions = Django::versions();
    assert!(!versions.is_empty(), "no version of Django is installed");
    for version in versions.iter().filter(|version| wanted(version)) {
        let start = Instant::now();
        let pair = Pair::start(version, backing());
        let (mut passed, mut failed) = (0, 0);
        for (name, scenario) in scenarios.iter().copied().flatten() {
            let title = format!("{engine}, Django {}: {name}", version.name);
            match catch_unwind(AssertUnwindSafe(|| scenario(&pair))) {
                Ok(()) => {
                    passed += 1;
                    println!("{title}: ok");
                }
                Err(panic) => {
                    failed += 1;
                    println!("{title}: FAILED");
                    failures.push(format!("{title}: {}", text_of(&*panic)));
                }
            }
        }
        let (requests, seconds) = (pair.requests.load(Ordering::Relaxed), start.elapsed().as_secs_f64());
        let name = &version.name;
        writeln!(table, "{engine:28} {name:8} {passed:>9} {failed:>6} {requests:>8} {seconds:>7.1}").unwrap();
    }
    println!("\n{:28} version  scenarios failed requests seconds\n{table}", "engine");
    assert!(failures.is_empty(), "{} scenarios failed:\n{}", failures.len(), failures.join("\n"));
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without text")
}
