//! The PostgreSQL store: its statements, its table, and every way in which a database can be in trouble.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant, SystemTime};

use actix_django_session::{
    PostgresStore, SecretKey, Session, SessionKey, SessionSettings,
    store::{Loaded, SessionData, SessionStore as _},
};
use serde_json::json;
use support::{
    django::Django,
    http::Client,
    logs,
    postgres::{Database, PrivateServer, query},
    site::Site,
};

fn secret() -> SecretKey {
    SecretKey::new("a secret that no log may hold")
}

async fn store(url: &str) -> PostgresStore {
    let store = PostgresStore::connect(url, secret()).await.unwrap();
    store.create_table().await.unwrap();
    store
}

async fn message(url: &str) -> String {
    let error = PostgresStore::connect(url, secret()).await.unwrap_err();
    assert!(!error.with_causes().contains("hunter2"), "{}", error.with_causes());
    error.with_causes()
}

/// What the server logged as executed, without the checks and DDL of the test itself.
fn statements(log: &str) -> Vec<String> {
    let executed = log.lines().filter_map(|line| line.split_once("execute ").map(|(_, rest)| rest));
    executed.map(|rest| rest.split_once(": ").map_or(rest, |(_, sql)| sql).to_owned()).collect()
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn each_request_sends_as_few_statements_as_it_can() {
    let server = PrivateServer::start(&[("log_statement", "all"), ("fsync", "off")]);
    let url = server.url();
    let site = Site::start(SessionSettings::default(), async move || store(&url).await);
    let mut client = Client::new();
    let mut sent = |ops: serde_json::Value| {
        let before = statements(&server.log()).len();
        let reply = client.post_json(&site.url("/ops"), &ops);
        assert_eq!(reply.status, 200);
        let verbs = statements(&server.log()).split_off(before);
        verbs.iter().map(|sql| sql.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let nothing: [&str; 0] = [];
    assert_eq!(sent(json!([])), nothing, "without a cookie, untouched");
    assert_eq!(sent(json!([["get", "a"]])), nothing, "without a cookie, read");
    assert_eq!(sent(json!([["set", "a", 1]])), ["INSERT"]);
    assert_eq!(sent(json!([])), nothing, "with a cookie, untouched");
    assert_eq!(sent(json!([["get", "a"]])), ["SELECT"]);
    assert_eq!(sent(json!([["set", "b", 1], ["get", "a"]])), ["SELECT", "UPDATE"]);
    assert_eq!(sent(json!([["cycle_key"]])), ["SELECT", "UPDATE"]);
    assert_eq!(sent(json!([["cycle_key"], ["set", "c", 1]])), ["SELECT", "UPDATE"]);
    assert_eq!(sent(json!([["flush"], ["set", "d", 1]])), ["SELECT", "UPDATE"]);
    assert_eq!(sent(json!([["flush"]])), ["SELECT", "DELETE"]);
    assert!(!server.log().contains("BEGIN") || server.log().matches("BEGIN").count() == 1, "no transactions");
    let mut junk = Client::new();
    let before = statements(&server.log()).len();
    for cookie in
        ["sessionid=\"abcdefg\\000hij\"", "sessionid=short", &format!("sessionid={}", "x".repeat(8192))]
    {
        let headers = [("cookie", cookie), ("content-type", "application/json")];
        let reply = junk.request("POST", &site.url("/ops"), &headers, Some(b"[[\"get\",\"a\"]]"));
        assert_eq!(reply.status, 200, "{cookie:.40}");
    }
    assert_eq!(statements(&server.log()).len(), before, "an impossible key costs no query");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
async fn create_table_makes_what_django_makes() {
    let describe = |database: &Database| {
        let columns = "SELECT column_name, data_type, character_maximum_length, is_nullable, column_default \
            FROM information_schema.columns WHERE table_name = 'django_session' ORDER BY ordinal_position";
        let indexes =
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'django_session' ORDER BY 1";
        let constraints = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint \
            WHERE conrelid = 'django_session'::regclass ORDER BY 1";
        [columns, indexes, constraints].map(|sql| database.query(sql))
    };
    let ours = Database::fresh();
    store(ours.url()).await.create_table().await.unwrap(); // twice: what is there stays
    for version in Django::versions() {
        let theirs = Database::fresh();
        Django::start(&version, theirs.url(), &[("SECRET_KEY", "x")]).prepare();
        assert_eq!(describe(&ours), describe(&theirs), "Django {}", version.name);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_url_or_server_that_cannot_be_right_is_named_at_once() {
    let database = Database::fresh();
    let with = |from: &str, to: &str| database.url().replacen(from, to, 1);
    assert!(message("nonsense").await.contains("postgres://user:password@host:port/database"));
    assert!(message("postgres://u:hunter2@127.0.0.1:notaport/x").await.contains("postgres://user"));
    assert!(message("postgres://u:hunter2@127.0.0.1:1/x").await.contains("the database is away"));
    let missing = database.url().rsplit_once('/').unwrap().0.to_owned() + "/no_such_database";
    assert!(message(&missing).await.contains("there is no such database"));
    let nobody = with("postgres@", "no_such_user:hunter2@");
    assert!(message(&nobody).await.contains("refuses this user"), "{}", message(&nobody).await);
    assert!(message(&format!("{}?sslmode=require", database.url())).await.contains("TLS"));
    let empty = PostgresStore::connect(database.url(), SecretKey::new("")).await.unwrap_err();
    assert!(empty.is_configuration() && empty.to_string().contains("SECRET_KEY"), "{empty}");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_missing_table_or_right_is_named_and_answers_503() {
    let database = Database::fresh();
    let store = PostgresStore::connect(database.url(), secret()).await.unwrap();
    let missing = store.check().await.unwrap_err();
    assert!(missing.is_store() && missing.to_string().contains("manage.py migrate"), "{missing}");

    store.create_table().await.unwrap();
    store.check().await.unwrap();
    let role = database.url().rsplit_once('/').unwrap().1.to_owned();
    database
        .query(&format!("CREATE ROLE {role}_reader LOGIN; GRANT SELECT ON django_session TO {role}_reader"));
    let url = database.url().replacen("postgres@", &format!("{role}_reader@"), 1);
    let reader = PostgresStore::connect(&url, secret()).await.unwrap();
    let refused = reader.check().await.unwrap_err();
    assert!(refused.to_string().contains("GRANT SELECT, INSERT, UPDATE, DELETE"), "{refused}");

    let logs = logs::capture_all_threads();
    let site_url = url.clone();
    let site = Site::start(SessionSettings::default(), async move || {
        PostgresStore::connect(&site_url, secret()).await.unwrap()
    });
    let reply = actix_web::web::block(move || {
        let mut client = Client::new();
        assert_eq!(client.get(&site.url("/untouched")).status, 200);
        client.post_json(&site.url("/ops"), &json!([["set", "a", 1]]))
    });
    let reply = reply.await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (503, "Service unavailable"));
    assert!(reply.set_cookies().is_empty());
    assert!(!logs.with("GRANT SELECT").is_empty(), "the log says what to do");
    database.query(&format!("DROP OWNED BY {role}_reader; DROP ROLE {role}_reader"));
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_that_goes_away_answers_503_and_is_used_again_when_it_is_back() {
    let mut server = PrivateServer::start(&[]);
    let url = server.url();
    let site = Site::start(SessionSettings::default(), async move || store(&url).await);
    let mut client = Client::new();
    let read = json!([["get", "a"]]);
    assert_eq!(client.post_json(&site.url("/ops"), &json!([["set", "a", 1]])).status, 200);
    let cookies = client.cookies.clone();
    for stop in [PrivateServer::stop_fast, PrivateServer::kill] {
        stop(&mut server);
        assert_eq!(client.post_json(&site.url("/ops"), &read).status, 503);
        assert_eq!(client.post_json(&site.url("/ops"), &json!([["set", "b", 1]])).status, 503);
        assert_eq!(client.get(&site.url("/untouched")).status, 200);
        server.start_again();
        // The first requests meet what is left of the old connections, and must not show it.
        for _ in 0..10 {
            let reply = client.post_json(&site.url("/ops"), &read);
            assert_eq!((reply.status, reply.json()), (200, json!({"results": [1]})));
        }
    }
    assert_eq!(client.cookies, cookies, "nobody was logged out");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_connection_cut_in_between_is_replaced_and_nothing_is_done_twice() {
    let database = Database::fresh();
    let url = database.url().to_owned();
    let site = Site::start_with(1, SessionSettings::default(), async move || store(&url).await);
    let mut client = Client::new();
    for n in 1..=20 {
        // Of this database: other tests use the server at the same time.
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        let reply = client.post_json(&site.url("/ops"), &json!([["incr", "n"]]));
        assert_eq!((reply.status, reply.json()), (200, json!({"results": [n]})));
    }
    assert_eq!(database.query("SELECT count(*) FROM django_session")[0][0].as_deref(), Some("1"));
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_that_hangs_answers_503_within_the_deadline() {
    let server = PrivateServer::start(&[]);
    let url = server.url();
    let site = Site::start(SessionSettings::default(), async move || {
        store(&url).await.deadline(Duration::from_millis(500))
    });
    let mut client = Client::new();
    assert_eq!(client.post_json(&site.url("/ops"), &json!([["set", "a", 1]])).status, 200);
    server.pause();
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(client.post_json(&site.url("/ops"), &json!([["get", "a"]])).status, 503);
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
    assert_eq!(client.get(&site.url("/untouched")).status, 200, "what needs no session is served");
    server.resume();
    let reply = client.post_json(&site.url("/ops"), &json!([["get", "a"]]));
    assert_eq!((reply.status, reply.json()), (200, json!({"results": [1]})));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_visitor_who_leaves_frees_the_connection() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    let session = Session::create(&store);
    session.insert("a", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let blocker = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    actix_web::rt::spawn(blocker.1);
    blocker.0.batch_execute("BEGIN; LOCK TABLE django_session").await.unwrap();
    for _ in 0..50 {
        // Dropped while the statement waits for the lock, as when a client hangs up.
        let cut = tokio::time::timeout(Duration::from_millis(5), store.load(&key)).await;
        assert!(cut.is_err());
    }
    blocker.0.batch_execute("COMMIT").await.unwrap();
    let start = Instant::now();
    assert!(matches!(store.load(&key).await.unwrap(), Loaded::Found(_)));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn large_and_foreign_sessions_work() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    let session = Session::create(&store);
    session.insert("large", &"x".repeat(2 << 20)).unwrap();
    session.extend((0..10_000).map(|n| (format!("key{n}"), n))).unwrap();
    session.save().await.unwrap();
    let again = Session::open(&store, &session.session_key().unwrap()).await.unwrap();
    assert_eq!(again.get::<String>("large").unwrap().unwrap().len(), 2 << 20);
    assert_eq!(again.keys().len(), 10_001);

    let foreign = SessionKey::parse(&format!("{:A<40}", "foreign-key_")).unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    store.create(&foreign, &SessionData::from_json("{}").unwrap(), later).await.unwrap();
    let session = Session::open(&store, &foreign).await.unwrap();
    assert_eq!(session.session_key().as_ref(), Some(&foreign));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_session_beyond_the_limit_is_refused_and_the_row_stays() {
    let database = Database::fresh();
    let codec = actix_django_session::codec::Codec::new(secret()).max_session_bytes(1000);
    let small = PostgresStore::connect(database.url(), codec).await.unwrap();
    small.create_table().await.unwrap();
    let session = Session::create(&small);
    session.insert("a", &1).unwrap();
    session.save().await.unwrap();
    session.insert("large", &"x".repeat(1000)).unwrap();
    let error = session.save().await.unwrap_err();
    assert!(error.is_too_large() && error.to_string().contains("max_session_bytes (1000)"), "{error}");
    session.discard("large").unwrap();
    session.save().await.unwrap();

    // Written by a site without that limit: not ours to read, nor to overwrite.
    let large = store(database.url()).await;
    let session = Session::open(&large, &session.session_key().unwrap()).await.unwrap();
    session.insert("large", &"x".repeat(5000)).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let before = query(database.url(), "SELECT * FROM django_session");
    let seen = Session::open(&small, &key).await.unwrap();
    assert_eq!(seen.get::<u32>("a").unwrap(), None);
    seen.insert("b", &1).unwrap();
    seen.save().await.unwrap();
    assert_ne!(seen.session_key(), Some(key));
    assert!(query(database.url(), "SELECT * FROM django_session").contains(&before[0]));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn clearing_passes_by_what_others_hold() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    database.query(
        "INSERT INTO django_session SELECT 'expired' || lpad(n::text, 25, '0'), 'x', now() - interval '1 hour' \
         FROM generate_series(1, 2500) AS n; \
         INSERT INTO django_session VALUES ('livelivelive', 'x', now() + interval '1 hour')",
    );
    let (holder, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    actix_web::rt::spawn(connection);
    holder
        .batch_execute("BEGIN; SELECT * FROM django_session ORDER BY session_key LIMIT 10 FOR UPDATE")
        .await
        .unwrap();
    assert_eq!(store.clear_expired().await.unwrap(), 2490);
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.clear_expired().await.unwrap(), 10);
    assert_eq!(database.query("SELECT session_key FROM django_session"), [[Some("livelivelive".to_owned())]]);
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_create_table_that_fails_leaves_no_transaction_behind() {
    let database = Database::fresh();
    store(database.url()).await;
    let role = database.url().rsplit_once('/').unwrap().1.to_owned() + "_user";
    database.query(&format!("CREATE ROLE {role} LOGIN; GRANT ALL ON django_session TO {role}"));
    let url = database.url().replacen("postgres@", &format!("{role}@"), 1);
    let store = PostgresStore::connect(&url, secret()).await.unwrap();
    for _ in 0..3 {
        let refused = store.create_table().await.unwrap_err();
        assert!(refused.to_string().contains("GRANT CREATE ON SCHEMA"), "{refused}");
        assert!(matches!(store.load(&SessionKey::generate()).await.unwrap(), Loaded::Missing));
    }
    database.query(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn errors_of_the_database_do_not_quote_the_row() {
    let database = Database::fresh();
    let store = store(database.url()).await;
    database.query("ALTER TABLE django_session ADD COLUMN account int NOT NULL");
    let key = SessionKey::generate();
    let later = SystemTime::now() + Duration::from_secs(60);
    let error = store.create(&key, &SessionData::from_json("{}").unwrap(), later).await.unwrap_err();
    assert!(error.to_string().contains("further column"), "{error}");
    for text in [error.with_causes(), format!("{error:?}")] {
        assert!(!text.contains(key.as_str()) && !text.contains("e30:"), "{text}");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn many_writers_of_one_session_all_answer_within_the_deadline() {
    let database = Database::fresh();
    let store = store(database.url()).await.deadline(Duration::from_secs(1));
    let session = Session::create(&store);
    session.insert("n", &0).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let mut writers = Vec::new();
    for _ in 0..20 {
        let session = Session::open(&store, &key).await.unwrap();
        session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
        writers.push(session);
    }
    let (blocker, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    actix_web::rt::spawn(connection);
    blocker.batch_execute("BEGIN; LOCK TABLE django_session").await.unwrap();
    let start = Instant::now();
    let saves = futures_util::future::join_all(writers.iter().map(Session::save)).await;
    assert!(saves.iter().all(|save| save.as_ref().is_err_and(|error| error.is_store())));
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    blocker.batch_execute("COMMIT").await.unwrap();
}
