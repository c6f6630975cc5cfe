//! The `django_session` table in PostgreSQL: Django's `db` engine.

mod advice;
mod backend;
mod batch;
mod check;
mod clear;
mod columns;
mod connect;
mod distributed;
mod error;
mod hosts;
mod list;
mod ops;
mod password;
mod pool;
mod queue;
mod rows;
mod runtimes;
mod solo;
mod sql;
mod statement;
mod table;
#[cfg(feature = "auth")]
mod texts;
mod tls;
mod url;

use std::{fmt, sync::Arc, time::Duration};

#[cfg(any(feature = "auth", feature = "cli"))]
use self::advice::Subject;
#[cfg(feature = "auth")]
pub(crate) use self::texts::{KeyedStatements, short_lock_timeout};
use self::{
    backend::max_value_bytes,
    columns::Columns,
    distributed::Engine,
    pool::{Permits, Source},
    runtimes::{PostgresSettings, Runtimes},
    sql::Sql,
    statement::{Executed, Params, Retry, Statement},
    table::TableName,
    url::{TIMEOUT, Url},
};
use super::SiteSettings;
use crate::{Error, backend::Action, metrics::Purpose};

/// Sessions in PostgreSQL, in the table that Django uses, shared live with Django sites and other services.
/// Cheap to clone.
///
/// Every operation is one statement and one round trip. Requests that arrive while a statement is in flight
/// are batched into the next one, so that many requests cost the database little more than one. Each runtime
/// (worker of actix) has connections of its own. Nothing is created or altered unless
/// [`create_table`](crate::backend::Backend::create_table) is called.
///
/// ```no_run
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use actix_django_session::{SecretKey, Store, backend::Postgres};
///
/// let secret = SecretKey::new(std::env::var("SECRET_KEY")?);
/// let store = Store::new(Postgres::connect(&std::env::var("DATABASE_URL")?).await?, secret);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Postgres {
    runtimes: Arc<Runtimes>,
    clearing: Arc<clear::Progress>,
}

impl Postgres {
    /// Connects to `postgres://user:password@host:port/database`. Besides those of the driver
    /// (`tokio-postgres`), a URL may have these parameters; a text of the form `host=… user=…` has only the
    /// driver's:
    ///
    /// The scheme may also be `postgresql`, or one of those that Django's URL parsers know: `psql`, `pgsql`,
    /// `postgis`, `timescale`, `timescalegis`. Without a password, `PGPASSWORD` and `~/.pgpass` (or
    /// `PGPASSFILE`) are read as libpq does; libpq's other variables and its service file are not.
    ///
    /// | parameter | default | |
    /// |---|---|---|
    /// | `table`, `schema` | `django_session` | see [`table`](Self::table) |
    /// | `deadline` | 5 | seconds, see [`timeout`](Self::timeout) |
    /// | `pgbouncer` | `false` | see [`pgbouncer`](Self::pgbouncer) |
    /// | `distributed` | found out | see [`distributed`](Self::distributed) |
    /// | `sslmode` | `prefer` | as in libpq; `allow` is the same as `prefer` here |
    /// | `sslrootcert` | `system` | a PEM file with the authorities to trust |
    /// | `sslcert`, `sslkey` | none | PEM files with the client's certificate and its key |
    ///
    /// TLS needs the feature `tls`. `sslrootcert=system`, the authorities of this machine, is for
    /// `verify-full` alone.
    ///
    /// Of several hosts (`postgres://one,two/database`) the first one that accepts is used, and after a
    /// failure the next one. With `target_session_attrs=read-write` it is the primary, wherever that is.
    /// Without it a standby is accepted too, and every write fails.
    ///
    /// PostgreSQL 13 or newer. The connections have settings of their own (`options`): plans that use the
    /// table's indexes, `statement_timeout` (a little more than the timeout), a short `lock_timeout`, so that
    /// a lock delays no other row, `TimeZone` (UTC) and `default_transaction_isolation` (read committed). For
    /// a pool of the application's, set the last four for its role. A locked row delays no other there either
    /// without them, but a locked table keeps its connections.
    ///
    /// Makes one connection, so that what is wrong is known now and not at the first request. More are made
    /// when they are needed: at most eight for each worker of actix, usually two. Errors if the URL cannot be
    /// right or the server does not answer.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let postgres = Self::connect_lazy(url)?;
        postgres.ping().await?;
        Ok(postgres)
    }

    /// The same as [`connect`](Self::connect) without any I/O: the first use connects. Errors if the URL
    /// cannot be right.
    ///
    /// ```
    /// use actix_django_session::backend::Postgres;
    ///
    /// let postgres = Postgres::connect_lazy("postgres://app@db.example/site?deadline=2")?;
    /// assert!(Postgres::connect_lazy("postgres://app@db.example/site?deadline=0").is_err());
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn connect_lazy(url: &str) -> Result<Self, Error> {
        let Url { hosts, table, timeout, pgbouncer, distributed } = Url::parse(url)?;
        let postgres = Self::with_source(Source::Own(Arc::new(hosts)), &table);
        Ok(postgres.with(|settings| {
            (settings.timeout, settings.pgbouncer, settings.distributed) = (timeout, pgbouncer, distributed);
        }))
    }

    /// Uses the application's own pool. Its `wait` timeout does not matter: each operation has its
    /// [`timeout`](Self::timeout).
    ///
    /// ```no_run
    /// use actix_django_session::backend::Postgres;
    /// use deadpool_postgres::{Manager, Pool};
    /// use tokio_postgres::NoTls;
    ///
    /// # fn pooled() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::new("postgres://app@db.example/site".parse()?, NoTls);
    /// let postgres = Postgres::from_pool(Pool::builder(manager).build()?);
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "with-deadpool-postgres-0_14")]
    pub fn from_pool(pool: deadpool_postgres::Pool) -> Self {
        let permits = Permits::of(pool.status().max_size);
        Self::with_source(Source::Shared(pool, permits), &TableName::default())
    }

    /// Makes a connection as [`connect`](Self::connect) does, but for any statement, and returns it with the
    /// quoted name of the table. `None` behind PgBouncer, where settings would stay for the next client. For
    /// the program `django-session`.
    #[cfg(feature = "cli")]
    #[doc(hidden)]
    pub async fn client(url: &str) -> Result<Option<(tokio_postgres::Client, String)>, Error> {
        const ACTION: Action = Action::new("connect to the database", Purpose::Other);
        let Url { hosts, table, timeout, pgbouncer, .. } = Url::parse(url)?;
        if pgbouncer {
            return Ok(None);
        }
        let connector = connect::Connector::new(Arc::new(hosts), timeout, connect::OwnSettings::None);
        match tokio::time::timeout(timeout, connector.connect()).await {
            Ok(Ok((client, _))) => Ok(Some((client, table.quoted()))),
            Ok(Err(error)) => Err(error::explain(ACTION, error, Subject::Sessions)),
            Err(_) => {
                Err(Error::store(format!("cannot {ACTION}: the database did not answer within {timeout:?}")))
            }
        }
    }

    /// Whether a URL with this scheme is for [`connect`](Self::connect). For the program `django-session`.
    #[doc(hidden)]
    pub fn has_scheme(scheme: &str) -> bool {
        url::is_postgres(scheme)
    }

    fn with_source(source: Source, table: &TableName) -> Self {
        let columns = Columns::default();
        let sql = Arc::new(Sql::new(table, &columns));
        Self::new(PostgresSettings {
            source,
            timeout: TIMEOUT,
            pgbouncer: false,
            distributed: None,
            engine: Arc::new(Engine::new(None)),
            pooler_permits: Permits::of_pooler(),
            table: table.clone(),
            columns,
            sql,
            max_value_bytes: max_value_bytes(&SiteSettings::default()),
        })
    }

    fn new(settings: PostgresSettings) -> Self {
        Self { runtimes: Arc::new(Runtimes::new(settings)), clearing: Arc::default() }
    }

    /// Changes a setting, and so has connections of its own.
    fn with(&self, change: impl FnOnce(&mut PostgresSettings)) -> Self {
        let mut settings = self.runtimes.settings.clone();
        change(&mut settings);
        settings.sql = Arc::new(Sql::new(&settings.table, &settings.columns));
        settings.engine = Arc::new(Engine::new(settings.distributed));
        Self::new(settings)
    }

    /// Uses another table than `django_session`, or one in a schema. Errors if PostgreSQL cannot have such a
    /// name.
    ///
    /// ```
    /// # use actix_django_session::backend::Postgres;
    /// # let postgres = Postgres::connect_lazy("postgres://app@db.example/site")?;
    /// let postgres = postgres.table("django_session", Some("accounts"))?;
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn table(self, name: &str, schema: Option<&str>) -> Result<Self, Error> {
        let table = TableName::new(name, schema)?;
        Ok(self.with(|settings| settings.table = table))
    }

    /// Keeps a further column of the table equal to a value of the session, as `create_model_instance` of a
    /// Django engine does (django-user-sessions, a subclass of `AbstractBaseSession`). The column gets the
    /// value under `key` whenever a session is saved: NULL if there is none. PostgreSQL converts a string or
    /// a number to the column's type; a value that it cannot convert fails the save.
    ///
    /// Errors if PostgreSQL cannot have such a column.
    ///
    /// ```
    /// # use actix_django_session::backend::Postgres;
    /// # let postgres = Postgres::connect_lazy("postgres://app@db.example/site")?;
    /// let postgres = postgres.column("user_id", "_auth_user_id")?;
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn column(self, column: &str, key: &str) -> Result<Self, Error> {
        let columns = self.runtimes.settings.columns.with(column, key)?;
        Ok(self.with(|settings| settings.columns = columns))
    }

    /// Limits how long an operation may take, from waiting for a connection to the reply. Default: 5 seconds.
    /// After that it is an error that answers 503.
    ///
    /// ```
    /// # use actix_django_session::backend::Postgres;
    /// # let postgres = Postgres::connect_lazy("postgres://app@db.example/site")?;
    /// let postgres = postgres.timeout(std::time::Duration::from_secs(2));
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.timeout = timeout)
    }

    /// Whether connections lead to PgBouncer in transaction mode, or to another pooler that may change the
    /// server process after every statement. Then nothing is prepared, and connections have no settings of
    /// their own. Default: no.
    ///
    /// ```
    /// # use actix_django_session::backend::Postgres;
    /// # let postgres = Postgres::connect_lazy("postgres://app@pooler.example:6432/site")?;
    /// let postgres = postgres.pgbouncer(true);
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    #[must_use]
    pub fn pgbouncer(self, yes: bool) -> Self {
        self.with(|settings| settings.pgbouncer = yes)
    }

    /// Whether the table is spread over several servers, so that every statement must be about one key:
    /// Citus, YugabyteDB, CockroachDB, partitions that are foreign tables.
    ///
    /// By default this is found out on each new connection: Citus by its catalog, YugabyteDB and CockroachDB
    /// by their `version()`, foreign partitions by PostgreSQL's catalog. Say `true` for another such engine,
    /// or before a table is distributed that is in use; `false` for one that is taken for distributed and
    /// is not.
    ///
    /// Then nothing is batched: statements run side by side, each on a connection of its own, of which a
    /// worker has at most sixteen. A new key for a session is a deletion and an insertion in one statement,
    /// and expired rows are cleared in small transactions.
    ///
    /// ```
    /// # use actix_django_session::backend::Postgres;
    /// let postgres = Postgres::connect_lazy("postgres://app@db.example/site?distributed=true")?;
    /// let same = Postgres::connect_lazy("postgres://app@db.example/site")?.distributed(true);
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    #[must_use]
    pub fn distributed(self, yes: bool) -> Self {
        self.with(|settings| settings.distributed = Some(yes))
    }

    /// One round trip, which succeeds if the server answers.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.run(
            Action::new("connect to the database", Purpose::Other),
            &Statement::new("SELECT 1", &[]),
            &[],
        )
        .await
        .map(drop)
    }

    /// Runs several statements in one transaction.
    #[cfg(feature = "auth")]
    pub(crate) async fn script(&self, action: Action, sql: String) -> Result<(), Error> {
        self.run(action, &Statement::script(sql).about(Subject::Users), &[]).await.map(drop)
    }

    fn sql(&self) -> &Sql {
        &self.runtimes.settings.sql
    }

    async fn run(
        &self,
        action: Action,
        statement: &Statement,
        params: &Params<'_>,
    ) -> Result<Executed, Error> {
        Ok(self.runtimes.current()?.rows.connections.run(action, statement, params, Retry::READ).await?)
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Postgres")
    }
}
