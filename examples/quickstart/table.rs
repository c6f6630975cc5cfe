//! Reads the table `django_session` directly, as any other program does.

use std::path::PathBuf;

use actix_django_session::Error;
use actix_web::{rt, web};
use rusqlite::OptionalExtension as _;
use tokio_postgres::NoTls;

/// session_key, session_data, expire_date.
pub(crate) type Row = [String; 3];

pub(crate) enum Table {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Table {
    pub(crate) async fn row(&self, key: &str) -> Result<Option<Row>, Error> {
        match self {
            Self::Sqlite(path) => sqlite(path.clone(), key.to_owned()).await.map_err(unreadable),
            Self::Postgres(url) => postgres(url, key).await.map_err(unreadable),
        }
    }

    /// Returns the engine's name without the URL, which may contain a password.
    pub(crate) fn engine(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("SQLite, {}", path.display()),
            Self::Postgres(_) => "PostgreSQL".to_owned(),
        }
    }
}

async fn sqlite(path: PathBuf, key: String) -> Result<Option<Row>, Box<dyn std::error::Error + Send + Sync>> {
    let sql = "SELECT session_key, session_data, expire_date FROM django_session WHERE session_key = ?1";
    let row = web::block(move || {
        rusqlite::Connection::open(path)?
            .query_row(sql, [key], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))
            .optional()
    });
    Ok(row.await??)
}

async fn postgres(url: &str, key: &str) -> Result<Option<Row>, tokio_postgres::Error> {
    // A connection for each page is expensive, and good enough for a demonstration.
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    rt::spawn(connection);
    let sql =
        "SELECT session_key, session_data, expire_date::text FROM django_session WHERE session_key = $1";
    let row = client.query_opt(sql, &[&key]).await?;
    row.map(|row| Ok([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?])).transpose()
}

/// Returns an error of the store: a 503, like the crate's own.
fn unreadable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::store_caused_by("cannot show the row", cause)
}
