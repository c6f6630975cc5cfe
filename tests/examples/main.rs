//! The examples as a newcomer meets them: started as programs, over HTTP and in a real browser.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod databases;
mod django_middleware;
mod production;
mod proxy;
mod quickstart;
mod shared_login;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use actix_django_session::{SecretKey, codec::Codec};

use crate::support::{
    http::{Client, Reply},
    proc::{Group, free_port},
};

const SECRET: &str = "the secret of this test";

/// An example's program, beside this test's. `cargo test --test examples` alone would not build it.
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
    for setting in [
        "PORT",
        "DATABASE_URL",
        "CREATE_TABLE",
        "SECRET_KEY",
        "MAINTENANCE_FILE",
        "PYTHON",
        "DEMO_DIR",
        "DEBUG",
    ] {
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

/// The HTML of a page.
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
