//! Django's side saves by the engine `merging_db`: changes are merged, and none is lost in either direction.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    pair::{Pair, Server, Visitor},
    races::during,
    support::{
        django::{Django, Version},
        postgres,
        proc::TempDir,
    },
};

/// The operation that counts exactly on each side.
fn count(server: &dyn Server, key: &str) -> Value {
    json!([if server.name() == "ours" { "incr" } else { "add" }, key])
}

pub(crate) fn merged_by_either(pair: &Pair) {
    for (slow, fast) in pair.both_ways() {
        let mut visitor = pair.visitor();
        visitor.run(fast, &json!([["set", "n", 1], ["set", "both", "before"], ["set", "gone", 1]]));
        let late = [
            count(slow, "n"),
            json!(["set", "both", "slow"]),
            json!(["set", "a", 1]),
            json!(["del", "gone"]),
        ];
        let mut tab = visitor.clone();
        let reply = during(pair, &visitor, slow, &late, || {
            let program = [json!(["set", "n", 10]), json!(["set", "both", "fast"]), json!(["set", "b", 2])];
            tab.run(fast, &program.as_slice().into());
        });
        assert_eq!(reply.status, 200, "{}: {}", slow.name(), reply.text());
        let mut items = visitor.run(fast, &json!([["items"]])).remove(0);
        items.as_array_mut().unwrap().sort_by_key(ToString::to_string);
        let expected = json!([["a", 1], ["b", 2], ["both", "slow"], ["n", 11], ["seen", true]]);
        assert_eq!(items, expected, "{} was slow", slow.name());
    }
}

pub(crate) fn key_changed_meanwhile(pair: &Pair) {
    for (slow, fast) in pair.both_ways() {
        let mut visitor = pair.visitor();
        visitor.run(fast, &json!([["set", "n", 1]]));
        let old = visitor.the_key();
        // The slow request has loaded the row; then it is changed, and renamed by the slow one.
        let mut tab = visitor.clone();
        let rename = [count(slow, "n"), json!(["sleep", 1]), json!(["cycle_key"])];
        let mut renaming = visitor.clone();
        thread::scope(|scope| {
            let reply = scope.spawn(move || {
                during(pair, &renaming.clone(), slow, &rename, || {
                    renaming.run(fast, &json!([["set", "b", 2], count(fast, "n")]));
                })
            });
            let reply = reply.join().unwrap();
            assert_eq!(reply.status, 200, "{}: {}", slow.name(), reply.text());
            let line = reply.set_cookie("sessionid").expect("a new key").to_owned();
            let key = line.trim_start_matches("sessionid=").split(';').next().unwrap().to_owned();
            tab.client.cookies.insert("sessionid".to_owned(), key);
        });
        assert_ne!(tab.the_key(), old);
        assert_eq!(pair.db.row(&old), None);
        assert_eq!(
            tab.run(fast, &json!([["get", "n"], ["get", "b"], ["get", "seen"]])),
            [3.into(), 2.into(), json!(true)]
        );
    }
}

/// Four threads on each side, all on one row: each counts, and sets keys of its own.
pub(crate) fn counting(pair: &Pair) {
    let end = Instant::now() + Duration::from_secs(2);
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["set", "n", 0]]));
    let work = |server: &dyn Server, mut tab: Visitor, name: String| {
        let mut done = 0_u64;
        while Instant::now() < end {
            let own = format!("{name} {}", done % 20);
            tab.run(server, &json!([count(server, "n"), ["set", name, done], ["set", own, done]]));
            done += 1;
        }
        (name, done)
    };
    let threads: Vec<(String, u64)> = thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..4 {
            for server in [&pair.django as &dyn Server, &pair.ours] {
                let (tab, name) = (visitor.clone(), format!("{} {number}", server.name()));
                threads.push(scope.spawn(move || work(server, tab, name)));
            }
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let data = visitor.run(&pair.django, &json!([["items"]])).remove(0);
    let data = data.as_array().unwrap();
    let get = |key: &str| data.iter().find(|item| item[0] == key).map(|item| item[1].clone());
    let sum: u64 = threads.iter().map(|(_, done)| done).sum();
    assert_eq!(get("n"), Some(sum.into()));
    for (name, done) in &threads {
        assert!(*done > 5, "{name}: {done} in two seconds");
        assert_eq!(get(name), Some((done - 1).into()));
        for number in done.saturating_sub(20)..*done {
            assert_eq!(get(&format!("{name} {}", number % 20)), Some(number.into()), "{name}");
        }
    }
    let by = |side: &str| -> u64 {
        threads.iter().filter(|(name, _)| name.starts_with(side)).map(|(_, done)| done).sum()
    };
    println!("    {} requests at Django and {} at our site, none lost", by("Django"), by("ours"));
}

/// Runs the script on SQLite and on PostgreSQL, for every version of Django.
fn run_script(args: &[&str]) {
    let versions = Django::versions();
    assert!(!versions.is_empty(), "no version of Django is installed");
    let run = |version: &Version| {
        let dir = TempDir::new("script");
        let sqlite = format!("sqlite:///{}", dir.path().join("db.sqlite3").display());
        version.script(args, Some(&sqlite));
        let database = postgres::Database::fresh();
        version.script(args, Some(database.url()));
    };
    thread::scope(|scope| {
        for version in &versions {
            scope.spawn(move || run(version));
        }
    });
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn changes_are_replayed() {
    run_script(&["merging.py"]);
}

/// The first run downloads Django's source distributions.
#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn djangos_own_session_tests() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-env");
    run_script(&["session_tests.py", dir.to_str().unwrap()]);
}
