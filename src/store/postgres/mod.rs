//! The `django_session` table in PostgreSQL. Django's `db` engine.

mod connection;
mod sql;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use deadpool_postgres::Pool;
use tokio_postgres::types::ToSql;

use self::{
    connection::Connections,
    sql::{Sql, Table},
};
use super::{
    Cleared, Cursor, Loaded, Outcome, Page, Seen, SessionData, SessionStore, parameters::Parameters, text,
};
use crate::{
    Error, SessionKey,
    codec::{
        Codec,
        time::{from_micros, micros},
    },
};

/// Sessions in PostgreSQL, in the table that Django uses, shared live with Django sites and with other
/// services. Cheap to clone.
///
/// Every operation is one statement and one round trip. Nothing is created or altered unless
/// [`create_table`](Self::create_table) is called.
///
/// ```no_run
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use actix_django_session::{PostgresStore, SecretKey};
///
/// let secret = SecretKey::new(std::env::var("SECRET_KEY")?);
/// let store = PostgresStore::connect(&std::env::var("DATABASE_URL")?, secret).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    connections: Connections,
    codec: Codec,
    sql: Arc<Sql>,
}

/// What a URL may say beside what the driver understands.
#[derive(Default)]
struct Options {
    table: Option<String>,
    schema: Option<String>,
    deadline: Option<Duration>,
}

impl Options {
    /// The URL without ours.
    fn split_off(url: &str) -> Result<(String, Self), Error> {
        if !url.contains("://") {
            return Ok((url.to_owned(), Self::default()));
        }
        let (address, mut theirs) = Parameters::of(url);
        let mut ours = theirs.split_off(&["table", "schema", "deadline"]);
        let options = Self {
            table: ours.take("table")?,
            schema: ours.take("schema")?,
            deadline: ours.seconds("deadline")?,
        };
        Ok((theirs.put_back(address), options))
    }
}

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database`, in any form that libpq takes. A URL may have these
    /// parameters of ours: `table`, `schema`, `deadline` (seconds).
    ///
    /// Makes one connection, to find out now what is wrong rather than at the first visitor; more are made
    /// when they are needed, at most four for each processor. Errors if the URL or the secret cannot be right
    /// or the server does not answer.
    pub async fn connect(url: &str, codec: impl Into<Codec>) -> Result<Self, Error> {
        let (url, options) = Options::split_off(url)?;
        let mut store = Self::new(Connections::to(&url)?, codec)?;
        if options.table.is_some() || options.schema.is_some() {
            let table = options.table.as_deref().unwrap_or(sql::TABLE);
            store = store.table(table, options.schema.as_deref())?;
        }
        if let Some(deadline) = options.deadline {
            store = store.deadline(deadline);
        }
        store.connections.check().await?;
        Ok(store)
    }

    /// Uses the application's own pool. Errors if the secret is empty.
    ///
    /// The pool's `wait` timeout does not matter: each operation has its [`deadline`](Self::deadline).
    pub fn from_pool(pool: Pool, codec: impl Into<Codec>) -> Result<Self, Error> {
        Self::new(Connections::from_pool(pool), codec)
    }

    fn new(connections: Connections, codec: impl Into<Codec>) -> Result<Self, Error> {
        let codec = codec.into();
        codec.check()?;
        Ok(Self { connections, codec, sql: Arc::new(Sql::new(&Table::default())) })
    }

    /// Uses another table than `django_session`, or one in a schema.
    ///
    /// ```no_run
    /// # fn with_table(store: actix_django_session::PostgresStore) -> Result<(), actix_django_session::Error> {
    /// let store = store.table("django_session", Some("accounts"))?;
    /// # Ok(()) }
    /// ```
    pub fn table(mut self, name: &str, schema: Option<&str>) -> Result<Self, Error> {
        self.sql = Arc::new(Sql::new(&Table::new(name, schema)?));
        Ok(self)
    }

    /// How long one operation may take, from waiting for a connection to the answer. Default: 5 seconds.
    /// After that it is an error that answers 503.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.connections.deadline = deadline;
        self
    }

    /// Creates the table and its indexes, as Django's migration does. A table that is there stays as it is.
    ///
    /// A Django site that comes later needs `manage.py migrate --fake-initial` to accept it.
    pub async fn create_table(&self) -> Result<(), Error> {
        self.connections.script(&self.sql.create_table).await
    }

    async fn execute(
        &self,
        what: &'static str,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        self.connections.execute(what, sql, params).await.map(|answer| answer.rows)
    }

    /// The row under `key`, expired or not if `now` is none.
    async fn row(&self, key: &SessionKey, now: SystemTime) -> Result<Option<(String, SystemTime)>, Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&key.as_str(), &now];
        let row = self.connections.query_opt("load a session", &self.sql.load, &params).await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose().map_err(other_columns)
    }

    /// Whether the row under `key` is exactly what a statement of ours wrote whose answer was lost.
    async fn is_ours(&self, key: &SessionKey, text: &str, expires: SystemTime) -> Result<bool, Error> {
        let row = self.row(key, SystemTime::UNIX_EPOCH).await?;
        Ok(row.is_some_and(|(there, until)| there == text && until == expires))
    }

    async fn replace(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let (text, expires) = (self.codec.encode(data)?, to_precision(expires));
        let (what, now) = ("save a session", SystemTime::now());
        let same_key: [&(dyn ToSql + Sync); 5] = [&key.as_str(), &seen.as_str(), &now, &text, &expires];
        let other_key: [&(dyn ToSql + Sync); 6] =
            [&key.as_str(), &seen.as_str(), &now, &text, &expires, &new_key.as_str()];
        let answer = if key == new_key {
            self.connections.execute(what, &self.sql.update, &same_key).await
        } else {
            self.connections.execute(what, &self.sql.rename, &other_key).await
        };
        let answer = answer?;
        if answer.duplicate {
            return Ok(Outcome::KeyTaken);
        }
        if answer.rows == 1 || (answer.repeated && self.is_ours(new_key, &text, expires).await?) {
            return Ok(Outcome::Saved(Seen::new(text)));
        }
        Ok(text::refused(self.load(key).await?))
    }
}

impl SessionStore for PostgresStore {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        Ok(text::loaded(&self.codec, self.row(key, SystemTime::now()).await?))
    }

    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let (text, expires) = (self.codec.encode(data)?, to_precision(expires));
        let params: [&(dyn ToSql + Sync); 3] = [&key.as_str(), &text, &expires];
        let answer = self.connections.execute("create a session", &self.sql.create, &params).await?;
        let created = answer.rows == 1 || (answer.repeated && self.is_ours(key, &text, expires).await?);
        Ok(if created { Outcome::Saved(Seen::new(text)) } else { Outcome::KeyTaken })
    }

    async fn update(
        &self,
        key: &SessionKey,
        seen: &Seen,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.replace(key, seen, key, data, expires).await
    }

    async fn rename(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        self.replace(key, seen, new_key, data, expires).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        let answer = self.connections.execute("delete a session", &self.sql.delete, &[&key.as_str()]).await?;
        Ok(answer.rows == 1 || answer.repeated)
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        let params: [&(dyn ToSql + Sync); 1] = [&key.as_str()];
        Ok(self.connections.query_opt("look for a session", &self.sql.exists, &params).await?.is_some())
    }

    fn patience(&self) -> Duration {
        self.connections.deadline
    }

    async fn check(&self) -> Result<(), Error> {
        for statement in &self.sql.check {
            self.execute("check the table of sessions", statement, &[&"", &""]).await?;
        }
        Ok(())
    }

    /// In batches of 1,000, leaving out what others have locked, so that no lock lasts and several hosts may do
    /// it at once.
    async fn clear_expired(&self) -> Result<u64, Error> {
        text::clear_all(self).await
    }

    async fn clear_some(&self, limit: u32, after: Option<SystemTime>) -> Result<Cleared, Error> {
        let params: [&(dyn ToSql + Sync); 3] = [&SystemTime::now(), &i64::from(limit), &after];
        let rows = self.connections.query("clear expired sessions", &self.sql.clear_some, &params).await?;
        let Some(row) = rows.first() else { return Ok(Cleared::default()) };
        let (sessions, until): (i64, _) =
            (row.try_get(0).map_err(other_columns)?, row.try_get(1).map_err(other_columns)?);
        Ok(Cleared { sessions: sessions.unsigned_abs(), until })
    }

    async fn page(&self, cursor: Option<&Cursor>) -> Result<Page, Error> {
        let after = cursor.map_or("", Cursor::as_str);
        let params: [&(dyn ToSql + Sync); 2] = [&after, &i64::from(text::PAGE)];
        let rows = self.connections.query("list the sessions", &self.sql.page, &params).await?;
        let rows: Result<Vec<_>, tokio_postgres::Error> =
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect();
        Ok(text::page(&self.codec, rows.map_err(other_columns)?))
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("codec", &self.codec).finish_non_exhaustive()
    }
}

fn other_columns(error: tokio_postgres::Error) -> Error {
    Error::store_caused_by("the table of sessions has other columns than Django's", error)
}

/// PostgreSQL keeps microseconds; what we compare must have no more.
fn to_precision(time: SystemTime) -> SystemTime {
    from_micros(micros(time))
}
