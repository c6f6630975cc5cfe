//! The table under test: stores on it, and a connection for everything else.

use std::time::Duration;

use actix_django_session::{Error, SecretKey, Session, SessionKey, Store, backend::Postgres};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::postgres::Rows;

pub(crate) const SECRET: &str = "a secret";

pub(crate) const TABLE: &str = "django_session";

/// A table of sessions on a server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    url: String,
    schema: Option<String>,
}

impl Target {
    /// Django's table of the database, in the schema that the server finds first.
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), schema: None }
    }

    pub(crate) fn in_schema(url: impl Into<String>, schema: impl Into<String>) -> Self {
        Self { url: url.into(), schema: Some(schema.into()) }
    }

    /// A backend with connections of its own.
    pub(crate) async fn backend(&self) -> Postgres {
        let postgres = ok("connect", Postgres::connect(&self.url).await);
        match &self.schema {
            Some(schema) => ok("name the table", postgres.table(TABLE, Some(schema))),
            None => postgres,
        }
    }

    /// A store with connections of its own.
    pub(crate) async fn store(&self) -> Store {
        Store::new(self.backend().await, SecretKey::new(SECRET))
    }

    /// A connection for statements of the tests.
    pub(crate) async fn admin(&self) -> Result<Admin, String> {
        let client = match Postgres::client(&self.url).await {
            Ok(Some((client, _))) => client,
            Ok(None) => return Err("give the address of the server itself, without pgbouncer=true".into()),
            Err(error) => return Err(error.with_causes()),
        };
        let admin = Admin { client, table: self.table() };
        // To distribute a table takes time.
        admin.sql("SET statement_timeout = 0; SET lock_timeout = 0").await?;
        Ok(admin)
    }

    /// The quoted name.
    pub(crate) fn table(&self) -> String {
        match &self.schema {
            Some(schema) => format!("\"{schema}\".\"{TABLE}\""),
            None => format!("\"{TABLE}\""),
        }
    }
}

/// A connection beside those of the stores.
#[derive(Debug)]
pub(crate) struct Admin {
    client: Client,
    table: String,
}

impl Admin {
    /// Runs statements in which `{table}` stands for the table. An error has SQLSTATE and the server's text.
    pub(crate) async fn sql(&self, sql: &str) -> Result<Rows, String> {
        let sql = sql.replace("{table}", &self.table);
        let work = tokio::time::timeout(Duration::from_secs(300), self.client.simple_query(&sql));
        let messages = match work.await {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => {
                let text = match error.as_db_error() {
                    Some(db) => format!("{}: {}", db.code().code(), db.message()),
                    None => error.to_string(),
                };
                return Err(format!("{text}\nstatement: {sql}"));
            }
            Err(_) => return Err(format!("no answer within five minutes\nstatement: {sql}")),
        };
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The rows of the table, counted by the server.
    pub(crate) async fn count(&self) -> u64 {
        let rows = self.sql("SELECT count(*) FROM {table}").await.unwrap_or_else(|error| panic!("{error}"));
        rows[0][0].as_deref().and_then(|text| text.parse().ok()).expect("a number")
    }

    /// Whether the connection still works.
    pub(crate) async fn is_alive(&self) -> bool {
        self.sql("SELECT 1").await.is_ok()
    }
}

/// Panics with all that an error says.
#[track_caller]
pub(crate) fn ok<T>(what: &str, result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {}", error.with_causes()),
    }
}

/// A new session with a counter at zero.
pub(crate) async fn create(store: &Store) -> SessionKey {
    let session = Session::new(store);
    session.insert("n", &0).unwrap();
    ok("create a session", session.save().await);
    session.session_key().unwrap()
}

/// A live session.
pub(crate) async fn open(store: &Store, key: &SessionKey) -> Option<Session> {
    ok("load a session", Session::open(store, key).await)
}

/// Increments the counter of a live session.
pub(crate) async fn increment(store: &Store, key: &SessionKey) -> Result<(), Error> {
    let session = open(store, key).await.expect("a live session is found");
    session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
    session.save().await
}

/// The counter of a live session.
pub(crate) async fn counter(store: &Store, key: &SessionKey) -> u64 {
    let session = open(store, key).await.expect("a live session is found");
    session.get("n").unwrap().expect("it has a counter")
}
