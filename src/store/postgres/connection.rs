//! Connections: from a pool, each operation under a deadline, a lost connection replaced once.

use std::{error::Error as StdError, future::Future, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use tokio_postgres::{Config, NoTls, Row, config::SslMode, error::SqlState, types::ToSql};

use super::lane::Failure;
use crate::Error;

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Connections of one runtime.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    pub(super) deadline: Duration,
    /// Whether all of them have [`PLANS`].
    pub(super) planned: bool,
}

/// Where connections come from.
#[derive(Clone)]
pub(super) enum Source {
    /// Each runtime makes its own: a connection is driven by the runtime that opened it, and one that crosses
    /// over to another costs two changes of threads a statement, and waits when its own is busy.
    Own(Box<Config>),
    /// The application's.
    Shared(Pool),
}

/// Each statement has one plan, whatever the size of the table: rows are looked up by their keys, in the order of
/// these. So batches of several connections lock rows in one order and need not lock them beforehand.
const PLANS: &str = "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off -c enable_mergejoin=off \
                     -c plan_cache_mode=force_generic_plan -c jit=off";

/// Connections of a runtime: one for each lane, and some for what goes by itself.
const CONNECTIONS: usize = 8;

/// A statement as it is sent: prepared, or a script of several.
enum Statement<'a> {
    Query(&'a str, Params<'a>),
    Execute(&'a str, Params<'a>),
    Script(&'a str),
}

#[derive(Default)]
struct Answer {
    found: Vec<Row>,
    rows: u64,
    duplicate: bool,
}

impl Statement<'_> {
    async fn run(&self, connection: &Object) -> Result<Answer, tokio_postgres::Error> {
        match self {
            Self::Query(sql, params) => {
                let statement = connection.prepare_cached(sql).await?;
                let found = connection.query(&statement, params).await?;
                Ok(Answer { found, ..Answer::default() })
            }
            Self::Execute(sql, params) => {
                let statement = connection.prepare_cached(sql).await?;
                let rows = connection.execute(&statement, params).await?;
                Ok(Answer { rows, ..Answer::default() })
            }
            Self::Script(sql) => connection.batch_execute(sql).await.map(|()| Answer::default()),
        }
    }
}

/// The rows that a statement changed, each with its key in the first column.
pub(super) struct ChangedRows {
    pub(super) rows: Vec<Row>,
    pub(super) repeated: bool,
}

/// How many rows a statement changed.
pub(super) struct Changed {
    pub(super) rows: u64,
    /// None, since the new key is taken.
    pub(super) duplicate: bool,
    /// The statement was sent twice, since the answer to the first was lost with its connection: it may have
    /// been carried out before.
    pub(super) repeated: bool,
}

impl Source {
    pub(super) fn of(url: &str) -> Result<Self, Error> {
        let mut config: Config = url.parse().map_err(|cause| {
            Error::configuration(format!(
                "the database URL is not of the form postgres://user:password@host:port/database{}",
                hint(&cause)
            ))
        })?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(Error::configuration(
                "the database URL asks for TLS (sslmode=require): build a deadpool pool with your TLS connector \
                 and use PostgresStore::from_pool",
            ));
        }
        if config.get_connect_timeout().is_none() {
            let _ = config.connect_timeout(DEADLINE);
        }
        if config.get_application_name().is_none() {
            let _ = config.application_name("actix-django-session");
        }
        let options = config.get_options().map_or(PLANS.to_owned(), |theirs| format!("{theirs} {PLANS}"));
        let _ = config.options(&options);
        Ok(Self::Own(Box::new(config)))
    }
}

pub(super) const DEADLINE: Duration = Duration::from_secs(5);

impl Connections {
    /// For the runtime on which this is called.
    pub(super) fn new(source: &Source, deadline: Duration) -> Result<Self, Error> {
        let config = match source {
            Source::Shared(pool) => return Ok(Self { pool: pool.clone(), deadline, planned: false }),
            Source::Own(config) => config,
        };
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config((**config).clone(), NoTls, recycling))
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|cause| Error::store_caused_by("cannot make a pool of connections", cause))?;
        Ok(Self { pool, deadline, planned: true })
    }

    /// One round trip, to see that somebody answers.
    pub(super) async fn check(&self) -> Result<(), Error> {
        self.query_opt("connect to the database", "SELECT 1", &[]).await.map(drop)
    }

    pub(super) async fn query_opt(
        &self,
        what: &'static str,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Option<Row>, Error> {
        self.query(what, sql, params).await.map(|mut rows| rows.pop())
    }

    pub(super) async fn query(
        &self,
        what: &'static str,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Error> {
        let (answer, _) = self.run(what, Statement::Query(sql, params)).await?;
        Ok(answer.found)
    }

    /// A statement that changes many rows and tells which, by the key in its first column.
    pub(super) async fn change(
        &self,
        what: &'static str,
        sql: &str,
        params: Params<'_>,
    ) -> Result<ChangedRows, Failure> {
        let (answer, repeated) = self.run(what, Statement::Query(sql, params)).await?;
        if answer.duplicate {
            let error = Error::store(format!("cannot {what}: a key is taken"));
            return Err(Failure { of_a_row: true, unsure: repeated, error });
        }
        Ok(ChangedRows { rows: answer.found, repeated })
    }

    pub(super) async fn execute(
        &self,
        what: &'static str,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Changed, Error> {
        let (answer, repeated) = self.run(what, Statement::Execute(sql, params)).await?;
        Ok(Changed { rows: answer.rows, duplicate: answer.duplicate, repeated })
    }

    /// Several statements in one message, for DDL.
    pub(super) async fn script(&self, sql: &str) -> Result<(), Error> {
        self.run("create the table of sessions", Statement::Script(sql)).await?;
        Ok(())
    }

    /// Runs a statement within the deadline; again if its connection was lost. The flag says so.
    async fn run(&self, what: &'static str, statement: Statement<'_>) -> Result<(Answer, bool), Failure> {
        let attempts = async {
            let mut repeated = false;
            loop {
                let lease = Lease(Some(self.connection(what).await?));
                match statement.run(lease.connection()).await {
                    Ok(answer) => {
                        lease.give_back();
                        return Ok((answer, repeated));
                    }
                    Err(error) if is_duplicate(&error) => {
                        lease.give_back();
                        return Ok((Answer { duplicate: true, ..Answer::default() }, repeated));
                    }
                    Err(error) if lost(&error) && !repeated => repeated = true,
                    Err(error) => {
                        if !lost(&error) {
                            lease.give_back();
                        }
                        let of_a_row = is_of_a_row(&error);
                        return Err(Failure { of_a_row, unsure: repeated, error: explain(what, error) });
                    }
                }
            }
        };
        self.within_deadline(what, attempts).await
    }

    async fn connection(&self, what: &'static str) -> Result<Object, Error> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => explain(what, error),
            other => Error::store_caused_by(format!("cannot {what}: no connection"), other),
        })
    }

    async fn within_deadline<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(self.deadline, work).await.unwrap_or_else(|_| {
            let deadline = self.deadline;
            Err(Error::store(format!("cannot {what}: the database did not answer within {deadline:?}"))
                .into())
        })
    }
}

/// A connection in use. Unless it is given back it leaves the pool: one whose statement was cut off by the
/// deadline, or by a visitor who left, may still be busy with it, and the next user would wait for that.
struct Lease(Option<Object>);

impl Lease {
    fn give_back(mut self) {
        self.0 = None;
    }

    #[allow(clippy::expect_used)] // taken out only where the lease ends
    fn connection(&self) -> &Object {
        self.0.as_ref().expect("a lease holds its connection")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// The connection is of no more use, and the statement may or may not have been carried out.
fn lost(error: &tokio_postgres::Error) -> bool {
    let shutting_down = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_SESSION_TIMEOUT,
    ];
    error.is_closed()
        || error.code().is_some_and(|code| shutting_down.contains(code))
        || error.source().is_some_and(|cause| cause.is::<std::io::Error>())
}

/// The database would carry out the rest of the batch: what is in one of its rows, or who holds one, is in the way.
fn is_of_a_row(error: &tokio_postgres::Error) -> bool {
    // Data exceptions, constraints, deadlocks and the like, limits, and what a trigger raises.
    let classes = ["22", "23", "40", "54", "P0"];
    error.code().is_some_and(|code| classes.iter().any(|class| code.code().starts_with(class)))
}

/// A new key that is taken.
fn is_duplicate(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// The error in words that say what to do.
fn explain(what: &str, error: tokio_postgres::Error) -> Error {
    let creating = what.starts_with("create the table");
    let advice = match error.code() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE && creating => {
            "this role may not create tables here: GRANT CREATE ON SCHEMA to it, or have it created by another"
        }
        Some(code) if *code == SqlState::NOT_NULL_VIOLATION => {
            "the table of sessions has a further column that must not be null and has no default"
        }
        Some(code) if *code == SqlState::UNDEFINED_TABLE => {
            "the table of sessions is not there (or not on the search_path): run Django's \
             `manage.py migrate`, or call create_table()"
        }
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            "this role may not: GRANT SELECT, INSERT, UPDATE, DELETE on the table of sessions to it"
        }
        Some(code) if *code == SqlState::UNDEFINED_COLUMN => {
            "the table of sessions has other columns than Django's session_key, session_data, expire_date"
        }
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => "the database has no connection left",
        Some(code)
            if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) =>
        {
            "the database refuses this user or password"
        }
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => "there is no such database",
        Some(_) => "the database refused",
        None => "the database is away",
    };
    let text = format!("cannot {what}: {advice}");
    match error.as_db_error() {
        // Its message and code alone: the detail quotes the row, which is the visitor's.
        Some(db) => Error::store_caused_by(text, format!("{} (SQLSTATE {})", db.message(), db.code().code())),
        None => Error::store_caused_by(text, error),
    }
}

/// What the parser says, unless it could quote a password.
fn hint(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(cause) if !cause.to_string().contains("password") => format!(" ({cause})"),
        _ => String::new(),
    }
}
