//! The table of sessions behind a store, looked at and changed behind its back.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use actix_django_session::{SecretKey, Store, codec::Codec};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::runtime::Runtime;

use super::{postgres::Database, proc::TempDir, signing, site::to_iso, stores::by_url};

/// One row, with the text as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub key: String,
    pub text: String,
    pub expires: SystemTime,
}

/// A kind of store with the means to look behind it.
#[derive(Debug)]
pub enum Table {
    Sqlite { path: PathBuf, db: rusqlite::Connection, _dir: TempDir },
    Postgres { database: Database, runtime: Runtime, client: tokio_postgres::Client },
}

impl Table {
    /// A file with Django's table in it.
    pub fn sqlite() -> Self {
        let dir = TempDir::new("sqlite");
        let path = dir.path().join("db.sqlite3");
        let runtime = Runtime::new().unwrap();
        runtime.block_on(by_url(&format!("sqlite:///{}", path.display())));
        let db = rusqlite::Connection::open(&path).unwrap();
        db.busy_timeout(Duration::from_secs(5)).unwrap();
        Self::Sqlite { path, db, _dir: dir }
    }

    /// A fresh database with Django's table in it.
    pub fn postgres() -> Self {
        let database = Database::fresh();
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async {
            by_url(database.url()).await;
            let (client, connection) =
                tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        });
        Self::Postgres { database, runtime, client }
    }

    /// Returns a function that opens our store on this table.
    pub fn opener(
        &self,
        secret: &str,
    ) -> Box<dyn FnOnce() -> futures_util::future::LocalBoxFuture<'static, Store> + Send> {
        let secret = SecretKey::new(secret);
        let url = match self {
            Self::Sqlite { path, .. } => format!("sqlite:///{}", path.display()),
            Self::Postgres { database, .. } => database.url().to_owned(),
        };
        Box::new(move || Box::pin(async move { Store::connect(&url, secret).await.unwrap() }))
    }

    /// Removes every row and inserts these.
    pub fn reset(&mut self, rows: &[Row]) {
        match self {
            Self::Sqlite { db, .. } => {
                db.execute("DELETE FROM django_session", []).unwrap();
                for row in rows {
                    let expires = to_iso(row.expires).replace('T', " ").replace("+00:00", "");
                    db.execute(
                        "INSERT INTO django_session VALUES (?1, ?2, ?3)",
                        [&row.key, &row.text, &expires],
                    )
                    .unwrap();
                }
            }
            Self::Postgres { runtime, client, .. } => runtime.block_on(async {
                client.execute("DELETE FROM django_session", &[]).await.unwrap();
                for row in rows {
                    let sql = "INSERT INTO django_session VALUES ($1, $2, $3)";
                    client.execute(sql, &[&row.key, &row.text, &row.expires]).await.unwrap();
                }
            }),
        }
    }

    /// Every row.
    pub fn rows(&mut self) -> Vec<Row> {
        let mut rows: Vec<Row> = match self {
            Self::Sqlite { db, .. } => {
                let mut select = db
                    .prepare_cached("SELECT session_key, session_data, expire_date FROM django_session")
                    .unwrap();
                let rows = select.query_map([], |row| {
                    let expires = row.get::<_, String>(2)?.replace(' ', "T") + "Z";
                    Ok(Row { key: row.get(0)?, text: row.get(1)?, expires: super::site::iso(&expires) })
                });
                rows.unwrap().map(Result::unwrap).collect()
            }
            Self::Postgres { runtime, client, .. } => {
                let rows = runtime.block_on(
                    client.query("SELECT session_key, session_data, expire_date FROM django_session", &[]),
                );
                let row = |row: &tokio_postgres::Row| Row {
                    key: row.get(0),
                    text: row.get(1),
                    expires: row.get(2),
                };
                rows.unwrap().iter().map(row).collect()
            }
        };
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }
}

/// Signs any payload, also those that our sessions never have.
pub fn sign(payload: &str, secret: &str) -> String {
    sign_body(&URL_SAFE_NO_PAD.encode(payload), secret)
}

/// As [`sign`], for what stands in place of the payload.
pub fn sign_body(body: &str, secret: &str) -> String {
    signing::sign(&format!("{body}:1r31eq"), signing::TABLES, secret)
}

/// The dictionary in a signed text, as JSON; none if it cannot be read.
pub fn read(text: &str, secret: &str) -> Option<String> {
    Codec::new(SecretKey::new(secret)).decode(text).ok().map(|data| data.to_json())
}
