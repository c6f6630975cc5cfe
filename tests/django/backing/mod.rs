//! Where the sessions of both sites are: Django's engines, and the means to look behind them.

mod cache;
mod cached;
mod cookies;
mod database;
mod files;

use std::{
    fmt::Debug,
    time::{Duration, SystemTime},
};

use actix_django_session::{SecretKey, Store, codec::Codec};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

pub(crate) use self::{
    cache::{Cache, Client},
    cached::CachedDatabase,
    cookies::Cookies,
    database::Database,
    files::Files,
};
use crate::{
    pair::{SECRET, TWO_WEEKS},
    support::{django::Version, proc::TempDir, redis::Redis, site::iso},
};

/// One session as its engine has stored it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) key: String,
    /// Signed text, or the value in a cache.
    pub(crate) stored: Vec<u8>,
    pub(crate) expires: SystemTime,
}

/// An engine with a place of its own to keep sessions in.
pub(crate) trait Backing: Debug + Send + Sync {
    /// Django's database, where its users are in any case.
    fn database_url(&self) -> String;

    /// Django's other settings for it.
    fn settings(&self) -> Vec<(&'static str, String)>;

    /// Our store of the same sessions.
    fn store(&self, secret: SecretKey) -> LocalBoxFuture<'_, Store>;

    /// Our store with another secret or serializer, which cannot read the stored sessions.
    fn misled_store(&self) -> LocalBoxFuture<'_, Store> {
        self.store(SecretKey::new("another secret"))
    }

    /// Everything that is stored.
    fn rows(&self) -> Vec<Row>;

    fn row(&self, key: &str) -> Option<Row> {
        self.rows().into_iter().find(|row| row.key == key)
    }

    /// Whether a session has a key that stays while its data change. Not if the cookie holds them.
    fn has_rows(&self) -> bool {
        true
    }

    /// Whether it has a column with the expiry, which we round up.
    fn rounds_expiry(&self) -> bool {
        false
    }

    /// Whether an expired session is left where it is by a read at this site.
    fn keeps_expired(&self, _site: &str) -> bool {
        true
    }

    /// How this engine signs; panics if it does not.
    fn codec(&self, secret: &str) -> Codec {
        Codec::new(SecretKey::new(secret))
    }

    /// The cache in front of a database.
    fn redis(&self) -> Option<&Redis> {
        None
    }

    /// The data of each row as compact JSON, none of one that cannot be read.
    fn json(&self, _python: &Version, rows: &[Row]) -> Vec<Option<String>> {
        signed_json(&self.codec(SECRET), rows)
    }
}

fn signed_json(codec: &Codec, rows: &[Row]) -> Vec<Option<String>> {
    let json = |row: &Row| Some(codec.decode(str::from_utf8(&row.stored).ok()?).ok()?.to_json());
    rows.iter().map(json).collect()
}

/// Decodes the stored values with Python, pickles too. Returns compact JSON.
fn peek(python: &Version, rows: &[Row]) -> Vec<Option<String>> {
    let mut found = Vec::new();
    // The length of a command line is limited.
    for rows in rows.chunks(50) {
        let hex = |row: &Row| row.stored.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex: Vec<String> = rows.iter().map(hex).collect();
        let mut arguments = vec!["-m", "site_under_test.peek"];
        arguments.extend(hex.iter().map(String::as_str));
        let answer = python.script(&arguments, None);
        found.extend(answer.lines().map(|line| (line != "NONE").then(|| line.to_owned())));
    }
    assert_eq!(found.len(), rows.len(), "an answer for each");
    found
}

/// A file for Django's users, where the sessions are elsewhere.
#[derive(Debug)]
struct Users(TempDir);

impl Users {
    fn new() -> Self {
        Self(TempDir::new("users"))
    }

    fn url(&self) -> String {
        format!("sqlite:///{}", self.0.path().join("db.sqlite3").display())
    }
}

/// The expiry of a session that was written at this time.
fn ends(codec: &Codec, text: &str, written: SystemTime) -> SystemTime {
    let data = codec.decode(text).ok();
    let own = data.and_then(|data| serde_json::from_str(data.get_json("_session_expiry")?).ok());
    match own {
        Some(Value::String(date)) => iso(&date),
        Some(Value::Number(seconds)) if seconds.as_f64() < Some(0.0) => {
            written - Duration::from_secs_f64(-seconds.as_f64().unwrap())
        }
        Some(Value::Number(seconds)) if seconds.as_f64() > Some(0.0) => {
            written + Duration::from_secs_f64(seconds.as_f64().unwrap())
        }
        _ => written + Duration::from_secs_f64(TWO_WEEKS),
    }
}
