//! Requests over HTTP, with sessions in PostgreSQL.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use actix_django_session::{Error, LazySession, Session, SessionKey, SessionMiddleware, Store};
use actix_web::{HttpRequest, web};

use crate::{
    recorder::Recorder,
    support::{
        http::Client,
        postgres::Database,
        proc::{PATIENCE, wait_until},
        site::Site,
        stores::by_url,
    },
};

/// Serves handlers whose operations are known.
fn site(database: &Database, workers: usize) -> Site {
    async fn read(session: Session) -> Result<String, Error> {
        Ok(format!("{:?}", session.get::<u64>("n")?))
    }
    async fn write(session: Session) -> Result<String, Error> {
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).map(|n| n.to_string())
    }
    async fn cycle(session: Session) -> Result<&'static str, Error> {
        session.cycle_key().map(|()| "")
    }
    async fn log_out(session: LazySession) -> Result<&'static str, Error> {
        session.flush().map(|()| "")
    }
    /// Another request is faster.
    async fn conflict(session: Session, store: web::Data<Store>) -> Result<&'static str, Error> {
        let other = Session::open(&store, &session.session_key().unwrap()).await?.unwrap();
        other.insert("other", &1)?;
        other.save().await?;
        session.insert("n", &1).map(|()| "")
    }
    /// Another request logs out.
    async fn interrupted(session: Session, store: web::Data<Store>) -> Result<&'static str, Error> {
        session.insert("n", &2)?;
        store.delete(&session.session_key().unwrap()).await.map(|_| "")
    }
    async fn untouched(_: HttpRequest) -> &'static str {
        ""
    }
    let url = database.url().to_owned();
    Site::serve(workers, async move || {
        let store = by_url(&url).await;
        let session = SessionMiddleware::new(store.clone());
        move |config: &mut web::ServiceConfig| {
            let scope = web::scope("").wrap(session.clone()).app_data(web::Data::new(store.clone()));
            config.service(
                scope
                    .route("/untouched", web::get().to(untouched))
                    .route("/read", web::get().to(read))
                    .route("/write", web::get().to(write))
                    .route("/cycle", web::get().to(cycle))
                    .route("/log-out", web::get().to(log_out))
                    .route("/conflict", web::get().to(conflict))
                    .route("/interrupted", web::get().to(interrupted)),
            );
        }
    })
}

const COUNTED: &[&str] = &[
    "operations_total",
    "operation_seconds_count",
    "database_seconds_count",
    "batch_requests_count",
    "batch_requests_sum",
    "queue_seconds_count",
    "errors_total",
    "database_retries_total",
    "refused_requests_total",
    "locked_rows_total",
];

/// What the recorder shows after these operations with their results, and these requests for the database,
/// each in a batch of its own. `looks` are statements that look for a row that could not be saved.
fn counts(
    operations: &[(&str, &str, u32)],
    work: &[(&str, u32)],
    looks: u32,
    errors: &[&str],
) -> Vec<String> {
    let (mut all, mut times) = (Vec::new(), BTreeMap::new());
    for (operation, result, number) in operations {
        let labels = format!("engine=\"postgres\",operation=\"{operation}\"");
        all.push(format!("operations_total{{{labels},result=\"{result}\"}} {number}"));
        *times.entry(labels).or_insert(0) += number;
    }
    all.extend(times.iter().map(|(labels, number)| format!("operation_seconds_count{{{labels}}} {number}")));
    for (work, number) in work {
        for name in ["batch_requests_count", "batch_requests_sum", "queue_seconds_count"] {
            all.push(format!("{name}{{operation=\"{work}\"}} {number}"));
        }
        let statements = if *work == "load" { number + looks } else { *number };
        all.push(format!("database_seconds_count{{operation=\"{work}\"}} {statements}"));
    }
    all.extend(errors.iter().map(|kind| format!("errors_total{{kind=\"{kind}\"}} 1")));
    all.sort();
    all
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn every_request_is_counted_exactly() {
    let mut recorder = Recorder::new();
    let database = Database::fresh();
    let site = site(&database, 1);
    let mut keys = BTreeSet::new();
    let mut expect = |client: &mut Client, path: &str, status: u16, expected: Vec<String>| {
        recorder.begin();
        let reply = client.get(&site.url(path));
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        let mut changes = recorder.changes(COUNTED);
        changes.sort();
        assert_eq!(changes, expected, "{path}");
        keys.extend(client.cookies.get("sessionid").cloned());
    };
    let loaded = ("load", "found", 1);
    let created = || counts(&[("create", "done", 1)], &[("create", 1)], 0, &[]);
    let loaded_and = |saved| counts(&[loaded, saved], &[("load", 1), ("save", 1)], 0, &[]);

    let mut client = Client::new();
    expect(&mut client, "/untouched", 200, vec![]);
    expect(&mut client, "/read", 200, vec![]); // without a cookie there is nothing to load
    expect(&mut client, "/write", 200, created());
    expect(&mut client, "/untouched", 200, vec![]);
    expect(&mut client, "/read", 200, counts(&[loaded], &[("load", 1)], 0, &[]));
    expect(&mut client, "/write", 200, loaded_and(("update", "done", 1)));
    expect(&mut client, "/cycle", 200, loaded_and(("rename", "done", 1)));
    let operations = [("load", "found", 2), ("update", "conflict", 1), ("update", "done", 2)];
    expect(&mut client, "/conflict", 200, counts(&operations, &[("load", 2), ("save", 3)], 1, &[]));
    expect(&mut client, "/log-out", 200, counts(&[("delete", "done", 1)], &[("delete", 1)], 0, &[]));

    client.cookies.insert("sessionid".to_owned(), SessionKey::generate().as_str().to_owned());
    expect(&mut client, "/read", 200, counts(&[("load", "missing", 1)], &[("load", 1)], 0, &[]));

    let mut client = Client::new();
    expect(&mut client, "/write", 200, created());
    let operations = [loaded, ("delete", "done", 1), ("update", "gone", 1)];
    let work = [("load", 1), ("delete", 1), ("save", 1)];
    expect(&mut client, "/interrupted", 400, counts(&operations, &work, 1, &["interrupted"]));

    let mut client = Client::new();
    expect(&mut client, "/write", 200, created());
    database.query("UPDATE django_session SET session_data = 'e30:1abcde:forged'");
    expect(&mut client, "/read", 200, counts(&[("load", "unreadable", 1)], &[("load", 1)], 0, &[]));

    let text = recorder.text();
    assert_eq!(keys.len(), 4);
    for key in keys {
        assert!(!text.contains(&key), "a session key is in the metrics");
    }
    for line in [
        "# HELP actix_django_session_operations_total Operations of a store: loads, and attempts to save.",
        "# TYPE actix_django_session_operations_total counter",
        "# TYPE actix_django_session_queue_requests gauge",
        "# TYPE actix_django_session_queue_seconds histogram",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}");
    }
    assert!(!text.contains(database.url()) && !text.contains("127.0.0.1") && !text.contains("/write"));
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn batches_count_each_of_many_concurrent_requests() {
    const CLIENTS: u32 = 16;
    const REQUESTS: u32 = 25;
    let mut recorder = Recorder::new();
    let database = Database::fresh();
    let connections = recorder.value("connections");
    let site = site(&database, 2);
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut client = Client::new();
            assert_eq!(client.get(&site.url("/write")).status, 200);
            client
        })
        .collect();
    assert!(recorder.value("connections") > connections);
    recorder.begin();
    thread::scope(|scope| {
        for mut client in clients {
            let site = &site;
            scope.spawn(move || {
                for _ in 0..REQUESTS {
                    assert_eq!(client.get(&site.url("/write")).status, 200);
                }
            });
        }
    });
    let all = CLIENTS * REQUESTS;
    let counted = |names: &[&str]| recorder.changes(names);
    let queued = ["load", "save"].map(|work| format!("{{operation=\"{work}\"}} {all}"));
    assert_eq!(
        counted(&["batch_requests_sum"]),
        queued.clone().map(|rest| format!("batch_requests_sum{rest}"))
    );
    assert_eq!(counted(&["queue_seconds_count"]), queued.map(|rest| format!("queue_seconds_count{rest}")));
    let operations = counted(&["operations_total"]);
    let labels =
        |operation, result| format!("engine=\"postgres\",operation=\"{operation}\",result=\"{result}\"");
    let expected = [("load", "found"), ("update", "done")]
        .map(|(operation, result)| format!("operations_total{{{}}} {all}", labels(operation, result)));
    assert_eq!(operations, expected);
    for work in ["load", "create", "save", "delete"] {
        assert_eq!(recorder.value(&format!("queue_requests{{operation=\"{work}\"}}")), 0.0);
    }
    assert_eq!(recorder.value("connection_waiters"), 0.0);
    drop(site);
    wait_until("the connections should be closed", PATIENCE, || recorder.value("connections") <= connections);
}
