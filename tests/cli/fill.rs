//! A table of sessions that real Djangos have written.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    Cli, hide,
    support::{
        django::{Django, Version},
        postgres::{Database, query},
        proc,
    },
};

pub(crate) const SECRET: &str = "-the present secret with a dash";
pub(crate) const FORMER: &str = "the former secret";
pub(crate) const STRANGER: &str = "the secret of another site";
/// Of the vectors.
pub(crate) const OLD: &str = "django-insecure-!k3y-for-vectors_(0)#";

/// As fill.py tells them.
#[derive(Clone, Debug)]
pub(crate) struct Filled {
    pub(crate) key: String,
    pub(crate) user: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) expired: bool,
}

/// The table, and the sessions in it by what signed them.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) database: Database,
    pub(crate) present: Vec<Filled>,
    pub(crate) former: Vec<Filled>,
    pub(crate) strange: Vec<Filled>,
    /// From before Django 3.1, signed with `OLD`: key and JSON.
    pub(crate) old: Vec<(String, String)>,
    /// Of Django 4.2 with PickleSerializer, signed with `SECRET`.
    pub(crate) pickled: Vec<Filled>,
    pub(crate) garbage: Vec<String>,
}

impl Site {
    pub(crate) fn fill() -> Self {
        let database = Database::fresh();
        let versions = Django::versions();
        assert!(!versions.is_empty(), "no version of Django is installed");
        let fill = |secret, number, settings: &[(&str, &str)], only: &str| {
            let versions = versions.iter().filter(|version| version.name.starts_with(only));
            versions
                .flat_map(|version| fill(version, database.url(), secret, number, settings))
                .collect::<Vec<_>>()
        };
        let (present, former) = (fill(SECRET, 80, &[], ""), fill(FORMER, 20, &[], ""));
        let strange = fill(STRANGER, 10, &[], "");
        let pickle = [("SESSION_SERIALIZER", "django.contrib.sessions.serializers.PickleSerializer")];
        let pickled = fill(SECRET, 20, &pickle, "4.");
        let old = old_texts();
        for (key, text, _) in &old {
            insert(&database, key, text);
        }
        let garbage = ["", "no session's text", "bm90aGluZw==", "a:b:c", "\u{1b}[2J"];
        let garbage: Vec<String> = garbage
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let key = format!("garbage{index}garbage{index}garbage{index}");
                hide(&key);
                insert(&database, &key, text);
                key
            })
            .collect();
        let old = old.into_iter().map(|(key, _, json)| (key, json)).collect();
        Self { database, present, former, strange, old, pickled, garbage }
    }

    /// With all secrets that there are, but for the stranger's.
    pub(crate) fn cli(&self) -> Cli {
        [FORMER, OLD, STRANGER].iter().for_each(|secret| hide(secret));
        let fallbacks = format!("{FORMER},{OLD}");
        Cli::on(self.database.url()).secret(SECRET).with("SECRET_KEY_FALLBACKS", &fallbacks)
    }

    pub(crate) fn readable(&self) -> impl Iterator<Item = &Filled> {
        self.present.iter().chain(&self.former).chain(&self.pickled)
    }

    pub(crate) fn count(&self, condition: &str) -> u64 {
        count(self.database.url(), condition)
    }
}

pub(crate) fn count(url: &str, condition: &str) -> u64 {
    let rows = query(url, &format!("SELECT count(*) FROM django_session WHERE {condition}"));
    rows[0][0].as_ref().unwrap().parse().unwrap()
}

pub(crate) fn fill(
    version: &Version,
    url: &str,
    secret: &str,
    number: u32,
    settings: &[(&str, &str)],
) -> Vec<Filled> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut command = Command::new(python(version));
    command.arg(here.join("cli/fill.py")).args([secret, &number.to_string()]);
    command.current_dir(here.join("django")).env("DATABASE_URL", url).env("PYTHONDONTWRITEBYTECODE", "1");
    command.envs(settings.iter().copied());
    let output = proc::run(&format!("Django {}: fill.py", version.name), &mut command, b"");
    let filled = output.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let key = text("key").unwrap();
        hide(&key);
        Filled { key, user: text("user"), data: text("data"), expired: line["expired"] == json!(true) }
    });
    filled.collect()
}

/// The program of its Python.
pub(crate) fn python(version: &Version) -> String {
    version.script(&["-c", "import sys; print(sys.executable, end='')"], None)
}

/// Key, text and JSON of some vectors of Django 2.2.
fn old_texts() -> Vec<(String, String, String)> {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/codec-2.2.28.json")).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap().iter();
    let encoded = vectors.filter(|vector| vector["kind"] == "encode" && vector["secret"] == OLD);
    let texts = encoded.take(8).enumerate().map(|(index, vector)| {
        let key = format!("old{index}old{index}old{index}old{index}");
        hide(&key);
        let text = |name: &str| vector[name].as_str().unwrap().to_owned();
        (key, text("encoded"), text("json"))
    });
    texts.collect()
}

fn insert(database: &Database, key: &str, text: &str) {
    let text = text.replace('\'', "''");
    database.query(&format!("INSERT INTO django_session VALUES ('{key}', '{text}', now() + '1 day')"));
}

/// A table of Django's form with this many expired and live rows, all of one text signed with `SECRET`.
pub(crate) fn made(expired: u32, live: u32) -> Database {
    let database = Database::fresh();
    let cli = Cli::on(database.url()).secret(SECRET);
    cli.run(&["createtable"]).code(0).quiet();
    let text = cli.run_with(&["encode"], "{}").code(0).out;
    let text = text.trim();
    database.query(&format!(
        "INSERT INTO django_session SELECT md5('expired' || i), '{text}', now() - i * interval '1 minute' \
         FROM generate_series(1, {expired}) i; \
         INSERT INTO django_session SELECT md5('live' || i), '{text}', now() + interval '1 day' \
         FROM generate_series(1, {live}) i; ANALYZE django_session"
    ));
    database
}
