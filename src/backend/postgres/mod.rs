//! The `django_session` table in PostgreSQL. Django's `db` engine.

mod connect;
mod connection;
mod lane;
mod primary;
mod rows;
mod sql;
mod table;
mod tls;
mod trouble;
mod url;
mod worker;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use deadpool_postgres::Pool;
use tokio_postgres::types::ToSql;

use self::{
    connect::Connector,
    connection::{Kind, Source},
    rows::{Content, New, Replaced, Replacement},
    sql::Sql,
    table::Table,
    trouble::{explain, other_columns},
    url::{DEADLINE, Url},
    worker::{Settings, Worker, Workers},
};
use super::{Cleared, Cursor, Loaded, Outcome, Page, Seen, SessionData, SessionStore, text};
use crate::{
    Error, SessionKey,
    codec::{
        Codec,
        datetime::{from_micros, micros},
    },
};

/// Sessions in PostgreSQL, in the table that Django uses, shared live with Django sites and with other
/// services. Cheap to clone.
///
/// Every operation is one statement and one round trip. What is asked while another statement is on its way travels
/// together with what others ask, so that many requests cost the database little more than one. Each runtime (worker
/// of actix) has connections of its own. Nothing is created or altered unless
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
    workers: Arc<Workers>,
    codec: Codec,
}

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database`. A URL may have these parameters beside those of the driver
    /// (`tokio-postgres`); a text of the form `host=… user=…` only the driver's:
    ///
    /// | parameter | default | |
    /// |---|---|---|
    /// | `table`, `schema` | `django_session` | see [`table`](Self::table) |
    /// | `deadline` | 5 | seconds, see [`deadline`](Self::deadline) |
    /// | `pgbouncer` | `false` | `true` behind PgBouncer, or another pooler that gives each transaction another connection: statements are not prepared |
    /// | `sslmode` | `prefer` | as libpq: `disable`, `allow` (here the same as `prefer`), `prefer`, `require`, `verify-ca`, `verify-full`. TLS needs the feature `tls` |
    /// | `sslrootcert` | `system` | a file with certificates of the authorities to trust, in PEM form; or `system` for those of this machine, which is for `verify-full` alone |
    /// | `sslcert`, `sslkey` | none | files with a certificate of our own and its key, for a server that asks for one |
    ///
    /// Of several hosts (`postgres://one,two/database`) the first that takes connections is used, and the next where it
    /// does not any more; with `target_session_attrs=read-write` it is the primary, wherever that is. Without that a standby is
    /// kept, and every write fails.
    ///
    /// PostgreSQL 12 or newer. Connections are opened with settings of their own (`options`): plans that use
    /// the table's indexes, `statement_timeout` (the deadline) and a short `lock_timeout`, so that a row that somebody
    /// holds keeps nobody else waiting. For a pool of the application's, set these two for its role.
    ///
    /// Makes one connection, to find out now what is wrong rather than at the first visitor; more are made
    /// when they are needed, at most eight for each worker of actix, mostly two. Errors if the URL or the secret cannot be right
    /// or the server does not answer.
    pub async fn connect(url: &str, codec: impl Into<Codec>) -> Result<Self, Error> {
        let Url { target, table, deadline } = Url::parse(url, true)?;
        let store = Self::new(Source::Own(Arc::new(target)), &table, deadline, codec)?;
        store.here()?.connections.check().await?;
        Ok(store)
    }

    /// Uses the application's own pool. Errors if the secret is empty.
    ///
    /// The pool's `wait` timeout does not matter: each operation has its [`deadline`](Self::deadline).
    pub fn from_pool(pool: Pool, codec: impl Into<Codec>) -> Result<Self, Error> {
        Self::new(Source::Shared(pool, Kind::Prepared), &Table::default(), DEADLINE, codec)
    }

    /// A connection as [`connect`](Self::connect) makes it, but for any statement: for the tool `django-session`.
    #[doc(hidden)]
    pub async fn client(url: &str) -> Result<tokio_postgres::Client, Error> {
        let Url { target, deadline, .. } = Url::parse(url, false)?;
        let connector = Connector::new(Arc::new(target), deadline);
        let connected = tokio::time::timeout(deadline, connector.connect()).await.map_err(|_| {
            Error::store(format!("cannot connect to the database: it did not answer within {deadline:?}"))
        })?;
        connected.map(|(client, _)| client).map_err(|error| explain("connect to the database", error))
    }

    fn new(
        source: Source,
        table: &Table,
        deadline: Duration,
        codec: impl Into<Codec>,
    ) -> Result<Self, Error> {
        let codec = codec.into();
        codec.check()?;
        // Base64 and what stands around it.
        let max_text = codec.size_limit().saturating_mul(4) / 3 + 256;
        let max_text = i32::try_from(max_text).unwrap_or(i32::MAX);
        let settings = Settings { source, deadline, sql: Arc::new(Sql::new(table)), max_text };
        Ok(Self { workers: Arc::new(Workers::new(settings)), codec })
    }

    /// With other settings, and so with workers of its own.
    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.workers.settings.clone();
        change(&mut settings);
        Self { workers: Arc::new(Workers::new(settings)), ..self }
    }

    fn here(&self) -> Result<Arc<Worker>, Error> {
        self.workers.here()
    }

    fn sql(&self) -> &Sql {
        &self.workers.settings.sql
    }

    /// Uses another table than `django_session`, or one in a schema.
    ///
    /// ```no_run
    /// # fn with_table(store: actix_django_session::PostgresStore) -> Result<(), actix_django_session::Error> {
    /// let store = store.table("django_session", Some("accounts"))?;
    /// # Ok(()) }
    /// ```
    pub fn table(self, name: &str, schema: Option<&str>) -> Result<Self, Error> {
        let table = Table::new(name, schema)?;
        Ok(self.with(|settings| settings.sql = Arc::new(Sql::new(&table))))
    }

    /// How long one operation may take, from waiting for a connection to the answer. Default: 5 seconds.
    /// After that it is an error that answers 503.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|settings| settings.deadline = deadline)
    }

    /// For a pool of the application's that leads to PgBouncer in transaction mode, or to a pooler like it, where a
    /// connection is another one after each statement. [`connect`](Self::connect) takes it from the URL.
    #[must_use]
    pub fn pgbouncer(self, yes: bool) -> Self {
        self.with(|settings| {
            if let Source::Shared(_, kind) = &mut settings.source {
                *kind = if yes { Kind::Changing } else { Kind::Prepared };
            }
        })
    }

    /// Creates the table and its indexes, as Django's migration does. A table that is there stays as it is.
    ///
    /// A Django site that comes later needs `manage.py migrate --fake-initial` to accept it.
    pub async fn create_table(&self) -> Result<(), Error> {
        self.here()?.connections.script(&self.sql().create_table).await
    }

    async fn replace(
        &self,
        key: &SessionKey,
        seen: &Seen,
        new_key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let new = self.new_row(new_key, data, expires)?;
        let text = new.text.clone();
        let replacement = Replacement { key: key.clone(), seen: seen.clone(), new };
        let lane = &self.here()?.replaces;
        Ok(match lane.ask("save a session", replacement, self.workers.settings.deadline).await? {
            Replaced::Done => Outcome::Saved(Seen::of_text(text)),
            Replaced::Taken => Outcome::KeyTaken,
            Replaced::There(content) => self.found(content).refused(),
            Replaced::Unknown => {
                return Err(Error::store(
                    "cannot save a session: nobody knows whether it was done, since the connection was lost and \
                     another writer has changed it since",
                ));
            }
        })
    }

    fn found(&self, content: Option<Content>) -> Loaded {
        match content {
            Some(Content { text: None, .. }) => {
                Loaded::Unreadable(Arc::new(Error::too_large_to_read(self.codec.size_limit())))
            }
            content => {
                let row = content.and_then(|Content { text, expires }| Some((text?, expires)));
                text::loaded(&self.codec, row)
            }
        }
    }

    fn new_row(&self, key: &SessionKey, data: &SessionData, expires: SystemTime) -> Result<New, Error> {
        let text = self.codec.encode(data)?.into();
        Ok(New { key: key.clone(), text, expires: to_precision(expires) })
    }
}

impl SessionStore for PostgresStore {
    async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        let lane = &self.here()?.loads;
        let content = lane.ask("load a session", key.clone(), self.workers.settings.deadline).await?;
        Ok(self.found(content))
    }

    async fn create(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let new = self.new_row(key, data, expires)?;
        let (text, lane) = (new.text.clone(), &self.here()?.creates);
        let created = lane.ask("create a session", new, self.workers.settings.deadline).await?;
        Ok(if created { Outcome::Saved(Seen::of_text(text)) } else { Outcome::KeyTaken })
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

    /// The expiry alone is compared and sent.
    async fn touch(
        &self,
        key: &SessionKey,
        seen: &Seen,
        was: SystemTime,
        expires: SystemTime,
    ) -> Result<Outcome, Error> {
        let params: [&(dyn ToSql + Sync); 4] =
            [&key.as_str(), &was, &to_precision(expires), &SystemTime::now()];
        let (connections, sql) = (&self.here()?.connections, &self.sql().touch);
        let changed = connections.execute("save a session", sql, &params).await?;
        if changed.rows == 1 {
            return Ok(Outcome::Saved(seen.clone()));
        }
        match self.load(key).await? {
            // The first attempt may have done it.
            Loaded::Found(_) if changed.repeated => Ok(Outcome::Saved(seen.clone())),
            loaded => Ok(loaded.refused()),
        }
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.here()?.deletes.ask("delete a session", key.clone(), self.workers.settings.deadline).await
    }

    async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        let (connections, sql) = (&self.here()?.connections, &self.sql().exists);
        Ok(connections.query_opt("look for a session", sql, &[&key.as_str()]).await?.is_some())
    }

    fn patience(&self) -> Duration {
        self.workers.settings.deadline
    }

    async fn check(&self) -> Result<(), Error> {
        let worker = self.here()?;
        for statement in &self.sql().check {
            worker.connections.execute("check the table of sessions", statement, &[&"", &""]).await?;
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
        let (connections, sql) = (&self.here()?.connections, &self.sql().clear_some);
        let rows = connections.query("clear expired sessions", sql, &params).await?;
        let Some(row) = rows.first() else { return Ok(Cleared::default()) };
        let (sessions, until): (i64, _) =
            (row.try_get(0).map_err(other_columns)?, row.try_get(1).map_err(other_columns)?);
        Ok(Cleared { sessions: sessions.unsigned_abs(), until })
    }

    async fn page(&self, cursor: Option<&Cursor>) -> Result<Page, Error> {
        let after = cursor.map_or("", Cursor::as_str);
        let max_text = self.workers.settings.max_text;
        let params: [&(dyn ToSql + Sync); 3] = [&after, &i64::from(text::PAGE), &max_text];
        let (connections, sql) = (&self.here()?.connections, &self.sql().page);
        let rows = connections.query("list the sessions", sql, &params).await?;
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

/// PostgreSQL keeps microseconds; what we compare must have no more.
fn to_precision(time: SystemTime) -> SystemTime {
    from_micros(micros(time))
}
