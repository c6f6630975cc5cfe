//! The clock of the site's machine steps back and forth, or is altogether wrong, while its visitors come and
//! go.
//!
//! The site runs as a process of its own, in which libfaketime tells the time.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, SystemTime},
};

use actix_django_session::{
    SecretKey, Session, SessionKey, SessionSettings,
    backend::{Backend as _, Insert, Inserted, Postgres},
    codec::{Codec, SessionData},
};
use serde_json::{Value, json};

use crate::support::{
    http::Client,
    postgres::Database,
    proc::{PATIENCE, TempDir},
    process::{self, Process},
    required,
    site::Site,
    stores::by_url,
    visitors::{self, Visitors, check_that_nothing_is_lost},
};

const SERVES: &str = "clocks::no_step_of_the_clock_loses_a_change";
const DAY: i64 = 86_400;
const TWO_WEEKS: i64 = 14 * DAY;

/// Serves a site in the child process.
fn serve(what: &str) {
    let (kind, url) = what.split_once(' ').unwrap();
    let mut settings = SessionSettings::default();
    if kind == "touching" {
        settings = settings.save_every_request(true).touch_interval(Duration::from_secs(60));
    }
    let url = url.to_owned();
    let site = Site::start(settings, async move || by_url(&url).await);
    process::serve_until_orphaned(site.port(), || ());
}

/// A site whose clock can be set.
struct TimeMachine {
    process: Process,
    dir: TempDir,
    database: Database,
}

impl TimeMachine {
    fn start(kind: &str) -> Self {
        let (dir, database) = (TempDir::new("clock"), Database::fresh());
        let file = dir.path().join("offset");
        fs::write(&file, "+0").unwrap();
        let environment = [
            ("LD_PRELOAD", required("TEST_FAKETIME")),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // A machine's clock for deadlines does not step.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let process = Process::start_with(SERVES, &format!("{kind} {}", database.url()), &environment);
        Self { process, dir, database }
    }

    /// Sets its clock, as faketime takes it: `+3600` is an hour fast, `@1970-01-01 00:00:01` another time
    /// altogether.
    fn set(&self, time: &str) {
        // In one step, since it is read all the time.
        let new: PathBuf = self.dir.path().join("new");
        fs::write(&new, time).unwrap();
        fs::rename(new, self.dir.path().join("offset")).unwrap();
    }

    fn ops(&self) -> String {
        self.process.url("/ops")
    }

    fn run(&self, client: &mut Client, program: Value) -> Vec<Value> {
        visitors::run(client, &self.ops(), &program)
    }

    fn rows(&self) -> usize {
        self.database.query("SELECT session_key FROM django_session").len()
    }

    /// Seconds that the row of a session has left, by the database's clock.
    fn left(&self, key: &str) -> i64 {
        let sql = format!(
            "SELECT extract(epoch FROM expire_date - now())::bigint FROM django_session \
             WHERE session_key = '{key}'"
        );
        self.database.query(&sql)[0][0].as_deref().unwrap().parse().unwrap()
    }
}

fn near(a: i64, b: i64) {
    assert!((a - b).abs() < 60, "{a} and {b}");
}

#[test]
#[ignore = "needs PostgreSQL and faketime: run tests/run"]
fn a_session_expires_by_the_clock_of_the_site() {
    let site = TimeMachine::start("plain");
    let mut client = Client::new();
    site.run(&mut client, json!([["set", "k", 1], ["set_expiry", 3600]]));
    let key = client.cookies["sessionid"].clone();
    near(site.left(&key), 3600);
    // As often as it likes, and nobody's row goes.
    for (clock, there) in [
        ("+3500", true),
        ("+3700", false),
        ("+3500", true),
        ("+99999999", false),
        ("-99999999", true),
        ("+0", true),
    ] {
        site.set(clock);
        client.cookies.insert("sessionid".to_owned(), key.clone());
        let expected = if there { json!(1) } else { Value::Null };
        assert_eq!(site.run(&mut client, json!([["get", "k"]])), [expected], "at {clock}");
        assert_eq!(site.rows(), 1, "at {clock}");
        near(site.left(&key), 3600);
    }
    // A save under a wrong clock sets the expiry by that clock; the next save corrects it.
    for (clock, left) in [("-86400", 3600 - DAY), ("+86400", 3600 + DAY), ("+0", 3600)] {
        site.database.query("UPDATE django_session SET expire_date = now() + interval '2 days'");
        client.cookies.insert("sessionid".to_owned(), key.clone());
        site.set(clock);
        let reply = client.post_json(&site.ops(), &json!([["incr", "k"]]));
        assert_eq!(reply.status, 200, "at {clock}: {}", reply.text());
        let cookie = reply.set_cookie("sessionid").unwrap();
        assert!(cookie.contains("Max-Age=3600;") && cookie.contains(&key), "at {clock}: {cookie}");
        near(site.left(&key), left);
    }
    assert_eq!(site.run(&mut client, json!([["get", "k"]])), [json!(4)]);
    // An expiry set as a date does not move with the clock.
    site.run(&mut client, json!([["set_expiry_in", 1000]]));
    site.set("-86400");
    site.run(&mut client, json!([["set", "k", 0]]));
    near(site.left(&key), 1000);
    let age = site.run(&mut client, json!([["expiry_age"]]))[0].as_i64().unwrap();
    near(age, 1000 + DAY);
}

#[test]
#[ignore = "needs PostgreSQL and faketime: run tests/run"]
fn a_site_with_a_wrong_clock_works() {
    let site = TimeMachine::start("touching");
    for (clock, is_right) in [
        ("@1970-01-01 00:00:01", false),
        ("@1969-12-31 23:59:50", false),
        ("@1901-01-01 00:00:00", false),
        ("@2038-01-19 03:14:00", false),
        ("@2262-04-11 23:47:00", false),
        ("@9999-12-31 23:59:00", false),
        ("+0", true),
    ] {
        site.set(clock);
        let mut client = Client::new();
        let reply = client.post_json(&site.ops(), &json!([["set", "k", 1], ["set_test_cookie"]]));
        assert_eq!(reply.status, 200, "at {clock}: {}\n{}", reply.text(), site.process.log());
        let cookie = reply.set_cookie("sessionid").unwrap_or_else(|| panic!("at {clock}: no cookie"));
        assert!(cookie.contains(&format!("Max-Age={TWO_WEEKS};")), "at {clock}: {cookie}");
        // Not where no date can be later, since years have four digits.
        if !clock.starts_with("@9999") {
            assert_eq!(site.run(&mut client, json!([["incr", "k"]])), [json!(2)], "at {clock}");
            assert_eq!(site.run(&mut client, json!([["get", "k"], ["cycle_key"]]))[0], 2, "at {clock}");
            assert_eq!(site.run(&mut client, json!([["get", "k"], ["flush"]]))[0], 2, "at {clock}");
        }
        if is_right {
            site.run(&mut client, json!([["set", "k", 1]]));
            let left = site.left(&client.cookies["sessionid"]);
            // Rounded up by a thousandth at most.
            assert!((TWO_WEEKS - 60..=TWO_WEEKS + TWO_WEEKS / 1000).contains(&left), "{left}");
        }
    }
    assert!(!site.process.log().contains("panicked"), "{}", site.process.log());
}

#[test]
#[ignore = "needs PostgreSQL and faketime: run tests/run"]
fn no_step_of_the_clock_loses_a_change() {
    if let Some(what) = process::asked_to_serve() {
        return serve(&what);
    }
    for kind in ["plain", "touching"] {
        let site = TimeMachine::start(kind);
        let ops = [site.ops()];
        let visitors = Visitors::come(6, &ops);
        for clock in ["+3600", "-3600", "+86400", "-86400", "+0", "+1000000", "-1000000", "-1", "+1", "+0"] {
            site.set(clock);
            visitors.wait_for(60, PATIENCE);
            thread::sleep(Duration::from_millis(50));
        }
        let seen = visitors.seen();
        let sum = check_that_nothing_is_lost(visitors.leave(), &ops[0]);
        println!("{kind}: {sum} increments over ten steps, {seen:?}");
        assert!(seen.failed.is_empty(), "{seen:?}");
        // No deadline hangs on it, neither forwards nor backwards.
        assert!(seen.slowest < PATIENCE, "{seen:?}");
    }
}

/// The database's time zone decides how times look there, not when they are.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn the_time_zone_of_the_database_does_not_matter() {
    let database = Database::fresh();
    database.query(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO %L', current_database(), \
         'America/St_Johns'); END $$",
    );
    let shown = database.query("SHOW timezone")[0][0].clone();
    assert_eq!(shown.as_deref(), Some("America/St_Johns"));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (store, backend) =
            (by_url(database.url()).await, Postgres::connect(database.url()).await.unwrap());
        let now = SystemTime::now();
        let value = Codec::new(SecretKey::new("a secret")).encode(&SessionData::default()).unwrap();
        let (live, over) = (SessionKey::generate(), SessionKey::generate());
        let (later, earlier) = (now + Duration::from_secs(100), now - Duration::from_secs(100));
        for (key, expires) in [(&live, later), (&over, earlier)] {
            let inserted = backend.insert(Insert::new(key, value.clone(), expires)).await.unwrap();
            assert_eq!(inserted, Inserted::Done);
        }
        assert!(Session::open(&store, &over).await.unwrap().is_none());
        assert!(Session::open(&store, &live).await.unwrap().is_some(), "the live one");
        let expires = backend.get(&live).await.unwrap().unwrap().expires;
        let off = expires.duration_since(later).unwrap_or_else(|error| error.duration());
        assert!(off < Duration::from_micros(1), "{off:?}");
        assert_eq!(store.clear_expired().await.unwrap(), 1);
        assert!(store.exists(&live).await.unwrap());
    });
}
