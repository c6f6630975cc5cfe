//! The quickstart with settings that are missing or wrong, with PostgreSQL, and with a database that goes
//! away.

use std::path::Path;

use super::{SECRET, Server, command, decode};
use crate::support::{
    http::Client,
    postgres::{Database, PrivateServer},
    proc::{TempDir, free_port},
};

/// The end of a program that cannot do its work: not zero, and one sentence on standard error.
fn sentence(dir: &Path, settings: &[(&str, &str)]) -> String {
    let output = command("quickstart", dir, settings).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(1), "{settings:?}\n{stdout}\n{stderr}");
    assert!(!stdout.contains("http://"), "{stdout}");
    let line = stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{settings:?}: {stderr:?}"));
    assert!(!line.contains('\n') && line.starts_with("quickstart: "), "{settings:?}: {stderr}");
    assert!(!(stdout + &stderr).contains("hunter2"), "{stderr}");
    line.to_owned()
}

#[test]
fn without_settings_it_prints_its_address_and_a_warning() {
    let dir = TempDir::new("quickstart");
    let server = Server::start("quickstart", dir.path(), &[]);
    let log = server.group.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].starts_with("SECRET_KEY is not set"), "{log}");
    assert_eq!(lines[1], format!("Sessions in SQLite, django_session.sqlite3: open {}", server.url));
    assert!(dir.path().join("django_session.sqlite3").is_file());
}

#[test]
fn startup_errors_are_one_sentence() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let port = server.url.rsplit(':').next().unwrap();
    let said = sentence(dir.path(), &[("PORT", port)]);
    assert!(said.contains("cannot listen on") && said.contains("PORT"), "{said}");
    assert!(sentence(dir.path(), &[("PORT", "http")]).contains("PORT has to be"));
    assert!(sentence(dir.path(), &[("SECRET_KEY", "")]).contains("the secret key is empty"));

    let closed = format!("postgres://ada:hunter2@127.0.0.1:{}/ada", free_port());
    for (url, expected) in [
        ("mysql://ada:hunter2@localhost/ada", "DATABASE_URL has to be"),
        ("sqlite://", "DATABASE_URL has to be"),
        ("", "DATABASE_URL has to be"),
        ("postgres://ada:hunter2@localhost:port/ada", "the database URL is not of the form"),
        ("postgres://ada:hunter2@localhost/ada?sslmode=perhaps", "sslmode is disable, allow"),
        ("sqlite:///not/there/db.sqlite3", "see that its directory exists"),
        (&closed, "the database is away"),
    ] {
        let said = sentence(dir.path(), &[("PORT", "0"), ("DATABASE_URL", url)]);
        assert!(said.contains(expected), "{url}: {said}");
    }
    std::fs::write(dir.path().join("text"), "no database ".repeat(100)).unwrap();
    let said = sentence(dir.path(), &[("PORT", "0"), ("DATABASE_URL", "sqlite://text")]);
    assert!(said.contains("not an SQLite database"), "{said}");
}

#[test]
fn a_missing_table_is_a_page_that_retries() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    server.post(&mut client, "/set", &[("key", "name"), ("value", "Ada")]);
    let db = rusqlite::Connection::open(dir.path().join("django_session.sqlite3")).unwrap();
    db.execute_batch("ALTER TABLE django_session RENAME TO gone").unwrap();
    assert_away(&server, &mut client);
    db.execute_batch("ALTER TABLE gone RENAME TO django_session").unwrap();
    let page = server.page(&mut client);
    assert!(page.visits() == 2 && page.has("name", "&quot;Ada&quot;"));
}

/// Every page that needs the database is the one that says so; the visitor keeps the cookie.
fn assert_away(server: &Server, client: &mut Client) {
    let cookies = client.cookies.clone();
    let posts = [("/set", vec![("key", "k"), ("value", "v")]), ("/rotate", vec![]), ("/flush", vec![])];
    let replies = posts.map(|(path, fields)| client.post_form(&format!("{}{path}", server.url), &fields));
    let newcomer = Client::new().get(&server.url);
    for reply in replies.into_iter().chain([client.get(&server.url), newcomer]) {
        assert_eq!(reply.status, 503, "{}", reply.url);
        assert!(reply.text().contains("http-equiv=\"refresh\" content=\"3; url=/\""), "{}", reply.text());
        assert_eq!(reply.header("retry-after"), Some("3"));
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(reply.set_cookie("sessionid"), None);
    }
    assert_eq!(client.cookies, cookies);
    assert_eq!(client.get(&format!("{}/health", server.url)).status, 200);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn with_postgresql_it_does_the_same_and_creates_nothing_unasked() {
    let dir = TempDir::new("quickstart");
    let database = Database::fresh();
    let tables = || database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    let mut settings = vec![("DATABASE_URL", database.url()), ("SECRET_KEY", SECRET), ("PORT", "0")];
    let said = sentence(dir.path(), &settings);
    assert!(said.contains("manage.py migrate") && said.contains("CREATE_TABLE=1"), "{said}");
    assert!(tables().is_empty());
    let nowhere = format!("{}_not_there", database.url());
    let said = sentence(dir.path(), &[("DATABASE_URL", &nowhere), ("PORT", "0")]);
    assert!(said.contains("there is no such database"), "{said}");

    settings.push(("CREATE_TABLE", "1"));
    let server = Server::start("quickstart", dir.path(), &settings);
    assert_eq!(server.group.log(), format!("Sessions in PostgreSQL: open {}\n", server.url));
    assert!(!dir.path().join("django_session.sqlite3").exists());
    let mut client = Client::new();
    let page = server.post(&mut client, "/set", &[("key", "name"), ("value", "Ada")]);
    assert!(page.has("name", "&quot;Ada&quot;"));
    assert!(server.post(&mut client, "/rotate", &[]).has("name", "&quot;Ada&quot;"));
    drop(server);

    // Without CREATE_TABLE, since the table is there now.
    settings.pop();
    let server = Server::start("quickstart", dir.path(), &settings);
    let page = server.page(&mut client);
    assert_eq!(page.visits(), 3);
    let stored = database.query("SELECT session_key, session_data, expire_date FROM django_session");
    assert_eq!(stored.len(), 1);
    let stored: Vec<&str> = stored[0].iter().flatten().map(String::as_str).collect();
    assert_eq!(stored, page.row());
    assert_eq!(decode(stored[1]), r#"{"name":"Ada"}"#);
    let page = server.post(&mut client, "/flush", &[]);
    assert_eq!((page.visits(), page.items().len()), (1, 1));
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_database_that_stops_is_waited_for() {
    let dir = TempDir::new("quickstart");
    let mut postgres = PrivateServer::start(&[]);
    let url = postgres.url();
    let settings = [("DATABASE_URL", url.as_str()), ("SECRET_KEY", SECRET), ("CREATE_TABLE", "1")];
    let mut server = Server::start("quickstart", dir.path(), &settings);
    let mut client = Client::new();
    server.post(&mut client, "/set", &[("key", "name"), ("value", "Ada")]);
    for stop in [PrivateServer::stop_fast, PrivateServer::kill] {
        stop(&mut postgres);
        assert_away(&server, &mut client);
        let said = sentence(dir.path(), &[("DATABASE_URL", &url), ("PORT", "0")]);
        assert!(said.contains("the database is away"), "{said}");
        postgres.start_again();
        assert!(server.page(&mut client).has("name", "&quot;Ada&quot;"));
    }
    server.group.assert_running();
    assert_eq!(server.page(&mut client).visits(), 4);
}
