//! Two processes of several workers, and a Django site beside them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use actix_django_session::{SecretKey, SessionSettings, Store, backend::Postgres};
use serde_json::{Value, json};

use super::{SECRET, run};
use crate::support::{
    at_length,
    django::{Django, Version},
    http::Client,
    postgres::Database,
    process::{self, Process},
    scripted::Scripted,
    site::Site,
    stores,
};

const PROCESSES: usize = 2;

const WORKERS: usize = 8;

const INCREMENTS: u64 = 100;

const ALL_INCREMENTS: u64 = (PROCESSES * WORKERS) as u64 * INCREMENTS;

/// The test that serves a database in a process of its own.
const SERVES: &str = "concurrency::processes::a_process_of_its_own_serves_the_same_sessions";

fn start_process(database_url: &str) -> Process {
    Process::start(SERVES, database_url)
}

/// How often a save of the process found that another writer was faster.
fn conflicts(process: &Process) -> u64 {
    thread::sleep(3 * SAY_EVERY);
    process.said("conflicts").unwrap_or(0)
}

const SAY_EVERY: Duration = Duration::from_millis(50);

/// Runs in the child process until its parent has exited.
fn serve(database_url: String) {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_ansi(false)
        .init();
    let scripted = Scripted::new(Postgres::connect_lazy(&database_url).unwrap());
    let store = Store::new(scripted.clone(), SecretKey::new(SECRET));
    let site = Site::start_with(WORKERS, SessionSettings::default(), async move || store);
    let mut said = 0;
    process::serve_until_orphaned(site.port(), || {
        let now = scripted.conflicts();
        if now != said {
            println!("[conflicts {now}]");
            said = now;
        }
    });
}

/// Without the variable this tests the mechanism: the test starts itself as another process, which must share
/// a session with this one and exit on request.
#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn a_process_of_its_own_serves_the_same_sessions() {
    if let Some(database_url) = process::asked_to_serve() {
        return serve(database_url);
    }
    let database = database();
    let process = start_process(database.url());
    assert_ne!(process.id(), std::process::id());
    let url = database.url().to_owned();
    let site = Site::start(SessionSettings::default(), async move || {
        Store::connect(&url, SecretKey::new(SECRET)).await.unwrap()
    });
    let mut client = Client::new();
    run(&mut client, &process.url("/ops"), &json!([["set", "k", "over there"]]));
    assert_eq!(run(&mut client, &site.url("/ops"), &json!([["get", "k"]])), [json!("over there")]);
    let url = process.url("/untouched");
    drop(process);
    assert!(client.try_request("GET", &url, &[], None).is_err(), "it has ended");
}

/// A database with Django's table, made by us.
fn database() -> Database {
    let database = Database::fresh();
    tokio::runtime::Runtime::new().unwrap().block_on(stores::by_url(database.url()));
    database
}

/// Every worker of every process increments `n`, all at once. `meanwhile` runs beside them; its flag is set
/// when they are done.
fn count<T: Send>(
    processes: &[Process],
    visitor: &Client,
    increments: u64,
    meanwhile: impl FnOnce(&AtomicBool) -> T + Send,
) -> T {
    let done = &AtomicBool::new(false);
    thread::scope(|scope| {
        let meanwhile = scope.spawn(move || meanwhile(done));
        let clients: Vec<_> = (0..PROCESSES * WORKERS)
            .map(|n| {
                let (mut client, url) = (visitor.clone(), processes[n % PROCESSES].url("/ops"));
                scope.spawn(move || {
                    for _ in 0..increments {
                        run(&mut client, &url, &json!([["incr", "n"]]));
                    }
                })
            })
            .collect();
        let counted: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        done.store(true, Relaxed);
        let answer = meanwhile.join().unwrap();
        for process in processes {
            assert!(counted.iter().all(Result::is_ok), "an increment failed\n{}", process.log());
        }
        answer
    })
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn two_processes_count_exactly() {
    let database = database();
    let processes: Vec<Process> = (0..PROCESSES).map(|_| start_process(database.url())).collect();
    let mut visitor = Client::new();
    run(&mut visitor, &processes[0].url("/ops"), &json!([["set", "n", 0]]));
    let each = if at_length() { 7_000 } else { INCREMENTS };
    let all = (PROCESSES * WORKERS) as u64 * each;
    let start = Instant::now();
    count(&processes, &visitor, each, |_| ());
    let seconds = start.elapsed().as_secs_f64();
    let n = run(&mut visitor, &processes[0].url("/ops"), &json!([["get", "n"]]));
    let conflicts: u64 = processes.iter().map(conflicts).sum();
    println!("{n:?} of {all} in {seconds:.1} s, {conflicts} conflicts");
    assert_eq!(n, [json!(all)]);
    assert!(conflicts > 0, "nobody was in anybody's way: this has tested nothing");
}

/// Django that takes the row's lock before it reads (`select_for_update`) loses nothing, and nothing of its
/// own is lost: both counters are exact.
///
/// While Django holds the lock, our save waits for it and then finds the row changed. So this is also about
/// how a save tries again: one that always compares with what it read some time ago never gets its turn.
#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn two_processes_and_a_locking_django_count_exactly() {
    for version in Django::versions() {
        let (_database, django, processes) = with_django(&version);
        let ops = django.url("/ops");
        let mut visitor = Client::new();
        run(&mut visitor, &ops, &json!([["set", "n", 0], ["set", "django", 0]]));
        let start = Instant::now();
        // One writer that leaves the row hardly alone, and two at their ease.
        let careful = &|done: &AtomicBool, pause: Duration| {
            let (mut client, mut written) = (visitor.clone(), 0);
            while !done.load(Relaxed) {
                run(&mut client, &ops, &json!([["locked_incr", "django"]]));
                written += 1;
                thread::sleep(pause);
            }
            written
        };
        let written: u64 = count(&processes, &visitor, INCREMENTS, |done| {
            thread::scope(|scope| {
                let writers = [0, 20, 20].map(|pause| {
                    let pause = Duration::from_millis(pause);
                    scope.spawn(move || careful(done, pause))
                });
                writers.into_iter().map(|writer| writer.join().unwrap()).sum()
            })
        });
        let seconds = start.elapsed().as_secs_f64();
        let counted = run(&mut visitor.clone(), &ops, &json!([["get", "n"], ["get", "django"], ["keys"]]));
        let conflicts: u64 = processes.iter().map(conflicts).sum();
        let name = &version.name;
        println!(
            "Django {name}, careful: {} of {ALL_INCREMENTS} in {seconds:.1} s, {} of {written} by Django, \
             {conflicts} conflicts",
            counted[0], counted[1]
        );
        assert_eq!(counted, [json!(ALL_INCREMENTS), json!(written), json!(["n", "django"])], "Django {name}");
        assert!(written > 10 && conflicts > 0);
    }
}

/// Django's save writes back the whole dictionary that its request has read. Changes stored in between are
/// lost, and no other site can prevent that. The guarantees of our site:
///
/// - it never does the same to Django: each key that Django has stored is there at once and at the end
///   (one Django writer, since two of them overwrite each other);
/// - it never counts what was not counted: the number is at most that of the increments;
/// - from Django's last save on, the count is exact.
#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn plain_django_loses_nothing_by_two_processes() {
    for version in Django::versions() {
        let (_database, django, processes) = with_django(&version);
        let (ops, ours) = (&django.url("/ops"), &processes[0].url("/ops"));
        let mut visitor = Client::new();
        run(&mut visitor, ops, &json!([["set", "n", 0]]));
        let mut writer = visitor.clone();
        let written = count(&processes, &visitor, INCREMENTS, |done| {
            let mut written = 0;
            while !done.load(Relaxed) {
                let name = format!("django {written}");
                run(&mut writer, ops, &json!([["set", &name, written]]));
                let read = [ours, ops].map(|url| run(&mut writer, url, &json!([["get", &name]])).remove(0));
                assert_eq!(read, [json!(written), json!(written)], "{name}, just stored by Django");
                written += 1;
            }
            written
        });
        let mut items: BTreeMap<String, Value> =
            serde_json::from_value::<Vec<_>>(run(&mut visitor, ops, &json!([["items"]])).remove(0))
                .unwrap()
                .into_iter()
                .collect();
        let n = items.remove("n").unwrap().as_u64().unwrap();
        let expected: BTreeMap<String, Value> =
            (0..written).map(|n| (format!("django {n}"), json!(n))).collect();
        let conflicts: u64 = processes.iter().map(conflicts).sum();
        let (name, lost) = (&version.name, ALL_INCREMENTS.saturating_sub(n));
        println!(
            "Django {name}, plain: {written} keys of Django all there, {lost} of {ALL_INCREMENTS} increments \
             overwritten by Django, {conflicts} conflicts"
        );
        assert_eq!(items, expected, "Django {name}");
        assert!(n <= ALL_INCREMENTS && written > 10 && conflicts > 0);

        count(&processes, &visitor, 20, |_| ());
        let after = run(&mut visitor, ops, &json!([["get", "n"]]));
        assert_eq!(
            after,
            [json!(n + 20 * (PROCESSES * WORKERS) as u64)],
            "Django {name}: after its last save"
        );
    }
}

fn with_django(version: &Version) -> (Database, Django, Vec<Process>) {
    let database = Database::fresh();
    let django = Django::start(version, database.url(), &[("SECRET_KEY", SECRET)]);
    django.prepare();
    let processes = (0..PROCESSES).map(|_| start_process(database.url())).collect();
    (database, django, processes)
}
