//! The examples as a newcomer meets them: started as programs, over HTTP and in a real browser.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use actix_django_session::{SecretKey, codec::Codec};
use support::{
    browser::Browser,
    http::{Client, Reply},
    postgres::{Database, PrivateServer},
    proc::{Group, TempDir, free_port},
};

const SECRET: &str = "the secret of this test";

/// An example's program, beside this test's. `cargo test --test quickstart` alone would not build it.
fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let exe = std::env::current_exe().unwrap();
        let dir = exe.ancestors().nth(2).unwrap(); // target/debug, above deps
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--offline", "--examples"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if dir.file_name().is_some_and(|name| name == "release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the examples do not build");
        dir.join("examples")
    });
    dir.join(name)
}

fn command(name: &str, dir: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(example(name));
    for setting in ["PORT", "DATABASE_URL", "CREATE_TABLE", "SECRET_KEY", "MAINTENANCE_FILE"] {
        command.env_remove(setting);
    }
    command.current_dir(dir).envs(settings.iter().copied());
    command
}

/// A running example, ended with this.
struct Server {
    group: Group,
    url: String,
}

impl Server {
    fn start(name: &str, dir: &Path, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut command = command(name, dir, settings);
        let mut group = Group::start(name, command.env("PORT", port.to_string()), &dir.join("log"));
        group.wait_for_port(port);
        Self { group, url: format!("http://127.0.0.1:{port}") }
    }

    /// The quickstart with SQLite in `dir`.
    fn sqlite(dir: &Path) -> Self {
        Self::start("quickstart", dir, &[("SECRET_KEY", SECRET)])
    }

    fn page(&self, client: &mut Client) -> Page {
        Page::of(client.get(&self.url))
    }

    /// Posts a form, and goes where it leads.
    fn post(&self, client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Page {
        let reply = client.post_form(&format!("{}{path}", self.url), fields);
        assert_eq!(reply.status, 303, "{path}: {}", reply.text());
        Page::of(client.follow(&reply))
    }
}

/// What the page says.
struct Page(String);

impl Page {
    fn of(reply: Reply) -> Self {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        Self(reply.text())
    }

    fn between(&self, start: &str, end: &str) -> &str {
        let (_, rest) = self.0.split_once(start).unwrap_or_else(|| panic!("no {start} in {}", self.0));
        rest.split_once(end).unwrap().0
    }

    fn visits(&self) -> u64 {
        self.between("<strong>", "</strong>").parse().unwrap()
    }

    fn message(&self) -> &str {
        self.between("role=\"status\">", "</p>")
    }

    /// Keys and values, as the page's HTML has them.
    fn items(&self) -> Vec<(&str, &str)> {
        let item = |li: &'_ str| -> Option<(usize, usize, usize)> {
            Some((li.find("</b>")?, li.find("<code>")? + 6, li.find("</code>")?))
        };
        let lines = self.0.split("<li><b>").skip(1);
        lines.map(|li| item(li).map(|(key, value, end)| (&li[..key], &li[value..end])).unwrap()).collect()
    }

    fn has(&self, key: &str, value: &str) -> bool {
        self.items().contains(&(key, value))
    }

    /// session_key, session_data, expire_date.
    fn row(&self) -> [&str; 3] {
        ["session_key", "session_data", "expire_date"]
            .map(|column| self.between(&format!("id=\"{column}\">"), "</dd>"))
    }
}

/// Every row of a quickstart's SQLite file: key, dictionary, expiry.
fn rows(dir: &Path) -> Vec<(String, String, String)> {
    let db = rusqlite::Connection::open(dir.join("django_session.sqlite3")).unwrap();
    let mut select = db.prepare("SELECT session_key, session_data, expire_date FROM django_session").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))).unwrap();
    rows.map(Result::unwrap).map(|(key, text, expires)| (key, decode(&text), expires)).collect()
}

fn decode(text: &str) -> String {
    let mut data = Codec::new(SecretKey::new(SECRET)).decode(text).unwrap();
    data.remove("visits");
    data.to_json()
}

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
fn visits_are_counted_for_each_visitor_and_outlive_the_server() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let (mut ada, mut bob) = (Client::new(), Client::new());
    let first = ada.get(&server.url);
    let cookie = first.set_cookie("sessionid").unwrap();
    assert!(cookie.contains("HttpOnly; Max-Age=1209600; Path=/; SameSite=Lax"), "{cookie}");
    assert_eq!(first.header("vary"), Some("Cookie"));
    assert_eq!(Page::of(first).visits(), 1);
    assert_eq!(server.page(&mut ada).visits(), 2);
    assert_eq!(server.page(&mut bob).visits(), 1);
    assert_eq!(rows(dir.path()).len(), 2);

    drop(server);
    let server = Server::sqlite(dir.path());
    let page = server.page(&mut ada);
    assert_eq!(page.visits(), 3);
    assert_eq!(page.row()[0], ada.cookies["sessionid"]);
    assert_eq!(decode(page.row()[1]), "{}");
    assert!(
        rows(dir.path()).iter().any(|(key, _, expires)| [key, expires] == [page.row()[0], page.row()[2]])
    );
}

#[test]
fn values_are_set_and_removed_as_typed() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    let typed = [
        ("text", "Ada & Bob", "&quot;Ada &amp; Bob&quot;", r#""Ada & Bob""#),
        ("umlaut", "Zoë", r"&quot;Zo\u00eb&quot;", r#""Zo\u00eb""#),
        ("number", "42", "42", "42"),
        (
            "long",
            "123456789012345678901234567890",
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("float", "1.50", "1.50", "1.50"),
        (
            "list",
            r#"[1, {"b": null, "a": true}]"#,
            r#"[1, {&quot;b&quot;: null, &quot;a&quot;: true}]"#,
            r#"[1, {"b": null, "a": true}]"#,
        ),
        ("quoted", r#""42""#, "&quot;42&quot;", r#""42""#),
        ("nothing", "", "&quot;&quot;", r#""""#),
        ("broken", "{1", "&quot;{1&quot;", r#""{1""#),
    ];
    let mut stored = Vec::new();
    for (key, value, shown, json) in typed {
        let page = server.post(&mut client, "/set", &[("key", key), ("value", value)]);
        assert!(page.has(key, shown) && page.message() == "Stored.", "{key}: {:?}", page.items());
        stored.push(format!("\"{key}\":{json}"));
    }
    assert_eq!(rows(dir.path())[0].1, format!("{{{}}}", stored.join(",")));

    let page = server.post(&mut client, "/remove", &[("key", "list")]);
    assert!(page.items().len() == typed.len() && !page.items().iter().any(|(key, _)| *key == "list"));
    assert!(!rows(dir.path())[0].1.contains("list"));
}

#[test]
fn djangos_keys_are_refused_without_a_look_at_the_session() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    server.page(&mut client);
    for path in ["/set", "/remove"] {
        let before = rows(dir.path());
        let reply =
            client.post_form(&format!("{}{path}", server.url), &[("key", "_auth_user_id"), ("value", "1")]);
        assert_eq!((reply.status, reply.set_cookie("sessionid"), reply.header("vary")), (303, None, None));
        assert_eq!(rows(dir.path()), before);
        let page = Page::of(client.follow(&reply));
        assert!(page.message().contains("begin with _"), "{}", page.message());
        assert_eq!(page.items().len(), 1);
    }
    // What Django keeps there is shown, with no button to remove it.
    let page = server.post(&mut client, "/expiry", &[("expiry", "minute")]);
    assert!(page.has("_session_expiry", "60"));
    assert!(!page.0.contains("Remove _session_expiry"));
}

#[test]
fn what_is_typed_is_shown_as_text() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    let nasty = r#"<script>alert('x')</script>"><b {visits}"#;
    let page = server.post(&mut client, "/set", &[("key", nasty), ("value", nasty)]);
    assert!(!page.0.contains("<script") && !page.0.contains("\"><b "), "{}", page.0);
    assert_eq!(page.items().len(), 2);
    // Its button sends the same key.
    let page = server.post(&mut client, "/remove", &[("key", nasty)]);
    assert_eq!(page.items().len(), 1);
    let page = Page::of(client.get(&format!("{}/?did=%3Cscript%3E", server.url)));
    assert_eq!(page.message(), "");
    // A value of one's own under the page's key breaks nothing.
    for value in ["18446744073709551615", "many", "-1", "1e999", "[]"] {
        let page = server.post(&mut client, "/set", &[("key", "visits"), ("value", value)]);
        assert!(page.visits() == 1 || page.visits() == u64::MAX);
    }
}

#[test]
fn rotating_keeps_the_data_and_flushing_ends_the_session() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    server.post(&mut client, "/set", &[("key", "name"), ("value", "Ada")]);
    let before = rows(dir.path());
    let stale = client.clone();

    let reply = client.post_form(&format!("{}/rotate", server.url), &[]);
    let after = rows(dir.path());
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(after[0].0, before[0].0);
    assert_eq!(after[0].1, before[0].1);
    assert_eq!(client.cookies["sessionid"], after[0].0);
    let page = Page::of(client.follow(&reply));
    assert_eq!((page.visits(), page.row()[0]), (2, after[0].0.as_str()));
    assert!(page.has("name", "&quot;Ada&quot;") && page.message().starts_with("Same session, new key"));
    // The old key is nobody's.
    assert_eq!(server.page(&mut stale.clone()).visits(), 1);

    let reply = client.post_form(&format!("{}/flush", server.url), &[]);
    let cookie = reply.set_cookie("sessionid").unwrap();
    assert!(cookie.starts_with("sessionid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT"), "{cookie}");
    assert!(!rows(dir.path()).iter().any(|(key, ..)| *key == after[0].0));
    let page = Page::of(client.follow(&reply));
    assert_eq!((page.visits(), page.items().len()), (1, 1));
    assert!(page.message().starts_with("The old session is gone"));
    assert_ne!(client.cookies["sessionid"], after[0].0);
}

#[test]
fn the_end_can_be_chosen() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    for (choice, attributes, item, says) in [
        ("minute", "HttpOnly; Max-Age=60; Path=/", Some("60"), "expires in 60 seconds"),
        ("browser", "; HttpOnly; Path=/; SameSite=Lax", Some("0"), "expires with the browser"),
        ("default", "HttpOnly; Max-Age=1209600; Path=/", None, "expires in 14 days"),
    ] {
        let reply = client.post_form(&format!("{}/expiry", server.url), &[("expiry", choice)]);
        let cookie = reply.set_cookie("sessionid").unwrap();
        assert!(cookie.contains(attributes), "{choice}: {cookie}");
        let page = Page::of(client.follow(&reply));
        let found = page.items().into_iter().find(|(key, _)| *key == "_session_expiry");
        assert_eq!(found.map(|(_, value)| value), item);
        assert_eq!(page.between("id=\"expires\">", "</b>"), says);
    }
    let reply = client.post_form(&format!("{}/expiry", server.url), &[("expiry", "never")]);
    assert_eq!(reply.status, 400);
}

#[test]
fn a_health_check_touches_nothing() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    server.page(&mut client);
    let before = rows(dir.path());
    let reply = client.get(&format!("{}/health", server.url));
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok\n"));
    assert_eq!((reply.set_cookie("sessionid"), reply.header("vary")), (None, None));
    assert_eq!(rows(dir.path()), before);
}

#[test]
fn without_settings_it_says_where_it_is_and_that_the_key_is_known() {
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
fn what_cannot_work_ends_with_one_sentence() {
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
        ("sqlite://not/there/db.sqlite3", "see that its directory is there"),
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
fn a_table_that_goes_and_comes_back_is_a_page_that_tries_again() {
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

#[test]
#[ignore = "needs Chromium: run tests/run"]
fn in_a_browser_the_page_works_by_its_forms() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let browser = Browser::start();
    let key = || browser.cookie("sessionid").unwrap()["value"].as_str().unwrap().to_owned();
    browser.goto(&server.url);
    browser.wait_for_text(".visits", "1\nvisit");
    browser.click("header a");
    browser.wait_for_text(".visits", "2\nvisits");
    let cookie = browser.cookie("sessionid").unwrap();
    assert_eq!((&cookie["httpOnly"], &cookie["sameSite"]), (&true.into(), &"Lax".into()));
    assert_eq!(browser.script("return document.cookie"), "");

    let script = "<script>document.title = 'taken over'</script>";
    for (name, value) in [("name", "Ada Lovelace"), ("note", script)] {
        browser.type_text("form.set [name=key]", name);
        browser.type_text("form.set [name=value]", value);
        browser.click("form.set button");
        browser.wait_for_text(".items li:last-child b", name);
        assert_eq!(browser.text(".items li:last-child code"), format!("\"{value}\""));
        assert_eq!(browser.text(".message"), "Stored.");
    }
    assert_eq!(browser.title(), "Your session");

    let before = key();
    assert_eq!(browser.text("#session_key"), before);
    browser.click("#rotate");
    browser.wait_for_text(".message", "Same session, new key");
    assert_ne!(key(), before);
    assert_eq!(browser.text("#session_key"), key());
    browser.wait_for_text(".items", "Ada Lovelace");

    browser.click("button[aria-label='Remove note']");
    browser.wait_for_text(".message", "Removed.");
    assert!(!browser.text(".items").contains("note"));
    browser.click("button[value=browser]");
    browser.wait_for_text("#expires", "expires with the browser");
    assert_eq!(browser.cookie("sessionid").unwrap().get("expiry"), None);
    browser.click("button[value=default]");
    browser.wait_for_text("#expires", "expires in 14 days");
    assert!(browser.cookie("sessionid").unwrap()["expiry"].is_u64());

    browser.type_text("form.set [name=key]", "_mine");
    browser.click("form.set button");
    browser.wait_for_text(".message", "begin with _");

    // As narrow as a phone, nothing sticks out; and nothing was fetched from anywhere else.
    browser.script("document.documentElement.style.width = '390px'");
    let out = "return [...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > 390).length";
    assert_eq!(browser.script(out), 0);
    assert_eq!(browser.script("return performance.getEntriesByType('resource').length"), 0);

    let before = key();
    browser.click("#flush");
    browser.wait_for_text(".message", "The old session is gone");
    browser.wait_for_text(".visits", "1\nvisit");
    assert!(!browser.text(".items").contains("Ada"));
    assert_ne!(key(), before);
    assert_eq!(rows(dir.path()).len(), 1);
}

#[test]
#[ignore = "needs Chromium: run tests/run"]
fn in_a_browser_the_page_comes_back_by_itself() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let browser = Browser::start();
    browser.goto(&server.url);
    browser.wait_for_text(".visits", "1\nvisit");
    let db = rusqlite::Connection::open(dir.path().join("django_session.sqlite3")).unwrap();
    db.execute_batch("ALTER TABLE django_session RENAME TO gone").unwrap();
    browser.click("#rotate");
    browser.wait_for_text("h1", "Back in a moment");
    db.execute_batch("ALTER TABLE gone RENAME TO django_session").unwrap();
    browser.wait_for_text(".visits", "2\nvisits");
}

#[test]
fn the_ported_django_middleware_does_what_the_python_does() {
    let dir = TempDir::new("django-middleware");
    let server = Server::start("django_middleware", dir.path(), &[("MAINTENANCE_FILE", "closed")]);
    let mut client = Client::new();
    for visits in ["1", "2"] {
        let reply = client.get(&server.url);
        assert_eq!((reply.status, reply.text()), (200, format!("Visit {visits}\n")));
        assert_eq!(reply.header("x-visits"), Some(visits));
        assert!(reply.header("server-timing").unwrap().starts_with("total;dur="));
        assert!(reply.set_cookie("sessionid").is_some());
    }
    std::fs::write(dir.path().join("closed"), "").unwrap();
    let reply = client.get(&server.url);
    assert_eq!((reply.status, reply.text().as_str()), (503, "Closed\n"));
    assert_eq!(reply.header("retry-after"), Some("600"));
    assert!(reply.header("server-timing").is_some());
    assert_eq!((reply.header("x-visits"), reply.set_cookie("sessionid")), (None, None));
    std::fs::remove_file(dir.path().join("closed")).unwrap();
    assert_eq!(client.get(&server.url).header("x-visits"), Some("3"));

    // Without the setting it is not in the chain.
    let server = Server::start("django_middleware", dir.path(), &[]);
    std::fs::write(dir.path().join("closed"), "").unwrap();
    assert_eq!(Client::new().get(&server.url).status, 200);
}
