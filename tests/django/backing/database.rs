//! Django's default engine, on PostgreSQL and SQLite.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use actix_django_session::{
    SecretKey, Store,
    backend::{Postgres, Sqlite},
    codec::{Codec, PickleSerializer},
};
use futures_util::future::LocalBoxFuture;
use tokio::runtime::Runtime;

use super::{Backing, Row, peek, signed_json};
use crate::{
    pair::SECRET,
    support::{django::Version, postgres, proc::TempDir, table::Table},
};

/// The directory of the engine `merging_db`.
const MERGING_DB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shared_login/django");

#[derive(Debug)]
pub(crate) struct Database {
    table: Mutex<Table>,
    /// As Django takes it.
    url: String,
    /// With `PickleSerializer`, which Django has until 4.2.
    pickled: bool,
    /// Django saves by the engine `merging_db`.
    merging: bool,
}

impl Database {
    pub(crate) fn postgres() -> Self {
        let database = postgres::Database::fresh();
        // Nothing may depend on it.
        database.query(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO %L', current_database(), \
             'Pacific/Chatham'); END $$",
        );
        let url = database.url().to_owned();
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        });
        let table = Mutex::new(Table::Postgres { database, runtime, client });
        Self { table, url, pickled: false, merging: false }
    }

    pub(crate) fn pickled() -> Self {
        Self { pickled: true, ..Self::postgres() }
    }

    pub(crate) fn merging(self) -> Self {
        Self { merging: true, ..self }
    }

    pub(crate) fn sqlite(journal_mode: &str) -> Self {
        let dir = TempDir::new("sqlite");
        let path = dir.path().join("db.sqlite3");
        let url = format!("sqlite:///{}", path.display());
        let db = rusqlite::Connection::open(&path).unwrap();
        db.busy_timeout(Duration::from_secs(20)).unwrap();
        let sql = format!("PRAGMA journal_mode = {journal_mode}");
        let mode: String = db.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(mode, journal_mode);
        let table = Mutex::new(Table::Sqlite { path, db, _dir: dir });
        Self { table, url, pickled: false, merging: false }
    }

    fn codec_with(&self, secret: SecretKey) -> Codec {
        match self.pickled {
            true => Codec::new(secret).serializer(PickleSerializer::new()),
            false => Codec::new(secret),
        }
    }

    /// The path of an SQLite file.
    fn path(&self) -> Option<PathBuf> {
        self.url.strip_prefix("sqlite:///").map(PathBuf::from)
    }
}

impl Backing for Database {
    fn database_url(&self) -> String {
        self.url.clone()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let pickle = "django.contrib.sessions.serializers.PickleSerializer";
        let mut settings = Vec::new();
        if self.pickled {
            settings.push(("SESSION_SERIALIZER", pickle.to_owned()));
        }
        if self.merging {
            settings.push(("SESSION_ENGINE", "merging_db".to_owned()));
            settings.push(("PYTHONPATH", MERGING_DB.to_owned()));
        }
        settings
    }

    fn store(&self, secret: SecretKey) -> LocalBoxFuture<'_, Store> {
        let codec = self.codec_with(secret);
        Box::pin(async move {
            match self.path() {
                Some(path) => Store::new(Sqlite::open(path).await.unwrap(), codec),
                None => Store::new(Postgres::connect(&self.url).await.unwrap(), codec),
            }
        })
    }

    fn codec(&self, secret: &str) -> Codec {
        self.codec_with(SecretKey::new(secret))
    }

    fn rounds_expiry(&self) -> bool {
        true
    }

    fn rows(&self) -> Vec<Row> {
        let rows = self.table.lock().unwrap_or_else(PoisonError::into_inner).rows();
        let row = |row: crate::support::table::Row| Row {
            key: row.key,
            stored: row.text.into_bytes(),
            expires: row.expires,
        };
        rows.into_iter().map(row).collect()
    }

    fn json(&self, python: &Version, rows: &[Row]) -> Vec<Option<String>> {
        if self.pickled {
            return peek(python, rows);
        }
        signed_json(&self.codec(SECRET), rows)
    }
}
