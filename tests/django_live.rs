//! A Django site and ours at the same time: one table of sessions, one cookie, every version of Django.
//!
//! A scenario is a function, run with visitors of its own and, where that makes sense, in both directions:
//! what one side did, the other one must see.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    any::Any,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use actix_django_session::{
    OnInterrupted, PostgresStore, SecretKey, Session, SessionKey, SessionSettings, SqliteStore,
    codec::Codec,
    store::{AnyStore, SessionData},
};
use actix_web::http::header::HttpDate;
use serde_json::{Value, json, value::RawValue};
use support::{
    django::{Django, PASSWORD, USER, Version},
    http::{Client, Reply},
    logs,
    postgres::Database,
    proc::{PATIENCE, TempDir, wait_until},
    site::{Site, to_iso},
    table::{Row, Table},
};
use tokio::runtime::Runtime;

const SECRET: &str = "a secret that both sites know";
const NEW_SECRET: &str = "the next secret";

/// What a visitor sees whose session was ended during a request: the text of Django's exception.
const INTERRUPTED: &str = "The request's session was deleted before the request completed. \
     The user may have logged out in a concurrent request, for example.";

const DELETION: &str =
    "sessionid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax";

const TWO_WEEKS: f64 = 1_209_600.0;

type Scenario = (&'static str, fn(&Pair));

const CORE: &[Scenario] = &[
    ("a session born on either side", born_on_either_side),
    ("a login at Django's admin, read by us", login_is_read),
    ("what we write, rendered by Django", rendered_by_django),
    ("flush", flush),
    ("cycle_key", cycle_key),
];

const MORE: &[Scenario] = &[
    ("the admin, after we cycled the key", admin_after_cycle_key),
    ("an anonymous session becomes a user's", anonymous_becomes_user),
    ("logout at Django's admin, and by us", logout),
    ("messages of Django", messages),
    ("values that Django wrote", values_of_django),
    ("values that we wrote", values_of_ours),
    ("set_expiry in all its forms", expiry),
    ("the test cookie", test_cookie),
    ("CSRF tokens kept in the session", csrf_in_session),
    ("unknown, expired and deleted keys are not adopted", no_fixation),
    ("writes at the same time", writes_at_once),
    ("ended in the middle of a request", ended_meanwhile),
    ("save_every_request", save_every_request),
    ("clearsessions and clear_expired", clear_expired),
    ("a new SECRET_KEY, the old one as a fallback", rotation),
    ("a wrong SECRET_KEY on our side", wrong_secret),
    ("a new password", new_password),
];

const AT_ONCE: &[Scenario] = &[("both sites under load", both_under_load)];

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn postgres() {
    run_all("", Db::postgres, &[CORE, MORE]);
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn sqlite_with_rollback_journal() {
    run_all(" with SQLite", || Db::sqlite("delete"), &[CORE, AT_ONCE]);
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn sqlite_with_wal() {
    run_all(" with SQLite and WAL", || Db::sqlite("wal"), &[CORE, AT_ONCE]);
}

/// Every scenario for every version of Django, also after one has failed, with a table at the end.
fn run_all(beside: &str, db: fn() -> Db, scenarios: &[&[Scenario]]) {
    let (mut table, mut failures) = (String::new(), Vec::new());
    let versions = Django::versions();
    assert!(!versions.is_empty(), "no version of Django is installed");
    for version in &versions {
        let start = Instant::now();
        let pair = Pair::start(version, db());
        let (mut passed, mut failed) = (0, 0);
        for (name, scenario) in scenarios.iter().copied().flatten() {
            let title = format!("Django {}{beside}: {name}", version.name);
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
        writeln!(table, "{name:8} {passed:>9} {failed:>6} {requests:>8} {seconds:>7.1}").unwrap();
    }
    println!("\nDjango{beside}\nversion  scenarios failed requests seconds\n{table}");
    assert!(failures.is_empty(), "{} scenarios failed:\n{}", failures.len(), failures.join("\n"));
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without text")
}

// --- The two sites -------------------------------------------------------------------------------

/// Where the sessions are.
#[derive(Clone, Debug)]
struct Db {
    table: Arc<Mutex<Table>>,
    /// As Django takes it.
    url: String,
}

impl Db {
    fn postgres() -> Self {
        let database = Database::fresh();
        let url = database.url().to_owned();
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        });
        Self { table: Arc::new(Mutex::new(Table::Postgres { database, runtime, client })), url }
    }

    fn sqlite(journal_mode: &str) -> Self {
        let dir = TempDir::new("sqlite");
        let path = dir.path().join("db.sqlite3");
        let url = format!("sqlite:///{}", path.display());
        let db = rusqlite::Connection::open(&path).unwrap();
        db.busy_timeout(Duration::from_secs(20)).unwrap();
        let sql = format!("PRAGMA journal_mode = {journal_mode}");
        let mode: String = db.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(mode, journal_mode);
        Self { table: Arc::new(Mutex::new(Table::Sqlite { path, db, _dir: dir })), url }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self) -> Vec<Row> {
        self.table().rows()
    }

    fn row(&self, key: &str) -> Option<Row> {
        self.rows().into_iter().find(|row| row.key == key)
    }

    /// The path of an SQLite file.
    fn path(&self) -> Option<PathBuf> {
        self.url.strip_prefix("sqlite:///").map(PathBuf::from)
    }

    async fn store(self, secret: SecretKey) -> AnyStore {
        match self.path() {
            Some(path) => SqliteStore::open(path, secret).await.unwrap().into(),
            None => PostgresStore::connect(&self.url, secret).await.unwrap().into(),
        }
    }

    /// One more site of ours on the same table.
    fn site(&self, settings: SessionSettings, secret: SecretKey) -> Site {
        let db = self.clone();
        Site::start(settings, async move || db.store(secret).await)
    }

    /// Does something with a store of ours, without a site.
    fn with_store<T>(&self, work: impl AsyncFnOnce(AnyStore) -> T) -> T {
        let db = self.clone();
        Runtime::new().unwrap().block_on(async { work(db.store(SecretKey::new(SECRET)).await).await })
    }
}

/// Either site.
trait Server: Sync {
    fn name(&self) -> &'static str;
    fn at(&self, path: &str) -> String;
}

impl Server for Django {
    fn name(&self) -> &'static str {
        "Django"
    }

    fn at(&self, path: &str) -> String {
        self.url(path)
    }
}

impl Server for Site {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn at(&self, path: &str) -> String {
        self.url(path)
    }
}

/// Django's site and ours on one table.
struct Pair {
    django: Django,
    ours: Site,
    db: Db,
    version: Version,
    requests: Arc<AtomicUsize>,
}

impl Pair {
    fn start(version: &Version, db: Db) -> Self {
        let django = Django::start(version, &db.url, &[("SECRET_KEY", SECRET)]);
        django.prepare();
        let ours = db.site(SessionSettings::default(), SecretKey::new(SECRET));
        Self { django, ours, db, version: version.clone(), requests: Arc::default() }
    }

    /// One more Django on the same table.
    fn django_with(&self, settings: &[(&str, &str)]) -> Django {
        Django::start(&self.version, &self.db.url, settings)
    }

    fn both_ways(&self) -> [(&dyn Server, &dyn Server); 2] {
        [(&self.django, &self.ours), (&self.ours, &self.django)]
    }

    fn visitor(&self) -> Visitor {
        Visitor { client: Client::new(), requests: self.requests.clone() }
    }

    /// A visitor whose browser presents this key.
    fn visitor_with(&self, key: &str) -> Visitor {
        let mut visitor = self.visitor();
        visitor.client.cookies.insert("sessionid".to_owned(), key.to_owned());
        visitor
    }

    /// A visitor who is logged in at Django.
    fn user(&self) -> Visitor {
        let mut visitor = self.visitor();
        visitor.login(&self.django);
        visitor
    }

    /// What is in the row.
    fn data(&self, key: &str) -> SessionData {
        let row = self.db.row(key).unwrap_or_else(|| panic!("no row {key}"));
        Codec::new(SecretKey::new(SECRET)).decode(&row.text).unwrap()
    }
}

/// A browser. A clone has cookies of its own from then on.
#[derive(Clone)]
struct Visitor {
    client: Client,
    requests: Arc<AtomicUsize>,
}

impl Visitor {
    fn key(&self) -> Option<&str> {
        self.client.cookies.get("sessionid").map(String::as_str)
    }

    fn the_key(&self) -> String {
        self.key().expect("a session's cookie").to_owned()
    }

    fn ask(&mut self, server: &dyn Server, program: &Value) -> Reply {
        self.ask_raw(server, &program.to_string())
    }

    /// A program in JSON as only Python takes it.
    fn ask_raw(&mut self, server: &dyn Server, program: &str) -> Reply {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let json = [("content-type", "application/json")];
        self.client.request("POST", &server.at("/ops"), &json, Some(program.as_bytes()))
    }

    fn get(&mut self, server: &dyn Server, path: &str) -> Reply {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.client.get(&server.at(path))
    }

    /// Logs in through the admin's form.
    fn login(&mut self, django: &Django) {
        self.requests.fetch_add(2, Ordering::Relaxed);
        django.login(&mut self.client);
    }

    /// Opens a page of the admin and sends the form on it.
    fn submit(&mut self, django: &Django, page: &str, action: &str, fields: &[(&str, &str)]) -> Reply {
        self.requests.fetch_add(2, Ordering::Relaxed);
        django.submit(&mut self.client, page, action, fields)
    }

    /// The results of a program that must succeed.
    fn run(&mut self, server: &dyn Server, program: &Value) -> Vec<Value> {
        let reply = self.ask(server, program);
        assert_eq!(reply.status, 200, "{}: {program}: {}", server.name(), reply.text());
        reply.json()["results"].as_array().unwrap().clone()
    }

    /// The value under a key of the session.
    fn look(&mut self, server: &dyn Server, name: &str) -> Value {
        self.run(server, &json!([["get", name]])).remove(0)
    }
}

/// A `Set-Cookie` line without what depends on the moment, with Max-Age beside it.
fn shape(line: &str, key: &str) -> (String, Option<f64>) {
    let mut max_age = None;
    let mut expires: Option<SystemTime> = None;
    let parts = line.split("; ").map(|part| match part.split_once('=') {
        Some(("expires", date)) => {
            expires = Some(date.parse::<HttpDate>().unwrap().into());
            "expires=…".to_owned()
        }
        Some(("Max-Age", seconds)) => {
            max_age = Some(seconds.parse::<f64>().unwrap());
            "Max-Age=…".to_owned()
        }
        Some(("sessionid", value)) if value == key => "sessionid=…".to_owned(),
        _ => part.to_owned(),
    });
    let shape = parts.collect::<Vec<_>>().join("; ");
    assert_eq!(max_age.is_some(), expires.is_some(), "{line}");
    if let (Some(max_age), Some(expires)) = (max_age, expires) {
        near(unix(expires) - unix(SystemTime::now()), max_age, line);
    }
    (shape, max_age)
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[track_caller]
fn near(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() <= 2.0, "{what}: {a} and {b}");
}

// --- Scenarios -----------------------------------------------------------------------------------

fn born_on_either_side(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        let before = pair.db.rows().len();
        let reply = visitor.ask(here, &json!([["set", "who", here.name()]]));
        assert_eq!(reply.set_cookies().len(), 1);
        let key = visitor.the_key();

        let reply = visitor.ask(there, &json!([["get", "who"], ["flags"]]));
        let results = &reply.json()["results"];
        assert_eq!((&results[0], &results[1]["key"]), (&json!(here.name()), &json!(key)));
        assert!(reply.set_cookies().is_empty(), "reading sets no cookie: {reply:?}");

        visitor.run(there, &json!([["set", "and", there.name()]]));
        assert_eq!(visitor.the_key(), key, "a write keeps the key");
        let items = json!([[["who", here.name()], ["and", there.name()]]]);
        for server in [here, there] {
            assert_eq!(Value::from(visitor.run(server, &json!([["items"]]))), items, "{}", server.name());
        }
        assert_eq!(visitor.client.cookies.len(), 1, "one cookie: {:?}", visitor.client.cookies);
        assert_eq!(pair.db.rows().len(), before + 1, "one row");
    }
}

fn login_is_read(pair: &Pair) {
    let mut visitor = pair.user();
    let key = visitor.the_key();
    let names = json!([["keys"], ["get", "_auth_user_id"], ["get", "_auth_user_backend"], ["user"]]);
    let results = visitor.run(&pair.ours, &names);
    assert_eq!(results[0], json!(["_auth_user_id", "_auth_user_backend", "_auth_user_hash"]));
    assert_eq!(results[1], "1");
    assert_eq!(results[2], "django.contrib.auth.backends.ModelBackend");
    assert_eq!(results[3], "1");
    assert_eq!(visitor.look(&pair.ours, "_auth_user_hash").as_str().unwrap().len(), 64);

    // A write of ours logs nobody out.
    visitor.run(&pair.ours, &json!([["set", "cart", [1, 2]]]));
    assert_eq!(visitor.the_key(), key);
    assert_eq!(visitor.run(&pair.django, &json!([["user"], ["get", "cart"]])), [json!(USER), json!([1, 2])]);
    assert_eq!(visitor.get(&pair.django, "/admin/").status, 200);
}

fn rendered_by_django(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(
        &pair.ours,
        &json!([["set", "greeting", "Grüße & <b>küsse</b>"], ["set", "list", [1, "zwei", null]]]),
    );
    let page = visitor.get(&pair.django, "/page").text();
    assert!(page.contains("<dt>greeting</dt><dd>Grüße &amp; &lt;b&gt;küsse&lt;/b&gt;</dd>"), "{page}");
    assert!(page.contains("<dt>list</dt><dd>[1, &#x27;zwei&#x27;, None]</dd>"), "{page}");
    assert_eq!(visitor.look(&pair.django, "list"), json!([1, "zwei", null]));
}

fn flush(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        visitor.run(there, &json!([["set", "k", 1]]));
        let (key, mut old) = (visitor.the_key(), visitor.clone());
        let reply = visitor.ask(here, &json!([["flush"]]));
        assert_eq!((reply.status, reply.set_cookies()), (200, vec![DELETION]), "{}", here.name());
        assert_eq!((visitor.key(), pair.db.row(&key)), (None, None));
        // A second tab still has the cookie.
        let reply = old.clone().ask(there, &json!([["get", "k"]]));
        assert_eq!(reply.json()["results"], json!([null]));
        assert_eq!(reply.set_cookies(), [DELETION], "{}", there.name());
        old.run(there, &json!([["set", "k", 2]]));
        assert_ne!(old.the_key(), key, "an ended session's key is not used again");
        assert_eq!(pair.db.row(&key), None);

        // What is written after a flush begins a new session.
        let mut visitor = old;
        let key = visitor.the_key();
        visitor.run(here, &json!([["flush"], ["set", "k", 3]]));
        assert_ne!(visitor.the_key(), key);
        assert_eq!((visitor.look(there, "k"), pair.db.row(&key)), (json!(3), None));
    }
}

fn cycle_key(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        visitor.run(there, &json!([["set", "k", 1]]));
        let (key, mut old, before) = (visitor.the_key(), visitor.clone(), pair.db.rows().len());
        visitor.run(here, &json!([["cycle_key"], ["set", "n", 2]]));
        assert_ne!(visitor.the_key(), key);
        assert_eq!(visitor.run(there, &json!([["get", "k"], ["get", "n"]])), [json!(1), json!(2)]);
        assert_eq!((pair.db.row(&key), pair.db.rows().len()), (None, before));
        assert_eq!(old.look(there, "k"), Value::Null);
        assert_eq!(old.key(), None, "the old key's cookie is deleted");
    }
}

fn admin_after_cycle_key(pair: &Pair) {
    let mut visitor = pair.user();
    let mut old = visitor.clone();
    visitor.run(&pair.ours, &json!([["cycle_key"]]));
    assert_ne!(visitor.key(), old.key());
    assert_eq!(visitor.get(&pair.django, "/admin/").status, 200);
    assert_eq!(visitor.get(&pair.django, "/admin/auth/user/").status, 200);
    assert_eq!(old.get(&pair.django, "/admin/").status, 302, "the old key is worth nothing");
}

fn anonymous_becomes_user(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.ours, &json!([["set", "cart", [7]]]));
    let mut old = visitor.clone();
    visitor.login(&pair.django);
    assert_ne!(visitor.key(), old.key(), "a login cycles the key");
    let program = json!([["get", "cart"], ["user"]]);
    assert_eq!(visitor.run(&pair.ours, &program), [json!([7]), json!("1")]);
    assert_eq!(old.run(&pair.ours, &program), [Value::Null, Value::Null]);
}

fn logout(pair: &Pair) {
    let mut visitor = pair.user();
    let (key, mut old) = (visitor.the_key(), visitor.clone());
    let reply = visitor.submit(&pair.django, "/admin/", "/admin/logout/", &[]);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.set_cookie("sessionid"), Some(DELETION));
    let reply = old.ask(&pair.ours, &json!([["user"]]));
    assert_eq!(reply.json()["results"], json!([null]));
    assert_eq!((reply.set_cookies(), pair.db.row(&key)), (vec![DELETION], None));

    let mut visitor = pair.user();
    let (key, mut old) = (visitor.the_key(), visitor.clone());
    visitor.run(&pair.ours, &json!([["flush"]]));
    assert_eq!((visitor.key(), pair.db.row(&key)), (None, None));
    for visitor in [&mut visitor, &mut old] {
        let reply = visitor.get(&pair.django, "/admin/");
        assert_eq!(reply.status, 302);
        assert!(reply.header("location").unwrap().starts_with("/admin/login/"), "{reply:?}");
    }
}

fn messages(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["message", "Saved: \u{201c}ü\u{201d}"], ["message", "Twice"]]));
    let left = pair.data(&visitor.the_key()).get_json("_messages").unwrap().to_owned();
    let ours = visitor.look(&pair.ours, "_messages");
    assert!(ours.as_str().unwrap().starts_with("[[\"__json_message\","), "{ours}");

    visitor.run(&pair.ours, &json!([["set", "k", 1], ["incr", "n"]]));
    assert_eq!(pair.data(&visitor.the_key()).get_json("_messages"), Some(left.as_str()));
    let page = visitor.get(&pair.django, "/page").text();
    assert!(page.contains("Saved: \u{201c}ü\u{201d}</li>") && page.contains("Twice</li>"), "{page}");
    assert_eq!(visitor.run(&pair.ours, &json!([["keys"]])), [json!(["k", "n"])], "shown once");
    assert!(!visitor.get(&pair.django, "/page").text().contains("Twice"));
}

fn values_of_django(pair: &Pair) {
    // Text for Python's JSON reader: Rust's own would refuse some of it, and round the rest.
    let values = [
        ("nested", r#"{"b":[1,[2,{"a":null}],{}],"a":{"":[true,false]}}"#),
        ("big", "123456789012345678901234567890123456789012345678901234567890"),
        ("negative", "-98765432109876543210"),
        ("five", "5"),
        ("five.0", "5.0"),
        ("tenth", "0.1"),
        ("tiny", "5e-324"),
        ("huge", "1.7976931348623157e+308"),
        ("minus zero", "-0.0"),
        ("nan", "NaN"),
        ("infinities", "[Infinity,-Infinity]"),
        ("lone", r#""\ud800 and \udfff""#),
        ("pair", r#""\ud83d\ude00""#),
        ("escapes", r#""\u0000\"\\/\b\f\n\r\t\u007f\u2028""#),
        (r"\u00fcn\u00ef", r#""\u00e4\u6f22""#),
        (r"lone \ud800 key", "1"),
        ("", r#""the empty key""#),
        ("zz", "1"),
        ("aa", "2"),
        ("null", "null"),
    ];
    let object: Vec<String> = values.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let object = format!("{{{}}}", object.join(","));
    let mut visitor = pair.visitor();
    let reply = visitor.ask_raw(&pair.django, &format!(r#"[["update", {object}]]"#));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let key = visitor.the_key();
    assert_eq!(pair.data(&key).to_json(), object, "Django's own text");
    let items = visitor.ask_raw(&pair.django, r#"[["items"]]"#).text();

    // Byte for byte, through each kind of change.
    visitor.run(&pair.ours, &json!([["set", "new", 1]]));
    let without_end = object.strip_suffix('}').unwrap();
    assert_eq!(pair.data(&key).to_json(), format!("{without_end},\"new\":1}}"));
    visitor.run(&pair.ours, &json!([["incr", "new"], ["set", "other", "ü"]]));
    assert_eq!(pair.data(&key).to_json(), format!("{without_end},\"new\":2,\"other\":\"\\u00fc\"}}"));
    visitor.run(&pair.ours, &json!([["del", "new"], ["pop", "other"]]));
    assert_eq!(pair.data(&key).to_json(), object);
    visitor.run(&pair.ours, &json!([["cycle_key"]]));
    let key = visitor.the_key();
    assert_eq!(pair.data(&key).to_json(), object);
    assert_eq!(visitor.ask_raw(&pair.django, r#"[["items"]]"#).text(), items, "what Django reads");

    // One value of them changed, in its place.
    visitor.run(&pair.ours, &json!([["set", "aa", 3]]));
    assert_eq!(pair.data(&key).to_json(), object.replace("\"aa\":2", "\"aa\":3"));

    // What Rust can hold of it.
    let five = visitor.run(&pair.ours, &json!([["get", "five"], ["get", "five.0"], ["get", "pair"]]));
    assert_eq!(five, [json!(5), json!(5.0), json!("😀")]);
    assert!(five[0].is_u64() && five[1].is_f64());
    assert_eq!(visitor.look(&pair.ours, "ünï"), "ä漢");
}

fn values_of_ours(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["set", "first", 1]]));
    let key = SessionKey::parse(&visitor.the_key()).unwrap();
    // Name, value in our JSON, and in Python's.
    let texts = [
        ("big", "123456789012345678901234567890123456789012345678901234567890", ""),
        ("lone", r#""\ud800 and \udfff""#, ""),
        ("unicode ü 漢 😀", r#""ü 漢 😀""#, r#""\u00fc \u6f22 \ud83d\ude00""#),
        ("nested", r#"{"z":[1,2.0,{"a":[]}],"a":null}"#, r#"{"z": [1, 2.0, {"a": []}], "a": null}"#),
    ];
    pair.db.with_store(async |store| {
        let session = Session::open(&store, &key).await.unwrap();
        for (name, text, _) in texts {
            session.insert(name, &RawValue::from_string(text.to_owned()).unwrap()).unwrap();
        }
        session.insert("five", &5).unwrap();
        session.insert("five.0", &5.0).unwrap();
        session.insert("u64", &u64::MAX).unwrap();
        session.insert("i128", &i128::MIN).unwrap();
        session.insert("tenth", &0.1).unwrap();
        session.insert("tiny", &5e-324).unwrap();
        session.insert("1e16", &1e16).unwrap();
        session.insert("1e-7", &1e-7).unwrap();
        session.insert("max", &f64::MAX).unwrap();
        session.insert("nan", &f64::NAN).unwrap();
        session.insert("zz", &1).unwrap();
        session.insert("aa", "\0\"\\/\u{8}\u{c}\n\r\t\u{7f}\u{2028}").unwrap();
        session.save().await.unwrap();
    });
    let mut expected: Vec<(&str, String)> = vec![("first", "1".into())];
    expected.extend(
        texts.map(|(name, ours, python)| (name, if python.is_empty() { ours } else { python }.into())),
    );
    let numbers = [
        ("five", "5"),
        ("five.0", "5.0"),
        ("u64", "18446744073709551615"),
        ("i128", "-170141183460469231731687303715884105728"),
        ("tenth", "0.1"),
        ("tiny", "5e-324"),
        ("1e16", "1e+16"),
        ("1e-7", "1e-07"),
        ("max", "1.7976931348623157e+308"),
        ("nan", "null"),
        ("zz", "1"),
        ("aa", r#""\u0000\"\\/\b\f\n\r\t\u007f\u2028""#),
    ];
    expected.extend(numbers.map(|(name, text)| (name, text.to_owned())));
    let read = |visitor: &mut Visitor, server: &dyn Server| {
        let program: Vec<Value> = expected.iter().map(|(name, _)| json!(["get", name])).collect();
        visitor.ask(server, &program.into()).text()
    };
    let values: Vec<&str> = expected.iter().map(|(_, text)| text.as_str()).collect();
    let answer = format!("{{\"results\": [{}]}}", values.join(", "));
    assert_eq!(read(&mut visitor, &pair.django), answer);
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(visitor.run(&pair.django, &json!([["keys"]])), [json!(names)], "the order of keys");

    // Django writes everything anew when it changes one key. The values are the same.
    visitor.run(&pair.django, &json!([["set", "more", true]]));
    assert_eq!(read(&mut visitor, &pair.django), answer);
    let data = pair.data(&visitor.the_key());
    for (name, text) in &expected {
        let compact =
            if *name == "nested" { text.replace(", ", ",").replace(": ", ":") } else { text.clone() };
        assert_eq!(data.get_json(name), Some(compact.as_str()), "{name}");
    }
    pair.db.with_store(async |store| {
        let session = Session::open(&store, &key).await.unwrap();
        assert_eq!(session.get::<i128>("i128").unwrap(), Some(i128::MIN));
        assert_eq!(session.get::<u64>("u64").unwrap(), Some(u64::MAX));
        assert_eq!(session.get::<f64>("tiny").unwrap(), Some(5e-324));
        assert_eq!(session.get::<f64>("max").unwrap(), Some(f64::MAX));
        assert_eq!(session.get::<f64>("1e16").unwrap(), Some(1e16));
        assert_eq!(session.get::<String>("unicode ü 漢 😀").unwrap().as_deref(), Some("ü 漢 😀"));
        assert_eq!(session.get::<Box<RawValue>>("lone").unwrap().unwrap().get(), r#""\ud800 and \udfff""#);
    });
}

/// When a session ends.
#[derive(Clone, Copy)]
enum Ends {
    After(f64),
    At(f64),
}

impl Ends {
    fn at(self, now: f64) -> f64 {
        match self {
            Self::After(seconds) => now + seconds,
            Self::At(time) => time,
        }
    }
}

fn expiry(pair: &Pair) {
    let now = unix(SystemTime::now());
    let whole = UNIX_EPOCH + Duration::from_secs(now as u64 + 5000);
    let micros = whole + Duration::from_micros(123_456);
    let elsewhere = to_iso(whole + Duration::from_secs(19_800)).replace("+00:00", "+05:30");
    let at = |time| Ends::At(unix(time));
    // Program, end, and whether the cookie ends with the browser.
    let everywhere = [
        (json!([["set_expiry", 300]]), Ends::After(300.0), false),
        (json!([["set_expiry", 0]]), Ends::After(TWO_WEEKS), true),
        (json!([["set_expiry", null]]), Ends::After(TWO_WEEKS), false),
        (json!([["set_expiry", 300], ["set_expiry", null]]), Ends::After(TWO_WEEKS), false),
        (json!([["set_expiry", 31_536_000]]), Ends::After(31_536_000.0), false),
        (json!([["set_expiry_in", 3600]]), Ends::At(now + 3600.0), false),
        (json!([["set_expiry_date", to_iso(whole)]]), at(whole), false),
        (json!([["set_expiry_date", to_iso(micros)]]), at(micros), false),
        (json!([["set_expiry_date", elsewhere]]), at(whole), false),
    ];
    // Numbers that only Python's forms allow.
    let of_django = [
        (json!([["set_expiry", 300.5]]), Ends::After(300.5), false),
        (json!([["set_expiry", false]]), Ends::After(TWO_WEEKS), true),
    ];
    for (here, there) in pair.both_ways() {
        let of_django = if here.name() == "Django" { &of_django[..] } else { &[] };
        for (program, ends, browser_close) in everywhere.iter().chain(of_django) {
            let what = format!("{} by {}", program, here.name());
            let mut visitor = pair.visitor();
            let mut ops = program.as_array().unwrap().clone();
            ops.insert(0, json!(["set", "k", 1]));
            let reply = visitor.ask(here, &ops.into());
            let (key, now) = (visitor.the_key(), unix(SystemTime::now()));
            let (first, max_age) = shape(reply.set_cookie("sessionid").unwrap(), &key);
            assert_eq!(max_age.is_none(), *browser_close, "{what}: {first}");
            let stored = pair.data(&key).get_json("_session_expiry").map(str::to_owned);
            near(unix(pair.db.row(&key).unwrap().expires), ends.at(now), &what);

            for server in [here, there] {
                let look = json!([["expiry_age"], ["expiry_date"], ["browser_close"]]);
                let results = visitor.run(server, &look);
                let now = unix(SystemTime::now());
                near(
                    results[0].as_f64().unwrap(),
                    ends.at(now) - now,
                    &format!("age at {}, {what}", server.name()),
                );
                near(
                    results[1].as_f64().unwrap(),
                    ends.at(now),
                    &format!("date at {}, {what}", server.name()),
                );
                assert_eq!(results[2], *browser_close, "at {}, {what}", server.name());
            }

            // The other side renews it: the same cookie, the same kind of end.
            let reply = visitor.ask(there, &json!([["set", "k", 2]]));
            let (second, other_max_age) = shape(reply.set_cookie("sessionid").unwrap(), &key);
            assert_eq!(first, second, "{what}");
            if let (Some(a), Some(b)) = (max_age, other_max_age) {
                near(a, b, &what);
            }
            near(unix(pair.db.row(&key).unwrap().expires), ends.at(unix(SystemTime::now())), &what);
            assert_eq!(pair.data(&key).get_json("_session_expiry").map(str::to_owned), stored, "{what}");
        }
    }
}

fn test_cookie(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        assert_eq!(visitor.run(there, &json!([["test_cookie_worked"]])), [false]);
        visitor.run(here, &json!([["set_test_cookie"], ["set", "k", 1]]));
        assert_eq!(visitor.look(there, "testcookie"), "worked");
        assert_eq!(visitor.run(there, &json!([["test_cookie_worked"], ["delete_test_cookie"]]))[0], true);
        assert_eq!(
            visitor.run(here, &json!([["test_cookie_worked"], ["keys"]])),
            [json!(false), json!(["k"])]
        );
        for server in [here, there] {
            let reply = visitor.ask(server, &json!([["delete_test_cookie"]]));
            assert_eq!(reply.status, 500, "{}: a KeyError in the language of the sites", server.name());
        }
    }
}

fn csrf_in_session(pair: &Pair) {
    let django = pair.django_with(&[("SECRET_KEY", SECRET), ("CSRF_USE_SESSIONS", "1")]);
    let mut visitor = pair.visitor();
    let form = visitor.get(&django, "/admin/login/").text();
    let token = form.split_once("csrfmiddlewaretoken\" value=\"").unwrap().1.split('"').next().unwrap();
    assert_eq!(visitor.client.cookies.len(), 1, "no cookie but the session's: {:?}", visitor.client.cookies);
    let secret = visitor.look(&pair.ours, "_csrftoken");
    assert_eq!(secret.as_str().unwrap().len(), 32);
    // Between the form and its sending we write, and give the session a new key.
    visitor.run(&pair.ours, &json!([["set", "k", 1], ["cycle_key"]]));
    let fields = [("csrfmiddlewaretoken", token), ("username", USER), ("password", PASSWORD)];
    visitor.requests.fetch_add(1, Ordering::Relaxed);
    let reply = visitor.client.post_form(&django.url("/admin/login/?next=/admin/"), &fields);
    assert_eq!(reply.status, 302, "{}", reply.text());
    assert_eq!(visitor.run(&pair.ours, &json!([["user"], ["get", "k"]])), [json!("1"), json!(1)]);
    assert_ne!(visitor.look(&pair.ours, "_csrftoken"), secret, "a login draws a new one");
}

fn no_fixation(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut expired = pair.visitor();
        expired.run(there, &json!([["set", "k", "old"], ["set_expiry", -10]]));
        // The cookie came expired, so the jar has dropped it.
        let mut expired =
            pair.db.rows().into_iter().filter(|row| row.expires < SystemTime::now()).map(|row| row.key);
        let expired = expired.next_back().unwrap();
        let mut deleted = pair.visitor();
        deleted.run(there, &json!([["set", "k", "old"]]));
        let copy = deleted.clone();
        copy.clone().run(there, &json!([["delete_row"]]));
        let unknown = "0123456789abcdefghijklmnopqrstuv".to_owned();
        for key in [&expired, &copy.the_key(), &unknown] {
            let row = pair.db.row(key);
            let reply = pair.visitor_with(key).ask(here, &json!([["get", "k"]]));
            assert_eq!(reply.json()["results"], json!([null]));
            assert_eq!(reply.set_cookies(), [DELETION], "{}: read", here.name());
            assert_eq!(pair.db.row(key), row);

            let before = pair.db.rows().len();
            let mut visitor = pair.visitor_with(key);
            visitor.run(here, &json!([["set", "k", "new"]]));
            assert_ne!(&visitor.the_key(), key, "{} adopted a key", here.name());
            assert_eq!((pair.db.row(key), pair.db.rows().len()), (row, before + 1));
            assert_eq!(visitor.look(there, "k"), "new");
        }
        pair.db.with_store(async |store| store.clear_expired().await.unwrap());
    }
}

/// Starts a request at `slow` that has loaded and saved its session once and now takes its time, does
/// something else meanwhile, and gives the slow request's answer.
///
/// The slow one's program: `seen` is set and saved, then comes `late`, and a sleep.
fn during(
    pair: &Pair,
    visitor: &Visitor,
    slow: &dyn Server,
    late: &[Value],
    meanwhile: impl FnOnce(),
) -> Reply {
    let key = visitor.the_key();
    let before = pair.db.row(&key).unwrap().text;
    let mut program = vec![json!(["set", "seen", true]), json!(["save"])];
    program.extend_from_slice(late);
    program.push(json!(["sleep", 2]));
    let mut tab = visitor.clone();
    thread::scope(|scope| {
        let slow = scope.spawn(move || tab.ask(slow, &program.into()));
        wait_until("the slow request should have saved", PATIENCE, || {
            pair.db.row(&key).unwrap().text != before
        });
        meanwhile();
        assert!(!slow.is_finished(), "what was to happen meanwhile took too long");
        slow.join().unwrap()
    })
}

fn writes_at_once(pair: &Pair) {
    // Ours is the slow one: what Django wrote meanwhile stays, and an update is made again on it.
    // The other way round Django writes back the whole dictionary that it once read.
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["set", "n", 1], ["set", "both", "before"], ["set", "gone", 1]]));
    let late = [
        json!(["incr", "n"]),
        json!(["set", "both", "ours"]),
        json!(["set", "a", 1]),
        json!(["del", "gone"]),
    ];
    let mut tab = visitor.clone();
    let reply = during(pair, &visitor, &pair.ours, &late, || {
        tab.run(&pair.django, &json!([["set", "n", 10], ["set", "both", "Django's"], ["set", "b", 2]]));
    });
    assert_eq!(reply.status, 200, "{}", reply.text());
    let items = visitor.run(&pair.django, &json!([["items"]])).remove(0);
    assert_eq!(items, json!([["n", 11], ["both", "ours"], ["seen", true], ["b", 2], ["a", 1]]));
}

fn ended_meanwhile(pair: &Pair) {
    let drop_changes = SessionSettings::default().on_interrupted(OnInterrupted::DropChanges);
    let dropping = pair.db.site(drop_changes, SecretKey::new(SECRET));
    thread::scope(|scope| {
        for end in ["flush", "cycle_key", "delete_row"] {
            for (slow, fast, drops) in [
                (&pair.ours as &dyn Server, &pair.django as &dyn Server, false),
                (&pair.django, &pair.ours, false),
                (&dropping, &pair.django, true),
            ] {
                scope.spawn(move || ended_by(pair, slow, fast, end, drops));
            }
        }
    });
    let late = |row: &Row| {
        Codec::new(SecretKey::new(SECRET)).decode(&row.text).is_ok_and(|data| data.get_json("late").is_some())
    };
    assert!(!pair.db.rows().iter().any(late), "nothing was stored of what came too late");
}

/// `fast` ends a session in the middle of a request at `slow`.
fn ended_by(pair: &Pair, slow: &dyn Server, fast: &dyn Server, end: &str, drops: bool) {
    let what = format!("{end} by {} during a request at {}", fast.name(), slow.name());
    let mut visitor = pair.visitor();
    visitor.run(fast, &json!([["set", "k", 1]]));
    let key = visitor.the_key();
    let mut tab = visitor.clone();
    let reply = during(pair, &visitor, slow, &[json!(["set", "late", true])], || {
        tab.run(fast, &json!([[end]]));
    });
    if drops {
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        assert_eq!(reply.json()["results"].as_array().unwrap().len(), 4, "the view's own response");
    } else {
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        let text = if slow.name() == "ours" { INTERRUPTED } else { "<h1>Bad Request (400)</h1>" };
        assert!(reply.text().contains(text), "{what}: {}", reply.text());
    }
    assert!(reply.set_cookies().is_empty(), "{what}: {reply:?}");
    assert_eq!(pair.db.row(&key), None, "{what}");
    if end == "cycle_key" {
        assert_ne!(tab.the_key(), key);
        let rest = tab.run(slow, &json!([["keys"]]));
        assert_eq!(rest, [json!(["k", "seen"])], "{what}: the session lives on under its new key");
    }
}

fn save_every_request(pair: &Pair) {
    let settings = SessionSettings::default().save_every_request(true);
    let ours = pair.db.site(settings, SecretKey::new(SECRET));
    let django = pair.django_with(&[("SECRET_KEY", SECRET), ("SESSION_SAVE_EVERY_REQUEST", "1")]);
    for (here, there) in [(&django as &dyn Server, &ours as &dyn Server), (&ours, &django)] {
        let mut visitor = pair.visitor();
        let reply = visitor.ask(here, &json!([["set", "k", 1], ["set_expiry", 600]]));
        let (key, data) = (visitor.the_key(), pair.data(&visitor.the_key()).to_json());
        let first = shape(reply.set_cookie("sessionid").unwrap(), &key);
        let mut saved = pair.db.row(&key).unwrap().expires;
        for server in [there, here, there] {
            for program in [None, Some(json!([["get", "k"]])), Some(json!([]))] {
                let what = format!("{}: {program:?}", server.name());
                thread::sleep(Duration::from_millis(2));
                let reply = match &program {
                    None => visitor.get(server, "/untouched"),
                    Some(program) => visitor.ask(server, program),
                };
                assert_eq!(reply.status, 200, "{what}");
                let line = reply.set_cookie("sessionid").unwrap_or_else(|| panic!("{what}: no cookie"));
                assert_eq!(shape(line, &key), first, "{what}");
                let row = pair.db.row(&key).unwrap();
                assert!(row.expires > saved, "{what}: the row lives longer");
                near(unix(row.expires), unix(SystemTime::now()) + 600.0, &what);
                saved = row.expires;
            }
            let reply = visitor.ask(server, &json!([["set", "k", 2], ["status", 500]]));
            assert!(reply.status == 500 && reply.set_cookies().is_empty(), "a failure saves nothing");
            assert_eq!(pair.db.row(&key).unwrap().expires, saved);
            assert_eq!(pair.data(&key).to_json(), data);
        }
        // A visitor without a session gets none.
        let before = pair.db.rows().len();
        for server in [here, there] {
            assert!(pair.visitor().get(server, "/untouched").set_cookies().is_empty());
            assert!(pair.visitor().ask(server, &json!([["get", "k"]])).set_cookies().is_empty());
        }
        assert_eq!(pair.db.rows().len(), before);
    }
}

fn clear_expired(pair: &Pair) {
    let clear = || pair.db.with_store(async |store| store.clear_expired().await.unwrap());
    clear(); // what other scenarios left
    for (here, by_django) in [(&pair.ours as &dyn Server, true), (&pair.django, false)] {
        let before = pair.db.rows();
        let mut live = pair.visitor();
        live.run(here, &json!([["set", "k", "live"]]));
        for n in 0..3 {
            pair.visitor().run(here, &json!([["set", "k", n], ["set_expiry", -10]]));
        }
        assert_eq!(pair.db.rows().len(), before.len() + 4, "expired rows stay until they are swept");
        if by_django {
            pair.django.manage("clearsessions");
        } else {
            assert_eq!(clear(), 3);
        }
        let rows = pair.db.rows();
        assert_eq!(rows.len(), before.len() + 1);
        assert!(before.iter().all(|row| rows.contains(row)), "the others are what they were");
        assert_eq!(live.look(&pair.django, "k"), "live");
        assert_eq!(live.look(&pair.ours, "k"), "live");
    }
}

fn rotation(pair: &Pair) {
    let with_fallback = [("SECRET_KEY", NEW_SECRET), ("SECRET_KEY_FALLBACKS", SECRET)];
    let django_both = pair.django_with(&with_fallback);
    let django_new = pair.django_with(&[("SECRET_KEY", NEW_SECRET)]);
    let settings = SessionSettings::default;
    let ours_both = pair.db.site(settings(), SecretKey::new(NEW_SECRET).with_fallbacks([SECRET]));
    let ours_new = pair.db.site(settings(), SecretKey::new(NEW_SECRET));
    let signed_by = |key: &str, secret: &str| {
        Codec::new(SecretKey::new(secret)).decode(&pair.db.row(key).unwrap().text).is_ok()
    };

    // Each side writes under the old key, the other one renews it.
    for (old, both, other_both, new) in [
        (
            &pair.django as &dyn Server,
            &ours_both as &dyn Server,
            &django_both as &dyn Server,
            &django_new as &dyn Server,
        ),
        (&pair.ours, &django_both, &ours_both, &ours_new),
    ] {
        let mut visitor = pair.visitor();
        visitor.run(old, &json!([["set", "cart", [1, 2]]]));
        let key = visitor.the_key();
        assert!(signed_by(&key, SECRET) && !signed_by(&key, NEW_SECRET));
        assert_eq!(visitor.look(both, "cart"), json!([1, 2]));
        assert!(signed_by(&key, SECRET), "reading renews nothing");
        visitor.run(both, &json!([["set", "seen", true]]));
        assert!(signed_by(&key, NEW_SECRET) && !signed_by(&key, SECRET));
        let items = json!([[["cart", [1, 2]], ["seen", true]]]);
        for server in [other_both, new, both] {
            assert_eq!(Value::from(visitor.run(server, &json!([["items"]]))), items, "{}", server.name());
        }
        assert_eq!(visitor.the_key(), key);
    }

    // A user: Django verifies its hash by the fallback, stores that of the new key, and cycles.
    let mut visitor = pair.user();
    let hash = visitor.look(&pair.ours, "_auth_user_hash");
    visitor.run(&ours_both, &json!([["set", "cart", 3]]));
    let key = visitor.the_key();
    assert_eq!(visitor.get(&django_both, "/admin/").status, 200);
    assert_ne!(visitor.the_key(), key);
    for ours in [&ours_both, &ours_new] {
        assert_eq!(visitor.run(ours, &json!([["user"], ["get", "cart"]])), [json!("1"), json!(3)]);
    }
    assert_ne!(visitor.look(&ours_new, "_auth_user_hash"), hash);
    assert_eq!(visitor.get(&django_new, "/admin/").status, 200);
}

fn wrong_secret(pair: &Pair) {
    let mut visitor = pair.user();
    visitor.run(&pair.ours, &json!([["set", "cart", [1, 2]]]));
    let key = visitor.the_key();
    let row = pair.db.row(&key);
    let settings = SessionSettings::default();
    let wrong = || SecretKey::new("another secret");
    let sites = [
        (false, pair.db.site(settings.clone(), wrong())),
        (true, pair.db.site(settings.save_every_request(true), wrong())),
    ];
    // What leaves everything as it is, and what begins a session beside it.
    let harmless = [
        json!([["get", "cart"], ["keys"], ["has", "cart"], ["user"]]),
        json!([["expiry_age"], ["browser_close"], ["pop", "cart"], ["del", "cart"]]),
        json!([]),
        json!([["clear"]]),
        json!([["save"]]),
        json!([["modified"]]),
        json!([["get", "cart"], ["status", 500]]),
        json!([["set", "cart", 0], ["status", 500]]),
        json!([["set", "cart", 0], ["status", 503]]),
        json!([["cycle_key"], ["status", 500]]),
        json!([["set", "cart", 0], ["raise"]]),
    ];
    let writes = [
        json!([["set", "cart", 0]]),
        json!([["incr", "n"], ["save"], ["incr", "n"]]),
        json!([["cycle_key"]]),
        json!([["clear"], ["update", {"cart": 0}]]),
        json!([["set_expiry", 10]]),
    ];
    let logs = logs::capture_all_threads();
    let (mut loads, mut keys) = (0, vec![key.clone()]);
    let mut check = |every: &bool, site: &Site, program: &Value, writes: bool| {
        let mut tab = visitor.clone();
        let reply = tab.ask(site, program);
        loads += usize::from(*every || *program != json!([]));
        let what = format!("{program}, save_every_request {every}: {reply:?}");
        assert_eq!(pair.db.row(&key), row, "{what}");
        assert_eq!(logs.with("Session data corrupted").len(), loads, "{what}");
        assert_eq!(tab.the_key() == key, !writes, "only a write begins a session of its own: {what}");
        keys.push(tab.the_key());
        // The row is the visitor's own again as soon as their browser presents it again.
        let mut tab = visitor.clone();
        assert_eq!(tab.run(&pair.django, &json!([["user"], ["get", "cart"]])), [json!(USER), json!([1, 2])]);
        assert_eq!(tab.get(&pair.django, "/admin/").status, 200, "{what}");
    };
    for (every, site) in &sites {
        for program in &harmless {
            check(every, site, program, false);
        }
        for program in &writes {
            check(every, site, program, true);
        }
    }
    let seen = visitor.clone().get(&sites[1].1, "/untouched");
    assert!(seen.set_cookies().is_empty(), "the cookie stays");
    assert_eq!(pair.db.row(&key), row);
    assert_eq!(logs.with("Session data corrupted").len(), loads + 1);
    for key in &keys {
        assert!(logs.with(key).is_empty(), "a session's key in the log: {:?}", logs.with(key));
    }

    // Only an explicit end ends it.
    visitor.run(&sites[0].1, &json!([["flush"]]));
    assert_eq!((visitor.key(), pair.db.row(&key)), (None, None));
}

fn new_password(pair: &Pair) {
    let change = |visitor: &mut Visitor, old: &str, new: &str| {
        let fields = [("old_password", old), ("new_password1", new), ("new_password2", new)];
        let page = "/admin/password_change/";
        let reply = visitor.submit(&pair.django, page, page, &fields);
        assert_eq!(reply.status, 302, "{}", reply.text());
    };
    let (mut visitor, mut elsewhere) = (pair.user(), pair.user());
    visitor.run(&pair.ours, &json!([["set", "cart", 1]]));
    let (mut old, hash) = (visitor.clone(), visitor.look(&pair.ours, "_auth_user_hash"));
    change(&mut visitor, PASSWORD, "battery staple");
    assert_ne!(visitor.key(), old.key(), "Django cycles the key");
    assert_eq!(visitor.run(&pair.ours, &json!([["user"], ["get", "cart"]])), [json!("1"), json!(1)]);
    assert_ne!(visitor.look(&pair.ours, "_auth_user_hash"), hash);
    assert_eq!(old.run(&pair.ours, &json!([["user"]])), [Value::Null]);

    // The user's other sessions end when Django looks at them. Until then the row is what it was: whoever
    // reads `_auth_user_id` alone, as this site does, has not asked whether the password is still the same.
    let key = elsewhere.the_key();
    assert_eq!(elsewhere.run(&pair.ours, &json!([["user"]])), [json!("1")]);
    assert_eq!(elsewhere.get(&pair.django, "/admin/").status, 302);
    assert_eq!(pair.db.row(&key), None);
    assert_eq!(elsewhere.run(&pair.ours, &json!([["user"]])), [Value::Null]);
    change(&mut visitor, "battery staple", PASSWORD);
}

/// Four threads at each side for two seconds. One row is written by all of ours; the others each by both
/// sides in turn, since Django's own writes at the same time as another one's would lose that.
fn both_under_load(pair: &Pair) {
    let end = Instant::now() + Duration::from_secs(2);
    let mut shared = pair.visitor();
    shared.run(&pair.django, &json!([["set", "n", 0]]));
    let (ours, turns) = thread::scope(|scope| {
        let ours: Vec<_> = (0..4)
            .map(|_| {
                let mut tab = shared.clone();
                scope.spawn(move || {
                    let mut done = 0;
                    while Instant::now() < end {
                        tab.run(&pair.ours, &json!([["incr", "n"]]));
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let turns: Vec<_> = (0..4)
            .map(|_| {
                let mut visitor = pair.visitor();
                scope.spawn(move || {
                    let mut done = 0;
                    while Instant::now() < end {
                        visitor.run(&pair.django, &json!([["incr", "django"]]));
                        visitor.run(&pair.ours, &json!([["incr", "ours"]]));
                        done += 1;
                    }
                    let counted = visitor.run(&pair.django, &json!([["get", "django"], ["get", "ours"]]));
                    assert_eq!(counted, [json!(done), json!(done)]);
                    done
                })
            })
            .collect();
        let sum = |threads: Vec<thread::ScopedJoinHandle<'_, i32>>| -> i32 {
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        };
        (sum(ours), sum(turns))
    });
    assert_eq!(shared.look(&pair.django, "n"), ours);
    assert!(ours > 10 && turns > 10, "{ours} and {turns} in two seconds");
    println!("    {ours} increments of ours on one row, {turns} by turns with Django on four");
}
