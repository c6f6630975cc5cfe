//! Many writers of one session at once: workers, processes, and a Django site beside them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use actix_django_session::{
    Error, PostgresStore, SecretKey, Session, SessionKey, SessionMiddleware, SessionSettings,
    codec::Codec,
    store::{Loaded, Outcome, Seen, SessionData, SessionStore},
};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use support::{
    at_length,
    django::{Django, Version},
    http::{Client, Reply},
    postgres::Database,
    process::{self, Process},
    site::Site,
    table::Table,
};

const SECRET: &str = "a secret that all sites know";

// --- Two processes and Django ----------------------------------------------------------------------

const PROCESSES: usize = 2;
const WORKERS: usize = 8;
const INCREMENTS: u64 = 100;
const ALL_INCREMENTS: u64 = (PROCESSES * WORKERS) as u64 * INCREMENTS;

/// The test that serves a database in a process of its own.
const SERVES: &str = "a_process_of_its_own_serves_the_same_sessions";

fn start_process(database_url: &str) -> Process {
    Process::start(SERVES, database_url)
}

/// How often a save of the process found that another writer was faster.
fn conflicts(process: &Process) -> u64 {
    thread::sleep(3 * SAY_EVERY);
    process.said("conflicts").unwrap_or(0)
}

const SAY_EVERY: Duration = Duration::from_millis(50);

/// What such a process does, until the one that started it has ended.
fn serve(database_url: String) {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_ansi(false)
        .init();
    let conflicts = Arc::new(AtomicU64::new(0));
    let counter = conflicts.clone();
    let site = Site::start_with(WORKERS, SessionSettings::default(), async move || {
        let store = PostgresStore::connect(&database_url, SecretKey::new(SECRET)).await.unwrap();
        Counting { store, conflicts: counter }
    });
    let mut said = 0;
    process::serve_until_orphaned(site.port(), || {
        let now = conflicts.load(Relaxed);
        if now != said {
            println!("[conflicts {now}]");
            said = now;
        }
    });
}

/// A store that counts how often it answers that another writer was faster.
struct Counting {
    store: PostgresStore,
    conflicts: Arc<AtomicU64>,
}

impl Counting {
    fn count(&self, outcome: Outcome) -> Outcome {
        if matches!(outcome, Outcome::Changed(_)) {
            self.conflicts.fetch_add(1, Relaxed);
        }
        outcome
    }
}

impl SessionStore for Counting {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        self.store.load(key).await
    }

    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.store.create(key, data, expires).await
    }

    async fn update(
        &self,
        key: &SessionKey,
        seen: &Seen,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.store.update(key, seen, data, expires).await.map(|outcome| self.count(outcome))
    }

    async fn rename(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.store.rename(key, seen, new_key, data, expires).await.map(|outcome| self.count(outcome))
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.store.delete(key).await
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        self.store.exists(key).await
    }

    async fn clear_expired(&self) -> Result<u64, Error> {
        self.store.clear_expired().await
    }
}

/// Without the variable this is a test of the mechanism: it starts itself, and the other process must
/// share a session with this one, and end when it is told to.
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
        PostgresStore::connect(&url, SecretKey::new(SECRET)).await.unwrap()
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
    runtime().block_on(async {
        let store = PostgresStore::connect(database.url(), SecretKey::new(SECRET)).await.unwrap();
        store.create_table().await.unwrap();
    });
    database
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

/// The results of a program that must succeed.
fn run(client: &mut Client, url: &str, program: &Value) -> Vec<Value> {
    let reply = client.post_json(url, program);
    assert_eq!(reply.status, 200, "{url} {program}: {}", reply.text());
    reply.json()["results"].as_array().unwrap().clone()
}

/// Every worker of every process counts `n` up, all at once; while they do, `meanwhile` runs, and is told
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
fn two_processes_and_a_careful_django_count_exactly() {
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

/// Django's own save writes back the whole dictionary that its request once read. What others stored in
/// between is lost by that, and no site beside it can help that. What can be asked of ours:
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

// --- Two sites, on each store ----------------------------------------------------------------------

const THREADS: usize = 16;

/// Two sites on one table, and the table.
struct Sites {
    sites: [Site; 2],
    table: Table,
}

impl Sites {
    fn start(table: Table, settings: &SessionSettings) -> Self {
        let sites = [0, 1].map(|_| {
            let (session, open) = (settings.clone(), table.opener(SECRET));
            Site::start_with(4, session, open)
        });
        Self { sites, table }
    }

    fn urls(&self) -> [String; 2] {
        [0, 1].map(|n| self.sites[n].url("/ops"))
    }

    /// Every row's data, by its key.
    fn rows(&mut self) -> BTreeMap<String, SessionData> {
        let codec = Codec::new(SecretKey::new(SECRET));
        self.table.rows().into_iter().map(|row| (row.key, codec.decode(&row.text).unwrap())).collect()
    }
}

/// Runs `work` on that many threads that start at the same moment.
fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (barrier, work) = (&Barrier::new(threads), &work);
    thread::scope(|scope| {
        let start = |n| {
            scope.spawn(move || {
                barrier.wait();
                work(n)
            })
        };
        let threads: Vec<_> = (0..threads).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn different_keys_all_arrive_in_postgres() {
    different_keys(Table::postgres());
}

#[test]
fn different_keys_all_arrive_in_sqlite() {
    different_keys(Table::sqlite());
}

fn different_keys(table: Table) {
    let mut both = Sites::start(table, &SessionSettings::default());
    let urls = both.urls();
    let mut visitor = Client::new();
    run(&mut visitor, &urls[0], &json!([["set", "born", true]]));
    let rounds = 10;
    at_once(THREADS, |n| {
        let mut client = visitor.clone();
        for round in 0..rounds {
            let program =
                json!([["set", format!("{n} {round}"), round], ["set", format!("last {n}"), round]]);
            run(&mut client, &urls[n % 2], &program);
        }
    });
    let rows = both.rows();
    assert_eq!(rows.len(), 1);
    let data = &rows[&visitor.cookies["sessionid"]];
    assert_eq!(data.keys().len(), 1 + THREADS * rounds + THREADS);
    for n in 0..THREADS {
        for round in 0..rounds {
            assert_eq!(data.get_json(&format!("{n} {round}")), Some(&*round.to_string()));
        }
        assert_eq!(data.get_json(&format!("last {n}")), Some(&*(rounds - 1).to_string()));
    }
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_list_gets_every_element_in_postgres() {
    a_list_gets_every_element(&Table::postgres());
}

#[test]
fn a_list_gets_every_element_in_sqlite() {
    a_list_gets_every_element(&Table::sqlite());
}

fn a_list_gets_every_element(table: &Table) {
    async fn push(session: Session, element: web::Json<u32>) -> Result<HttpResponse, Error> {
        let element = element.into_inner();
        let list = session.update("list", move |list: Option<Vec<u32>>| {
            let mut list = list.unwrap_or_default();
            list.push(element);
            list
        })?;
        Ok(HttpResponse::Ok().json(list))
    }
    let sites = [0, 1].map(|_| {
        let open = table.opener(SECRET);
        Site::serve(4, async move || {
            let session = SessionMiddleware::new(open().await);
            move |config: &mut web::ServiceConfig| {
                config.service(web::scope("").wrap(session.clone()).route("/push", web::post().to(push)));
            }
        })
    });
    let mut visitor = Client::new();
    let first: Vec<u32> =
        serde_json::from_value(visitor.post_json(&sites[0].url("/push"), &json!(0)).json()).unwrap();
    assert_eq!(first, [0]);
    let each = 10;
    at_once(THREADS, |n| {
        let mut client = visitor.clone();
        for element in 0..each {
            let reply = client.post_json(&sites[n % 2].url("/push"), &json!(1 + n * each + element));
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    });
    let last = 1 + THREADS * each;
    let list = visitor.post_json(&sites[1].url("/push"), &json!(last)).json();
    let list: Vec<usize> = serde_json::from_value(list).unwrap();
    // Each writer's elements in its order, too.
    for n in 0..THREADS {
        let mine = list.iter().filter(|&&element| (1 + n * each..1 + (n + 1) * each).contains(&element));
        assert!(mine.copied().eq(1 + n * each..1 + (n + 1) * each), "{list:?}");
    }
    assert_eq!((list.len(), list.first(), list.last()), (last + 1, Some(&0), Some(&last)));
}

// --- The end of a session, and writers --------------------------------------------------------------

const ROUNDS: usize = 12;

/// What became of the writes that raced with the end of their session.
#[derive(Debug, Default)]
struct Writes {
    /// Stored before it.
    stored: usize,
    /// Answered with 400.
    refused: usize,
    /// Came so late that they began a session of their own.
    began: usize,
    /// Had nothing to store, and were answered 200.
    nothing: usize,
}

impl Writes {
    fn assert_all_kinds(&self) {
        assert!(self.stored > 0 && self.refused > 0 && self.began > 0, "this was no race: {self:?}");
    }
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn cycle_key_and_writers_in_postgres() {
    cycle_key_and_writers(Table::postgres());
}

#[test]
fn cycle_key_and_writers_in_sqlite() {
    cycle_key_and_writers(Table::sqlite());
}

/// Two requests cycle the key while ten others write. Afterwards there is one session, under one new key.
fn cycle_key_and_writers(table: Table) {
    let mut both = Sites::start(table, &SessionSettings::default());
    let urls = both.urls();
    let (mut writes, mut cycled) = (Writes::default(), Writes::default());
    for _ in 0..ROUNDS {
        both.table.reset(&[]);
        let mut visitor = Client::new();
        run(&mut visitor, &urls[0], &json!([["set", "born", true]]));
        let key = visitor.cookies["sessionid"].clone();
        let answers = at_once(12, |n| {
            let mut client = visitor.clone();
            let last = if n < 2 { json!(["cycle_key"]) } else { json!(["set", format!("w{n}"), n]) };
            let reply = client.post_json(&urls[n % 2], &in_the_middle(n, last));
            (n, reply, client.cookies["sessionid"].clone())
        });
        let mut rows = both.rows();
        assert!(!rows.contains_key(&key), "the old key is gone");
        let born: Vec<String> = rows
            .iter()
            .filter(|(_, data)| data.get_json("born").is_some())
            .map(|(key, _)| key.clone())
            .collect();
        assert_eq!(born.len(), 1, "one session has become {}", born.len());
        let session = rows.remove(&born[0]).unwrap();
        for (n, reply, now) in answers {
            let name = format!("w{n}");
            let tally = if n < 2 { &mut cycled } else { &mut writes };
            match (reply.status, now == key) {
                (400, true) => {
                    refused(&reply);
                    assert!(session.get_json(&name).is_none(), "{name} was refused and is there");
                    tally.refused += 1;
                }
                (200, _) if now == born[0] || (n >= 2 && now == key) => {
                    assert_eq!(session.get_json(&name).is_some(), n >= 2, "{name} was accepted and is lost");
                    tally.stored += 1;
                }
                (200, false) => {
                    // The row was renamed before this request looked for it.
                    let own = rows.remove(&now).expect("a row for the key that was given out");
                    assert_eq!(own.keys().len(), usize::from(n >= 2), "a session of its own");
                    tally.began += 1;
                }
                other => panic!("{other:?}: {reply:?}"),
            }
        }
        assert!(rows.is_empty(), "rows that nobody knows: {rows:?}");
    }
    println!("cycle_key: {writes:?}, {cycled:?}");
    writes.assert_all_kinds();
    assert_eq!(cycled.stored, ROUNDS, "one of the two was first: {cycled:?}");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn flush_and_writers_in_postgres() {
    for save_every_request in [false, true] {
        flush_and_writers(Table::postgres(), save_every_request);
    }
}

#[test]
fn flush_and_writers_in_sqlite() {
    for save_every_request in [false, true] {
        flush_and_writers(Table::sqlite(), save_every_request);
    }
}

/// One request flushes while eleven others write, count, clear, cycle or only read. No row comes back.
fn flush_and_writers(table: Table, save_every_request: bool) {
    let settings = SessionSettings::default().save_every_request(save_every_request);
    let mut both = Sites::start(table, &settings);
    let urls = both.urls();
    let mut writes = Writes::default();
    for _ in 0..ROUNDS {
        both.table.reset(&[]);
        let mut visitor = Client::new();
        run(&mut visitor, &urls[0], &json!([["set", "born", true], ["set", "n", 1000]]));
        let key = visitor.cookies["sessionid"].clone();
        let answers = at_once(12, |n| {
            let mut client = visitor.clone();
            let last = match n {
                0 => json!(["flush"]),
                1 | 2 => json!(["get", "n"]),
                3 => json!(["clear"]),
                4 | 5 => json!(["incr", "n"]),
                6 => json!(["modified"]),
                7 => json!(["set_expiry", 600]),
                _ => json!(["set", format!("w{n}"), n]),
            };
            let reply = client.post_json(&urls[n % 2], &in_the_middle(n, last));
            (n, reply, client.cookies.get("sessionid").cloned())
        });
        let mut rows = both.rows();
        assert!(!rows.contains_key(&key), "the row came back");
        for (n, reply, now) in answers {
            match (reply.status, now) {
                (400, Some(now)) if now == key && n > 0 => {
                    refused(&reply);
                    writes.refused += 1;
                }
                (200, Some(now)) if now == key && n > 0 => {
                    if reply.set_cookies().is_empty() {
                        writes.nothing += 1
                    } else {
                        writes.stored += 1
                    }
                }
                (200, Some(now)) => {
                    let own = rows.remove(&now).expect("a row for the key that was given out");
                    assert!(own.get_json("born").is_none(), "data of the ended session: {:?}", own.to_json());
                    assert!(own.get_json("n").is_none_or(|n| n == "1"), "{:?}", own.to_json());
                    writes.began += 1;
                }
                (200, None) => writes.nothing += 1, // told that there is no such session
                other => panic!("{n}: {other:?}: {reply:?}"),
            }
        }
        assert!(rows.is_empty(), "rows that nobody knows: {rows:?}");
    }
    println!("flush, save_every_request {save_every_request}: {writes:?}");
    writes.assert_all_kinds();
}

/// A program that has loaded the session before it waits and then does the last thing. The first two wait in
/// the middle, the others around it: some are surely before, some surely after. The last two even load after
/// it.
fn in_the_middle(n: usize, last: Value) -> Value {
    match n {
        0 | 1 => json!([["get", "born"], ["sleep", 0.06], last]),
        10.. => json!([["sleep", 0.15], last]),
        _ => json!([["get", "born"], ["sleep", 0.02 * (n % 6) as f64 + 0.01], last]),
    }
}

fn refused(reply: &Reply) {
    assert!(reply.text().starts_with("The request's session was deleted"), "{}", reply.text());
    assert!(reply.set_cookies().is_empty(), "{reply:?}");
}
